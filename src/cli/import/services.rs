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
    let mut used = Vec::new();
    let secrets = secrets(settings, report)?;
    let mut entries = Vec::new();
    if let Some(value) = settings.value("--configfile", report) {
        entries = entries::custom(&content(settings, &value)?, &value.from, report)?;
        report.add(Became::Taken, format!("{}: {}", value.from, counted(entries.len(), "service")));
    }
    entries.extend(known.iter().map(entries::built_in));
    let wanted: Option<Vec<String>> = settings.value("--services", report).map(|value| {
        report.add(Became::Taken, format!("{}: which services there are", value.from));
        value.text.split(',').map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned).collect()
    });
    for id in wanted.iter().flatten() {
        let is = |entry: &Entry| ["id", "serviceid"].iter().any(|key| entry.text(key).eq_ignore_ascii_case(id));
        if !entries.iter().any(is) {
            report.add(Became::Left, format!("{} of the list of services: there is none of this id", shown(id)));
        }
    }
    let mut ids = BTreeSet::new();
    let mut services = Vec::new();
    for entry in entries {
        let (id, kind_id) = (entry.text("id"), entry.text("serviceid"));
        if !ids.insert(id.to_owned()) {
            if entry.own {
                report.add(Became::Idle, format!("the second entry of service {}: the first one counts", shown(id)));
            }
            continue;
        }
        let is_wanted = |id: &String| id.eq_ignore_ascii_case(entry.text("id")) || id.eq_ignore_ascii_case(kind_id);
        if wanted.as_ref().is_some_and(|wanted| !wanted.is_empty() && !wanted.iter().any(is_wanted)) {
            if entry.own {
                report.add(Became::Idle, format!("service {}: it is not in the list of services", shown(id)));
            }
            continue;
        }
        let mut fill = |text: &str| {
            let translated = match text {
                CALLBACK => CALLBACK.to_owned(),
                "%HOSTNAME%" => hostname.to_owned(),
                text => secrets.get(text).map_or(text, |secret| secret.expose_secret()).to_owned(),
            };
            settings.expand(&translated, &mut used)
        };
        let client_id = fill(entry.text("clientid"));
        let client_secret = fill(entry.text("clientsecret"));
        let missing = [("client id", &client_id), ("client secret", &client_secret)];
        let missing: Vec<_> = missing
            .iter()
            .filter(|(_, text)| text.trim().is_empty() || is_placeholder(text))
            .map(|(name, _)| *name)
            .collect();
        if !missing.is_empty() {
            if entry.own {
                let line = format!("service {}: it has no {}, so it was left out", shown(id), missing.join(" and no "));
                report.add(Became::Idle, line);
            }
            continue;
        }
        let kind = kinds.get(kind_id).cloned();
        let of_kind = |own: Option<String>, usual: fn(&Kind) -> &String| {
            own.or_else(|| kind.as_ref().map(|kind| usual(kind).clone())).unwrap_or_default()
        };
        let mut text = |key: &str| entry.texts.get(key).map(|text| fill(text));
        let name = text("name").filter(|name| !known.iter().any(|known| known.id == id && known.name == *name));
        let redirect_url = match (text("redirecturi"), &kind) {
            (Some(url), _) => Some(url).filter(|url| url != CALLBACK),
            (None, Some(_)) => None,
            (None, None) => Some(String::new()),
        };
        let authorize_url = of_kind(text("loginurl"), |kind| &kind.authorize_url);
        let token_url = of_kind(text("authurl"), |kind| &kind.token_url);
        let scope = of_kind(text("scope"), |kind| &kind.scope);
        let params = of_kind(text("extraurl"), |kind| &kind.params);
        let withdraw_url = text("deauthlink").filter(|url| !url.is_empty());
        for (key, _) in entry.texts.iter().filter(|(key, _)| PASSED_OVER.contains(&key.as_str())) {
            report.add(Became::Left, format!("`{key}` of service {}: pages here have a text of their own", shown(id)));
        }
        for key in entry.flags.iter().filter(|key| NO_EFFECT.contains(&key.as_str())) {
            report.add(Became::Left, format!("`{key}` of service {}: here it is always so", shown(id)));
        }
        let flag = |key: &str| entry.flags.contains(key);
        services.push(OldService {
            id: id.to_owned(),
            name,
            client_id,
            client_secret: client_secret.into(),
            authorize_url,
            token_url,
            scope,
            params,
            redirect_url,
            withdraw_url,
            hidden: flag("hidden"),
            pasted: flag("clitoken"),
            raw_token: flag("accesstokenonly"),
            by_host: flag("usehostnamefromcallback"),
            kind,
        });
    }
    settings.name_unknown(&used, report);
    Ok(services)
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
