//! What a duplicati/oauth-server went by beside its services: who it was to the world, where it listened, and where its
//! tokens are.

use super::report::{Became, Report};
use super::settings::{Settings, Value};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use url::Url;

/// The longest name of a site that is taken, in characters.
const MAX_NAME: usize = 60;

/// What its settings say, as they are meant here.
pub(super) struct Site {
    pub(super) hostname: String,
    pub(super) public_url: String,
    pub(super) listen: Vec<SocketAddr>,
    pub(super) name: Option<String>,
    pub(super) privacy_url: Option<String>,
    /// The folder with tokens that its AuthIDs without `v2:` name.
    pub(super) v1_dir: Option<PathBuf>,
}

/// What the command line of the import says instead.
pub(super) struct Instead {
    pub(super) public_url: Option<String>,
    pub(super) v1_dir: Option<PathBuf>,
}

pub(super) fn read(settings: &Settings, instead: Instead, report: &mut Report) -> Site {
    let (named, redirected) = (settings.value("--hostname", report), settings.value("--redirect-hostname", report));
    if let (Some(named), Some(_)) = (&named, &redirected) {
        report.add(Became::Idle, format!("{}: REDIRECT_HOSTNAME goes before it", named.from));
    }
    let hostname = redirected.or(named);
    let public_url = instead.public_url.map(|url| url.trim_end_matches('/').to_owned());
    match (&public_url, &hostname) {
        (Some(_), _) => {}
        (None, Some(hostname)) => report.add(Became::Taken, format!("{}: public_url", hostname.from)),
        (None, None) => report.add(
            Became::ToDo,
            "public_url is https://localhost, as that server's callbacks were, since no host name reached it: set it with --public-url",
        ),
    }
    let hostname = hostname.map_or_else(|| "localhost".to_owned(), |value| value.text.trim().to_owned());
    let public_url = public_url.unwrap_or_else(|| format!("https://{hostname}"));
    let (app, display) = (settings.value("--appname", report), settings.value("--displayname", report));
    let name = display.or(app).filter(|name| {
        let fits = name.text.chars().count() <= MAX_NAME;
        let line = format!("{}: site.name, at the head of each page", name.from);
        match fits {
            true => report.add(Became::Taken, line),
            false => {
                report.add(Became::Left, format!("{}: longer than the {MAX_NAME} characters of site.name", name.from))
            }
        }
        fits
    });
    let privacy = settings.value("--privacy-policy", report).filter(|url| {
        let fits = Url::parse(&url.text).is_ok_and(|url| url.scheme() == "https");
        match fits {
            true => report.add(Became::Taken, format!("{}: privacy.url", url.from)),
            false => report.add(Became::Left, format!("{}: privacy.url is an https address", url.from)),
        }
        fits
    });
    for option in ["--seq-url", "--seq-apikey"] {
        if let Some(value) = settings.value(option, report) {
            let line = "the log goes to standard error, as JSON where no person reads it; have it collected there";
            report.add(Became::Left, format!("{}: {line}", value.from));
        }
    }
    let v1_dir = instead.v1_dir.or_else(|| storage(settings, report));
    Site {
        hostname,
        public_url,
        listen: listen(settings, report),
        name: name.map(|value| value.text),
        privacy_url: privacy.map(|value| value.text),
        v1_dir,
    }
}

/// Where it listened. Its default, this machine alone, goes before every variable.
fn listen(settings: &Settings, report: &mut Report) -> Vec<SocketAddr> {
    if let Some(ports) = settings.value("--listen-ports", report) {
        let line = format!("{}: that server listened where --listen-urls says, or at its default", ports.from);
        report.add(Became::Idle, line);
    }
    for option in ["--certificate-path", "--certificate-password"] {
        if let Some(value) = settings.value(option, report) {
            let line = "certificates here are PEM, in [tls]: `openssl pkcs12` converts a .pfx";
            report.add(Became::Left, format!("{}: {line}", value.from));
        }
    }
    let usual = || vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))];
    let Some(value) = settings.value("--listen-urls", report) else { return usual() };
    let mut addresses = Vec::new();
    for url in value.text.split(';').map(str::trim).filter(|url| !url.is_empty()) {
        match address(url) {
            Ok(address) => addresses.push(address),
            Err(why) => report.add(Became::Left, format!("an address of {}: {why}", value.from)),
        }
    }
    addresses.sort();
    addresses.dedup();
    match addresses.is_empty() {
        true => usual(),
        false => {
            report.add(Became::Taken, format!("{}: listen", value.from));
            addresses
        }
    }
}

/// An address as ASP.NET takes it: `*` and `+` are all that this machine has.
fn address(url: &str) -> Result<SocketAddr, &'static str> {
    let plain = url.replacen("://*", "://0.0.0.0", 1).replacen("://+", "://0.0.0.0", 1);
    let url = Url::parse(&plain).map_err(|_| "it is no address like http://*:8080")?;
    match url.scheme() {
        "http" => {}
        "https" => return Err("TLS needs a certificate as PEM: set [tls], and listen there"),
        _ => return Err("it is no address like http://*:8080"),
    }
    let ip = match url.host() {
        Some(url::Host::Ipv4(ip)) => IpAddr::from(ip),
        Some(url::Host::Ipv6(ip)) => IpAddr::from(ip),
        Some(url::Host::Domain("localhost")) => IpAddr::from(Ipv4Addr::LOCALHOST),
        // Any other name means all addresses there.
        _ => IpAddr::from(Ipv4Addr::UNSPECIFIED),
    };
    Ok(SocketAddr::from((ip, url.port().unwrap_or(80))))
}

/// The folder of its tokens.
fn storage(settings: &Settings, report: &mut Report) -> Option<PathBuf> {
    let blank = settings.typed("--storage").is_some_and(|value| value.text.trim().is_empty());
    let value = settings.value("--storage", report);
    let Some(value) = value else {
        match blank {
            true => report.add(Became::Taken, "--storage: none, so that all old AuthIDs begin with `v2:`"),
            false => report.add(
                Became::ToDo,
                "without --storage that server kept its tokens in `tokens/` beside the program: copy them out of the \
                 container while it is there, and name the folder with --v1-dir: AuthIDs that do not begin with `v2:` need it",
            ),
        }
        return None;
    };
    let place = match value.text.split_once("://") {
        None => value.text.as_str(),
        Some(("file" | "local" | "path", rest)) => rest.split('?').next().unwrap_or_default(),
        Some((kind, _)) => {
            let kind = super::report::shown(kind);
            report.add(
                Became::ToDo,
                format!("--storage: the tokens are in {kind}; docs/moving.md says how to bring them into a folder, which --v1-dir names"),
            );
            return None;
        }
    };
    match settings.path(&Value { text: place.to_owned(), ..value.clone() }) {
        Ok(folder) if folder.is_dir() => {
            report.add(Became::Taken, format!("{}: legacy.v1_dir", value.from));
            Some(std::fs::canonicalize(&folder).unwrap_or(folder))
        }
        Ok(_) | Err(_) => {
            let line = "its folder of tokens is not on this machine: copy it here, and name it with --v1-dir: AuthIDs that do not begin with `v2:` need it";
            report.add(Became::ToDo, format!("{}: {line}", value.from));
            None
        }
    }
}
