//! The tables of a provider that is not one of those here: what that server knew of it, and the facts of the kind that it
//! is of, if that is known.

use super::report::{Became, Report, shown};
use super::services::OldService;
use super::tables::Tables;
use crate::provider::{Provider, RESERVED, RefreshTokenPolicy};
use url::{Url, form_urlencoded};

pub(super) fn tables(id: &str, old: &OldService, base: Option<&Provider>, tables: &mut Tables, report: &mut Report) {
    let path = |key| ["providers", id, key];
    tables.set(&path("name"), old.name.as_deref().or(base.map(Provider::name)).unwrap_or(&old.id));
    tables.set(&path("authorize_url"), old.authorize_url.as_str());
    tables.set(&path("token_url"), old.token_url.as_str());
    tables.set(&path("client_auth"), "body");
    let facts = base.map(Provider::settings);
    let rotation = match facts.and_then(|facts| facts.rotation) {
        Some(RefreshTokenPolicy::Static) => "none",
        Some(RefreshTokenPolicy::SingleUse) => "single_use",
        None if old.raw_token => "none",
        Some(RefreshTokenPolicy::Rolling) | None => "rolling",
    };
    tables.set(&path("rotation"), rotation);
    if old.raw_token {
        tables.set(&path("raw_token"), true);
    }
    if old.scope.trim().is_empty() {
        tables.set(&path("send_scope"), false);
    }
    if base.is_some_and(|base| !base.pkce()) {
        tables.set(&path("pkce"), false);
    }
    if let Some(field) = facts.and_then(|facts| facts.error_codes_field.as_deref()) {
        tables.set(&path("error_codes_field"), field);
    }
    if let Some(days) = facts.and_then(|facts| facts.refresh_token_days) {
        tables.set(&path("refresh_token_days"), i64::from(days));
    }
    if let Some(url) =
        old.withdraw_url.as_deref().filter(|url| Url::parse(url).is_ok_and(|url| url.scheme() == "https"))
    {
        tables.set(&path("withdraw_url"), url);
    }
    let usual = old.kind.as_ref().is_some_and(|kind| kind.params == old.params);
    let given: Vec<_> = form_urlencoded::parse(old.params.trim_start_matches(['&', '?']).as_bytes()).collect();
    let known = facts.filter(|_| usual).map(|facts| facts.authorize_params.clone()).unwrap_or_default();
    let known = known.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, _) in given.iter().filter(|(name, _)| RESERVED.contains(&&**name)) {
        report.add(
            Became::Left,
            format!("{} in `extraUrl` of service {}: it is made by the server", shown(name), shown(&old.id)),
        );
    }
    let given = given.iter().filter(|(name, _)| !RESERVED.contains(&&**name));
    let params: Vec<_> = known.chain(given.filter(|_| !usual).map(|(name, value)| (&**name, &**value))).collect();
    for (name, value) in params {
        tables.set(&["providers", id, "authorize_params", name], value);
    }
    tables.set(&["clients", id, "id"], old.client_id.as_str());
    tables.set_secret(["clients", id], "secret", format!("{id}-secret"), &old.client_secret);
    report.add(
        Became::Differs,
        format!(
            "service {}: its addresses are its own, so it has a provider of its own, providers.{id}",
            shown(&old.id)
        ),
    );
    if rotation == "rolling" && base.is_none() {
        report.add(
            Became::ToDo,
            format!("providers.{id}.rotation: say what becomes of a refresh token when it is used; docs/providers/other.md tells how to find out"),
        );
    }
}
