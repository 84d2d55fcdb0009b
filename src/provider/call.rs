//! One HTTP request to a provider as data, and its response: what is sent, with which credentials, and what came back.
//! Who sends it, with which limits, is decided in `http`; what a response means, by those who read it.

use super::client_credentials::Choice;
use super::error::AttemptError;
use super::printable::LONGEST;
use super::service::{Client, Provider};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;
use url::Url;
use zeroize::Zeroizing;

/// One request to a provider.
pub(super) struct Call<'a> {
    pub(super) provider: &'a Provider,
    /// What it is for, for the log: the service, if it is for one, and a word.
    pub(super) service: Option<&'a str>,
    pub(super) name: &'static str,
    pub(super) url: &'a Url,
    pub(super) payload: Payload<'a>,
}

pub(super) enum Payload<'a> {
    /// GET.
    Nothing,
    /// POST of a form, with the client's credentials if there are any to be shown.
    Form(&'a [(&'a str, &'a str)], Option<(&'a Client, Choice)>),
    /// POST with an access token and without a body.
    Bearer(&'a SecretString),
}

/// A response as it came, at most as long as the connection lets it be.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) retry_after: Option<Duration>,
    /// Where a redirect leads.
    pub(super) location: Option<Url>,
    pub(super) headers: HeaderMap,
    /// What is no UTF-8 in it was replaced by U+FFFD.
    pub(super) body: Zeroizing<String>,
    /// Why the body is not whole.
    pub(super) cut: Option<AttemptError>,
}

/// What a response's headers tell of its kind.
pub(super) struct Head {
    pub(super) content_type: Option<String>,
    pub(super) encoding: Option<String>,
    /// Where a redirect leads: scheme, host and path, as a query may hold secrets.
    pub(super) redirect: Option<String>,
}

impl Response {
    /// What kind of response it is, for the log.
    pub(super) fn head(&self) -> Head {
        Head::read(&self.headers, self.location.as_ref())
    }
}

impl Head {
    fn read(headers: &HeaderMap, location: Option<&Url>) -> Self {
        let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/+.-_, ".contains(&b);
        let kind = |text: &str| {
            let kind = text.split(';').next().unwrap_or_default().trim();
            (1..=100).contains(&kind.len()).then(|| kind.bytes().filter(|b| plain(*b)).map(char::from).collect())
        };
        Self {
            content_type: text(CONTENT_TYPE).and_then(kind),
            encoding: text(CONTENT_ENCODING).and_then(kind),
            redirect: location.map(place),
        }
    }
}

/// Scheme, host and path of a URL, cut: what may be shown of it. The rest may hold anything.
pub(super) fn place(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Both fail only for a URL that has no host, and so no user.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.as_str().chars().take(LONGEST).collect()
}

impl Call<'_> {
    /// Whether a word is, or holds, a part of what is sent that may be secret.
    pub(super) fn sends(&self, word: &str) -> bool {
        let holds =
            |secret: &str| secret.len() >= 4 && word.to_ascii_lowercase().contains(&secret.to_ascii_lowercase());
        match &self.payload {
            Payload::Nothing => false,
            Payload::Bearer(token) => holds(token.expose_secret()),
            Payload::Form(fields, client) => {
                let secret = client.and_then(|(client, _)| client.secret.as_ref());
                fields.iter().any(|(name, value)| *name != "grant_type" && *name != "scope" && holds(value))
                    || secret.is_some_and(|secret| holds(secret.expose_secret()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_told_by_host_and_path() {
        let url = Url::parse("https://p.example/token").unwrap();
        for (location, shown) in [
            ("/token/?code=s3cret#x", "https://p.example/token/"),
            ("https://u:pw@q.example:8443/login?next=a", "https://q.example:8443/login"),
        ] {
            let location = url.join(location).unwrap();
            assert_eq!(Head::read(&HeaderMap::new(), Some(&location)).redirect.as_deref(), Some(shown));
        }
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, "text/html; charset=x".parse().unwrap())]);
        assert_eq!(Head::read(&headers, None).content_type.as_deref(), Some("text/html"));
    }
}
