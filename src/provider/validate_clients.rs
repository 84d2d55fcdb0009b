//! Checks the registrations at a provider: ids, secrets, and whether one of them makes logins. What the provider itself is
//! like is checked in `validate`.

use super::service::{Client, Provider};
use super::validate::names;
use super::{ClientRegistration, ProviderSettings, ServiceSettings};
use crate::authid::AppId;
use secrecy::{ExposeSecret, SecretString};

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
    let app = AppId::new(&provider.id, id);
    Some(Client { id: id.to_owned(), app, secret: secrets.next(), more_secrets: secrets.collect() })
}

/// An empty value is how an environment says that there is none.
fn filled(text: Option<&String>) -> Option<&String> {
    text.filter(|text| !text.is_empty())
}

fn filled_secret(secret: Option<&SecretString>) -> Option<&SecretString> {
    secret.filter(|secret| !secret.expose_secret().is_empty())
}
