//! What must hold of what replicas tell each other, whatever comes; see `crate::fuzzing`.

#![allow(clippy::unwrap_used, reason = "what cannot fail here and does is a finding")]

use super::page::{Pieces, framed};
use super::sealed::{MAX_TEXT, open, seal, texts};
use crate::denylist::Change;
use crate::fuzzing::{KEYRING, lossy};

/// A text that opens is its lines that are changes, each of which is written as it is read; nothing opens that was not
/// sealed, or was changed.
pub(crate) fn changes(data: &[u8]) {
    assert_eq!(open(&KEYRING, data), None);
    let text = lossy(data);
    let told: Vec<Change> = text.lines().filter_map(Change::parse).collect();
    for change in &told {
        assert_eq!(Change::parse(&change.to_string()).as_ref(), Some(change));
    }
    let written = texts(&told);
    assert!(written.iter().all(|text| !text.is_empty() && text.len() <= MAX_TEXT));
    assert!(written.iter().flat_map(|text| text.lines()).filter_map(Change::parse).eq(told.iter().cloned()));
    let mut sealed = seal(&KEYRING, &text).unwrap();
    assert_eq!(open(&KEYRING, &sealed).as_ref(), Some(&told));
    let [high, low, bit, ..] = *data else { return };
    let at = usize::from(u16::from_be_bytes([high, low])) % sealed.len();
    sealed[at] ^= 1 << (bit % 8);
    assert_eq!(open(&KEYRING, &sealed), None);
}

/// The first byte is after how many bytes a response is cut into parts, the second what becomes of it; the rest are
/// texts, a zero between them. However it is cut, what comes of it is the same, and nothing comes of what was changed.
pub(crate) fn pieces(data: &[u8]) {
    let [cut, change, rest @ ..] = data else { return };
    let (cut, seen) = (1 + usize::from(*cut), lossy(rest));
    let all: Vec<Vec<u8>> = seen.split('\0').map(|text| framed(&seal(&KEYRING, text).unwrap())).collect();
    let told: Vec<Change> = seen.split('\0').flat_map(str::lines).filter_map(Change::parse).collect();
    let mut response = all.concat();
    let at = (usize::from(*change) * 97) % response.len();
    match change % 4 {
        0 => assert_eq!(read(&response, cut), (Some(told), true)),
        1 => {
            response.truncate(at);
            let (found, whole) = read(&response, cut);
            let found = found.unwrap();
            assert!(told.starts_with(&found));
            let ends = all.iter().scan(0, |end, piece| Some(std::mem::replace(end, *end + piece.len())));
            assert_eq!(whole, ends.into_iter().any(|end| end == at));
        }
        2 => {
            response[at] ^= 1 << (change / 4 % 8);
            let (found, whole) = read(&response, cut);
            assert!(found.is_none() || !whole, "a response that was changed is taken for a whole one");
        }
        _ => {
            let found = read(rest, cut);
            assert_eq!(found, read(rest, rest.len().max(1)));
            assert!(found.0.is_none_or(|found| found.is_empty()));
        }
    }
}

/// What comes of a response that arrives in parts of `cut` bytes, and whether it came to its end.
fn read(response: &[u8], cut: usize) -> (Option<Vec<Change>>, bool) {
    let (mut pieces, mut told) = (Pieces::default(), Vec::new());
    for part in response.chunks(cut) {
        match pieces.take(&KEYRING, part) {
            Some(more) => told.extend(more),
            None => return (None, false),
        }
    }
    (Some(told), pieces.are_whole())
}
