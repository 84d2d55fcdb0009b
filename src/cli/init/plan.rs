//! What `authseal init` will write, decided before anything is written, and the text of the configuration.

use crate::cli::DOCS;
use crate::provider::Provider;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{self, Path, PathBuf};
use toml_edit::Value;
use url::{Host, Url};

/// The configuration file in the folder.
pub(super) const CONFIGURATION: &str = "authseal.toml";

pub(super) struct Plan {
    pub(super) dir: PathBuf,
    pub(super) denylist: PathBuf,
    /// `None` where there is a configuration that is to stay.
    pub(super) public_url: Option<String>,
    /// Whom the authority writes to, where the server is to have its certificate issued itself.
    pub(super) acme_contact: Option<String>,
    pub(super) registrations: Vec<Registration>,
    /// As `state.store` takes it.
    pub(super) store: String,
    /// Why it is another than memory, where nobody said which.
    pub(super) why_store: Option<String>,
    /// The keys, beside `public_url` and those of clients, that somebody asked for and that were not chosen here.
    pub(super) asked: Vec<&'static str>,
}

/// This server's registration at a provider, as far as there is one.
pub(super) struct Registration {
    pub(super) provider: String,
    pub(super) client_id: Option<String>,
    pub(super) secret: Secret,
}

pub(super) enum Secret {
    None,
    /// To be put into a file of its own later.
    Later,
    /// In this file, as it was named.
    File(PathBuf),
    /// Typed just now: it goes into a file of its own.
    Typed(SecretString),
}

impl Registration {
    pub(super) fn new(provider: &str) -> Self {
        Self { provider: provider.to_owned(), client_id: None, secret: Secret::None }
    }

    /// The name of the file for a secret that was typed.
    pub(super) fn secret_file(&self) -> String {
        format!("{}-secret", self.provider)
    }
}

impl Plan {
    /// The text of an `authseal.toml` in `dir`.
    pub(super) fn text(&self, dir: &Path, public_url: &str, providers: &BTreeMap<&str, &Provider>) -> String {
        let mut text = format!(
            "# Written by `authseal init`. {DOCS}/configuration.md explains every key.\n\
             # `authseal check` says what is wrong, `authseal config show --origin` what is in force.\n\n\
             # What browsers see. The callback to register at providers is this with /logged-in.\n\
             public_url = {}\n\
             {}\
             [admin]\n\
             # Metrics and the state of the keys, for operators: {DOCS}/monitoring.md\n\
             listen = [\"127.0.0.1:9464\"]\n\n\
             [state]\n\
             # Box and Jottacloud need \"dir:FOLDER\" or \"redis://HOST\", Microsoft is better with: {DOCS}/configuration.md\n\
             store = {}\n",
            quoted(public_url),
            self.acme_contact.as_deref().map_or_else(|| listening(public_url), with_acme),
            quoted(&self.store),
        );
        if self.denylist != self.dir.join("denylist") {
            let _ = write!(
                text,
                "\n[denylist]\n\
                 # Not beside this file: the server writes to it, and to nothing here.\n\
                 file = {}\n",
                quoted(&seen_from(dir, &self.denylist)),
            );
        }
        for registration in &self.registrations {
            text.push_str(&registration.text(dir, providers));
        }
        text
    }
}

impl Registration {
    /// Its table; without a client id, the place for one.
    fn text(&self, dir: &Path, providers: &BTreeMap<&str, &Provider>) -> String {
        let id = &self.provider;
        let provider = providers.get(id.as_str());
        let mut lines = format!("\n[clients.{id}]\n");
        // What is written to a String cannot fail.
        if let (Some(client_id), Secret::Later) = (&self.client_id, &self.secret) {
            let id = quoted(client_id);
            let file = self.secret_file();
            let todo = format!("# Put the client secret into {file}, then take the # off these two lines:");
            let _ = writeln!(lines, "{todo}\n#id = {id}\n#secret_file = {}", quoted(&file));
            return lines;
        }
        let _ = match (&self.client_id, provider.and_then(|provider| provider.console_url())) {
            (Some(client_id), _) => writeln!(lines, "id = {}", quoted(client_id)),
            (None, Some(console)) => writeln!(lines, "# From {console}\n#id = \"…\""),
            (None, None) => writeln!(lines, "# Nothing is registered there.\nenabled = true"),
        };
        let file = match &self.secret {
            Secret::None | Secret::Later => None,
            Secret::File(file) => Some(seen_from(dir, file)),
            Secret::Typed(_) => Some(self.secret_file()),
        };
        let _ = match (file, self.client_id.is_some()) {
            (Some(file), true) => writeln!(lines, "secret_file = {}", quoted(&file)),
            (Some(file), false) => writeln!(lines, "#secret_file = {}", quoted(&file)),
            (None, _) => Ok(()),
        };
        lines
    }
}

/// Where to listen. By plain http, which is for this machine alone, browsers come to the public URL itself: there is no
/// proxy that has another port.
fn listening(public_url: &str) -> String {
    let url = Url::parse(public_url).ok().filter(|url| url.scheme() == "http");
    let host = url.as_ref().and_then(Url::host).map(|host| match host {
        Host::Ipv4(address) => address.into(),
        Host::Ipv6(address) => address.into(),
        Host::Domain(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
    });
    match host.zip(url.and_then(|url| url.port_or_known_default())) {
        Some(address) => {
            let at = quoted(&SocketAddr::from(address).to_string());
            format!("# Browsers on this machine come here directly.\nlisten = [{at}]\n\n")
        }
        None => format!(
            "# For a proxy on this machine that ends TLS. Without one: [tls], as {DOCS}/deploying.md says.\n\
             listen = [\"127.0.0.1:8080\"]\n\n\
             [server]\n\
             # The proxies that are trusted to tell a client's address.\n\
             trusted_proxies = [\"127.0.0.1\"]\n\n"
        ),
    }
}

/// The same for a server that is reached from outside without a proxy, and has its certificate issued itself.
fn with_acme(contact: &str) -> String {
    format!(
        "listen = [\"0.0.0.0:443\", \"[::]:443\"]\n\n\
         [tls]\n\
         # Who comes by http is sent on to https; a certificate's authority looks here, too.\n\
         redirect_listen = [\"0.0.0.0:80\", \"[::]:80\"]\n\n\
         [acme]\n\
         # The certificate is issued by Let's Encrypt and renewed, all by itself: {DOCS}/configuration.md\n\
         contact = {}\n\n",
        quoted(contact)
    )
}

/// A file as a configuration in `dir` names it: by its name alone where it lies there too.
fn seen_from(dir: &Path, file: &Path) -> String {
    let whole = |path: &Path| path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let dir = whole(dir);
    let path = whole(file);
    path.strip_prefix(&dir).unwrap_or(&path).display().to_string()
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
