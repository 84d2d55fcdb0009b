//! `authseal init`: from nothing to a configuration that `check` finds good. It asks, or takes flags; it makes what is not
//! there and touches nothing that is.

mod ask;
mod plan;
mod write;

pub(super) use write::{MODE, SECRET_MODE, make_folder_of, once, place};

use super::UsageError;
use super::default_path::scratch;
use crate::clock::Clock;
use crate::config::{Config, Sources};
use crate::provider::{Availability, Catalogue, Provider, RefreshTokenPolicy};
use clap::Args;
use plan::{Plan, Registration, Secret};
use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub(super) const EXAMPLES: &str = "\
Examples:
  authseal init                      # asks for everything
  authseal init --dir /etc/authseal --public-url https://oauth.example.com \\
      --provider google --client-id google=1234.apps.googleusercontent.com \\
      --client-secret-file google=/etc/authseal/google-secret
  authseal init --dir /etc/authseal --public-url https://oauth.example.com \\
      --dry-run

What is there already stays as it is, byte for byte: run again, it makes what is
missing and says where the file differs from what the flags ask for.

Exit codes: 0 all is as asked for, 1 authseal.toml says something else, 2 the
flags have to be fixed first.";

#[derive(Args, Clone)]
pub(super) struct Init {
    /// The folder for authseal.toml and keys.toml [default: the working directory]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// The list of what is revoked: a server writes to it, so for one that may not write to its configuration it is in
    /// another folder [default: /var/lib/authseal/denylist for /etc/authseal, else `denylist` in the folder]
    #[arg(long, value_name = "FILE")]
    denylist: Option<PathBuf>,
    /// URL that browsers see: https, host and port, no path
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Mail address for the account at Let's Encrypt: the server gets its own certificate and speaks https itself, on the
    /// ports 443 and 80, where the public URL's name leads to this machine; its terms are agreed to
    #[arg(long, value_name = "ADDRESS")]
    acme_contact: Option<String>,
    /// A provider to log in at: google, microsoft and so on; may be given more than once
    #[arg(long = "provider", value_name = "ID")]
    providers: Vec<String>,
    /// The client id that the provider's console shows
    #[arg(long, value_name = "PROVIDER=ID", value_parser = pair)]
    client_id: Vec<(String, String)>,
    /// The file with the client secret, one line [default: PROVIDER-secret in the folder, if it is there]
    ///
    /// Secrets are not taken as arguments: others can read those.
    #[arg(long, value_name = "PROVIDER=FILE", value_parser = pair)]
    client_secret_file: Vec<(String, String)>,
    /// Store for state that outlives a request: memory, dir:FOLDER or redis://HOST [default: a folder where a
    /// provider's tokens change, else memory]
    #[arg(long)]
    store: Option<String>,
    /// No questions, even on a terminal
    #[arg(long)]
    yes: bool,
    /// Preview of what would be made; nothing is made
    #[arg(long)]
    dry_run: bool,
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((provider, value)) if !provider.is_empty() && !value.is_empty() => Ok((provider.into(), value.into())),
        _ => Err("give it with its provider, as in google=VALUE"),
    }
}

pub(super) fn init(init: &Init) -> anyhow::Result<()> {
    let providers = Known::new()?;
    let plan = match !init.yes && io::stdin().is_terminal() && io::stderr().is_terminal() {
        true => ask::plan(init, &providers)?,
        false => from_flags(init, &providers)?,
    };
    write::write(&plan, &providers, init.dry_run)
}

impl Init {
    /// The providers that flags name, some more than once.
    fn named(&self) -> impl Iterator<Item = &String> {
        self.providers.iter().chain(self.client_id.iter().chain(&self.client_secret_file).map(|(id, _)| id))
    }
}

/// The providers that there are without any configuration, by id.
struct Known {
    catalogue: Catalogue,
    /// A folder without a file: the configuration that is there, or not, says nothing of this.
    empty: TempDir,
}

impl Known {
    fn new() -> anyhow::Result<Self> {
        let empty = scratch()?;
        let catalogue = Config::load(&sources(&empty, &[]))?.catalogue;
        Ok(Self { catalogue, empty })
    }

    /// What is wrong with `key` in a configuration of these keys alone: the end of a sentence.
    fn complaint(&self, key: &str, keys: &[(&str, &str)]) -> Option<String> {
        let faults = Config::load(&sources(&self.empty, keys)).err()?;
        faults.all().iter().find(|fault| fault.key == key).map(|fault| fault.says.clone())
    }

    /// Those where something can be logged in to.
    fn by_id(&self) -> BTreeMap<&str, &Provider> {
        let live = self.catalogue.all().filter(|service| !matches!(service.availability(), Availability::Gone { .. }));
        live.map(|service| (service.provider.id(), &*service.provider)).collect()
    }
}

fn sources(empty: &TempDir, keys: &[(&str, &str)]) -> Sources {
    let working_dir = empty.path().to_owned();
    let flags = keys.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    let system_file = working_dir.join("none");
    Sources { system_file, working_dir, flags, now: Clock::system().now(), ..Sources::default() }
}

fn from_flags(init: &Init, providers: &Known) -> anyhow::Result<Plan> {
    let mut faults = Vec::new();
    let known = providers.by_id();
    let dir = init.dir.clone().unwrap_or_default();
    let registrations = registrations(init, &known, &dir, &mut faults);
    faults.extend(lacking_url(init, &dir, &registrations));
    let public_url = init.public_url.as_deref().map(|url| url.trim_end_matches('/').to_owned());
    let denylist = init.denylist.clone().unwrap_or_else(|| usual_denylist(&dir));
    let chosen = registrations.iter().filter_map(|registration| known.get(registration.provider.as_str()).copied());
    let why_store = reason_for_store(chosen).filter(|_| init.store.is_none());
    let store = init.store.clone().unwrap_or_else(|| match why_store {
        Some(_) => usual_store(&dir, &denylist),
        None => "memory".to_owned(),
    });
    if has_password(&store) {
        faults.push(
            "a password does not belong on a command line, where others can read it: leave `--store` out, and name a file with the URL as `state.store_file` in authseal.toml".to_owned(),
        );
    }
    match faults.is_empty() {
        true => {
            let asked = [
                ("acme.contact", init.acme_contact.is_some()),
                ("state.store", init.store.is_some()),
                ("denylist.file", init.denylist.is_some()),
            ];
            let asked = asked.into_iter().filter_map(|(key, asked)| asked.then_some(key)).collect();
            let acme_contact = init.acme_contact.clone();
            Ok(Plan { dir, denylist, public_url, acme_contact, registrations, store, why_store, asked })
        }
        false => Err(UsageError(faults.join("\n")).into()),
    }
}

/// The clients that flags tell of.
fn registrations(
    init: &Init,
    known: &BTreeMap<&str, &Provider>,
    dir: &Path,
    faults: &mut Vec<String>,
) -> Vec<Registration> {
    let mut registrations: Vec<Registration> = Vec::new();
    for id in init.named() {
        match known.contains_key(id.as_str()) {
            _ if registrations.iter().any(|other| other.provider == *id) => {}
            true => registrations.push(Registration::new(id)),
            false => {
                let ids: Vec<_> = known.keys().copied().collect();
                faults.push(format!("no provider is called `{id}`; there are {}", ids.join(", ")));
            }
        }
    }
    for registration in &mut registrations {
        let of = |pairs: &[(String, String)]| {
            pairs.iter().rev().find(|(id, _)| *id == registration.provider).map(|(_, value)| value.clone())
        };
        registration.client_id = of(&init.client_id);
        // A run that was broken off may have left a secret that was typed.
        let left = Some(dir.join(registration.secret_file())).filter(|file| file.exists());
        let file = of(&init.client_secret_file).map(PathBuf::from).or(left);
        if let Some(file) = file.as_ref().filter(|file| !file.is_file()) {
            let place = std::path::absolute(file).unwrap_or_else(|_| file.clone());
            faults.push(format!(
                "there is no file {} with the secret of {}: a relative path starts at the working directory",
                place.display(),
                registration.provider
            ));
        }
        registration.secret = file.map_or(Secret::None, Secret::File);
    }
    registrations
}

/// What is wrong where no flag says what browsers see.
fn lacking_url(init: &Init, dir: &Path, registrations: &[Registration]) -> Option<String> {
    let asks_for_more = !registrations.is_empty() || init.store.is_some() || init.acme_contact.is_some();
    match (&init.public_url, dir.join(plan::CONFIGURATION).exists()) {
        (None, false) => {
            Some("say what browsers see with `--public-url https://…`, or run it on a terminal to be asked".to_owned())
        }
        (None, true) if asks_for_more => Some(format!(
            "there is an {} already; to have it compared with what is asked for, give `--public-url`, too",
            plan::CONFIGURATION
        )),
        _ => None,
    }
}

/// The denylist of a server in `dir`. In `/etc/authseal` it is one of the system's services, that owns its state alone.
fn usual_denylist(dir: &Path) -> PathBuf {
    let folder = if dir == Path::new("/etc/authseal") { Path::new("/var/lib/authseal") } else { dir };
    folder.join("denylist")
}

/// The state store of a server that needs one: a folder beside its denylist, since the server writes to both.
fn usual_store(dir: &Path, denylist: &Path) -> String {
    let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match whole(denylist).parent() {
        Some(folder) if folder != whole(dir) => format!("dir:{}", folder.join("state").display()),
        _ => "dir:state".to_owned(),
    }
}

/// Why these providers need a store that outlives a restart, or are better with one; `None` if they do not care.
fn reason_for_store<'a>(chosen: impl Iterator<Item = &'a Provider>) -> Option<String> {
    let mut changing: Vec<_> = chosen.filter(|provider| provider.rotation() != RefreshTokenPolicy::Static).collect();
    changing.sort_by_key(|provider| provider.id().to_owned());
    changing.dedup_by_key(|provider| provider.id().to_owned());
    let names: Vec<_> = changing.iter().map(|provider| provider.name()).collect();
    let single = changing.iter().any(|provider| provider.rotation() == RefreshTokenPolicy::SingleUse);
    let (verb, lost) = (
        if names.len() == 1 { "replaces" } else { "replace" },
        if single { "the logins do not work" } else { "each login ends with its first one" },
    );
    let who = names.join(" and ");
    (!names.is_empty())
        .then(|| format!("{who} {verb} the refresh token when it is used; unless the new one is remembered, {lost}."))
}

fn has_password(store: &str) -> bool {
    url::Url::parse(store).is_ok_and(|url| url.password().is_some())
}
