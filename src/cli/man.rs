//! `authseal man …`: the manual pages, made from the same words as the help.

use super::Cli;
use anyhow::Context;
use clap::{Args, CommandFactory};
use std::fs;
use std::path::PathBuf;

pub(super) const EXAMPLES: &str = "\
Examples:
  authseal man ~/.local/share/man/man1       # then `man authseal-serve`";

#[derive(Args)]
pub(super) struct Man {
    /// Folder for the pages; made if there is none
    folder: PathBuf,
}

pub(super) fn man(man: &Man) -> anyhow::Result<()> {
    let write = || {
        fs::create_dir_all(&man.folder)?;
        clap_mangen::generate_to(Cli::command(), &man.folder)
    };
    write().with_context(|| format!("cannot write the manual pages to {}", man.folder.display()))
}
