//! What the own denylist says, for a replica that asks: pieces of `length (4, big endian) | sealed changes`, made while
//! they are sent.

use super::sealed::{seal, texts};
use super::{Parts, is_needed};
use crate::denylist::Change;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

/// How many pieces wait for a slow reader.
const WAITING: usize = 4;
/// How many changes are sealed together.
const TOGETHER: usize = 10_000;

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
                let piece = sealed.map_err(std::io::Error::other).map(|sealed| {
                    let length = u32::try_from(sealed.len()).unwrap_or(u32::MAX);
                    [&length.to_be_bytes()[..], &sealed].concat()
                });
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
