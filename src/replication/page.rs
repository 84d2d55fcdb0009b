//! What the own denylist says, for a replica that asks: pieces of `length (4, big endian) | sealed changes`, made while
//! they are sent, and read as they come.

use super::sealed::{open, seal, texts};
use super::{Parts, is_needed};
use crate::denylist::Change;
use crate::seal::Keyring;
use crate::store::MAX_BLOB_LEN;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

/// How many pieces wait for a slow reader.
const WAITING: usize = 4;
/// How many changes are sealed together.
const TOGETHER: usize = 10_000;
/// The most bytes of a response: several million rules.
const MAX_BODY: usize = 1024 * 1024 * 1024;

/// A response to a replica.
pub struct Page {
    /// Up to where the denylist is in it.
    pub tag: String,
    /// Its pieces. An error is the end, and a sign that more was to come.
    pub pieces: mpsc::Receiver<Result<Vec<u8>, std::io::Error>>,
}

pub(super) async fn page(parts: Parts, tag: Option<String>) -> Result<Option<Page>, String> {
    let (begun, beginning) = oneshot::channel();
    spawn_blocking(move || {
        let now = parts.clock.now();
        let tail = match parts.denylist.tail(tag.as_deref()) {
            Ok(Some(tail)) => tail,
            Ok(None) => return drop(begun.send(Ok(None))),
            Err(error) => return drop(begun.send(Err(error.to_string()))),
        };
        let (sender, pieces) = mpsc::channel(WAITING);
        if begun.send(Ok(Some(Page { tag: tail.tag().to_owned(), pieces }))).is_err() {
            return;
        }
        let keyring = parts.keyring();
        let mut held = Vec::new();
        let send = |held: &mut Vec<Change>| {
            let sealed = texts(&std::mem::take(held)).into_iter().map(|text| seal(&keyring, &text));
            for sealed in sealed {
                let piece = sealed.map_err(std::io::Error::other).map(|sealed| framed(&sealed));
                if sender.blocking_send(piece).is_err() {
                    return false;
                }
            }
            true
        };
        let read = tail.changes(&parts.denylist.rules(), now, |change| {
            if is_needed(&change, &keyring) {
                held.push(change);
            }
            held.len() < TOGETHER || send(&mut held)
        });
        match read {
            Ok(()) => drop(send(&mut held)),
            Err(error) => drop(sender.blocking_send(Err(std::io::Error::other(error)))),
        }
    });
    beginning.await.unwrap_or_else(|_| Err("the denylist could not be read".to_owned()))
}

/// A sealed text as a piece.
pub(super) fn framed(sealed: &[u8]) -> Vec<u8> {
    let length = u32::try_from(sealed.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], sealed].concat()
}

/// The pieces of a response, read as it comes.
#[derive(Default)]
pub(super) struct Pieces {
    /// What came of the next one.
    begun: Vec<u8>,
    /// How many bytes came in all.
    length: usize,
}

impl Pieces {
    /// The changes in the pieces that are whole with `bytes`; `None` where one does not open or is longer than any, and
    /// for a response without end.
    pub(super) fn take(&mut self, keyring: &Keyring, bytes: &[u8]) -> Option<Vec<Change>> {
        self.length += bytes.len();
        self.begun.extend_from_slice(bytes);
        let (mut changes, mut rest) = (Vec::new(), self.begun.as_slice());
        while let Some((head, behind)) = rest.split_first_chunk::<4>() {
            let size = u32::from_be_bytes(*head) as usize;
            if size > MAX_BLOB_LEN || self.length > MAX_BODY {
                return None;
            }
            let Some((sealed, behind)) = behind.split_at_checked(size) else { break };
            changes.extend(open(keyring, sealed)?);
            rest = behind;
        }
        self.begun = rest.to_vec();
        Some(changes)
    }

    /// Whether the last piece came to its end.
    pub(super) fn are_whole(&self) -> bool {
        self.begun.is_empty()
    }
}
