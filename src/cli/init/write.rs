//! What `authseal init` makes, and what it prints: about the files, and what is left to the operator.

use super::Known;
use super::plan::{CONFIGURATION, Plan, Secret};
use crate::cli::default_path::scratch;
use crate::cli::keys::{new_keyring, no_traces};
use crate::cli::providers::advice;
use crate::cli::{DOCS, UsageError};
use crate::clock::Clock;
use crate::config::{Config, ConfigErrors, FILE_LIMIT, Sources, keys_of};
use crate::denylist::{self, Denylist};
use crate::files::{self, Readers, Unread};
use crate::keyring_file::read_text;
use crate::provider::{Availability, Catalogue, Service};
use crate::watch::directory;
use anyhow::{Context, bail};
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use url::Url;
use zeroize::Zeroizing;

/// Others may not read it: whoever adds a secret later need not think of that.
pub(in crate::cli) const MODE: u32 = 0o640;
/// Of the folders.
const FOLDER_MODE: u32 = 0o750;
/// For secrets.
pub(in crate::cli) const SECRET_MODE: u32 = 0o600;

pub(super) fn write(plan: &Plan, providers: &Known, dry_run: bool) -> anyhow::Result<()> {
    let path = plan.dir.join(CONFIGURATION);
    if !dry_run {
        make_folder_of(&path)?;
    }
    let differs = match &plan.public_url {
        None => stays(&path),
        Some(public_url) => {
            let text = plan.text(&plan.dir, public_url, &providers.by_id());
            match files::read_text(&path, FILE_LIMIT, Readers::All) {
                Ok((old, _)) => compare(plan, &path, &old, &text)?,
                Err(Unread::Missing) => {
                    judge(plan, public_url, providers)?;
                    make(plan, &path, &text, dry_run)?;
                    false
                }
                Err(error) => return Err(error).with_context(|| format!("cannot use {}", path.display())),
            }
        }
    };
    plan.why_store.iter().for_each(|why| println!("state.store is {}. {why}", plan.store));
    let keyring = plan.dir.join("keys.toml");
    let configured = load(&path).ok().map(|(config, _)| config);
    if !keyring.exists() {
        no_traces(&keyring, configured.as_ref())?;
    }
    once(&keyring, dry_run, || new_keyring(&keyring, Clock::system().now()))?;
    // A configuration that was there may name another.
    let list = configured
        .map(|config| config.denylist)
        .filter(|list| !is_same(list, &plan.denylist))
        .unwrap_or_else(|| plan.denylist.clone());
    once(&list, dry_run, || {
        make_folder_of(&list)?;
        Ok(Denylist::init(&list)?)
    })?;
    if !dry_run {
        let (config, public_url) = load(&path)?;
        // Those that were there may be no good.
        read_text(&keyring)?;
        denylist::lines(&list, |_| Ok(()))?;
        tell(plan, &path, &keyring, &config.catalogue, &public_url);
    }
    if differs {
        bail!("{} says something else than what was asked for; it stays as it is: change it by hand", path.display());
    }
    Ok(())
}

/// Makes the folder of a file, and those above it, if there is none; nobody but its owner and group look into it.
pub(in crate::cli) fn make_folder_of(file: &Path) -> anyhow::Result<()> {
    let folder = directory(file);
    let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder);
    made.with_context(|| format!("cannot make the folder {}", folder.display()))
}

fn is_same(one: &Path, other: &Path) -> bool {
    std::path::absolute(other).is_ok_and(|other| one == other)
}

fn stays(path: &Path) -> bool {
    println!("{} is there already and stays as it is", path.display());
    false
}

/// Makes a file that is not there.
pub(in crate::cli) fn once(
    path: &Path,
    dry_run: bool,
    make: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    match (path.exists(), dry_run) {
        (true, _) => drop(stays(path)),
        (false, true) => println!("would make {}", path.display()),
        (false, false) => {
            make()?;
            println!("made {}", path.display());
        }
    }
    Ok(())
}

/// Looks for all that is wrong with the configuration before anything is written: in a folder of its own, with a word
/// in the place of each secret that was typed.
fn judge(plan: &Plan, public_url: &str, providers: &Known) -> anyhow::Result<()> {
    let folder = scratch()?;
    let path = folder.path().join(CONFIGURATION);
    place(&path, MODE, &plan.text(folder.path(), public_url, &providers.by_id()))?;
    for registration in plan.registrations.iter().filter(|other| matches!(other.secret, Secret::Typed(_))) {
        place(&folder.path().join(registration.secret_file()), SECRET_MODE, "typed")?;
    }
    match load(&path).map_err(|error| (error.downcast_ref::<ConfigErrors>().map(lines), error)) {
        Ok((config, _)) => config.warnings.iter().for_each(|warning| {
            println!("warning: {}", warning.replace(&path.display().to_string(), CONFIGURATION));
        }),
        Err((Some(lines), _)) => {
            let lines = lines.join("\n  ").replace(&path.display().to_string(), CONFIGURATION);
            let headline = "what was asked for is no good configuration; nothing is written:";
            return Err(UsageError(format!("{headline}\n  {lines}")).into());
        }
        Err((None, error)) => return Err(error),
    }
    Ok(())
}

fn lines(faults: &ConfigErrors) -> Vec<String> {
    faults.all().iter().map(ToString::to_string).collect()
}

/// Makes the files with secrets that were typed, and the configuration that names them.
fn make(plan: &Plan, path: &Path, text: &str, dry_run: bool) -> anyhow::Result<()> {
    for registration in &plan.registrations {
        if let Secret::Typed(secret) = &registration.secret {
            let file = plan.dir.join(registration.secret_file());
            let line = Zeroizing::new(format!("{}\n", secret.expose_secret()));
            once(&file, dry_run, || place(&file, SECRET_MODE, &line))?;
        }
    }
    if dry_run {
        println!("would make {}:\n\n{text}", path.display());
        return Ok(());
    }
    once(path, false, || place(path, MODE, text))
}

/// Makes a file, whole or not at all, where there is none.
pub(in crate::cli) fn place(path: &Path, mode: u32, text: &str) -> anyhow::Result<()> {
    files::create(path, mode, text).with_context(|| format!("cannot make {}", path.display()))
}

/// The configuration in `path`, as a server with nothing else reads it.
fn load(path: &Path) -> anyhow::Result<(Config, Url)> {
    let file = std::path::absolute(path)?;
    let working_dir = file.parent().map(Path::to_owned).unwrap_or_default();
    let sources = Sources { file: Some(file), working_dir, now: Clock::system().now(), ..Sources::default() };
    Ok(Config::load_to_serve(&sources)?)
}

/// Says in what that was asked for `new` differs from the file that is there; whether it does.
fn compare(plan: &Plan, path: &Path, old: &str, new: &str) -> anyhow::Result<bool> {
    let keys = |text: &str| keys_of(text).map(|keys| keys.into_iter().collect::<BTreeMap<_, _>>());
    let old = keys(old).map_err(|why| anyhow::anyhow!("{} {why}", path.display()))?;
    let new = keys(new).map_err(anyhow::Error::msg)?;
    let asked = |key: &str| key == "public_url" || key.starts_with("clients.") || plan.asked.contains(&key);
    let differs = |(key, value): &(&String, &String)| asked(key) && old.get(*key) != Some(*value);
    let differences: Vec<_> = new.iter().filter(differs).collect();
    if differences.is_empty() {
        return Ok(stays(path));
    }
    println!("{} is there already and stays as it is. What was asked for would be:", path.display());
    for (key, value) in differences {
        old.get(key).into_iter().for_each(|old| println!("  - {key} = {old}"));
        println!("  + {key} = {value}");
    }
    Ok(true)
}

/// What is left to do.
fn tell(plan: &Plan, path: &Path, keyring: &Path, catalogue: &Catalogue, public_url: &Url) {
    let base = public_url.as_str().trim_end_matches('/');
    println!("\nKeep a copy of {} in a safe place: without it every AuthID is worthless.", keyring.display());
    let registration = |service: &Service| plan.registrations.iter().find(|it| it.provider == service.provider.id());
    let mut providers: BTreeMap<_, _> = BTreeMap::new();
    for service in catalogue.all() {
        let id = service.provider.id();
        let left = match service.availability() {
            Availability::Offered | Availability::Closed => None,
            Availability::NeedsStore => advice(Availability::NeedsStore, &service.provider),
            Availability::SwitchedOff | Availability::Gone { .. } => continue,
            Availability::NotConfigured => match registration(service) {
                None => continue,
                Some(it) if matches!(it.secret, Secret::Later) => {
                    let file = plan.dir.join(it.secret_file());
                    let path = path.display();
                    let file = file.display();
                    Some(format!("then put the client secret into {file}, and switch on [clients.{id}] in {path}"))
                }
                Some(_) => Some(format!("then put the client id into [clients.{id}] of {}", path.display())),
            },
        };
        providers.entry(id).or_insert((service.provider.clone(), left));
    }
    println!("\nRegister this callback at each provider, to the letter: {base}/logged-in");
    if providers.is_empty() {
        println!("  No provider is set up yet: put its client id into {}.", path.display());
    }
    for (id, (provider, left)) in providers {
        match provider.console_url() {
            Some(url) => println!("  {}: {url}  (details: {DOCS}/providers/{id}.md)", provider.name()),
            None => {
                println!("  {}: nothing is registered there  (details: {DOCS}/providers/{id}.md)", provider.name())
            }
        }
        provider.console_hint().into_iter().for_each(|hint| println!("    {hint}"));
        left.into_iter().for_each(|left| println!("    {left}"));
    }
    println!(
        "\nPoint Duplicati at this server, in one of three ways:\n  \
         in its Settings, add the option `oauth-url` with {base}/refresh\n  \
         on its command line, --oauth-url={base}/refresh\n  \
         in the environment of its process, DUPLICATI_OAUTH_SERVICE={base}/refresh"
    );
    println!("\nNext:");
    for command in ["check", "check --online", "serve"] {
        println!("  authseal {command} --config {}", path.display());
    }
}
