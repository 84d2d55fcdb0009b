//! Default paths of the files that commands make (keyring, denylist), and temporary folders.

use super::config_args::{ConfigFile, beside};
use crate::config::Config;
use anyhow::Context;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tempfile::TempDir;

/// A folder for what is needed for a moment, this user's alone whatever the umask is.
pub(super) fn scratch() -> anyhow::Result<TempDir> {
    let made = tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir();
    made.context("cannot make a temporary folder")
}

/// Where to make a file: where `named`, else where `configured` finds it. A configuration that is not finished is no
/// obstacle, since operators make these files while they write it: then the file gets its usual name beside it.
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
