//! The questions of `authseal init`, on the error stream; whatever a flag says is not asked.

use super::plan::{CONFIGURATION, Plan, Registration, Secret};
use super::{Init, Known, from_flags, has_password};
use crate::cli::Misuse;
use crate::config::check_origin;
use crate::provider::Provider;
use dialoguer::{Input, MultiSelect, Password};
use std::path::PathBuf;

pub(super) fn plan(init: &Init, providers: &Known) -> anyhow::Result<Plan> {
    let mut flags = Init {
        dir: init.dir.clone(),
        denylist: init.denylist.clone(),
        public_url: init.public_url.clone(),
        providers: init.providers.clone(),
        client_id: init.client_id.clone(),
        client_secret_file: init.client_secret_file.clone(),
        store: init.store.clone(),
        ..*init
    };
    let dir = match &init.dir {
        Some(dir) => dir.clone(),
        None => PathBuf::from(
            Input::<String>::new().with_prompt("Folder for the files").default(".".into()).interact_text()?,
        ),
    };
    let is_configured = dir.join(CONFIGURATION).exists();
    flags.dir = Some(dir);
    if is_configured && init.public_url.is_none() {
        return from_flags(&flags, providers); // what is missing beside it
    }
    if init.public_url.is_none() {
        let url = Input::<String>::new().with_prompt("What browsers see (https://…)").validate_with(|text: &String| {
            check_origin(text).map(drop).map_err(|_| "scheme, host and perhaps port, like https://oauth.example.com")
        });
        flags.public_url = Some(url.interact_text()?);
    }
    let known = providers.by_id();
    if init.providers.is_empty() && init.client_id.is_empty() {
        let names: Vec<_> = known.values().map(|provider| provider.name()).collect();
        eprintln!("Providers (space chooses, enter goes on):");
        let chosen = MultiSelect::new().items(&names).interact()?;
        flags.providers =
            known.keys().enumerate().filter(|(at, _)| chosen.contains(at)).map(|(_, id)| (*id).to_owned()).collect();
    }
    if init.store.is_none() {
        let store = Input::<String>::new()
            .with_prompt("State store: memory, dir:FOLDER or redis://HOST")
            .default("memory".into())
            .validate_with(|text: &String| match has_password(text) {
                true => Err("it would be shown here: name a file with the URL as `state.store_file` later"),
                false => Ok(()),
            });
        flags.store = Some(store.interact_text()?);
    }
    let mut plan = from_flags(&flags, providers)?;
    let callback = format!("{}/logged-in", plan.public_url.as_deref().unwrap_or_default().trim_end_matches('/'));
    for registration in &mut plan.registrations {
        let provider =
            known.get(registration.provider.as_str()).ok_or_else(|| Misuse("no such provider".to_owned()))?;
        register(registration, provider, &callback)?;
    }
    Ok(plan)
}

/// What only a person at the provider's console knows.
fn register(registration: &mut Registration, provider: &Provider, callback: &str) -> anyhow::Result<()> {
    let Some(console) = provider.console_url() else { return Ok(()) };
    if registration.client_id.is_none() {
        eprintln!("\n{}: register an app at {console} with the callback {callback}", provider.name());
        let id = Input::<String>::new().with_prompt("Client id (empty: later)").allow_empty(true).interact_text()?;
        registration.client_id = Some(id.trim().to_owned()).filter(|id| !id.is_empty());
    }
    if registration.client_id.is_some() && matches!(registration.secret, Secret::None) {
        let secret = Password::new().with_prompt("Client secret (not shown; empty: none)").allow_empty_password(true);
        let secret = secret.interact()?;
        if !secret.trim().is_empty() {
            registration.secret = Secret::Typed(secret.trim().into());
        }
    }
    Ok(())
}
