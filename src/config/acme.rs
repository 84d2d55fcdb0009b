//! `[acme]`: certificates that the server has issued itself. One key switches it on, `contact`; all others have a default.

use super::check::Checker;
use super::listening::host_name;
use super::raw;
use crate::acme::AcmeSettings;
use crate::files::trust;
use instant_acme::LetsEncrypt;
use std::fs;
use std::path::Path;
use url::{Host, Url};

/// As many names as Let's Encrypt takes in one certificate.
const MAX_DOMAINS: usize = 100;

impl Checker<'_> {
    /// `beside` is the folder that the server writes its denylist to; `over_http` whether somebody listens for http.
    pub(super) fn acme(
        &mut self,
        acme: raw::Acme,
        public_url: Option<&Url>,
        beside: &Path,
        over_http: bool,
    ) -> Option<AcmeSettings> {
        let directory = self.parse_key(&["acme", "directory"], acme.directory, |text| directory(&text));
        let cache = self.path(&["acme", "cache"], acme.cache).unwrap_or_else(|| beside.join("acme"));
        let ca_file = self.path(&["acme", "ca_file"], acme.ca_file);
        if acme.domains.len() > MAX_DOMAINS {
            self.fault(&["acme", "domains"], format!("has more than {MAX_DOMAINS} names, which no authority takes"));
        }
        let listed = !acme.domains.is_empty();
        let domains = acme.domains.into_iter().enumerate().filter_map(|(at, text)| {
            self.parse_key(&["acme", "domains", &at.to_string()], Some(text), |text| host_name(&text))
        });
        let mut domains: Vec<_> = domains.collect();
        let contact = self.parse_key(&["acme", "contact"], acme.contact, contact);
        let Some(contact) = contact else {
            if listed {
                self.fault(&["acme", "domains"], "is of use only together with `acme.contact`, a mail address");
            }
            return None;
        };
        let host = public_url.and_then(Url::host);
        match host {
            Some(_) if public_url.is_some_and(|url| url.scheme() != "https") => {
                self.fault(&["acme"], "makes this server speak https, so `public_url` must begin with `https://`");
            }
            Some(Host::Domain(name)) if !listed => domains.push(name.to_owned()),
            Some(Host::Domain(name)) if !domains.iter().any(|domain| domain == name) => {
                self.fault(&["acme", "domains"], "must have the host of `public_url` in it, for which browsers look");
            }
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => {
                self.fault(&["acme"], "is for names; `public_url` has an address, for which no certificate is issued");
            }
            _ => {}
        }
        let settings =
            AcmeSettings { domains, contact, directory: directory.unwrap_or_default(), cache, ca_file, over_http };
        let cache = [settings.cache.clone(), settings.challenges()].map(|folder| ("cache", folder));
        for (key, place) in cache.into_iter().chain(settings.ca_file.clone().map(|file| ("ca_file", file))) {
            // What is not there yet is made, or told of when it is needed.
            let Ok(metadata) = fs::metadata(&place) else { continue };
            if key == "cache" && !metadata.is_dir() {
                self.fault(&["acme", key], format!("leads to {}, which is no folder", place.display()));
            } else if let Err(why) = trust(&place, &metadata) {
                self.fault(&["acme", key], format!("leads to {}, which is not to be trusted: {why}", place.display()));
            }
        }
        Some(settings)
    }
}

fn directory(text: &str) -> Result<String, String> {
    match text {
        "letsencrypt" => Ok(LetsEncrypt::Production.url().to_owned()),
        "letsencrypt-staging" => Ok(LetsEncrypt::Staging.url().to_owned()),
        text => {
            let url = Url::parse(text).ok().filter(|url| url.scheme() == "https" && url.has_host());
            url.filter(|url| url.username().is_empty() && url.password().is_none()).map(String::from).ok_or_else(|| {
                "is not `letsencrypt`, `letsencrypt-staging`, or the `https://` URL of another authority's directory"
                    .to_owned()
            })
        }
    }
}

/// A mail address as far as a URL `mailto:` takes it without more ado (RFC 6068 section 2).
fn contact(text: String) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+".contains(&byte);
    let is_mail = text.split_once('@').is_some_and(|(name, host)| {
        !name.is_empty()
            && name.bytes().all(plain)
            && host.contains('.')
            && matches!(Host::parse(host), Ok(Host::Domain(_)))
    });
    match is_mail {
        true => Ok(text),
        false => Err("is not one mail address, like `admin@example.com`".to_owned()),
    }
}
