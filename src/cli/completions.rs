//! `authseal completions …`: completion scripts for shells.

use super::Cli;
use anyhow::Context;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::io::{self, Write};

pub(super) const EXAMPLES: &str = "\
Examples:
  authseal completions bash \\
      > ~/.local/share/bash-completion/completions/authseal
  authseal completions zsh > ~/.zfunc/_authseal  # a folder of `fpath`
  authseal completions fish > ~/.config/fish/completions/authseal.fish";

#[derive(Args)]
pub(super) struct Completions {
    /// Shell to complete for
    shell: Shell,
}

pub(super) fn completions(completions: &Completions) -> anyhow::Result<()> {
    // Into memory first: the generator panics when nobody reads on.
    let mut script = Vec::new();
    clap_complete::generate(completions.shell, &mut Cli::command(), "authseal", &mut script);
    io::stdout().write_all(&script).context("cannot write the completions")
}
