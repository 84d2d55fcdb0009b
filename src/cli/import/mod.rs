//! `authseal import …`: from what runs today to an authseal. Everything is read and judged before anything is written, what
//! is there already is never overwritten, and nothing secret is shown but what a command is asked for.

mod compose;
mod entries;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod oauth_server;
mod own;
mod rclone;
mod report;
mod services;
mod settings;
mod shapes;
mod site;
mod tables;
mod translate;

pub(super) use oauth_server::{from_process, no_keyring};
pub(super) use report::Report;

use clap::Subcommand;
use oauth_server::OauthServer;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Take over a duplicati/oauth-server: its command line, environment, services and secrets
    #[command(after_help = oauth_server::EXAMPLES)]
    OauthServer(OauthServer),
    /// Make AuthIDs from the logins in an rclone.conf, where they were made with a client id that is configured here
    #[command(after_help = rclone::EXAMPLES)]
    Rclone(rclone::Rclone),
}

pub(super) fn run(verb: &Command) -> anyhow::Result<()> {
    match verb {
        Command::OauthServer(import) => oauth_server::import(import),
        Command::Rclone(import) => rclone::import(import),
    }
}
