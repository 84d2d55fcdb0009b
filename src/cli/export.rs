//! `authseal authid export`: the login in an AuthID, for whoever has the AuthID and the server's key: nobody is bound to
//! this server. What comes out is the provider's own refresh token, in plain.

use super::{UsageError, json, remotes};
use crate::provider::{ProviderClient, RefreshTokenPolicy};
use crate::tokens::{Opened, TokenService};
use anyhow::anyhow;
use secrecy::ExposeSecret;
use serde_json::json;

/// What it is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Rclone,
    Json,
}

/// # Errors
/// When the login is revoked, its service is not here any more, or rclone knows no such.
pub(super) async fn export(
    tokens: &TokenService,
    providers: &ProviderClient,
    opened: &Opened,
    to: To,
) -> anyhow::Result<()> {
    if tokens.denied(opened).is_some() {
        return Err(anyhow!("the login is revoked; nothing is exported"));
    }
    let id = opened.login.service.as_str();
    let service = providers.catalogue().find(id).ok_or_else(|| anyhow!("there is no service {id} here any more"))?;
    let client = service.credentials(opened.login.app);
    let (client_id, client_secret) = client.ok_or_else(|| anyhow!("service {id} has no client id here any more"))?;
    let login = tokens.with_newest_token(&opened.login).await.map_err(|refused| anyhow!("{refused}"))?;
    let known = remotes::known()?;
    let kind = known.iter().find(|kind| kind.service == service.id.as_str());
    let provider = &service.provider;
    eprintln!(
        "warning: what follows is {}'s refresh token in plain. Whoever has it, and the client's secret, has the access that its \
         owner gave; no key of this server and no denylist stops that. Keep it in no file that others read.",
        provider.name()
    );
    if provider.rotation() == RefreshTokenPolicy::SingleUse {
        eprintln!(
            "warning: it works once. From its first use on the AuthID is dead here, and every backup that has it: give it up, or do \
             not use what was exported."
        );
    }
    match (to, kind) {
        (To::Json, _) => json::print(&json!({
            "service": service.id.as_str(),
            "provider": provider.id(),
            "client_id": client_id,
            "scopes": service.scopes,
            "refresh_token": login.refresh_token.expose_secret(),
            "login": login.id.to_string(),
        })),
        (To::Rclone, Some(kind)) => {
            let section = kind.section((client_id, client_secret), &login.refresh_token, true);
            print!("{}", *section);
            kind.todo.iter().for_each(|todo| eprintln!("then: {todo}"));
            Ok(())
        }
        (To::Rclone, None) => Err(UsageError(format!("rclone has no remote for service {id}; take --json")).into()),
    }
}
