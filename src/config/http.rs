//! What the web reads and answers requests by: of `[server]` and `[refresh]`, and the folder of ACME challenges. It is
//! handed on whole, so a new key costs a field here and no more.

use super::check::Checker;
use ipnet::IpNet;
use std::net::IpAddr;
use std::path::PathBuf;

/// How requests are read and answered.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// The proxies whose `X-Forwarded-*` and `Forwarded` count, for the client's address and scheme.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether `GET /refresh?authid=` is answered.
    pub allow_query_authid: bool,
    /// The folder that `/.well-known/acme-challenge/` is answered from, where an ACME client leaves its responses.
    pub acme_challenge_dir: Option<PathBuf>,
}

impl HttpSettings {
    /// Whether `peer` is one of the operator's own proxies.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(&peer))
    }
}

impl Checker<'_> {
    pub(super) fn trusted_proxies(&mut self, texts: Vec<String>) -> Vec<IpNet> {
        let judged = texts.into_iter().enumerate().filter_map(|(at, text)| {
            self.parse_key(&["server", "trusted_proxies", &at.to_string()], Some(text), |text| network(&text))
        });
        judged.collect()
    }
}

/// A network in CIDR notation (RFC 4632), or one address.
fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match network {
        Ok(network) if network.prefix_len() == 0 => {
            Err("names every address there is; name the proxies alone, or anybody can claim any address".to_owned())
        }
        Ok(network) => Ok(network),
        Err(_) => Err("is not an address like 127.0.0.1 or ::1, or a network like 10.1.2.0/24".to_owned()),
    }
}
