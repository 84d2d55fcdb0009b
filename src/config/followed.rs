//! The denylists of other replicas that `denylist.follow` names.

use super::check::Checker;
use url::Url;

/// Where an admin listener has it.
const PATH: &str = "/denylist";

impl Checker<'_> {
    pub(super) fn followed(&mut self, texts: Vec<String>) -> Vec<Url> {
        let judged = texts.into_iter().enumerate().filter_map(|(at, text)| {
            self.parse_key(&["denylist", "follow", &at.to_string()], Some(text), |text| denylist(&text))
        });
        judged.collect()
    }
}

fn denylist(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let bare = |url: &Url| url.username().is_empty() && url.password().is_none() && url.query().is_none();
    url.filter(|url| bare(url) && url.fragment().is_none() && url.path() == PATH).ok_or_else(|| {
        "is not the URL of a denylist at a replica's admin listener, like \"http://10.0.0.5:9464/denylist\"".to_owned()
    })
}
