//! Values that can be used and are hardly meant: a warning each, with the key and never with the value. What a provider
//! would answer with "invalid client" alone is found here.

use super::error::line;
use super::layers::Layers;
use super::raw::RawConfig;
use super::registrations::registrations;
use super::secrets;
use super::values::each_text;
use crate::provider::is_client_id;
use figment::value::Value;
use secrecy::ExposeSecret;
use url::{Host, Url};

/// The client ids that the documentation shows.
const SAMPLES: [&str; 5] = [
    "1234567890-abc.apps.googleusercontent.com",
    "00000000-0000-0000-0000-000000000000",
    "abcdefghijklmnopqrstuvwxyz012345",
    "abcdefghijklmno",
    "abcdefghijk",
];
/// Top-level names that belong to nobody (RFC 2606 section 2), and names below others that do not either (section 3).
const RESERVED: [&str; 3] = ["test", "example", "invalid"];
const RESERVED_BELOW: [&str; 3] = ["com", "net", "org"];

/// A line for each.
pub(super) fn judge(written: &RawConfig, layers: &Layers) -> Vec<String> {
    let mut doubts = Vec::new();
    each_text(layers, layers.root(), &mut Vec::new(), &mut |path, _, text| {
        let sentence = if secrets::is_credential(path) { of_credential(text) } else { of_address(text) };
        doubts.extend(sentence.map(|sentence| line(&layers.name(path), &layers.place(path), sentence)));
    });
    let mut clients = Clients { written, layers, doubts };
    for client in registrations(&written.clients) {
        clients.id(&client.key("id"), client.id, client.provider);
        for (key, secret) in client.secrets() {
            clients.secret(&key, client.id, secret, client.provider);
        }
    }
    for (id, service) in &written.services {
        let client = service.client_id.as_deref();
        let provider = service.provider.as_deref().unwrap_or_default();
        clients.id(&["services", id, "client_id"], client, provider);
        if let Some(secret) = &service.client_secret {
            clients.secret(&["services", id, "client_secret"], client, secret.expose_secret(), provider);
        }
    }
    clients.doubts
}

fn of_credential(text: &str) -> Option<&'static str> {
    if SAMPLES.contains(&text) {
        return Some("is the example of the documentation; put your own there");
    }
    if text.contains("***") {
        return Some(
            "looks as if a console had hidden a part of it behind stars; have the whole of it shown, or make a new one",
        );
    }
    if !text.is_ascii() {
        return Some(
            "holds a character that no provider issues (RFC 6749 appendix A); copy it once more from the console",
        );
    }
    if text.contains(' ') {
        return Some("holds a space; copy it once more from the console if it has none there");
    }
    is_encoded(text, "%").then_some("looks percent-encoded; write it as the console shows it")
}

fn of_address(text: &str) -> Option<&'static str> {
    let url = Url::parse(text).ok().filter(|url| url.has_host())?;
    if let Some(Host::Domain(host)) = url.host().map(|host| host.to_owned()) {
        let mut labels = host.trim_end_matches('.').rsplit('.');
        let last = labels.next().unwrap_or_default();
        let above = labels.next();
        if RESERVED.contains(&last) || RESERVED_BELOW.contains(&last) && above == Some("example") {
            return Some("names a host that is reserved for examples (RFC 2606); put the real one there");
        }
    }
    is_encoded(url.password().unwrap_or_default(), "%25")
        .then_some("holds a password that looks percent-encoded twice; once is enough")
}

/// Whether two hex digits follow `begin` somewhere.
fn is_encoded(text: &str, begin: &str) -> bool {
    let is_hex =
        |rest: &str| rest.as_bytes().first_chunk::<2>().is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    text.match_indices(begin).any(|(at, _)| is_hex(&text[at + begin.len()..]))
}

/// Ids and secrets beside what is known of their providers.
struct Clients<'a> {
    written: &'a RawConfig,
    layers: &'a Layers,
    doubts: Vec<String>,
}

impl Clients<'_> {
    /// What an id says beside what the ids of providers look like.
    fn id(&mut self, key: &[&str], id: Option<&str>, provider: &str) {
        let (Some(id), Some(facts)) = (id, self.written.providers.get(provider)) else { return };
        let name = facts.name.as_deref().unwrap_or(provider);
        let others = || self.written.providers.values().filter(|other| is_client_id(other, id) == Some(true));
        let other = |also: &str| others().find_map(|other| other.name.as_deref()).map(|other| format!("{also}{other}"));
        match is_client_id(facts, id) {
            Some(false) => {
                let other = other(", but like one of ").unwrap_or_default();
                let text =
                    format!("does not look like a client id of {name}{other}; copy it once more from the console");
                self.doubt(key, &text);
            }
            // An operator's own provider may call its clients as it likes.
            None if is_built_in(provider, self.layers) => {
                if let Some(other) = other("looks like a client id of ") {
                    self.doubt(key, &format!("{other}, not of {name}; is it the right one?"));
                }
            }
            _ => {}
        }
    }

    /// What a secret says beside its id, and beside what the ids of providers look like.
    fn secret(&mut self, key: &[&str], id: Option<&str>, secret: &str, provider: &str) {
        let (Some(id), Some(facts)) = (id, self.written.providers.get(provider)) else { return };
        let name = facts.name.as_deref().unwrap_or(provider);
        if secret == id {
            self.doubt(key, "is the same as the client id; the secret is another text of the console");
        } else if is_client_id(facts, secret) == Some(true) {
            let text =
                format!("looks like an id and not like a secret of {name}; the secret is shown once, when it is made");
            self.doubt(key, &text);
        }
    }

    fn doubt(&mut self, key: &[&str], text: &str) {
        self.doubts.push(line(&self.layers.name(key), &self.layers.place(key), text));
    }
}

fn is_built_in(provider: &str, layers: &Layers) -> bool {
    layers.at(&["providers", provider, "name"]).is_some_and(|name: &Value| layers.is_built_in(name.tag()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_documentation_are_known() {
        let pages = [
            include_str!("../../docs/providers/google.md"),
            include_str!("../../docs/providers/microsoft.md"),
            include_str!("../../docs/providers/box.md"),
            include_str!("../../docs/providers/dropbox.md"),
            include_str!("../../docs/providers/pcloud.md"),
        ];
        for page in pages {
            let ids: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("id = \"")?.strip_suffix('"')).collect();
            assert!(!ids.is_empty() && ids.iter().all(|id| SAMPLES.contains(id)), "{ids:?}");
        }
    }
}
