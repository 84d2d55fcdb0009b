//! `[site]` and `[privacy]`: who runs this server, as its pages say.

use super::check::{Checker, web_url};
use super::raw;
use serde::Serialize;
use url::Host;

/// The longest name, in characters.
const MAX_NAME: usize = 60;
/// Characters that people do not see, or that turn the text around them: a name with them is not what it looks like.
const UNSEEN: [char; 4] = ['\u{ad}', '\u{61c}', '\u{180e}', '\u{feff}'];

/// Who runs this server, for people.
#[derive(Debug, Default, Serialize)]
pub struct Site {
    /// What it is called, in the place of "authseal".
    pub name: Option<String>,
    /// Where to turn to.
    pub contact: Option<Contact>,
    /// The imprint that the law of some countries asks for.
    pub imprint_url: Option<String>,
    /// The operator's own privacy policy.
    pub privacy_url: Option<String>,
    /// Whether each page says that nothing is real here: no key sets it, `authseal demo` does.
    pub demo: bool,
}

/// Where to turn to.
#[derive(Debug, Serialize)]
pub struct Contact {
    /// A `mailto:` (RFC 6068) or web address.
    pub url: String,
    /// How it is shown.
    pub text: String,
}

impl Checker<'_> {
    pub(super) fn site(&mut self, site: raw::Site, privacy: raw::Privacy) -> Site {
        let own = |text: String| web_url(&text).map(String::from);
        Site {
            name: self.parse_key(&["site", "name"], site.name, |text| name(&text)),
            contact: self.parse_key(&["site", "contact"], site.contact, |text| contact(&text)),
            imprint_url: self.parse_key(&["site", "imprint_url"], site.imprint_url, own),
            privacy_url: self.parse_key(&["privacy", "url"], privacy.url, own),
            demo: false,
        }
    }
}

fn name(text: &str) -> Result<String, String> {
    let name = text.trim();
    let is_unseen = |c: char| {
        c.is_control()
            || UNSEEN.contains(&c)
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
    };
    if name.is_empty() || name.chars().count() > MAX_NAME {
        return Err(format!("must have 1 to {MAX_NAME} characters"));
    }
    if name.contains(is_unseen) {
        return Err("must be one line without characters that are not seen".to_owned());
    }
    Ok(name.to_owned())
}

/// A mail address without the quoting that RFC 5321 section 4.1.2 allows and nobody uses, or a web address.
fn contact(text: &str) -> Result<Contact, String> {
    let bare = text.strip_prefix("mailto:").unwrap_or(text);
    if let Ok(url) = web_url(text) {
        let shown = text.split_once("://").map_or(text, |(_, rest)| rest).trim_end_matches('/');
        return Ok(Contact { url: url.into(), text: shown.to_owned() });
    }
    let has_parts = |text: &str| text.split('.').all(|part| !part.is_empty());
    let is_local = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    let is_mail = bare.rsplit_once('@').is_some_and(|(local, host)| {
        let is_name = matches!(Host::parse(host), Ok(Host::Domain(_)));
        local.chars().all(is_local) && has_parts(local) && is_name && has_parts(host)
    });
    if is_mail {
        return Ok(Contact { url: format!("mailto:{bare}"), text: bare.to_owned() });
    }
    Err("is neither a mail address, like help@example.com, nor a URL that begins with `https://`".to_owned())
}
