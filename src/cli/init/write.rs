//! What `authseal init` makes, and what it says: of the files, and of what is left to a person.

use super::Known;
use super::plan::{CONFIGURATION, Plan, Secret};
use crate::cli::keys::new_keyring;
use crate::cli::providers::state;
use crate::clock::Clock;
use crate::config::{Config, Faults, Sources, keys_of};
use crate::denylist::Denylist;
use crate::files;
use crate::provider::{Availability, Catalogue, Service};
use anyhow::{Context, bail};
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use url::Url;

/// Others may not read it: whoever adds a secret later need not think of that.
const MODE: u32 = 0o640;
/// For secrets.
const SECRET_MODE: u32 = 0o600;

pub(super) fn write(plan: &Plan, providers: &Known, dry_run: bool) -> anyhow::Result<()> {
    if !dry_run {
        fs::create_dir_all(&plan.dir).with_context(|| format!("cannot make the folder {}", plan.dir.display()))?;
    }
    let path = plan.dir.join(CONFIGURATION);
    let differs = match &plan.public_url {
        None => stays(&path),
        Some(public_url) => {
            let text = plan.text(public_url, &providers.by_id());
            match fs::read_to_string(&path) {
                Ok(old) => compare(&path, &old, &text)?,
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot read {}", path.display()));
                }
                Err(_) if dry_run => {
                    println!("would make {}:\n\n{text}", path.display());
                    false
                }
                Err(_) => make(plan, &path, &text)?,
            }
        }
    };
    let keyring = plan.dir.join("keys.toml");
    once(&keyring, dry_run, || new_keyring(&keyring, Clock::system().now()))?;
    let denylist = plan.dir.join("denylist");
    once(&denylist, dry_run, || Ok(Denylist::init(&denylist)?))?;
    if dry_run {
        return Ok(());
    }
    let (config, public_url) = load(&path)?;
    tell(plan, &path, &keyring, &config.catalogue, &public_url);
    if differs {
        bail!("{} says something else than what was asked for; it stays as it is: change it by hand", path.display());
    }
    Ok(())
}

fn stays(path: &Path) -> bool {
    println!("{} is there already and stays as it is", path.display());
    false
}

/// Makes a file that is not there.
fn once(path: &Path, dry_run: bool, make: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
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

/// Makes the configuration and the files with secrets that it names; the configuration only if nothing is wrong with it.
fn make(plan: &Plan, path: &Path, text: &str) -> anyhow::Result<bool> {
    for registration in &plan.registrations {
        if let Secret::Typed(secret) = &registration.secret {
            let file = plan.dir.join(registration.secret_file());
            let mut aside = files::aside(&file, SECRET_MODE)?;
            writeln!(aside, "{}", secret.expose_secret())?;
            files::place(aside, &file).with_context(|| format!("cannot make {}", file.display()))?;
            println!("made {}", file.display());
        }
    }
    let mut aside = files::aside(path, MODE).with_context(|| format!("cannot make {}", path.display()))?;
    aside.write_all(text.as_bytes())?;
    aside.flush()?;
    // Nobody knows the file by the name that it has yet.
    load(aside.path()).map_err(|error| match error.downcast_ref::<Faults>() {
        Some(faults) => {
            let lines = faults.lines().join("\n  ").replace(&aside.path().display().to_string(), CONFIGURATION);
            super::Misuse(format!("what was asked for is no good configuration; nothing is written:\n  {lines}")).into()
        }
        None => error,
    })?;
    files::place(aside, path).with_context(|| format!("cannot make {}", path.display()))?;
    println!("made {}", path.display());
    Ok(false)
}

/// The configuration in `path`, as a server with nothing else reads it.
fn load(path: &Path) -> anyhow::Result<(Config, Url)> {
    let file = std::path::absolute(path)?;
    let working_dir = file.parent().map(Path::to_owned).unwrap_or_default();
    let sources = Sources { file: Some(file), working_dir, now: Clock::system().now(), ..Sources::default() };
    Ok(Config::load_to_serve(&sources)?)
}

/// Says how `new` differs from the file that is there; whether it does.
fn compare(path: &Path, old: &str, new: &str) -> anyhow::Result<bool> {
    let keys = |text: &str| keys_of(text).map(|keys| keys.into_iter().collect::<BTreeMap<_, _>>());
    let old = keys(old).map_err(|why| anyhow::anyhow!("{} {why}", path.display()))?;
    let new = keys(new).map_err(anyhow::Error::msg)?;
    let gone = old.iter().filter(|(key, value)| new.get(*key) != Some(value)).map(|pair| ('-', pair));
    let come = new.iter().filter(|(key, value)| old.get(*key) != Some(value)).map(|pair| ('+', pair));
    let mut differences: Vec<_> = gone.chain(come).collect();
    differences.sort_by_key(|(sign, (key, _))| (*key, *sign == '+'));
    if differences.is_empty() {
        return Ok(stays(path));
    }
    println!("{} is there already and stays as it is. What was asked for would be:", path.display());
    for (sign, (key, value)) in differences {
        println!("  {sign} {key} = {value}");
    }
    Ok(true)
}

/// What is left to do.
fn tell(plan: &Plan, path: &Path, keyring: &Path, catalogue: &Catalogue, public_url: &Url) {
    let base = public_url.as_str().trim_end_matches('/');
    println!("\nKeep a copy of {} in a safe place: without it every AuthID is worthless.", keyring.display());
    let asked_for = |service: &Service| plan.registrations.iter().any(|other| other.provider == service.provider.id());
    let mut providers: BTreeMap<_, _> = BTreeMap::new();
    for service in catalogue.all() {
        let id = service.provider.id();
        let left = match service.availability() {
            Availability::Offered => None,
            Availability::NotConfigured if asked_for(service) => {
                Some(format!("then put the client id into [clients.{id}] of {}", path.display()))
            }
            Availability::NeedsStore => Some(state(Availability::NeedsStore, &service.provider)),
            Availability::NotConfigured | Availability::Gone { .. } => continue,
        };
        providers.entry(id).or_insert((service.provider.clone(), left));
    }
    println!("\nRegister this callback at each provider, to the letter: {base}/logged-in");
    if providers.is_empty() {
        println!("  No provider is set up yet: put its client id into {}.", path.display());
    }
    for (id, (provider, left)) in providers {
        match provider.console_url() {
            Some(url) => println!("  {}: {url}  (what to mind: docs/providers/{id}.md)", provider.name()),
            None => {
                println!("  {}: nothing is registered there  (what to mind: docs/providers/{id}.md)", provider.name())
            }
        }
        left.into_iter().for_each(|left| println!("    {left}"));
    }
    println!(
        "\nPoint Duplicati at this server: in its Settings the option `oauth-url`, for one backup `--oauth-url`, or in"
    );
    println!("the environment of its process DUPLICATI_OAUTH_SERVICE:\n  {base}/refresh");
    println!("\nNext:\n  authseal check --config {0}\n  authseal serve --config {0}", path.display());
}
