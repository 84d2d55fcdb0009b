//! `authseal import rclone`: AuthIDs from the logins that somebody's rclone has, where they were made with a client id
//! that is configured here. A refresh token belongs to its client id: with another one it cannot be used.

use super::report::shown;
use crate::authid::{self, Grant};
use crate::cli::ConfigFile;
use crate::cli::authid::rooms;
use crate::cli::counted::counted;
use crate::cli::remotes::{self, Known, Remote};
use crate::cli::{block_on, json};
use crate::clock::Clock;
use crate::keyring_file::LiveKeyring;
use crate::provider::{self, Catalogue, RefreshTokenPolicy, Service};
use crate::tokens::TokenService;
use anyhow::bail;
use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(super) const EXAMPLES: &str = "\
Examples:
  authseal import rclone ~/.config/rclone/rclone.conf
  authseal import rclone rclone.conf --remote drive --json

Standard output gets a line for each AuthID: the remote's name, a tab, the AuthID.
Standard error says what became of each remote.

Exit codes: 0 an AuthID for each remote that was asked for, or, without
--remote, for one at least; 1 else; 2 the file cannot be read.";

#[derive(Args)]
pub(in crate::cli) struct Rclone {
    /// The rclone.conf
    file: PathBuf,
    /// Only this remote; may be given more than once
    #[arg(long, value_name = "NAME")]
    remote: Vec<String>,
    #[command(flatten)]
    config: ConfigFile,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// An AuthID that was made.
struct Made {
    service: Arc<Service>,
    authid: SecretString,
    /// `None` where it is the provider's own token.
    login: Option<String>,
    says: &'static str,
}

pub(super) fn import(import: &Rclone) -> anyhow::Result<()> {
    let remotes = remotes::read(&import.file)?;
    let known = remotes::known()?;
    let config = import.config.load()?;
    let wanted = |remote: &&Remote| import.remote.is_empty() || import.remote.contains(&remote.name);
    block_on(async {
        let (tokens, providers, keyring) = rooms(config)?;
        let (mut made, mut others) = (Vec::new(), 0);
        for remote in remotes.iter().filter(wanted) {
            let name = shown(&remote.name);
            match take(remote, &known, providers.catalogue(), &tokens, &keyring).await {
                Ok(one) => {
                    eprintln!("{name}: an AuthID for {}; {}", one.service.id, one.says);
                    if !import.json {
                        println!("{}\t{}", remote.name.escape_debug(), one.authid.expose_secret());
                    }
                    made.push((remote, one));
                }
                Err(why) => {
                    others += 1;
                    eprintln!("{name}: {why}");
                }
            }
        }
        for name in import.remote.iter().filter(|name| remotes.iter().all(|remote| remote.name != **name)) {
            others += 1;
            eprintln!("{}: there is no such remote in the file", shown(name));
        }
        if import.json {
            let made = made.iter().map(|(remote, one)| {
                json!({ "remote": remote.name, "service": one.service.id.as_str(), "authid": one.authid.expose_secret(), "login": one.login })
            });
            json::print(&json!({ "remotes": made.collect::<Vec<_>>() }))?;
        }
        if made.is_empty() || (!import.remote.is_empty() && others > 0) {
            bail!("{others} of {} could not be taken over", counted(others + made.len(), "remote"));
        }
        Ok(())
    })?
}

/// Makes the AuthID of a remote.
async fn take(
    remote: &Remote,
    known: &[Known],
    catalogue: &Catalogue,
    tokens: &TokenService,
    keyring: &LiveKeyring,
) -> Result<Made, String> {
    let kind = remote.kind(known).ok_or("no service here is what it is for")?;
    let service = catalogue.find(&kind.service).ok_or("its service is not here")?;
    if !service.is_served() {
        return Err(format!("{} is not offered here; `authseal providers` says what it needs", service.id));
    }
    let id = remote
        .client_id()
        .ok_or("it was made with rclone's own client id, which nobody else can use; log in here instead")?;
    let made = service.apps().find(|(_, client_id)| *client_id == id);
    let (app, _) = made.ok_or_else(|| format!("it was made with a client id that is none of {}'s here", service.id))?;
    let token = remote.token().ok_or("it has no token; log in here instead")?;
    let is_raw = service.provider.raw_token();
    let kept = if is_raw { token.access_token } else { token.refresh_token };
    if kept.expose_secret().trim().is_empty() {
        return Err("its token cannot be renewed; log in here instead".to_owned());
    }
    if is_raw {
        let says = "it is the provider's own token, and goes on working in rclone";
        return Ok(Made { service: Arc::clone(service), authid: kept, login: None, says });
    }
    let internal = |_| "it could not be sealed".to_owned();
    let login = Grant::new(service.id.clone(), kept, Clock::system().now()).map_err(internal)?;
    let login = Grant { app: Some(app), ..login };
    let authid = authid::seal(keyring.load().primary(), &login).map_err(|error| error.to_string())?;
    // What rclone has of an access token may have ended: the first request fetches one.
    let known = provider::TokenResponse {
        access_token: "ended".to_owned().into(),
        expires_in: Some(Duration::from_secs(1)),
        refresh_token: Some(login.refresh_token.clone()),
        refresh_token_expires_in: None,
        scopes: None,
    };
    let begun = tokens.begin(&login, service, known).await;
    begun.map_err(|error| format!("the state store does not take it: {error}"))?;
    let says = match service.provider.rotation() {
        RefreshTokenPolicy::SingleUse => "its token works once: from now on rclone must not use this remote",
        RefreshTokenPolicy::Rolling | RefreshTokenPolicy::Static => "rclone goes on working",
    };
    let authid = authid.expose().to_owned().into();
    Ok(Made { service: Arc::clone(service), authid, login: Some(login.id.to_string()), says })
}
