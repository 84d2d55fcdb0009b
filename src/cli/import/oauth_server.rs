//! `authseal import oauth-server`, and the same for a server that runs from such settings at once.

use super::compose;
use super::report::Report;
use super::services;
use super::settings::{Given, Settings, Word};
use super::site::{self, Instead};
use super::tables::Secrets;
use super::translate::{Made, translate};
use crate::cli::init::{MODE, SECRET_MODE, make_folder_of, once, place};
use crate::cli::keys::{new_keyring, no_traces};
use crate::cli::{UsageError, json};
use crate::clock::Clock;
use crate::config::{Config, ConfigError, Sources};
use crate::denylist::Denylist;
use anyhow::bail;
use clap::Args;
use secrecy::ExposeSecret;
use serde_json::json;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

pub(super) const EXAMPLES: &str = "\
Examples:
  authseal import oauth-server --compose compose.yaml --dir etc --dry-run
  authseal import oauth-server --dir etc -- run --hostname oauth.example.com \\
      --secrets secrets.json --storage /srv/tokens
  authseal import oauth-server --env-file oauth.env --dir etc

Without --compose and --env-file the environment of this process counts. What
is there already stays, and no secret is shown. docs/moving.md has the order
of steps.

Exit codes: 0 done, 1 something is there already, 2 something that was given has
to be fixed first; then nothing is written.";

#[derive(Args)]
pub(in crate::cli) struct OauthServer {
    /// A compose file that it runs from; `.env` beside it counts
    #[arg(long, value_name = "FILE")]
    compose: Option<PathBuf>,
    /// Its service in the compose file [default: the one whose image is an oauth-server]
    #[arg(long, value_name = "NAME", requires = "compose")]
    service: Option<String>,
    /// A file with its environment, a NAME=value a line; may be given more than once
    #[arg(long, value_name = "FILE", conflicts_with = "compose")]
    env_file: Vec<PathBuf>,
    /// The folder for authseal.toml, the keyring and the rest [default: the working directory]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// What browsers see, instead of what its settings say
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// The folder with its tokens, where its settings do not name one of this machine
    #[arg(long, value_name = "FOLDER")]
    v1_dir: Option<PathBuf>,
    /// Say what would be made, and make nothing
    #[arg(long)]
    dry_run: bool,
    /// Say it as a JSON object
    #[arg(long)]
    json: bool,
    /// Its command line; over what the compose file has
    #[arg(last = true, value_name = "ITS COMMAND LINE")]
    words: Vec<OsString>,
}

/// What was found out.
struct Found {
    made: Made,
    report: Report,
}

pub(super) fn import(import: &OauthServer) -> anyhow::Result<()> {
    let mut report = Report::default();
    let mut given = match (&import.compose, import.env_file.as_slice()) {
        (Some(file), _) => compose::read(file, import.service.as_deref(), &mut report)?,
        (None, []) => Given { variables: compose::own().collect(), here: true, ..Given::default() },
        (None, files) => {
            let variables: Result<Vec<_>, _> = files.iter().map(|file| compose::env_file(file)).collect();
            Given { variables: variables?.concat(), meant: true, here: true, ..Given::default() }
        }
    };
    given.words.extend(words(&import.words)?);
    if let Some(folder) = import.v1_dir.as_deref().filter(|folder| !folder.is_dir()) {
        return Err(UsageError(format!("{} is no folder", folder.display())).into());
    }
    let v1_dir = import.v1_dir.as_deref().map(std::fs::canonicalize).transpose()?;
    let instead = Instead { public_url: import.public_url.clone(), v1_dir };
    let found = find(given, instead, Secrets::Files, report)?;
    write(import, &found)
}

/// The configuration of a server that runs from the settings of a duplicati/oauth-server in this process's environment
/// and in `words`. Keyring, denylist and state are below `dir`.
///
/// # Errors
/// Says what has to be fixed.
pub(in crate::cli) fn from_process(line: &[OsString], dir: &Path) -> anyhow::Result<(Zeroizing<String>, Report)> {
    let given = Given { words: words(line)?, variables: compose::own().collect(), here: true, ..Given::default() };
    let instead = Instead { public_url: None, v1_dir: None };
    let mut found = find(given, instead, Secrets::Inline, Report::default())?;
    let tables = &mut found.made.tables;
    let within = |name: &str| dir.join(name).display().to_string();
    if !compose::own().any(|(name, _)| name.starts_with("AUTHSEAL_KEYRING__")) {
        tables.set(&["keyring", "file"], within("keys.toml"));
    }
    // In a folder of its own: only there can it be told that there was none before.
    tables.set(&["denylist", "file"], within("denylist/denylist"));
    tables.set(&["denylist", "create"], true);
    tables.set(&["state", "store"], format!("dir:{}", within("state")));
    Ok((Zeroizing::new(tables.text()), found.report))
}

fn words(words: &[OsString]) -> anyhow::Result<Vec<Word>> {
    let word = |word: &OsString| match word.to_str() {
        Some(text) => Ok(Word { text: text.to_owned(), here: true }),
        None => Err(UsageError("a word of its command line is not UTF-8 text".to_owned()).into()),
    };
    words.iter().map(word).collect()
}

/// Reads and judges everything. A service that no configuration can have is left out with the reason.
fn find(given: Given, instead: Instead, how: Secrets, mut report: Report) -> anyhow::Result<Found> {
    let settings = Settings::read(given, &mut report)?;
    let site = site::read(&settings, instead, &mut report);
    let services = services::read(&settings, &site.hostname, &mut report)?;
    let catalogue = Config::load(&sources(None)?).map_err(anyhow::Error::from)?.catalogue;
    let mut impossible = BTreeMap::new();
    loop {
        let mut more = Report::default();
        let made = translate(&site, &services, &impossible, &catalogue, how, &mut more);
        if made.origins.is_empty() {
            report.append(&more);
            eprint!("{report}");
            return Err(UsageError(
                "that server offered no service that there can be here; nothing is written".to_owned(),
            )
            .into());
        }
        let judged = translate(&site, &services, &impossible, &catalogue, Secrets::Inline, &mut Report::default());
        let Err(faults) = Config::load_to_serve(&sources(Some(judged.tables.text()))?) else {
            report.append(&more);
            return Ok(Found { made, report });
        };
        let before = impossible.len();
        for fault in faults.all() {
            impossible.extend(blamed(&made, fault).map(|id| (id, format!("{} {}", fault.key, fault.says))));
        }
        if impossible.len() == before {
            let lines: Vec<_> = faults.all().iter().map(|fault| format!("  {} {}", fault.key, fault.says)).collect();
            let headline = "what it says is no good configuration here; nothing is written:";
            return Err(UsageError(format!("{headline}\n{}", lines.join("\n"))).into());
        }
    }
}

/// The old services that a faulty key is for.
fn blamed(made: &Made, fault: &ConfigError) -> impl Iterator<Item = String> {
    let of = |(table, ids): (&String, &std::collections::BTreeSet<String>)| {
        let rest = fault.key.strip_prefix(table.as_str())?;
        (rest.is_empty() || rest.starts_with('.')).then(|| ids.clone())
    };
    made.origins.iter().filter_map(of).flatten().collect::<Vec<_>>().into_iter()
}

/// A configuration of `text` and nothing else.
fn sources(text: Option<String>) -> anyhow::Result<Sources> {
    Ok(Sources {
        text: Some(Zeroizing::new(text.unwrap_or_default())),
        working_dir: std::env::current_dir()?,
        now: Clock::system().now(),
        ..Sources::default()
    })
}

/// Makes the files, where none of those is there that an import makes.
fn write(import: &OauthServer, Found { made, report }: &Found) -> anyhow::Result<()> {
    let dir = import.dir.clone().unwrap_or_default();
    let path = dir.join("authseal.toml");
    let (keyring, denylist) = (dir.join("keys.toml"), dir.join("denylist"));
    let names = || made.tables.files.iter().map(|(name, _)| dir.join(name)).chain([path.clone()]);
    let text = made.tables.text();
    if import.json {
        let lines: Vec<_> = report.lines().map(|(_, line)| line).collect();
        json::print(&json!({ "report": lines, "configuration": text, "dry_run": import.dry_run }))?;
    } else {
        print!("{report}");
    }
    if let Some(there) = names().find(|file| std::fs::symlink_metadata(file).is_ok()) {
        bail!(
            "{} is there already, and an import overwrites nothing; nothing is written. Name another folder with --dir, or \
             move that file away if it is left of an import that did not end",
            there.display()
        );
    }
    let say = !import.json;
    if import.dry_run && say {
        names().for_each(|file| println!("would make {}", file.display()));
        println!("\n{text}");
    }
    if import.dry_run {
        return Ok(());
    }
    if !keyring.exists() {
        no_traces(&keyring, None)?;
    }
    make_folder_of(&path)?;
    for (name, secret) in &made.tables.files {
        let line = Zeroizing::new(format!("{}\n", secret.expose_secret()));
        place(&dir.join(name), SECRET_MODE, &line)?;
    }
    place(&path, MODE, &text)?;
    if say {
        names().for_each(|file| println!("made {}", file.display()));
    }
    let made = [
        (&keyring, (|file: &Path| new_keyring(file, Clock::system().now())) as fn(&Path) -> anyhow::Result<()>),
        (&denylist, |file| Ok(Denylist::init(file)?)),
    ];
    for (file, make) in made {
        match say {
            true => once(file, false, || make(file))?,
            false if !file.exists() => make(file)?,
            false => {}
        }
    }
    if say {
        println!("\nKeep a copy of {} in a safe place: without it every AuthID is worthless.", keyring.display());
        println!("\nNext:\n  authseal check --config {}", path.display());
    }
    Ok(())
}

/// What a server says that runs from such settings without a keyring.
pub(in crate::cli) fn no_keyring(file: &Path) -> UsageError {
    let file = file.display();
    UsageError(format!(
        "there is no keyring {file}: `authseal keys new {file}` makes one, which every replica needs and which has to be kept; or give \
         one as text, in AUTHSEAL_KEYRING__TEXT, as `authseal keys new --one-line` prints it"
    ))
}
