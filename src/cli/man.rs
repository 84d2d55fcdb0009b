//! `authseal man …`: the manual pages, made of the same words as the help. The generator would fill the examples like prose
//! and part their words, so they are put behind what it makes, as they are.

use super::Cli;
use anyhow::Context;
use clap::builder::Resettable;
use clap::{Args, Command, CommandFactory};
use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Everybody may read them.
const MODE: u32 = 0o644;

pub(super) const EXAMPLES: &str = "\
Examples:
  authseal man ~/.local/share/man/man1       # then `man authseal-serve`";

#[derive(Args)]
pub(super) struct Man {
    /// Folder for the pages; made if there is none
    folder: PathBuf,
}

pub(super) fn man(man: &Man) -> anyhow::Result<()> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let written = fs::create_dir_all(&man.folder).and_then(|()| write(command, &man.folder));
    written.with_context(|| format!("cannot write the manual pages to {}", man.folder.display()))
}

fn write(command: Command, folder: &Path) -> io::Result<()> {
    for command in command.get_subcommands() {
        write(command.clone(), folder)?;
    }
    let more = command.get_after_help().map(ToString::to_string);
    let page = clap_mangen::Man::new(command.after_help(Resettable::Reset));
    let page = page.source(concat!("authseal ", env!("CARGO_PKG_VERSION"))).manual("authseal");
    let mut text = Vec::new();
    page.render(&mut text)?;
    if let Some(more) = more {
        text.extend(format!(".SH NOTES\n.nf\n{}\n.fi\n", escaped(&more)).into_bytes());
    }
    // Written aside: a link in the page's place is replaced and leads nobody elsewhere.
    let mut file = tempfile::Builder::new().permissions(Permissions::from_mode(MODE)).tempfile_in(folder)?;
    file.write_all(&text)?;
    file.persist(folder.join(page.get_filename()))?;
    Ok(())
}

/// Text that means itself to roff.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let line = |line: &str| if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
