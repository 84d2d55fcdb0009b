//! `authseal check --online`: connectivity to the providers' hosts and the state store, and clock skew by the hosts'
//! responses.

use crate::app::App;
use crate::provider::{Probe, ProbeError};
use crate::store::Shelf;
use serde::Serialize;
use std::fmt;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// For everything together: as long as somebody at a terminal waits without wondering.
const PATIENCE: Duration = Duration::from_secs(9);
/// From how many seconds on a clock is said to be off. An access token lives an hour, and a host's own clock may be off
/// by some seconds.
const CLOCK: i64 = 60;

/// What came of one question.
#[derive(Serialize)]
pub(super) struct Finding {
    /// What it is about.
    about: String,
    pub(super) state: State,
    /// What is wrong and what to do, unless all is well.
    says: Option<String>,
}

/// How well it is.
#[derive(PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Ok,
    /// It ought to be fixed.
    Warning,
    /// Backups fail without it.
    Failed,
}

/// Asks everything at once.
pub(super) async fn look(app: &App) -> Vec<Finding> {
    let deadline = Instant::now() + PATIENCE;
    let (visits, mut findings) = tokio::join!(app.visit_providers(deadline), of_store(app, deadline));
    findings.extend(of_clock(&visits));
    findings.extend(visits.iter().map(of_visit));
    findings
}

fn of_visit(visit: &Probe) -> Finding {
    let about = format!("{} {}", visit.provider, visit.place);
    match &visit.outcome {
        Ok(_) => Finding { about, state: State::Ok, says: None },
        Err(trouble) if visit.essential => Finding { about, state: State::Failed, says: Some(trouble.to_string()) },
        Err(trouble @ (ProbeError::Document(_) | ProbeError::OtherAuth(_) | ProbeError::EarlierSecretRefused(..))) => {
            Finding { about, state: State::Warning, says: Some(trouble.to_string()) }
        }
        Err(trouble) => {
            let says = format!("{trouble} Backups go on without it; logins or revoking may not");
            Finding { about, state: State::Warning, says: Some(says) }
        }
    }
}

/// Our own clock is off if no host agrees with it: one that does not may be off itself.
fn of_clock(visits: &[Probe]) -> Option<Finding> {
    let told = visits.iter().filter_map(|visit| visit.outcome.as_ref().ok().copied().flatten());
    let off = told.min_by_key(|off| off.abs())?;
    let side = if off > 0 { "behind" } else { "ahead of" };
    let says = (off.abs() > CLOCK).then(|| {
        let off = off.abs();
        format!("this machine's is {off} seconds {side} that of the providers; set it, and keep it right with NTP")
    });
    let state = if says.is_some() { State::Warning } else { State::Ok };
    Some(Finding { about: "clock".to_owned(), state, says })
}

/// Memory needs not be asked.
async fn of_store(app: &App, deadline: Instant) -> Vec<Finding> {
    let store = app.store();
    if !store.is_durable() {
        return Vec::new();
    }
    let about = || format!("state store, {}", store.name());
    // Nothing has this name; that it is not there is an answer.
    let asked = timeout_at(deadline, async {
        store.read(Shelf::Mailbox, &[0; 32]).await?;
        // In a folder it would be a file of whoever runs this.
        if store.is_shared() {
            store.put(Shelf::Mailbox, &[0; 32], b"check", Duration::from_secs(1)).await?;
        }
        store.advice().await
    });
    let failed = |why: &str| {
        let tls = if matches!(store.name(), "Redis") {
            " (`rediss://` for a port that speaks TLS, else `redis://`)"
        } else {
            ""
        };
        let says = format!("is of no use now: {why}; is it running, and is state.store right{tls}?");
        vec![Finding { about: about(), state: State::Failed, says: Some(says) }]
    };
    match asked.await {
        Err(_) => failed("it does not answer in time"),
        Ok(Err(error)) => failed(&error.to_string()),
        Ok(Ok(advice)) if advice.is_empty() => vec![Finding { about: about(), state: State::Ok, says: None }],
        Ok(Ok(advice)) => {
            let warning = |says| Finding { about: about(), state: State::Warning, says: Some(says) };
            advice.into_iter().map(warning).collect()
        }
    }
}

impl fmt::Display for Finding {
    /// For people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { about, state, says } = self;
        let word = match state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Failed => "failed",
        };
        write!(f, "{about}: {word}")?;
        says.iter().try_for_each(|says| write!(f, ", {says}"))
    }
}
