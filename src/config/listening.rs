//! Where to listen, and how: the addresses, and the certificate of a server that speaks TLS itself. What is in its files is
//! looked at by the room that reads them.

use super::check::Keys;
use super::written;
use crate::tls::PairFiles;
use std::net::SocketAddr;
use url::Url;

impl Keys<'_> {
    /// Addresses to listen on, beside those that are `taken`. Port 0 is any free one, so it is never taken.
    pub(super) fn listen(&mut self, path: &[&str], texts: &[String], taken: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut listen = Vec::new();
        for (at, text) in texts.iter().enumerate() {
            let at = at.to_string();
            let path = [path, &[at.as_str()]].concat();
            match text.parse::<SocketAddr>() {
                Ok(address) if listen.contains(&address) => self.fault(&path, "repeats an earlier address; keep one"),
                Ok(address) if address.port() != 0 && taken.contains(&address) => {
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
    pub(super) fn tls(&mut self, tls: &written::Tls, public_url: Option<&Url>) -> Option<PairFiles> {
        let cert = self.path(&["tls", "cert_file"], tls.cert_file.clone());
        let key = self.path(&["tls", "key_file"], tls.key_file.clone());
        let (present, absent) = match (cert, key) {
            (Some(cert), Some(key)) => {
                if public_url.is_some_and(|url| url.scheme() != "https") {
                    self.fault(&["tls"], "makes this server speak https, so `public_url` must begin with `https://`");
                }
                return Some(PairFiles { cert, key });
            }
            (None, None) if tls.redirect_listen.is_empty() => return None,
            (None, None) => ("redirect_listen", "cert_file` and `tls.key_file"),
            (Some(_), None) => ("cert_file", "key_file"),
            (None, Some(_)) => ("key_file", "cert_file"),
        };
        self.fault(&["tls", present], format!("is of use only together with `tls.{absent}`"));
        None
    }
}
