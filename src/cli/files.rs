//! `authseal denylist …`, and where the two files that a server needs are made.

use super::configured::{ConfigFile, beside};
use crate::config::Config;
use crate::denylist::Denylist;
use clap::Subcommand;
use std::path::PathBuf;

#[derive(Subcommand)]
pub(super) enum DenylistVerb {
    /// Make an empty denylist; never overwrites
    Init {
        /// Where to [default: the configured `denylist.file`, else denylist beside the configuration]
        file: Option<PathBuf>,
        #[command(flatten)]
        config: ConfigFile,
    },
}

pub(super) fn denylist(verb: &DenylistVerb) -> anyhow::Result<()> {
    let DenylistVerb::Init { file, config } = verb;
    let path = place(file.as_ref(), config, "denylist", |config| Ok(config.denylist))?;
    Denylist::init(&path)?;
    println!("made {}: nothing is denied yet", path.display());
    Ok(())
}

/// Where to make a file: where `named`, else where `configured` finds it. A configuration that is not finished does not
/// stand in the way, since people make these files while they write it: then the file gets its usual name beside it.
pub(super) fn place(
    named: Option<&PathBuf>,
    config: &ConfigFile,
    usual: &str,
    configured: impl FnOnce(Config) -> anyhow::Result<PathBuf>,
) -> anyhow::Result<PathBuf> {
    if let Some(named) = named {
        return Ok(named.clone());
    }
    let sources = config.sources(Vec::new())?;
    let faults = match Config::load(&sources) {
        Ok(config) => return configured(config),
        Err(faults) => faults,
    };
    let path = beside(&sources).join(usual);
    eprintln!("{faults}\nAs it stands it is not used; the file gets its usual place: {}\n", path.display());
    Ok(path)
}
