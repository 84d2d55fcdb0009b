//! `authseal config show`: what is in force, and which layer set it.

use super::{ConfigFile, json};
use crate::config::{Shown, show};
use clap::Subcommand;
use serde_json::{Value, json};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Print every key that has a value, as TOML; secrets are masked
    #[command(after_help = "\
Examples:
  authseal config show --origin
  AUTHSEAL_LOG__LEVEL=debug authseal config show --origin | grep '^log'")]
    Show {
        #[command(flatten)]
        file: ConfigFile,
        /// Origin of each value, behind it
        #[arg(long)]
        origin: bool,
        /// Built-in facts about providers and services too
        #[arg(long)]
        all: bool,
        /// Output as a JSON list of `key`, `value` and `origin`
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: &Command) -> anyhow::Result<()> {
    let Command::Show { file, origin, all, json } = command;
    let mut shown = show(&file.sources(Vec::new())?)?;
    shown.retain(|key| *all || !key.is_built_in_fact);
    if *json {
        let one = |Shown { key, value, origin, .. }| json!({ "key": key, "value": value, "origin": origin });
        return json::print(&shown.into_iter().map(one).collect::<Value>());
    }
    for key in shown {
        match origin {
            true => println!("{} = {}  # {}", key.key, key.value, key.origin.escape_debug()),
            false => println!("{} = {}", key.key, key.value),
        }
    }
    Ok(())
}
