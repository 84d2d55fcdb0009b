//! What can be wrong with the settings of a provider and with a client, each error in a sentence for the operator.

use super::error_code::{self, ErrorCode};
use super::service::{Client, Provider, TokenUrl};
use super::{ClientRegistration, Flow, ProviderSettings, ServiceSettings, endpoint};
use regex_lite::Regex;
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;

/// Parameters of the authorization request that are made here.
pub const RESERVED: &[&str] =
    &["client_id", "code_challenge", "code_challenge_method", "redirect_uri", "response_type", "scope", "state"];

/// Checks a provider. What is faulty is left out of the result, which is then not to be used.
pub(super) fn provider(
    id: &str,
    settings: ProviderSettings,
    tenant: Option<&str>,
    faults: &mut Vec<String>,
) -> Provider {
    let mut fault = |key: &str, text: &str| faults.push(format!("providers.{id}.{key} {text}"));
    let mut provider = Provider::unchecked(id, settings);
    let settings = &provider.settings;
    if let Some(gone) = &settings.gone {
        let reason = &gone.reason;
        if !(1..=200).contains(&reason.len())
            || !reason.bytes().all(|b| (b' '..=b'~').contains(&b))
            || !reason.starts_with(|c: char| c.is_ascii_alphabetic())
        {
            fault("gone.reason", "must be 1 to 200 printable ASCII characters, the first of them a letter");
        }
        return provider;
    }
    let values = tenant_value(settings, tenant, &mut fault);
    let allow_private = settings.allow_private_addresses;
    let mut fill = |key: &str, template: &Option<String>, values: &BTreeMap<&str, &str>| {
        let read = |text: String| endpoint::read(&text, allow_private).map(|url| (text, url));
        let filled = endpoint::fill(template.as_ref()?, values).and_then(read);
        filled.map_err(|text| fault(key, &text)).ok()
    };
    let values = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
    provider.issuer = fill("issuer", &settings.issuer, &values).map(|(text, _)| text);
    provider.authorize = fill("authorize_url", &settings.authorize_url, &values).map(|(_, url)| url);
    provider.revoke = fill("revoke_url", &settings.revoke_url, &values).map(|(_, url)| url);
    provider.pushed = fill("par_url", &settings.par_url, &values).map(|(_, url)| url);
    provider.token = if settings.token_hosts.is_empty() {
        fill("token_url", &settings.token_url, &values).map(|(_, url)| TokenUrl::One(url))
    } else {
        let chosen = settings.token_hosts.iter().filter_map(|(name, host)| {
            let mut values = values.clone();
            values.insert("host", host);
            Some((name.clone(), fill("token_url", &settings.token_url, &values)?.1))
        });
        Some(TokenUrl::Chosen(chosen.collect()))
    };
    rest(settings, &mut fault);
    // Codes are compared without regard to case.
    let key = |key: &String| ErrorCode::parse(key).map_or_else(|| key.to_ascii_lowercase(), |code| code.to_string());
    let errors = provider.settings.errors.iter().map(|(code, meaning)| (key(code), *meaning)).collect();
    provider.settings.errors = errors;
    provider
}

/// What `{tenant}` stands for.
fn tenant_value(
    settings: &ProviderSettings,
    tenant: Option<&str>,
    fault: &mut impl FnMut(&str, &str),
) -> Option<(&'static str, String)> {
    let tenant = tenant.or(settings.default_tenant.as_deref())?;
    if tenant.is_empty() || !tenant.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-') {
        fault("default_tenant", "or the client's `tenant` must be an id or a domain");
    }
    Some(("tenant", tenant.to_owned()))
}

/// All that needs no placeholders.
fn rest(settings: &ProviderSettings, fault: &mut impl FnMut(&str, &str)) {
    let links = [
        ("paste_url", &settings.paste_url),
        ("withdraw_url", &settings.withdraw_url),
        ("console_url", &settings.console_url),
    ];
    for (key, link) in links {
        if let Some(Err(text)) = link.as_ref().map(|link| endpoint::read(link, true)) {
            fault(key, &text);
        }
    }
    if !settings.token_hosts.is_empty() {
        if !names(&settings.token_url, "{host}") || settings.token_host_from.is_empty() {
            fault("token_hosts", "needs `{host}` in `token_url`, and `token_host_from` with the callback's parameters");
        }
        if !settings.raw_token {
            fault(
                "token_hosts",
                "needs `raw_token = true`: a refresh could not tell the host, which only the callback names",
            );
        }
    }
    if settings.par == Some(true) && settings.par_url.is_none() && settings.issuer.is_none() {
        fault("par", "needs `par_url`, or `issuer` to have it discovered");
    }
    if settings.scope_separator.is_some_and(|separator| separator.is_alphanumeric() || separator.is_control()) {
        fault("scope_separator", "must be a space or a mark like `,`");
    }
    if settings.default_expires_in.is_some_and(|seconds| !(1..=86_400).contains(&seconds)) {
        fault("default_expires_in", "must be 1 to 86400 seconds");
    }
    if settings.authorize_params.get("response_mode").is_some_and(|mode| !["", "query"].contains(&mode.as_str())) {
        fault("authorize_params.response_mode", "must be `query`; answers in a form or a fragment are not supported");
    }
    let missing = "is missing; give it, or give `issuer` to have it discovered";
    if settings.issuer.is_none() && settings.token_url.is_none() {
        fault("token_url", missing);
    }
    if settings.issuer.is_none() && settings.authorize_url.is_none() && settings.flow == Flow::Code {
        fault("authorize_url", missing);
    }
    if settings.rotation.is_none() {
        fault(
            "rotation",
            "is missing; write \"none\" if a refresh brings no new refresh token, \"rolling\" if it brings one and the old \
            one lives on, \"single_use\" if it brings one and the old one ends: docs/providers/other.md tells how to find out",
        );
    }
    if settings.revoke_ends_all_logins && settings.revoke_url.is_none() && settings.issuer.is_none() {
        fault("revoke_ends_all_logins", "is of no use without `revoke_url`; give that too, or leave it out");
    }
    for name in settings.authorize_params.keys().filter(|name| RESERVED.contains(&name.as_str())) {
        fault(&format!("authorize_params.{name}"), "is made by the server; leave it out");
    }
    if settings.client_id_pattern.as_deref().is_some_and(|pattern| Regex::new(pattern).is_err()) {
        fault("client_id_pattern", "is no regular expression like `^[0-9a-f]{32}$`");
    }
    for code in settings.errors.keys().filter(|code| !error_code::is_key(code)) {
        fault(
            "errors",
            &format!(
                "has `{code}`; a code is a word of letters, `_`, `.` and `-`, a number, a family like `4xxx`, or `http-` \
                and a status from 300 to 599, but not 429, which always means `later`"
            ),
        );
    }
}

/// Whether a text looks like a client id of a provider; `None` where nobody knows what they look like.
pub fn is_client_id(settings: &ProviderSettings, text: &str) -> Option<bool> {
    Regex::new(settings.client_id_pattern.as_deref()?).ok().map(|pattern| pattern.is_match(text))
}

/// The client that is registered for all services of a provider, if there is one.
pub(super) fn client(provider: &Provider, settings: &ClientRegistration, faults: &mut Vec<String>) -> Option<Client> {
    let key = format!("clients.{}", provider.id);
    let ProviderSettings { authorize_url, token_url, revoke_url, par_url, issuer, .. } = &provider.settings;
    let templates = [authorize_url, token_url, revoke_url, par_url, issuer];
    if settings.tenant.is_some() && !templates.iter().any(|template| names(template, "{tenant}")) {
        let id = &provider.id;
        faults
            .push(format!("{key}.tenant is of no use, since no URL of providers.{id} has `{{tenant}}`; leave it out"));
    }
    if settings.refresh_token_days == Some(0) {
        faults.push(format!("{key}.refresh_token_days must be at least 1; leave it out if logins do not end of age"));
    }
    let public = provider.settings.public_client_id.as_ref();
    if settings.enabled == Some(false) {
        return None;
    }
    let id = filled(settings.id.as_ref());
    let secrets = secrets(&key, settings.secret.as_ref(), &settings.secrets, faults);
    let Some(id) = id.or(public.filter(|_| settings.enabled == Some(true))) else {
        if settings.enabled == Some(true) {
            faults.push(format!("{key}.enabled = true is not enough here; give {key}.id"));
        } else if !secrets.is_empty() {
            faults.push(format!("{key}.secret stands alone; give {key}.id too"));
        }
        return None;
    };
    checked_client(&key, "secret", provider, id, secrets, faults)
}

/// The further registrations there.
pub(super) fn others(
    provider: &Provider,
    settings: &ClientRegistration,
    current: Option<&Client>,
    faults: &mut Vec<String>,
) -> Vec<Client> {
    let key = format!("clients.{}", provider.id);
    if settings.enabled == Some(false) {
        return Vec::new();
    }
    if current.is_none() && !settings.other.is_empty() {
        faults.push(format!(
            "{key}.other has registrations, and none makes logins; give {key}.id, with {key}.accept_logins = false \
             where none shall"
        ));
    }
    let mut clients: Vec<Client> = Vec::new();
    for (name, other) in &settings.other {
        let key = format!("{key}.other.{name}");
        let secrets = secrets(&key, other.secret.as_ref(), &other.secrets, faults);
        let Some(id) = filled(other.id.as_ref()) else {
            faults.push(format!("{key}.id is missing; give the client id of this registration"));
            continue;
        };
        if current.into_iter().chain(&clients).any(|known| known.id == *id) {
            faults.push(format!(
                "{key}.id is the client id of another registration there; keep one, with all its `secrets`"
            ));
        }
        clients.extend(checked_client(&key, "secret", provider, id, secrets, faults));
    }
    clients
}

/// The most secrets that one registration may have: each is a call to the provider when none is taken.
const MOST_SECRETS: usize = 4;

/// The secrets of one registration, in the order in which they are tried.
fn secrets(
    key: &str,
    one: Option<&SecretString>,
    several: &[SecretString],
    faults: &mut Vec<String>,
) -> Vec<SecretString> {
    let one = filled_secret(one);
    let all: Vec<&str> = several.iter().map(ExposeSecret::expose_secret).collect();
    let mut fault = |sentence: &str| faults.push(format!("{key}.secrets {sentence}"));
    if one.is_some() && !all.is_empty() {
        fault("is given beside `secret`; keep one of them");
    }
    if all.iter().any(|secret| secret.trim().is_empty()) {
        fault("has an empty entry; leave it out");
    }
    if all.iter().enumerate().any(|(at, secret)| all[..at].contains(secret)) {
        fault("has the same secret twice; keep one");
    }
    if all.len() > MOST_SECRETS {
        fault("has more than 4 entries; keep those that may still be taken");
    }
    one.into_iter().chain(several).cloned().collect()
}

/// The client of one service: its own, or else its provider's.
pub(super) fn service_client(
    service: &str,
    provider: &Provider,
    settings: &ServiceSettings,
    client: &ClientRegistration,
    registered: Option<&Client>,
    faults: &mut Vec<String>,
) -> Option<Client> {
    let key = format!("services.{service}");
    let secret = filled_secret(settings.client_secret.as_ref()).cloned();
    match filled(settings.client_id.as_ref()) {
        _ if client.enabled == Some(false) => None,
        Some(id) => checked_client(&key, "client_secret", provider, id, Vec::from_iter(secret), faults),
        None => {
            if secret.is_some() {
                faults.push(format!("{key}.client_secret stands alone; give {key}.client_id too"));
            }
            registered.cloned()
        }
    }
}

fn checked_client(
    key: &str,
    secret_key: &str,
    provider: &Provider,
    id: &str,
    secrets: Vec<SecretString>,
    faults: &mut Vec<String>,
) -> Option<Client> {
    let required = provider.settings.secret_required.unwrap_or(!provider.pkce());
    let public = provider.settings.public_client_id.as_deref() == Some(id);
    if required && !public && secrets.is_empty() && provider.settings.gone.is_none() {
        faults.push(format!("{key}.{secret_key} is missing; providers.{} wants a client with a secret", provider.id));
    }
    let mut secrets = secrets.into_iter();
    Some(Client { id: id.to_owned(), secret: secrets.next(), more_secrets: secrets.collect() })
}

/// An empty value is how an environment says that there is none.
fn filled(text: Option<&String>) -> Option<&String> {
    text.filter(|text| !text.is_empty())
}

fn filled_secret(secret: Option<&SecretString>) -> Option<&SecretString> {
    secret.filter(|secret| !secret.expose_secret().is_empty())
}

fn names(url: &Option<String>, placeholder: &str) -> bool {
    url.as_ref().is_some_and(|url| url.contains(placeholder))
}

/// The id that `name` may be a slip of the hand for.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let nearest = known.map(|id| (strsim::damerau_levenshtein(name, id), id)).min();
    nearest.filter(|(distance, _)| *distance <= name.len().div_ceil(3)).map(|(_, id)| id)
}

/// The end of a sentence about a provider that does not exist. `name` is not repeated.
pub(super) fn unknown_provider<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> String {
    match nearest(name, known) {
        Some(id) => format!("names no provider; did you mean `{id}`?"),
        None => "names no provider; add a table of [providers] for it".to_owned(),
    }
}
