//! What can be wrong with the settings of a provider and with a client, each error in a sentence for the operator.

use super::error_code::{self, ErrorCode};
use super::service::{Provider, TokenUrl};
use super::{Flow, ProviderSettings, endpoint};
use regex_lite::Regex;
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

pub(super) fn names(url: &Option<String>, placeholder: &str) -> bool {
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
