//! What must hold of AuthIDs, whatever text comes; see `crate::fuzzing`.

#![allow(clippy::unwrap_used, reason = "what cannot fail here and does is a finding")]

use super::{AuthId, Envelope, Grant, MAX_LEN, RevokeCode, ServiceId, seal, strip, tidy};
use crate::fuzzing::{KEYRING, changed, lossy};
use secrecy::ExposeSecret;

/// What a pasted text may hold anywhere and no AuthID does; a backslash only ahead of what makes no escape of it.
const DROPPED: [&str; 8] = [" ", "\n", "\r\n", "\u{200b}", "\"", ">", "\u{ad}", "\u{a0}"];

/// There is one spelling of each AuthID; what opens was sealed by this keyring and opens in no other spelling.
pub(crate) fn authid(data: &[u8]) {
    let text = lossy(data);
    if let Ok(envelope) = Envelope::parse(&text) {
        assert_eq!(spelled(&envelope), text.trim_ascii().replace("%3A", ":").replace("%3a", ":"));
        if envelope.open(&KEYRING).is_ok() {
            stays_shut(&spelled(&envelope), data);
        }
    }
    let Ok(grant) = Grant::new(ServiceId::parse("box.com").unwrap(), text.as_str().into(), 1_795_428_000) else {
        return;
    };
    let Ok(authid) = seal(KEYRING.primary(), &grant) else {
        assert!(text.is_empty() || grant.to_json().len() > 4000, "a token of {} bytes is not sealed", text.len());
        return;
    };
    assert!(authid.expose().len() <= MAX_LEN);
    let envelope = Envelope::parse(authid.expose()).unwrap();
    assert_eq!(spelled(&envelope), authid.expose());
    let opened = envelope.open(&KEYRING).unwrap();
    assert_eq!(opened.refresh_token.expose_secret(), text);
    assert_eq!((&opened.service, opened.id), (&grant.service, grant.id));
    assert_eq!(opened.to_json(), grant.to_json());
    stays_shut(authid.expose(), data);
}

/// The plaintext of an AuthID: what is read is written in one way, and that is read as the same.
pub(crate) fn authid_content(data: &[u8]) {
    let named = || (ServiceId::parse("box.com").unwrap(), super::GrantId::new([1; 16]));
    let (service, id) = named();
    let Some(grant) = Grant::from_json(data, service, id) else { return };
    assert!(!grant.refresh_token.expose_secret().is_empty());
    let written = grant.to_json();
    let (service, id) = named();
    assert_eq!(Grant::from_json(&written, service, id).unwrap().to_json(), written);
}

/// Reading what people paste never makes a text longer, never reads a clean one differently, and finds an AuthID with
/// dirt of any kind at any place of it. The first bytes choose the dirt, two for each piece.
pub(crate) fn pasted(data: &[u8]) {
    let text = lossy(data);
    assert!(strip(&text).len() <= text.len() && tidy(&text).len() <= text.len());
    let (strict, found) = (Envelope::parse(&text), Envelope::find(&text));
    if let Ok(strict) = &strict {
        assert_eq!(found.as_ref().ok().map(spelled), Some(spelled(strict)));
    }
    if let Ok(found) = &found {
        assert_eq!(Envelope::parse(&spelled(found)).ok().map(|again| spelled(&again)), Some(spelled(found)));
    }
    if let Some(code) = RevokeCode::find(&text) {
        assert!(RevokeCode::parse(code.encode().expose_secret()).is_some_and(|again| again.grant == code.grant));
    }
    if let Some(code) = RevokeCode::parse(&text) {
        assert_eq!(code.encode().expose_secret(), text.trim_ascii());
        let again = RevokeCode::new(KEYRING.primary(), &code.service, code.grant);
        assert_eq!(again.check(&KEYRING), Ok(()));
    }
    let clean = "v3:box.com:12:AAAAAAAAAAAAAAAAAAAAAAAA-BBBB_BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB--CCCCCCCCCCC";
    let mut dirty = clean.to_owned();
    for piece in data.chunks_exact(2).take(32) {
        let at = usize::from(piece[0]) % (dirty.len() + 1);
        if dirty.is_char_boundary(at) {
            dirty.insert_str(at, DROPPED[usize::from(piece[1]) % DROPPED.len()]);
        }
    }
    assert_eq!(Envelope::find(&dirty).ok().map(|found| spelled(&found)).as_deref(), Some(clean), "{dirty:?}");
}

/// The text that an envelope was read from.
fn spelled(envelope: &Envelope) -> String {
    let body = [envelope.grant.as_bytes().as_slice(), envelope.sealed()].concat();
    AuthId::encode(&envelope.service, envelope.epoch, &body).unwrap().expose().to_owned()
}

/// With one byte changed an AuthID is none, or one that does not open.
fn stays_shut(text: &str, data: &[u8]) {
    let Some(text) = changed(text, data) else { return };
    assert!(!Envelope::parse(&text).is_ok_and(|envelope| envelope.open(&KEYRING).is_ok()), "{text}");
}
