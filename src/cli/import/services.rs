//! The services of a duplicati/oauth-server: those that it has built in, under those of its CONFIGFILE, with the
//! placeholders filled in from its file of secrets and its environment. What is in those files may be anybody's, so
//! sizes are bounded and nothing of a value is ever told.

use super::compose::LIMIT;
use super::entries::{self, BUILT_IN, BuiltIn, Entry, Kind, NO_EFFECT, PASSED_OVER};
use super::report::{Became, Report, shown};
use super::settings::{Settings, Value};
use crate::cli::UsageError;
use crate::cli::counted::counted;
use crate::files::{self, Readers};
use crate::legacy;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use std::collections::{BTreeMap, BTreeSet};
use zeroize::Zeroizing;

/// What stands for the callback in its configuration.
const CALLBACK: &str = "%OAUTH_CALLBACK_URI%";

/// A service as that server offered it.
pub(super) struct OldService {
    pub(super) id: String,
    pub(super) kind: Option<Kind>,
    /// As its entry says, if that is not the name that was built in.
    pub(super) name: Option<String>,
    pub(super) client_id: String,
    pub(super) client_secret: SecretString,
    pub(super) authorize_url: String,
    pub(super) token_url: String,
    pub(super) scope: String,
    pub(super) params: String,
    /// As its entry says; not what stands for this server's own.
    pub(super) redirect_url: Option<String>,
    pub(super) withdraw_url: Option<String>,
    pub(super) hidden: bool,
    pub(super) pasted: bool,
    pub(super) raw_token: bool,
    pub(super) by_host: bool,
}

/// Reads the services; also names the variables that they use.
///
/// # Errors
/// When a file is missing or is not what that server would have started with.
pub(super) fn read(settings: &Settings, hostname: &str, report: &mut Report) -> anyhow::Result<Vec<OldService>> {
    let BuiltIn { kinds, services: known } = toml::from_str(BUILT_IN)?;
    let secrets = secrets(settings, report)?;
    let mut entries = Vec::new();
    if let Some(value) = settings.value("--configfile", report) {
        entries = entries::custom(&content(settings, &value)?, &value.from, report)?;
        report.add(Became::Taken, format!("{}: {}", value.from, counted(entries.len(), "service")));
    }
    entries.extend(known.iter().map(entries::built_in));
    let wanted = wanted(settings, &entries, report);
    let mut filling = Filling { settings, hostname, secrets, used: Vec::new() };
    let mut ids = BTreeSet::new();
    let mut services = Vec::new();
    for entry in entries {
        let is_built_in = |name: &String| known.iter().any(|known| known.id == entry.text("id") && known.name == *name);
        let kind = kinds.get(entry.text("serviceid")).cloned();
        let service = check_offered(&entry, &mut ids, &wanted).and_then(|()| filling.service(&entry, kind));
        match service {
            Ok(service) => {
                name_without_effect(&entry, report);
                services.push(OldService { name: service.name.filter(|name| !is_built_in(name)), ..service });
            }
            // Nobody chose what is built in.
            Err(why) if entry.own => report.add(Became::Idle, why),
            Err(_) => {}
        }
    }
    settings.name_unknown(&filling.used, report);
    Ok(services)
}

/// The list of services, by their ids; empty where there are all of them.
fn wanted(settings: &Settings, entries: &[Entry], report: &mut Report) -> Vec<String> {
    let Some(value) = settings.value("--services", report) else { return Vec::new() };
    report.add(Became::Taken, format!("{}: which services there are", value.from));
    let ids = value.text.split(',').map(str::trim).filter(|id| !id.is_empty());
    let ids: Vec<_> = ids.map(str::to_owned).collect();
    for id in &ids {
        if !entries.iter().any(|entry| is_called(entry, id)) {
            report.add(Became::Left, format!("{} of the list of services: there is none of this id", shown(id)));
        }
    }
    ids
}

fn is_called(entry: &Entry, id: &str) -> bool {
    ["id", "serviceid"].iter().any(|key| entry.text(key).eq_ignore_ascii_case(id))
}

/// Whether that server offered it. `ids` are those of the entries before.
///
/// # Errors
/// Why not.
fn check_offered(entry: &Entry, ids: &mut BTreeSet<String>, wanted: &[String]) -> Result<(), String> {
    let id = entry.text("id");
    if !ids.insert(id.to_owned()) {
        return Err(format!("the second entry of service {}: the first one counts", shown(id)));
    }
    if !wanted.is_empty() && !wanted.iter().any(|wanted| is_called(entry, wanted)) {
        return Err(format!("service {}: it is not in the list of services", shown(id)));
    }
    Ok(())
}

/// What is put in the place of placeholders.
struct Filling<'a> {
    settings: &'a Settings,
    hostname: &'a str,
    secrets: BTreeMap<String, SecretString>,
    /// The variables that were.
    used: Vec<String>,
}

impl Filling<'_> {
    fn fill(&mut self, text: &str) -> String {
        let translated = match text {
            CALLBACK => CALLBACK,
            "%HOSTNAME%" => self.hostname,
            text => self.secrets.get(text).map_or(text, |secret| secret.expose_secret()),
        };
        self.settings.expand(translated, &mut self.used)
    }

    /// A service, with what its kind says where its entry does not.
    ///
    /// # Errors
    /// When it has no client.
    fn service(&mut self, entry: &Entry, kind: Option<Kind>) -> Result<OldService, String> {
        let id = entry.text("id");
        let client_id = self.fill(entry.text("clientid"));
        let client_secret = self.fill(entry.text("clientsecret"));
        let missing = [("client id", &client_id), ("client secret", &client_secret)].into_iter();
        let missing = missing.filter(|(_, text)| text.trim().is_empty() || is_placeholder(text));
        let missing: Vec<_> = missing.map(|(name, _)| name).collect();
        if !missing.is_empty() {
            let missing = missing.join(" and no ");
            return Err(format!("service {}: it has no {missing}, so it was left out", shown(id)));
        }
        let of_kind = |own: Option<String>, usual: fn(&Kind) -> &String| {
            own.or_else(|| kind.as_ref().map(|kind| usual(kind).clone())).unwrap_or_default()
        };
        let mut text = |key: &str| entry.texts.get(key).map(|text| self.fill(text));
        let flag = |key: &str| entry.flags.contains(key);
        Ok(OldService {
            id: id.to_owned(),
            name: text("name"),
            client_id,
            client_secret: client_secret.into(),
            redirect_url: match (text("redirecturi"), &kind) {
                (Some(url), _) => Some(url).filter(|url| url != CALLBACK),
                (None, Some(_)) => None,
                (None, None) => Some(String::new()),
            },
            authorize_url: of_kind(text("loginurl"), |kind| &kind.authorize_url),
            token_url: of_kind(text("authurl"), |kind| &kind.token_url),
            scope: of_kind(text("scope"), |kind| &kind.scope),
            params: of_kind(text("extraurl"), |kind| &kind.params),
            withdraw_url: text("deauthlink").filter(|url| !url.is_empty()),
            hidden: flag("hidden"),
            pasted: flag("clitoken"),
            raw_token: flag("accesstokenonly"),
            by_host: flag("usehostnamefromcallback"),
            kind,
        })
    }
}

/// Says which of an entry's properties have no effect here.
fn name_without_effect(entry: &Entry, report: &mut Report) {
    let id = shown(entry.text("id"));
    for key in entry.texts.keys().filter(|key| PASSED_OVER.contains(&key.as_str())) {
        report.add(Became::Left, format!("`{key}` of service {id}: pages here have a text of their own"));
    }
    for key in entry.flags.iter().filter(|key| NO_EFFECT.contains(&key.as_str())) {
        report.add(Became::Left, format!("`{key}` of service {id}: here it is always so"));
    }
}

/// The file of secrets, by placeholder.
fn secrets(settings: &Settings, report: &mut Report) -> anyhow::Result<BTreeMap<String, SecretString>> {
    let (value, passphrase) = (settings.value("--secrets", report), settings.passphrase(report));
    let Some(value) = value else { return Ok(BTreeMap::new()) };
    let from = &value.from;
    let mut content = content(settings, &value)?;
    let is_encrypted = content.starts_with(b"AES");
    if let Some(passphrase) = passphrase {
        let opened = legacy::decrypt(&content, passphrase.expose_secret());
        content = opened.map_err(|error| UsageError(format!("{from}, with its passphrase: {error}")))?;
    } else if is_encrypted {
        let sentence = "is a file of AES Crypt; give its passphrase, as SECRETS_PASSPHRASE in the environment";
        return Err(UsageError(format!("{from}: {sentence}")).into());
    }
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&content);
    let table: BTreeMap<String, SecretString> = serde_json::from_slice(content).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        UsageError(format!("{from}: line {line}, column {column}: is no JSON object with texts in it"))
    })?;
    let how = if is_encrypted { ", decrypted with its passphrase" } else { "" };
    report.add(Became::Taken, format!("{from}: {}{how}", counted(table.len(), "secret")));
    Ok(table.into_iter().map(|(name, secret)| (format!("%{name}%"), secret)).collect())
}

/// What a setting gives: in itself, as base64, or in the file that it names.
fn content(settings: &Settings, value: &Value) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let prefix = value.text.get(..7).filter(|prefix| prefix.eq_ignore_ascii_case("base64:"));
    if prefix.is_some() {
        let packed: Zeroizing<String> = Zeroizing::new(value.text[7..].split_whitespace().collect());
        let content = STANDARD.decode(packed.as_bytes());
        let content = content.map_err(|_| UsageError(format!("{}: is not base64 after `base64:`", value.from)))?;
        return Ok(Zeroizing::new(content));
    }
    let path = settings.path(value)?;
    let (content, _) = files::read(&path, LIMIT, Readers::All)
        .map_err(|error| UsageError(format!("{}, {}: {error}", value.from, path.display())))?;
    Ok(content)
}

/// A placeholder that nothing was put in the place of.
fn is_placeholder(text: &str) -> bool {
    let inner = text.strip_prefix('%').and_then(|rest| rest.strip_suffix('%'));
    inner.is_some_and(|inner| !inner.is_empty() && inner.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
}
