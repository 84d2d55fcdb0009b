//! `authseal keys …`: the keyring, as an operator lives with it. Promoting is routine; retiring is the exception, which
//! ends every AuthID of an epoch.

mod epoch_usage;
mod keyring_source;
mod list;
mod new;
mod rotate;
mod verify;

pub(super) use epoch_usage::span;
pub(super) use new::{new_keyring, no_traces};

use crate::seal::Epoch;
use clap::Subcommand;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a keyring with one fresh key; never overwrites
    #[command(after_help = "\
Examples:
  authseal keys new                  # where the configuration says
  authseal keys new /etc/authseal/keys.toml
  authseal keys new --print | kubectl create secret generic authseal-keys \\
      --from-file=keys.toml=/dev/stdin
  export AUTHSEAL_KEYRING__TEXT=\"$(authseal keys new --one-line)\"
  authseal keys new --epoch 8        # where epochs up to 7 are lost")]
    New(new::New),
    /// List the epochs, what each may do, and which are in use; shows no secret
    #[command(after_help = "\
Examples:
  authseal keys list
  authseal keys list \\
      --against http://10.0.0.5:9464 http://10.0.0.6:9464  # in use anywhere?")]
    List(list::List),
    /// Add the next epoch, which opens and does not seal yet: the first step of changing keys
    #[command(after_help = "\
Examples:
  authseal keys stage
  authseal keys stage --keyring keys.toml --dry-run
  authseal keys stage --keyring - --print < old > new  # it is no file here")]
    Stage(rotate::Stage),
    /// Make a staged epoch the one that seals: the second step
    ///
    /// Every replica has to hold the epoch first, or it could not open what the others seal. So the replicas are asked:
    /// those named with --against, else the server of this machine, at the configured `admin.listen`. On a single
    /// machine without such a listener, give --alone.
    #[command(after_help = "\
Examples:
  authseal keys promote              # one machine
  authseal keys promote 5 --against http://10.0.0.5:9464 http://10.0.0.6:9464")]
    Promote(rotate::Promote),
    /// Give up the secret of an epoch, which ends every AuthID that was sealed under it
    ///
    /// Duplicati keeps the AuthID that was pasted, so an old epoch stays in use until those are replaced. An epoch that
    /// may be in use is retired with --force only.
    #[command(after_help = "\
Examples:
  authseal keys retire 3 --against http://10.0.0.5:9464 http://10.0.0.6:9464
  authseal keys retire 3 --unused-for 30  # days, at the server of this machine
  authseal keys retire 3 --force     # whoever still uses it logs in again")]
    Retire(rotate::Retire),
    /// Ask whether all replicas hold this keyring
    #[command(after_help = "\
Examples:
  authseal keys verify --against http://10.0.0.5:9464 http://10.0.0.6:9464")]
    Verify(verify::Verify),
}

pub(super) fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::New(new) => new::run(new),
        Command::List(list) => list::run(list),
        Command::Stage(stage) => rotate::stage(stage),
        Command::Promote(promote) => rotate::promote(promote),
        Command::Retire(retire) => rotate::retire(retire),
        Command::Verify(verify) => verify::run(verify),
    }
}

fn epoch(text: &str) -> Result<Epoch, &'static str> {
    Epoch::parse(text).ok_or("is no epoch; those are numbers from 1, as `authseal keys list` shows them")
}
