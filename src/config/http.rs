//! What the web reads and answers requests by: of `[server]` and `[refresh]`, and the folder of ACME challenges. It is
//! handed on whole, so a new key costs a field here and no more.

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
