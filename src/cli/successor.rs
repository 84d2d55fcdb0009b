//! An upgrade without a gap (SIGUSR2): this process starts the program that is at its own path now, with its own
//! arguments, and hands it its sockets. Both have them, so no client is refused; a successor that does not come to serve
//! is given up, and nothing has changed.

use crate::socket::{READY, Sockets};
use anyhow::{Context, bail};
use command_fds::{CommandFdExt, FdMapping};
use std::env;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long it may take until it serves.
const PATIENCE: Duration = Duration::from_secs(10);
/// The first descriptor that is handed over (sd_listen_fds(3)).
const FIRST: i32 = 3;

/// Starts it, and waits until it serves. It is killed if this is dropped before.
///
/// # Errors
/// Why it does not.
pub(super) async fn start(sockets: &Sockets) -> anyhow::Result<Child> {
    let (ours, its) = UnixDatagram::pair()?;
    ours.set_nonblocking(true)?;
    let ours = tokio::net::UnixDatagram::from_std(ours)?;
    let (names, handed) = sockets.with(its)?;
    let mappings = (FIRST..).zip(handed).map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd });

    let mut words = env::args_os();
    // By the word that this one was started by: a path, which may lead to another file now, or a name to be looked up.
    let mut command = Command::new(words.next().context("this process has no name")?);
    command.args(words).kill_on_drop(true).fd_mappings(mappings.collect())?;
    command.env("LISTEN_FDS", names.len().to_string()).env("LISTEN_FDNAMES", names.join(":"));
    // Whose number is in them is another one's.
    for variable in ["LISTEN_PID", "WATCHDOG_PID", "LISTEN_PIDFDID"] {
        command.env_remove(variable);
    }
    let mut child = command.spawn()?;
    drop(command);
    let mut said = [0; READY.len()];
    let outcome = timeout(PATIENCE, async {
        tokio::select! {
            said = ours.recv(&mut said) => said.map(|_| None),
            ended = child.wait() => ended.map(Some),
        }
    })
    .await;
    match outcome {
        Ok(Ok(None)) if said == READY => Ok(child),
        Ok(Ok(Some(status))) => bail!("it ended: {status}"),
        Ok(said) => bail!("it said something else: {said:?}"),
        Err(_) => {
            child.kill().await?;
            bail!("it was not ready after {} seconds, and is killed", PATIENCE.as_secs())
        }
    }
}
