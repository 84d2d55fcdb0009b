//! The configuration in force, and how another one takes its place while the server runs: all of it or nothing.
//!
//! Whoever takes an [`App`] from here keeps it to the end of what they do with it, so that nobody sees two
//! configurations. One that changes a key which needs a restart is refused as a whole: if the rest were taken up, a
//! server would run by what is in no file, and the next restart would change it unasked.

use super::App;
use crate::config::{Changes, Config};
use crate::watch::{self, Reserve};
use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};

/// Reads the configuration from where it was read at the start.
///
/// # Errors
/// All faults, a line each.
pub type Load = dyn Fn() -> Result<Config, Vec<String>> + Send + Sync;

/// The configuration in force.
pub struct LiveApp {
    current: ArcSwap<App>,
    load: Box<Load>,
    /// Held from reading to swapping, so that an older configuration never replaces a newer one. It keeps a descriptor
    /// back for that.
    turn: Mutex<Reserve>,
}

/// What came of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// What was read is in force.
    Applied,
    /// It has faults.
    Refused,
    /// It is good, and something in it needs a restart.
    NeedsRestart,
}

/// The same in detail. Holds no configured value.
#[derive(Debug, Deserialize, Serialize)]
pub struct Verdict {
    /// The same in a word.
    pub outcome: Outcome,
    /// The keys that differ from what was in force, if they could be told.
    pub changed: Vec<String>,
    /// Those of them that need a restart.
    pub needs_restart: Vec<String>,
    /// What is wrong, a line each.
    pub faults: Vec<String>,
    /// What is no fault, but ought to be fixed.
    pub warnings: Vec<String>,
}

impl Outcome {
    /// The kind in a word, for what is counted.
    fn label(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Refused => "refused",
            Self::NeedsRestart => "needs_restart",
        }
    }
}

impl From<App> for LiveApp {
    /// One whose configuration stays, since there is nothing to read it from again.
    fn from(app: App) -> Self {
        Self::new(app, Box::new(|| Err(vec!["this server was started without a configuration to read again".into()])))
    }
}

impl LiveApp {
    /// Begins with what was built from the first configuration.
    pub fn new(app: App, load: Box<Load>) -> Self {
        Self { current: ArcSwap::from_pointee(app), load, turn: Mutex::default() }
    }

    /// What is in force now.
    pub fn load(&self) -> Arc<App> {
        self.current.load_full()
    }

    /// Reads the configuration again, and every followed file. Takes as long as the disk does.
    pub fn reload(&self) -> Verdict {
        let mut reserve = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let app = self.load();
        app.watch.reload_all();
        let verdict = reserve.lend(|| self.attempt(&app));
        app.meter.reloaded(verdict.outcome.label());
        app.health.reloaded(verdict.outcome == Outcome::Applied);
        let Verdict { outcome, changed, needs_restart, faults, warnings } = &verdict;
        match outcome {
            Outcome::Applied => {
                warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                tracing::info!(?changed, "configuration reloaded");
            }
            Outcome::Refused => {
                tracing::error!(?faults, "configuration not reloaded; the one loaded before stays in force");
            }
            Outcome::NeedsRestart => tracing::error!(
                ?needs_restart,
                "configuration not reloaded, since something in it needs a restart; the one loaded before stays in force"
            ),
        }
        verdict
    }

    fn attempt(&self, app: &App) -> Verdict {
        let refused = |faults| Verdict {
            outcome: Outcome::Refused,
            changed: Vec::new(),
            needs_restart: Vec::new(),
            faults,
            warnings: Vec::new(),
        };
        let config = match (self.load)() {
            Ok(config) => config,
            Err(faults) => return refused(faults),
        };
        let changes = app.keys.changes(&config.keys);
        let mut warnings = config.warnings.clone();
        warnings.extend(config.inputs().filter_map(watch::detached));
        let repaired = changes.concern_calls();
        let Changes { mut reloaded, restart } = changes;
        if !restart.is_empty() {
            reloaded.extend(restart.iter().cloned());
            let (outcome, faults) = (Outcome::NeedsRestart, Vec::new());
            return Verdict { outcome, changed: reloaded, needs_restart: restart, faults, warnings };
        }
        match app.with(config, repaired) {
            Ok(new) => self.current.store(Arc::new(new)),
            Err(error) => return refused(error.0),
        }
        Verdict { outcome: Outcome::Applied, changed: reloaded, needs_restart: restart, faults: Vec::new(), warnings }
    }
}
