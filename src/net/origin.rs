//! A web origin (RFC 6454): the scheme, host and port of a page, as far as an http or https URL has them.

use super::address::names_loopback;
use url::Url;

/// A web origin in ASCII (RFC 6454 section 6.2): `https://nas.lan:8200`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// The longest one in characters, so that the sealed state stays short.
    pub const MAX_LEN: usize = 128;

    /// The origin of an http or https URL of reasonable length.
    pub fn parse(url: &str) -> Option<Self> {
        let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
        let origin = url.origin().ascii_serialization();
        (origin.len() <= Self::MAX_LEN && url.host().is_some()).then_some(Self(origin))
    }

    /// Its ASCII serialisation, without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether what is sent there can be read on the way: plain http, and not on this very machine.
    pub fn is_plain(&self) -> bool {
        self.0.starts_with("http:") && !self.is_loopback()
    }

    /// Whether it names this very machine: `localhost`, 127.0.0.0/8 or `[::1]`, any port. Subdomains of `localhost`
    /// do not count: not every resolver keeps them on the machine.
    pub fn is_loopback(&self) -> bool {
        Url::parse(&self.0).is_ok_and(|url| names_loopback(&url))
    }
}
