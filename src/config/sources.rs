//! Where a configuration comes from: which file, which variables, which flags. Reads the outer world, judges nothing
//! but whether a text could be read at all.

use super::Faults;
use crate::clock::{Clock, UnixTime};
use figment::value::Dict;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The most bytes that a configuration file may have.
const FILE_LIMIT: u64 = 1024 * 1024;
/// The file that is looked for in the working directory.
const FILE_NAME: &str = "authseal.toml";
/// The prefix of our environment variables.
const PREFIX: &str = "AUTHSEAL_";

/// What users of this machine who are neither a file's owner nor of its group may do with it, at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Others {
    #[default]
    Nothing,
    Read,
    Write,
}

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

    /// The configuration file, whom it is open to and what it says; `None` when there is none.
    pub(super) fn read_file(&self) -> Result<Option<(PathBuf, Others, Dict)>, Faults> {
        let candidates = match &self.file {
            Some(file) => vec![self.working_dir.join(file)],
            None => vec![self.working_dir.join(FILE_NAME), self.system_file.clone()],
        };
        for path in candidates {
            let fault = |sentence: String| {
                let mut faults = Faults::default();
                faults.add(&path.display().to_string(), "", sentence);
                faults
            };
            match read_text(&path, FILE_LIMIT) {
                Ok((text, others)) => {
                    let dict = parse_toml(&text).map_err(fault)?;
                    return Ok(Some((path, others, dict)));
                }
                Err(error) if error.kind() == ErrorKind::NotFound && self.file.is_none() => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Err(fault("does not exist; copy the example `config/authseal.toml` there".to_owned()));
                }
                Err(error) => return Err(fault(format!("cannot be read: {error}"))),
            }
        }
        Ok(None)
    }
}

/// The text of a small file, and whom the file is open to.
///
/// # Errors
/// Also for more than `limit` bytes, and for what is not UTF-8.
pub(super) fn read_text(path: &Path, limit: u64) -> io::Result<(Zeroizing<String>, Others)> {
    let file = File::open(path)?;
    let others = match file.metadata()?.permissions().mode() {
        mode if mode & 0o002 != 0 => Others::Write,
        mode if mode & 0o004 != 0 => Others::Read,
        _ => Others::Nothing,
    };
    let mut text = Zeroizing::new(String::new());
    file.take(limit + 1).read_to_string(&mut text)?;
    match text.len() as u64 {
        size if size > limit => Err(io::Error::other(format!("it is larger than {limit} bytes"))),
        _ => Ok((text, others)),
    }
}

/// Parses TOML. The error names the line but does not quote it: it may hold a secret.
pub(super) fn parse_toml(text: &str) -> Result<Dict, String> {
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let line = 1 + text.get(..start).unwrap_or_default().matches('\n').count();
        if error.message().starts_with("duplicate key") {
            return format!("gives a key or a table a second time in line {line}; keep one");
        }
        format!("is not valid TOML near line {line}; text stands in \"quotes\", a table's name in [brackets]")
    })
}
