//! `authseal access …`: the shared password that a login begins with.

use super::UsageError;
use crate::password::hash;
use anyhow::{Context, bail};
use clap::Subcommand;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use std::ffi::OsString;
use std::io::{self, BufRead, IsTerminal, Read};
use zeroize::Zeroizing;

/// The most bytes that are read.
const LIMIT: u64 = 4 * 1024;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Read a password from standard input and print its hash, to be put into the file that `access.password_file` names
    ///
    /// The password is not taken as an argument, because other users of this machine can read those.
    #[command(after_help = "\
Examples:
  authseal access hash > access-password     # asks for the password
  pass show authseal | authseal access hash  # takes it from another program")]
    Hash {
        /// Taken only to be refused without being printed, as it would be if it were unknown.
        #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
        argument: Vec<OsString>,
    },
}

pub(super) fn run(command: &Command) -> anyhow::Result<()> {
    let Command::Hash { argument } = command;
    if !argument.is_empty() {
        let advice = "send the password on standard input; on the command line other users of this machine can read it, and the shell keeps it";
        return Err(UsageError(advice.to_owned()).into());
    }
    let password = read()?;
    println!("{}", hash(&password)?);
    Ok(())
}

/// What is typed, twice the same; or all that is piped in, but for a line break at its end.
fn read() -> anyhow::Result<Zeroizing<String>> {
    if io::stdin().is_terminal() {
        let password = type_unseen("Password: ")?;
        if type_unseen("Once more: ")? != password {
            bail!("these were two different passwords");
        }
        return Ok(password);
    }
    let mut text = Zeroizing::new(String::new());
    io::stdin().take(LIMIT).read_to_string(&mut text).context("cannot read standard input")?;
    Ok(without_line_break(&text))
}

/// Reads a line from the terminal without showing it.
fn type_unseen(prompt: &str) -> anyhow::Result<Zeroizing<String>> {
    let mut input = io::stdin().lock();
    let shown = tcgetattr(&input).context("cannot ask the terminal")?;
    let mut unseen = shown.clone();
    unseen.local_modes.remove(LocalModes::ECHO);
    eprint!("{prompt}");
    tcsetattr(&input, OptionalActions::Flush, &unseen).context("cannot keep the terminal from showing the password")?;
    let mut line = Zeroizing::new(String::new());
    let read = input.by_ref().take(LIMIT).read_line(&mut line);
    let restored = tcsetattr(&input, OptionalActions::Now, &shown);
    eprintln!();
    read.and(restored.map_err(Into::into)).context("cannot read from the terminal")?;
    Ok(without_line_break(&line))
}

fn without_line_break(text: &str) -> Zeroizing<String> {
    let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    Zeroizing::new(line.unwrap_or(text).to_owned())
}
