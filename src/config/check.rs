//! Validation: from keys of the right type to a checked [`Config`]. What concerns providers, services and clients among
//! each other is left to `provider`.

use super::error::ConfigErrors;
use super::layers::Layers;
use super::raw::{self, RawConfig};
use super::{Config, Delivery, HttpSettings, KeyringSource, Keys, Log};
use crate::acme::AcmeSettings;
use crate::files::trust_filled;
use crate::keyring_file;
use crate::legacy::{Accepted, Export};
use crate::net::{Origin, names_loopback};
use crate::provider::Catalogue;
use crate::replication::Replicas;
use crate::store::StorePlace;
use crate::watch::directory;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tracing_subscriber::filter::{LevelFilter, Targets};
use url::Url;

/// Checks each key. What was faulty has some empty value in the result.
pub(super) fn check(mut raw: RawConfig, layers: &Layers, faults: &mut ConfigErrors) -> Config {
    let mut keys = Checker { layers, faults };
    let public_url = keys.parse_key(&["public_url"], raw.public_url, |text| public_url(&text));
    let over_http = !raw.tls.redirect_listen.is_empty();
    let has_acme = raw.acme.contact.is_some();
    let (listeners, tls) = keys.listeners(raw.listen, raw.tls, raw.admin, &raw.server, public_url.as_ref(), has_acme);
    let rates = keys.rates(&raw.limits);
    let patience = keys.patience(&raw.refresh);
    let brake = keys.brake(&raw.refresh);
    let trusted_proxies = keys.trusted_proxies(raw.server.trusted_proxies);
    let keyring = keys.keyring(raw.keyring);
    let beside_file = layers.file.as_deref().and_then(Path::parent).unwrap_or(layers.working_dir());
    let denylist = keys.path(&["denylist", "file"], raw.denylist.file).unwrap_or_else(|| beside_file.join("denylist"));
    let acme = keys.acme(raw.acme, public_url.as_ref(), directory(&denylist), over_http);
    let tls = tls.or_else(|| acme.as_ref().map(AcmeSettings::files));
    let access_password_file = keys.path(&["access", "password_file"], raw.access.password_file);
    let ca_file = keys.path(&["state", "ca_file"], raw.state.ca_file);
    let wait =
        keys.parse_key(&["state", "redis_wait"], Some(raw.state.redis_wait), StorePlace::wait).unwrap_or_default();
    let folder = layers.at(&["state", "store"]).map(|value| layers.folder(value.tag()));
    let folder = folder.unwrap_or(layers.working_dir()).to_owned();
    let store = keys.parse_key(&["state", "store"], raw.state.store, |text| {
        StorePlace::parse(text.expose_secret(), &folder, ca_file, wait)
    });
    let store = store.unwrap_or_default();
    let follow = keys.followed(raw.denylist.follow);
    let (shared, may_be_new) = (raw.denylist.replicate && store.is_shared(), raw.denylist.create);
    let replicas = Replicas { shared, follow, may_be_new };
    let origins = raw.delivery.trusted_origins.into_iter().enumerate();
    let origins = origins.filter_map(|(at, origin)| {
        keys.parse_key(&["delivery", "trusted_origins", &at.to_string()], Some(origin), |text| check_origin(&text))
    });
    let trusted_origins = origins.collect();
    keys.credentials(&raw.clients, &raw.services);
    let (outbound, own_authorities) = keys.outbound(raw.outbound, &mut raw.providers);
    let site = keys.site(raw.site, raw.privacy);
    let level = keys.parse_key(&["log", "level"], raw.log.level, log_level);
    let v1_dir = keys.folder(&["legacy", "v1_dir"], raw.legacy.v1_dir);
    let export = keys.export(raw.legacy.export_url, raw.legacy.export_key, store.is_durable());
    let acme_challenge_dir = keys.folder(&["acme_challenge_dir"], raw.acme_challenge_dir);
    if acme.is_some() && acme_challenge_dir.is_some() {
        keys.fault(
            &["acme_challenge_dir"],
            "is for another ACME client, and `[acme]` makes this server its own; keep one",
        );
    }
    let acme_challenge_dir = acme_challenge_dir.or_else(|| acme.as_ref().map(AcmeSettings::challenges));
    let templates_dir = keys.folder(&["templates_dir"], raw.templates_dir);
    let catalogue = Catalogue::build(raw.providers, raw.services, raw.clients, store.is_durable());
    let catalogue = catalogue.unwrap_or_else(|sentences| {
        faults.follow(&sentences, |name| layers.place_of_name(name));
        Catalogue::default()
    });
    Config {
        file: layers.file.clone(),
        keys: Keys::default(),
        secret_files: Vec::new(),
        secrets_end: BTreeMap::new(),
        warnings: Vec::new(),
        doubts: Vec::new(),
        public_url,
        listeners,
        tls,
        acme,
        http: HttpSettings { trusted_proxies, allow_query_authid: raw.refresh.allow_query_authid, acme_challenge_dir },
        keyring: keyring.unwrap_or_else(|| KeyringSource::File(beside_file.join("keys.toml"))),
        denylist,
        create_denylist: raw.denylist.create,
        replicas,
        access_password_file,
        store,
        outbound,
        own_authorities,
        delivery: Delivery { trusted_origins, loopback: raw.delivery.loopback },
        catalogue,
        rates,
        patience,
        brake,
        legacy: Accepted { v2: raw.legacy.v2, v1_dir, export },
        site,
        log: Log { level: level.unwrap_or_default(), format: raw.log.format },
        templates_dir,
    }
}

/// The faults so far, and what is needed to say where the next one was set.
pub(super) struct Checker<'a> {
    layers: &'a Layers,
    pub(super) faults: &'a mut ConfigErrors,
}

impl Checker<'_> {
    pub(super) fn fault(&mut self, path: &[&str], sentence: impl Into<String>) {
        self.faults.add(&self.layers.name(path), &self.layers.place(path), sentence);
    }

    pub(super) fn parse_key<T, U>(
        &mut self,
        path: &[&str],
        value: Option<T>,
        judge: impl FnOnce(T) -> Result<U, String>,
    ) -> Option<U> {
        judge(value?).map_err(|sentence| self.fault(path, sentence)).ok()
    }

    pub(super) fn filled(&mut self, path: &[&str], text: Option<&str>) {
        if text.is_some_and(|text| text.trim().is_empty()) {
            self.fault(path, "is empty; leave the key out instead");
        }
    }

    pub(super) fn path(&mut self, path: &[&str], file: Option<String>) -> Option<PathBuf> {
        self.filled(path, file.as_deref());
        let folder = self.layers.folder(self.layers.at(path)?.tag());
        let file = folder.join(file?);
        if file.to_string_lossy().contains('\\') && !file.exists() {
            self.fault(path, "has `\\` in it and names no file that exists; folders are separated with `/` here");
            return None;
        }
        Some(file)
    }

    fn folder(&mut self, path: &[&str], folder: Option<String>) -> Option<PathBuf> {
        let folder = self.path(path, folder)?;
        match fs::metadata(&folder) {
            Ok(metadata) if metadata.is_dir() => {
                if let Err(why) = trust_filled(&folder, &metadata) {
                    self.fault(path, format!("names a folder that is not to be trusted: {why}"));
                }
            }
            _ => self.fault(path, "names no folder that exists; make it, or leave the key out"),
        }
        Some(folder)
    }

    fn export(&mut self, url: Option<String>, key: Option<SecretString>, is_durable: bool) -> Option<Export> {
        match (&url, &key) {
            (Some(_), None) => {
                self.fault(&["legacy", "export_url"], "needs the API key too: set legacy.export_key_file");
            }
            (None, Some(_)) => self.fault(&["legacy", "export_key"], "is of no use without legacy.export_url"),
            (Some(_), Some(_)) if !is_durable => self.fault(
                &["legacy", "export_url"],
                "needs a state.store that outlives a restart, a folder or Redis: what that handler tells is kept there, \
                 so that it is asked once and can be switched off",
            ),
            _ => {}
        }
        let url = self.parse_key(&["legacy", "export_url"], url, |text| Export::check_url(&text));
        let key = self.parse_key(&["legacy", "export_key"], key, Export::check_key);
        Some(Export { url: url?, key: key? })
    }

    fn keyring(&mut self, keyring: raw::Keyring) -> Option<KeyringSource> {
        self.filled(&["keyring", "text"], keyring.text.as_ref().map(ExposeSecret::expose_secret));
        match (self.path(&["keyring", "file"], keyring.file), keyring.text) {
            (Some(_), Some(_)) => {
                self.fault(&["keyring"], "has both `file` and `text`; keep one");
                None
            }
            (Some(file), None) => Some(KeyringSource::File(file)),
            (None, Some(text)) => Some(KeyringSource::Text(keyring_file::unpack(text.expose_secret()).as_str().into())),
            (None, None) => None,
        }
    }
}

fn public_url(text: &str) -> Result<Url, String> {
    let url = origin_url(text, "https://oauth.example.com")?;
    match url.scheme() {
        "http" if !names_loopback(&url) => {
            Err("must begin with `https://`; `http://` is for localhost, 127.0.0.0/8 and [::1]".to_owned())
        }
        _ => Ok(url),
    }
}

/// Reads an origin, `scheme://host[:port]` with `http` or `https`; gives its ASCII serialisation (RFC 6454 section
/// 6.2): a default port is dropped, a name is in lower case and punycode.
///
/// # Errors
/// A sentence that begins with a verb, without the text itself.
pub fn check_origin(text: &str) -> Result<String, String> {
    origin_url(text, "https://nas.lan:8200").map(|url| url.origin().ascii_serialization())
}

/// A URL of scheme, host and perhaps port. One slash at the end is nothing; a browser's address bar adds it.
fn origin_url(text: &str, example: &str) -> Result<Url, String> {
    let url = web_url(text).map_err(|_| format!("is not of the form `{example}`"))?;
    let host = url.host_str().unwrap_or_default();
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user name or a password".to_owned());
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("must end after host and port, like `{example}`: no path, no query"));
    }
    if host.contains('*') {
        return Err("must name one host; `*` stands for nothing here".to_owned());
    }
    if host.ends_with('.') {
        return Err("must not end its host with a dot".to_owned());
    }
    if Origin::parse(text).is_none() {
        return Err(format!("is too long: scheme, host and port may have {} characters together", Origin::MAX_LEN));
    }
    Ok(url)
}

/// A URL with `http://` or `https://` and a host.
pub(super) fn web_url(text: &str) -> Result<Url, String> {
    let web = text.starts_with("https://") || text.starts_with("http://");
    let url = Url::parse(text).ok().filter(|url| web && url.has_host());
    url.ok_or_else(|| "is not a URL that begins with `https://` or `http://`".to_owned())
}

fn log_level(text: String) -> Result<String, String> {
    log_filter(&text).map(|_| text)
}

/// What a level of the log lets through: a level, or directives with commas between them, each a level or
/// `<module>=<level>`.
///
/// # Errors
/// The end of a sentence that begins with the key's name.
pub fn log_filter(text: &str) -> Result<Targets, String> {
    // A lone word that is no level would be taken for the name of a module and silence all others. Spans and fields,
    // which other programs take, would be taken for names too.
    let is_directive =
        |text: &&str| text.parse::<LevelFilter>().is_ok() || text.contains('=') && !text.contains(['[', '{']);
    let directives: Vec<_> = text.split(',').map(str::trim).filter(|text| !text.is_empty()).collect();
    let known = !directives.is_empty() && directives.iter().all(is_directive);
    let filter = known.then(|| directives.join(",").parse().ok()).flatten();
    let advice = "must be error, warn, info, debug, trace or off, or directives like `info,authseal=debug`";
    filter.ok_or_else(|| advice.to_owned())
}
