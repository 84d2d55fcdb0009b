//! The server of this machine that runs from the configuration at hand: what it still has of a file that is gone.

use super::replicas::{Told, ask, own_listener};
use crate::config::Config;
use serde::Deserialize;
use std::fs;
use std::path::PathBuf;

/// What it holds.
pub(super) struct Running {
    /// Its admin listener.
    pub(super) url: String,
    /// The highest epoch of its keyring.
    pub(super) newest: Option<u32>,
    /// How many rules its denylist has.
    pub(super) rules: u64,
}

/// The body of `GET /status`, as far as it matters here.
#[derive(Deserialize)]
struct Status {
    configuration: Option<PathBuf>,
    keyring: Keyring,
    readiness: Readiness,
}

#[derive(Deserialize)]
struct Keyring {
    epochs: Vec<Epoch>,
}

#[derive(Deserialize)]
struct Epoch {
    epoch: u32,
}

#[derive(Deserialize)]
struct Readiness {
    denylist: Denylist,
}

#[derive(Deserialize)]
struct Denylist {
    entries: u64,
}

impl Told for Status {
    const PATH: &'static str = "/status";
    const WHAT: &'static str = "how it does";
}

/// The server that runs from the file that `config` was read from, if it answers at `admin.listen`.
pub(super) fn running(config: &Config) -> Option<Running> {
    let [replica] = &ask::<Status>(&[own_listener(config)?]).ok()?[..] else { return None };
    let status = replica.answer.as_ref().ok()?;
    // Another one of this machine may have the same listener in its configuration.
    let real = |path: &PathBuf| fs::canonicalize(path).ok();
    let is_it = real(config.file.as_ref()?)? == real(status.configuration.as_ref()?)?;
    is_it.then(|| Running {
        url: replica.url.clone(),
        newest: status.keyring.epochs.iter().map(|held| held.epoch).max(),
        rules: status.readiness.denylist.entries,
    })
}
