//! Where a configuration comes from: which file, which variables, which flags. Reads the outer world, judges nothing
//! but whether a text could be read at all.

use super::error::{ConfigErrors, Place};
use super::lines::{Lines, Unparsed, lines, parse_toml};
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
const PREFIX: &str = "AUTHSEAL_";
/// The variable that names the configuration file where the command line does not.
const CONFIG: &str = "AUTHSEAL_CONFIG";

/// Where values of a text were set that was made in memory.
const MADE: &str = "the settings that were taken over";

/// What a configuration is read from.
#[derive(Clone, Default)]
pub struct Sources {
    /// The file named on the command line or in `AUTHSEAL_CONFIG`; it must exist.
    pub file: Option<PathBuf>,
    /// The text of a configuration that takes the place of every file: it was made in memory, from other settings.
    pub text: Option<Zeroizing<String>>,
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
        let named = || std::env::var_os(CONFIG).filter(|name| !name.is_empty()).map(PathBuf::from);
        Ok(Self {
            file: file.or_else(named),
            text: None,
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
            (!injected && name != CONFIG).then(|| (name.as_str(), path(), value.as_str()))
        };
        let mut variables: Vec<_> = self.env.iter().filter_map(ours).collect();
        variables.sort();
        variables
    }

    /// Where a configuration file is looked for, in this order.
    pub(super) fn candidates(&self) -> Vec<PathBuf> {
        match &self.file {
            Some(named) => vec![self.working_dir.join(named)],
            None => vec![self.working_dir.join(FILE_NAME), self.system_file.clone()],
        }
    }

    /// The configuration file; `None` when there is none. One in the working directory must be root's or the caller's
    /// own, as root may be in the folder of somebody who wants to mislead them. It is an error if it is not: to pass over
    /// it would have another file in force than the one that is seen there.
    pub(super) fn read_file(&self) -> Result<Option<Found>, ConfigErrors> {
        if let Some(text) = &self.text {
            let parsed = parse_toml(text).map_err(|Unparsed { line, sentence }| {
                let mut faults = ConfigErrors::default();
                faults.add(MADE, &Place::in_line(line), sentence);
                faults
            })?;
            return Ok(Some(Found { path: None, everybody_reads: false, dict: parsed, lines: Lines::new() }));
        }
        let here = self.working_dir.join(FILE_NAME);
        for path in self.candidates() {
            let fault = |place: Place, sentence: String| {
                let mut faults = ConfigErrors::default();
                faults.add(&path.display().to_string(), &place, sentence);
                faults
            };
            let (text, metadata) = match read(&path) {
                Ok(read) => read,
                Err(Unread::Missing) if self.file.is_none() => continue,
                Err(Unread::Missing) => {
                    let folder = path.parent().unwrap_or(Path::new("/")).display().to_string();
                    let advice = format!("does not exist; `authseal init --dir {folder}` writes a first one");
                    return Err(fault(self.named_in(), advice));
                }
                Err(error) => return Err(fault(self.named_in(), format!("cannot be used: {error}"))),
            };
            if self.file.is_none() && path == here {
                files::trust_found(&path, &metadata).map_err(|error| {
                    fault(
                        Place::default(),
                        format!(
                            "is not used, though it is in the working directory: {error}; or name it with `--config`"
                        ),
                    )
                })?;
            }
            let everybody_reads = metadata.is_file() && metadata.mode() & 0o004 != 0;
            let dict =
                parse_toml(&text).map_err(|Unparsed { line, sentence }| fault(Place::in_line(line), sentence))?;
            return Ok(Some(Found { path: Some(path), everybody_reads, dict, lines: lines(&text) }));
        }
        Ok(None)
    }

    /// Where the file is named, if that is not the command line.
    fn named_in(&self) -> Place {
        let here = |(name, value): &(String, String)| name == CONFIG && self.file.as_deref() == Some(Path::new(value));
        let origin = if self.env.iter().any(here) { format!("in {CONFIG}") } else { String::new() };
        Place { origin, line: None }
    }
}

/// A configuration file that was found.
pub(super) struct Found {
    /// `None` for a text that was made in memory.
    pub(super) path: Option<PathBuf>,
    /// Whether every user of this machine can read it.
    pub(super) everybody_reads: bool,
    pub(super) dict: Dict,
    pub(super) lines: Lines,
}

impl Found {
    /// Where its values were set.
    pub(super) fn metadata(&self) -> figment::Metadata {
        match &self.path {
            Some(path) => figment::Metadata::from(format!("in {}", path.display()), path.as_path()),
            None => figment::Metadata::named(format!("in {MADE}")),
        }
    }
}

/// Reads a configuration file. It may be a pipe where the caller hands that over as an open descriptor, as shells do for
/// `--config <(…)`: nobody else can have put it there, and waiting for its writer is what the caller wants.
fn read(path: &Path) -> Result<(Zeroizing<String>, Metadata), Unread> {
    let handed_over = ["/dev/fd", "/dev/stdin", "/proc/self/fd"].iter().any(|place| path.starts_with(place));
    // A shell may hand over a file that has no name any more.
    let is_named = || fs::metadata(path).map(|found| found.is_file() && found.nlink() > 0);
    if !handed_over || is_named()? {
        return files::read_text(path, FILE_LIMIT, Readers::All);
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let mut text = Zeroizing::new(String::new());
    file.take(FILE_LIMIT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_LIMIT { Err(Unread::TooLong(FILE_LIMIT)) } else { Ok((text, metadata)) }
}
