//! Where to listen, and how: the addresses, and the certificate of a server that speaks TLS itself. What is in its files is
//! looked at by the module that reads them.

use super::check::Checker;
use super::raw;
use crate::tls::PairFiles;
use std::net::SocketAddr;
use std::time::Duration;
use url::{Host, Url};

/// The most seconds that a server continues after being told to end. systemd waits for 90 by default, and 25 more may be
/// needed to finish.
const MAX_DRAIN: u64 = 60;
/// The least number of connections that is of use.
const MIN_CONNECTIONS: u64 = 16;

/// Where the server listens, and until when. Only [`Server`](crate::web::Server) asks for it.
#[derive(Clone, Debug)]
pub struct Listeners {
    /// The addresses for everybody, at least one, none twice.
    pub public: Vec<SocketAddr>,
    /// The addresses that send visitors from http to https, none twice; none at all where there is no certificate.
    pub redirect: Vec<SocketAddr>,
    /// The addresses for operators, none twice; none at all where there is to be no such listener.
    pub admin: Vec<SocketAddr>,
    /// The names that operators may ask under, in lower case, beside addresses and `localhost`.
    pub admin_names: Vec<String>,
    /// How long to continue to serve after being told to end.
    pub drain: Duration,
    /// The most connections at one time, over all listeners; `None` for what the limit on descriptors leaves.
    pub max_connections: Option<u64>,
}

impl Checker<'_> {
    /// All listeners, and the certificate of the public ones; `acme`: whether it is issued to this server itself.
    pub(super) fn listeners(
        &mut self,
        public: Vec<String>,
        tls: raw::Tls,
        admin: raw::Admin,
        server: &raw::Server,
        public_url: Option<&Url>,
        acme: bool,
    ) -> (Listeners, Option<PairFiles>) {
        let public = self.listen(&["listen"], &public, &[]);
        if public.is_empty() {
            self.faults.missing("listen", "name at least one address, like 127.0.0.1:8080");
        }
        let pair = self.tls(&tls, public_url, acme);
        let redirect = self.listen(&["tls", "redirect_listen"], &tls.redirect_listen, &public);
        let taken = [public.as_slice(), &redirect].concat();
        let operators = self.listen(&["admin", "listen"], &admin.listen, &taken);
        let names = admin.names.into_iter().enumerate().filter_map(|(at, text)| {
            self.parse_key(&["admin", "names", &at.to_string()], Some(text), |text| host_name(&text))
        });
        let admin_names = names.collect();
        let drain = self.parse_key(&["server", "drain_seconds"], Some(server.drain_seconds), drain);
        let max_connections = self.parse_key(&["server", "max_connections"], server.max_connections, connections);
        let drain = drain.unwrap_or_default();
        (Listeners { public, redirect, admin: operators, admin_names, drain, max_connections }, pair)
    }

    /// Addresses to listen on, beside those that are `taken`. Port 0 is any free one, so it is always free.
    fn listen(&mut self, path: &[&str], texts: &[String], taken: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut listen = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            let at = at.to_string();
            let path = [path, &[at.as_str()]].concat();
            match text.parse::<SocketAddr>() {
                Ok(address) if listen.contains(&address) => self.fault(&path, "repeats an earlier address; keep one"),
                Ok(address) if listen.iter().any(|earlier| overlap(*earlier, address)) => self.fault(
                    &path,
                    "is not free beside an earlier address of this port: 0.0.0.0 is all of IPv4, [::] all of IPv6; keep one",
                ),
                Ok(address) if taken.iter().any(|earlier| overlap(*earlier, address)) => {
                    self.fault(
                        &path,
                        "is listened on already for something else; it needs an address or port of its own",
                    );
                }
                Ok(address) => listen.push(address),
                Err(_) => self
                    .fault(&path, "is not an IP address with a port, like 127.0.0.1:8080, 0.0.0.0:8080 or [::]:8080"),
            }
        }
        listen
    }

    /// The files of `[tls]`; none where there is no such table.
    fn tls(&mut self, tls: &raw::Tls, public_url: Option<&Url>, acme: bool) -> Option<PairFiles> {
        let cert = self.path(&["tls", "cert_file"], tls.cert_file.clone());
        let key = self.path(&["tls", "key_file"], tls.key_file.clone());
        if acme {
            if cert.is_some() || key.is_some() {
                self.fault(&["tls"], "names a certificate, and `[acme]` has one issued; keep one of the two");
            }
            return None;
        }
        let (present, absent) = match (cert, key) {
            (Some(cert), Some(key)) => {
                if public_url.is_some_and(|url| url.scheme() != "https") {
                    self.fault(&["tls"], "makes this server speak https, so `public_url` must begin with `https://`");
                }
                return Some(PairFiles { cert, key, acme });
            }
            (None, None) if tls.redirect_listen.is_empty() => return None,
            (None, None) => ("redirect_listen", "cert_file` and `tls.key_file`, or of `acme.contact"),
            (Some(_), None) => ("cert_file", "key_file"),
            (None, Some(_)) => ("key_file", "cert_file"),
        };
        self.fault(&["tls", present], format!("is of use only together with `tls.{absent}`"));
        None
    }
}

/// Whether one process cannot listen at both: they are the same, or one is all addresses of its family.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let all = one.ip().is_unspecified() || other.ip().is_unspecified();
    let same = one.ip() == other.ip() || (all && one.is_ipv4() == other.is_ipv4());
    same && one.port() == other.port() && one.port() != 0
}

fn drain(seconds: u64) -> Result<Duration, String> {
    match seconds {
        0..=MAX_DRAIN => Ok(Duration::from_secs(seconds)),
        _ => Err(format!("must be at most {MAX_DRAIN}: whoever runs this server would have it killed meanwhile")),
    }
}

fn connections(number: u64) -> Result<u64, String> {
    match number {
        MIN_CONNECTIONS.. => Ok(number),
        _ => Err(format!("must be at least {MIN_CONNECTIONS}: a browser alone opens six")),
    }
}

pub(super) fn host_name(text: &str) -> Result<String, String> {
    match Host::parse(text) {
        Ok(Host::Domain(name)) if name.contains('*') => {
            Err("must name one host; `*` stands for nothing here".to_owned())
        }
        Ok(Host::Domain(name)) => Ok(name),
        Ok(_) => Err("is an address, and those need not be listed; leave it out".to_owned()),
        Err(_) => Err("is not a name alone, like authseal or metrics.example.com".to_owned()),
    }
}
