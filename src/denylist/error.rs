//! Why a denylist cannot be read, made or changed, with the faulty lines of its text. A revocation that did not reach the
//! disk is another matter: [`NotDurable`](super::NotDurable).

use super::rule::LineError;
use crate::files::Unread;
use std::fmt;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why there is no denylist.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "each message is its variant's description")]
pub enum DenylistError {
    #[error(
        "there is no denylist {0}; make one with `authseal denylist init`, or if there was one, put it back: without it, revoked AuthIDs would work again"
    )]
    Missing(PathBuf),
    #[error("the denylist {0}: {1}")]
    Unread(PathBuf, Unread),
    #[error("the denylist {0} has faults:\n{1}")]
    Faulty(PathBuf, FaultyLines),
    #[error("there is a denylist {0} already; it stays as it is")]
    Exists(PathBuf),
    #[error(
        "there is no denylist {0}, and `denylist.create` makes one in an empty folder alone, since here there may have been one: put it back, or make one with `authseal denylist init`; on a first start, name a file in a folder of its own as `denylist.file`"
    )]
    NotFirst(PathBuf),
    #[error("the denylist {0} cannot be made: {1}")]
    NotMade(PathBuf, io::Error),
    #[error(
        "the denylist {0} cannot be changed: {1}. If it is a copy that is distributed (a Kubernetes config map, a file from configuration management), change the original"
    )]
    NotChanged(PathBuf, io::Error),
}

/// A faulty line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultyLine {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub wrong: LineError,
}

/// All that is wrong with a denylist.
#[derive(Debug, Default)]
pub struct FaultyLines {
    /// The first twenty.
    pub first: Vec<FaultyLine>,
    /// How many more there are.
    pub more: usize,
}

impl fmt::Display for FaultyLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, FaultyLine { line, wrong }) in self.first.iter().enumerate() {
            write!(f, "{}line {line}: {wrong}", if i == 0 { "" } else { "\n" })?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\nand {more} more faulty lines"),
        }
    }
}
