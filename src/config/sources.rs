//! Where a configuration comes from: which file, which variables, which flags. Reads the outer world, judges nothing
//! but whether a text could be read at all.

use super::Faults;
use crate::clock::{Clock, UnixTime};
use crate::files::{self, Readers, Unread};
use figment::value::Dict;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The most bytes that a configuration file may have.
pub const FILE_LIMIT: u64 = 1024 * 1024;
/// The file that is looked for in the working directory.
const FILE_NAME: &str = "authseal.toml";
/// The prefix of our environment variables.
pub(super) const PREFIX: &str = "AUTHSEAL_";

/// What a configuration is read from.
#[derive(Clone, Default)]
pub struct Sources {
    /// The file named on the command line; it must exist.
    pub file: Option<PathBuf>,
    /// Where `authseal.toml` is looked for, and where relative paths from environment and command line start.
    pub working_dir: PathBuf,
    /// The file that is read when neither of the above is there.
    pub system_file: PathBuf,
    /// Environment variables, ours and others.
    pub env: Vec<(String, String)>,
    /// Flags: a key with dots (`log.level`) and its value as text.
    pub flags: Vec<(String, String)>,
    /// When it is read: what ends soon is warned of.
    pub now: UnixTime,
}

impl Sources {
    /// The sources of this process, with what its command line gave.
    ///
    /// # Errors
    /// When the working directory is gone.
    pub fn of_process(file: Option<PathBuf>, flags: Vec<(String, String)>) -> io::Result<Self> {
        // What is not UTF-8 gets replacement characters here, which the check of values refuses with the key's name.
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Ok(Self {
            file,
            working_dir: std::env::current_dir()?,
            system_file: PathBuf::from("/etc/authseal/authseal.toml"),
            env: std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect(),
            flags,
            now: Clock::system().now(),
        })
    }

    /// Our variables as (name, path of the key, value), sorted by name. Kubernetes injects `AUTHSEAL_SERVICE_HOST`,
    /// `AUTHSEAL_PORT` and their like for a Service named authseal; those are left out.
    pub(super) fn variables<'s>(&'s self) -> Vec<(&'s str, Vec<String>, &'s str)> {
        let ours = |(name, value): &'s (String, String)| {
            let key = name.strip_prefix(PREFIX)?;
            let injected = key.starts_with("SERVICE_") || key == "PORT" || key.starts_with("PORT_");
            let path = || key.split("__").map(str::to_ascii_lowercase).collect();
            (!injected).then(|| (name.as_str(), path(), value.as_str()))
        };
        let mut variables: Vec<_> = self.env.iter().filter_map(ours).collect();
        variables.sort();
        variables
    }

    /// The configuration file, whether every user of this machine can read it, and what it says; `None` when there is
    /// none. In the working directory it counts only if it is root's or the caller's own: root may stand in the folder of
    /// somebody who would like to lead him. Passing over it would be worse, since then another file is in force than the
    /// one that is seen there.
    pub(super) fn read_file(&self) -> Result<Option<(PathBuf, bool, Dict)>, Faults> {
        let (named, here) =
            (self.file.as_ref().map(|file| self.working_dir.join(file)), self.working_dir.join(FILE_NAME));
        let candidates = match &named {
            Some(named) => vec![named],
            None => vec![&here, &self.system_file],
        };
        for path in candidates {
            let fault = |sentence: String| {
                let mut faults = Faults::default();
                faults.add(&path.display().to_string(), "", sentence);
                faults
            };
            let (text, metadata) = match read(path) {
                Ok(read) => read,
                Err(Unread::Missing) if named.is_none() => continue,
                Err(Unread::Missing) => {
                    return Err(fault("does not exist; copy the example `config/authseal.toml` there".to_owned()));
                }
                Err(error) => return Err(fault(format!("cannot be used: {error}"))),
            };
            if named.is_none() && *path == here {
                files::trust_found(path, &metadata).map_err(|error| {
                    fault(format!(
                        "is not used, though it is in the working directory: {error}; or name it with `--config`"
                    ))
                })?;
            }
            let everybody_reads = metadata.is_file() && metadata.mode() & 0o004 != 0;
            return Ok(Some((path.clone(), everybody_reads, parse_toml(&text).map_err(fault)?)));
        }
        Ok(None)
    }
}

/// Reads a configuration file. It may be a pipe where the caller hands that over as an open descriptor, as shells do for
/// `--config <(…)`: nobody else can have put it there, and waiting for its writer is what the caller wants.
fn read(path: &Path) -> Result<(Zeroizing<String>, Metadata), Unread> {
    let handed_over = ["/dev/fd", "/dev/stdin", "/proc/self/fd"].iter().any(|place| path.starts_with(place));
    if !handed_over || fs::metadata(path)?.is_file() {
        return files::read_text(path, FILE_LIMIT, Readers::All);
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let mut text = Zeroizing::new(String::new());
    file.take(FILE_LIMIT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_LIMIT { Err(Unread::TooLong(FILE_LIMIT)) } else { Ok((text, metadata)) }
}

/// Parses TOML. The error names the line but does not quote it: it may hold a secret.
pub(super) fn parse_toml(text: &str) -> Result<Dict, String> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = 1 + text.get(..start).unwrap_or_default().matches('\n').count();
        // The second: onto a table that is closed already, or a value.
        if ["duplicate key", "attempted to extend"].iter().any(|words| error.message().contains(words)) {
            return format!("gives a key or a table a second time in line {line}; keep one");
        }
        if text.lines().nth(line - 1).is_some_and(|line| line.contains('\\')) {
            return format!(
                "has a backslash in \"quotes\" in line {line}, where it begins an escape; put the text in 'single quotes', and \
                write paths with /"
            );
        }
        format!("is not valid TOML near line {line}; text stands in \"quotes\", a table's name in [brackets]")
    })
}
