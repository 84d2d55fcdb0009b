//! Networks of addresses, as `server.trusted_proxies` names them.

use super::check::Checker;
use ipnet::IpNet;
use std::net::IpAddr;

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
