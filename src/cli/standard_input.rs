//! An AuthID or revoke code from standard input: never an argument, because other users of the machine can read those.

use anyhow::{Context, bail};
use secrecy::{ExposeSecret, SecretString};
use std::io::{self, IsTerminal, Read};
use std::sync::mpsc;
use std::time::Duration;

/// How long after a line the next one of the same paste comes at the latest.
const PASTED: Duration = Duration::from_millis(100);

/// What is typed or pasted, or all that is piped in.
pub(super) fn read() -> anyhow::Result<SecretString> {
    let mut text = String::new();
    if io::stdin().is_terminal() {
        eprintln!("Paste the AuthID and press Enter:");
        text = typed()?;
    } else {
        io::stdin().take(64 * 1024).read_to_string(&mut text).context("cannot read standard input")?;
    }
    let text = SecretString::from(text);
    if text.expose_secret().trim().is_empty() {
        bail!("nothing came on standard input; pipe the AuthID in");
    }
    Ok(text)
}

/// A line from the terminal, and the lines that came with it: of an AuthID that was pasted with line breaks, the rest
/// would go to the shell.
fn typed() -> anyhow::Result<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || io::stdin().lines().try_for_each(|line| sender.send(line)));
    let mut text = lines.recv().unwrap_or_else(|_| Ok(String::new())).context("cannot read standard input")?;
    while let Ok(Ok(line)) = lines.recv_timeout(PASTED) {
        text = text + "\n" + &line;
    }
    Ok(text)
}
