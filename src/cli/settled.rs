//! The end of a command that may have asked a provider with a refresh token that works once. The answer may hold the only
//! one that works from then on, so it is waited for, also by a command that is told to end.

use crate::tokens::TokenService;
use anyhow::anyhow;
use std::future::pending;
use std::io::{self, Write};
use std::pin::pin;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// As long as such a call takes.
const PATIENCE: Duration = Duration::from_secs(120);
/// After this time it is told what is waited for.
const SOON: Duration = Duration::from_secs(1);

/// Does work until a signal ends it, and waits for the providers that were asked.
pub(super) async fn settled<T>(
    tokens: &TokenService,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let done = tokio::select! {
        done = work => done,
        () = told_to_end() => Err(anyhow!("interrupted")),
    };
    let mut settled = pin!(tokens.settle(PATIENCE));
    if timeout(SOON, &mut settled).await.is_err() {
        // The terminal may be gone.
        let _ = writeln!(
            io::stderr(),
            "the storage provider has not answered yet; it is waited for, since its answer may hold the only refresh token \
             of this login that works"
        );
        settled.await;
    }
    done
}

/// Until a signal says so. From then on none ends the process by itself.
async fn told_to_end() {
    let told = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => pending().await,
        }
    };
    tokio::select! {
        () = told(SignalKind::interrupt()) => {}
        () = told(SignalKind::terminate()) => {}
        () = told(SignalKind::hangup()) => {}
    }
}
