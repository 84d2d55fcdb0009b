//! `authseal denylist …`: the file that says which AuthIDs are refused. Every change is safe beside running servers, which
//! take it up within two seconds; how it reaches other machines is the operator's.

mod check;
mod edit;
mod list;
mod target;

use super::config_args::ConfigFile;
use super::default_path::place;
use super::running::{Running, running};
use crate::denylist::Denylist;
use clap::Subcommand;
use std::path::PathBuf;

/// What is told of a list that was copied in part, or whose disk was full.
pub(super) const TORN: &str =
    "the last line is cut short and counts for nothing; the next rule that is added repairs it";

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make an empty denylist; never overwrites
    #[command(after_help = "\
Examples:
  authseal denylist init             # where the configuration says
  authseal denylist init /var/lib/authseal/denylist")]
    Init {
        /// Path of the new denylist [default: the configured `denylist.file`, else denylist beside the configuration]
        file: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Refuse an epoch, a service of it, its older logins, one login (`login` or `grant`, and the login id), or an old
    /// AuthID (`legacy`, and its SHA-256)
    ///
    /// The rule is on the disk when this says so. A service may be named by its id or by an alias of it. The line of a
    /// login gets the newest epoch and the time, which tell `compact` when it is no longer needed.
    #[command(after_help = "\
Examples:
  authseal denylist add login 00112233445566778899aabbccddeeff \\
      --note 'laptop stolen'
  authseal denylist add epoch 3
  authseal denylist add epoch 3 service dropbox
  authseal denylist add epoch 3 login-before 2026-11-01T00:00:00Z
  authseal denylist add legacy \\
      8004c36d8f6e482ccec48f95fd037448548961d2a84f62ecaa38e6f5594eb6c0
  authseal denylist add - < lines    # many; another denylist will do")]
    Add(edit::Add),
    /// Take a rule out: what it refused works again
    #[command(after_help = "\
Examples:
  authseal denylist remove login 00112233445566778899aabbccddeeff
  authseal denylist remove epoch 3 --dry-run")]
    Remove(edit::Remove),
    /// Print all rules with the numbers of their lines, their times and notes
    #[command(after_help = "\
Examples:
  authseal denylist list
  authseal denylist list --json | jq length")]
    List(target::Look),
    /// Check whether servers would take the file up, and what in it looks like a mistake
    #[command(after_help = "\
Examples:
  authseal denylist check
  authseal denylist check --denylist copy  # before it takes the other's place")]
    Check(target::Look),
    /// Drop rules that are about nothing but retired epochs
    ///
    /// The servers are asked whether they have retired them, too: those named with --against, else the server of this
    /// machine, at the configured `admin.listen`.
    #[command(after_help = "\
Examples:
  authseal denylist compact --dry-run
  authseal denylist compact --against http://10.0.0.5:9464 http://10.0.0.6:9464")]
    Compact(edit::Compact),
}

pub(super) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Init { file, config } => init(file.as_ref(), config),
        Command::Add(add) => edit::add(add),
        Command::Remove(remove) => edit::remove(remove),
        Command::List(args) => list::list(args),
        Command::Check(args) => check::check(args),
        Command::Compact(compact) => edit::compact(compact),
    }
}

fn init(file: Option<&PathBuf>, config: &ConfigFile) -> anyhow::Result<()> {
    let path = place(file, config, "denylist", |config| Ok(config.denylist))?;
    // Asked before: a server takes up the new list at once.
    let served = config.load().ok().filter(|config| config.denylist == path && !path.exists());
    let served = served.and_then(|config| running(&config));
    Denylist::init(&path)?;
    println!("made {}: nothing is denied yet", path.display());
    if let Some(Running { url, rules: 1.., .. }) = served {
        println!(
            "warning: the server at {url} still had the rules of the list that was here, and takes up this one: what was \
             revoked works again. Put them back from a copy: authseal denylist add - < COPY"
        );
    }
    Ok(())
}
