//! The questions of `authseal init`, on the error stream; whatever a flag says is not asked. Each answer is judged where it
//! is given, by the rules that `check` goes by, and asked for again if it is no good: nothing that was typed is lost.

use super::plan::{CONFIGURATION, Plan, Registration, Secret};
use super::{Init, Known, from_flags, has_password, reason_for_store, usual_denylist, usual_store};
use crate::cli::UsageError;
use crate::provider::Provider;
use dialoguer::{Input, MultiSelect, Password};
use std::path::{Path, PathBuf};
use url::Url;

pub(super) fn plan(init: &Init, providers: &Known) -> anyhow::Result<Plan> {
    judge_flags(init, providers)?;
    let mut flags = init.clone();
    eprintln!("Every answer can be changed later, in {CONFIGURATION}. Ctrl+C leaves, and nothing is written.\n");
    let dir = match &init.dir {
        Some(dir) => dir.clone(),
        None => PathBuf::from(ask(
            "Where shall authseal.toml, keys.toml and denylist go?",
            Some(".".to_owned()),
            judge_folder,
        )?),
    };
    let is_configured = dir.join(CONFIGURATION).exists();
    flags.dir = Some(dir.clone());
    if is_configured && init.public_url.is_none() {
        return from_flags(&flags, providers); // what is missing beside it
    }
    if init.public_url.is_none() {
        let prompt = "Public address of this server, like https://oauth.example.com";
        let url = ask(prompt, None, |text| judge_url(text, providers))?;
        if init.acme_contact.is_none() && url.starts_with("https://") {
            eprintln!(
                "Where no proxy has a certificate, Let's Encrypt issues one to this server, which takes its terms."
            );
            let prompt = "Your mail address for Let's Encrypt (leave empty behind a proxy)";
            let contact = ask(prompt, None, |text| judge_contact(text, providers))?;
            flags.acme_contact = Some(contact).filter(|contact| !contact.is_empty());
        }
        flags.public_url = Some(url);
    }
    let known = providers.by_id();
    if init.providers.is_empty() && init.client_id.is_empty() {
        flags.providers = choose(&known.values().map(|provider| provider.name()).collect::<Vec<_>>())?
            .into_iter()
            .filter_map(|at| known.keys().nth(at).map(|id| (*id).to_owned()))
            .collect();
    }
    if init.store.is_none() {
        let chosen = flags.named().filter_map(|id| known.get(id.as_str()).copied());
        let why = reason_for_store(chosen);
        let denylist = flags.denylist.clone().unwrap_or_else(|| usual_denylist(&dir));
        let usual = if why.is_some() { usual_store(&dir, &denylist) } else { "memory".to_owned() };
        why.into_iter().for_each(|why| eprintln!("{why}"));
        let prompt = "State store, where the server remembers: memory, dir:FOLDER or redis://HOST";
        flags.store = Some(ask(prompt, Some(usual), |text| judge_store(text, providers))?);
    }
    let mut plan = from_flags(&flags, providers)?;
    let callback = format!("{}/logged-in", plan.public_url.as_deref().unwrap_or_default());
    for registration in &mut plan.registrations {
        let provider =
            known.get(registration.provider.as_str()).ok_or_else(|| UsageError("no such provider".to_owned()))?;
        register(registration, provider, &callback, providers)?;
    }
    Ok(plan)
}

/// What flags say is judged before anything is asked.
fn judge_flags(init: &Init, providers: &Known) -> anyhow::Result<()> {
    let url = init.public_url.clone().unwrap_or_else(|| "https://oauth.example.com".to_owned());
    from_flags(&Init { public_url: Some(url), ..init.clone() }, providers)?;
    let text = |key: &str, text: &Option<String>| text.iter().map(|text| (key.to_owned(), text.clone())).collect();
    let given: [Vec<_>; 4] = [
        text("public_url", &init.public_url),
        text("acme.contact", &init.acme_contact),
        text("state.store", &init.store),
        init.client_id.iter().map(|(id, text)| (format!("clients.{id}.id"), text.clone())).collect(),
    ];
    let faults = given.concat().into_iter().filter_map(|(key, text)| {
        let why = providers.complaint(&key, &[(&key, &text)])?;
        Some(format!("{key} {why}"))
    });
    match faults.collect::<Vec<_>>() {
        faults if faults.is_empty() => Ok(()),
        faults => Err(UsageError(faults.join("\n")).into()),
    }
}

/// Why an answer is no good, and what may have been meant.
struct No {
    why: String,
    instead: Option<String>,
}

impl From<String> for No {
    fn from(why: String) -> Self {
        Self { why, instead: None }
    }
}

/// Asks until the answer is good. What may have been meant is offered the next time: Enter alone takes it.
fn ask(prompt: &str, mut default: Option<String>, judge: impl Fn(&str) -> Result<(), No>) -> anyhow::Result<String> {
    loop {
        let input = Input::<String>::new().with_prompt(prompt).allow_empty(default.is_none());
        let input = match &default {
            Some(default) => input.default(default.clone()),
            None => input,
        };
        let answer = input.interact_text()?.trim().to_owned();
        let Err(no) = judge(&answer) else { return Ok(answer) };
        eprintln!("  This {}.", no.why);
        default = no.instead.or(default);
    }
}

fn judge_folder(text: &str) -> Result<(), No> {
    if let Some(rest) = text.strip_prefix('~') {
        let home = std::env::var("HOME").ok().filter(|_| rest.is_empty() || rest.starts_with('/'));
        let why = "begins with ~, which only a shell knows; write the folder out".to_owned();
        return Err(No { why, instead: home.map(|home| home + rest) });
    }
    if Path::new(text).ends_with(CONFIGURATION) {
        let folder = Path::new(text).parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        return Err(No {
            why: "names the file; its folder is asked for".to_owned(),
            instead: Some(folder.display().to_string()),
        });
    }
    let whole = std::path::absolute(text).map_err(|_| "is not a folder".to_owned())?;
    let there = whole.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    if !there.is_dir() {
        return Err(format!("is not a folder: {} is a file", there.display()).into());
    }
    // Only trying tells: rights, capabilities and read-only file systems have their say.
    match tempfile::tempfile_in(there) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("cannot be written to: {}: {error}", there.display()).into()),
    }
}

fn judge_url(text: &str, providers: &Known) -> Result<(), No> {
    let complaint = |text: &str| match text {
        "" => Some("is needed: browsers come back to it from the provider".to_owned()),
        text => providers.complaint("public_url", &[("public_url", text)]),
    };
    let Some(why) = complaint(text) else { return Ok(()) };
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let scheme = if rest.starts_with("localhost") { "http" } else { "https" };
    let url = Url::parse(&format!("{scheme}://{rest}")).ok();
    // A lone word is more likely a slip than a host.
    let meant = url.filter(|url| url.host_str().is_some_and(|host| host.contains('.') || host == "localhost"));
    let origin = meant.map(|url| url.origin().ascii_serialization());
    Err(No { why, instead: origin.filter(|origin| complaint(origin).is_none()) })
}

fn judge_contact(text: &str, providers: &Known) -> Result<(), No> {
    match providers.complaint("acme.contact", &[("acme.contact", text)]) {
        Some(why) if !text.is_empty() => Err(why.into()),
        _ => Ok(()),
    }
}

fn judge_store(text: &str, providers: &Known) -> Result<(), No> {
    if has_password(text) {
        return Err("has a password, which is shown here: name a file with the URL as `state.store_file` later"
            .to_owned()
            .into());
    }
    let Some(why) = providers.complaint("state.store", &[("state.store", text)]) else { return Ok(()) };
    let folder = Some(format!("dir:{text}")).filter(|_| text.starts_with(['/', '.']));
    Err(No { why, instead: folder })
}

/// The numbers of those that are chosen. Enter alone is asked about once: it is easily pressed in place of Space.
fn choose(names: &[&str]) -> anyhow::Result<Vec<usize>> {
    let choose =
        || MultiSelect::new().with_prompt("Providers (Space chooses, Enter continues)").items(names).interact();
    let chosen = choose()?;
    if !chosen.is_empty() {
        return Ok(chosen);
    }
    eprintln!("  None is chosen: press Space on each that you want. Enter again leaves it for later.");
    Ok(choose()?)
}

/// What only a person at the provider's console knows.
fn register(
    registration: &mut Registration,
    provider: &Provider,
    callback: &str,
    providers: &Known,
) -> anyhow::Result<()> {
    let Some(console) = provider.console_url() else { return Ok(()) };
    let name = provider.name();
    let id = provider.id();
    let id_key = format!("clients.{id}.id");
    let secret_key = format!("clients.{id}.secret");
    if registration.client_id.is_none() {
        eprintln!("\n{name}: register an app at {console} with the callback {callback}");
        let prompt = format!("{name} client ID (leave empty to fill in later)");
        let id = ask(&prompt, None, |text| match providers.complaint(&id_key, &[(&id_key, text)]) {
            Some(why) if !text.is_empty() => Err(why.into()),
            _ => Ok(()),
        })?;
        registration.client_id = Some(id).filter(|id| !id.is_empty());
    }
    let Some(client_id) = &registration.client_id else { return Ok(()) };
    if !matches!(registration.secret, Secret::None) {
        return Ok(());
    }
    let complaint = |secret: &str| {
        let id = (id_key.as_str(), client_id.as_str());
        let secret = Some((secret_key.as_str(), secret)).filter(|(_, secret)| !secret.is_empty());
        providers.complaint(&secret_key, &Vec::from_iter([id].into_iter().chain(secret)))
    };
    let required = complaint("").is_some();
    let file = registration.secret_file();
    let empty = if required { format!("to put it into {file} later") } else { "if there is none".to_owned() };
    let secret = Password::new()
        .with_prompt(format!("{name} client secret (not shown; leave empty {empty})"))
        .allow_empty_password(true)
        .validate_with(|text: &String| match complaint(text.trim()) {
            Some(why) if !text.trim().is_empty() => Err(format!("This {why}.")),
            _ => Ok(()),
        })
        .interact()?;
    registration.secret = match secret.trim() {
        "" if required => Secret::Later,
        "" => Secret::None,
        secret => Secret::Typed(secret.into()),
    };
    Ok(())
}
