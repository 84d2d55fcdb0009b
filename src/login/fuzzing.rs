//! What must hold of the login context and of `state`, whatever was sealed or comes back; see `crate::fuzzing`.

#![allow(clippy::unwrap_used, reason = "what cannot fail here and does is a finding")]

use super::login_context::{LoginContext, Reader, State};
use super::{BrowserCookie, DeliveryRules, FetchToken};
use crate::authid::ServiceId;
use crate::fuzzing::{KEYRING, changed, lossy};
use crate::net::Origin;
use crate::seal::Purpose;

const NOW: i64 = 1_795_428_000; // 2026-11-23T10:00:00Z
/// The longest `state`, in characters: Dropbox takes 500 bytes.
const LONGEST_STATE: usize = 480;

/// What is read of a context is written in one way, and that is read as the same.
pub(crate) fn context(data: &[u8]) {
    let read = |bytes: &[u8]| LoginContext::decode(&mut Reader(bytes), NOW, 3600);
    if let Some(context) = read(data) {
        let written = context.encode(NOW);
        assert_eq!(read(&written).map(|again| again.encode(NOW)), Some(written));
    }
    // What opens was sealed, and nothing sealed for one end opens for another.
    let Ok((sealed, _)) = KEYRING.seal_param(Purpose::State, b"", data) else { return };
    let opened =
        |text: &str, purpose, added: &[u8]| KEYRING.open_param(text, purpose, added).map(|o| o.plaintext.to_vec());
    assert_eq!(opened(&sealed, Purpose::State, b"").as_deref(), Some(data));
    assert_eq!(opened(&sealed, Purpose::Context, b""), None);
    assert_eq!(opened(&sealed, Purpose::State, b"x"), None);
    assert_eq!(changed(&sealed, data).and_then(|text| opened(&text, Purpose::State, b"")), None);
    assert!(LoginContext::open(&sealed, &KEYRING, NOW).is_none());
    if let Some(state) = State::open(&sealed, &KEYRING, NOW) {
        assert_eq!(state.verifier.len(), 43);
    }
    let text = lossy(data);
    assert!(State::open(&text, &KEYRING, NOW).is_none() && LoginContext::open(&text, &KEYRING, NOW).is_none());
}

/// Whatever led to our page and whatever token it brings, the login's `state` stays short and is opened as it was made.
/// The first line is the `Referer`, the second `Sec-Fetch-Site`, the third the fetch token.
pub(crate) fn opener(data: &[u8]) {
    let text = lossy(data);
    let mut lines = text.split('\n');
    let own = Origin::parse("https://oauth.example.com").unwrap();
    let rules = DeliveryRules { own, loopback: true, listed: Vec::new() };
    let opener = rules.opener(lines.next(), lines.next());
    let fetch_token = lines.next().and_then(FetchToken::parse);
    let Ok(browser) = BrowserCookie::random() else { return };
    let context = LoginContext { opener, fetch_token, browser_cookie: browser.hash(), client: None };
    let service = ServiceId::parse("a-service-whose-id-is-32-letters").unwrap();
    let Ok((state, challenge)) = context.begin(&service, None, &KEYRING, NOW) else { return };
    assert!(state.len() <= LONGEST_STATE && challenge.len() == 43, "{}", state.len());
    let opened = State::open(&state, &KEYRING, NOW).unwrap();
    assert_eq!((opened.context.encode(NOW), opened.late), (context.encode(NOW), false));
    assert!(browser.matches(&opened.context.browser_cookie));
    assert!(changed(&state, data).is_none_or(|text| State::open(&text, &KEYRING, NOW).is_none()));
    assert!(LoginContext::open(&state, &KEYRING, NOW).is_none());
    let sealed = context.seal(&KEYRING, NOW).unwrap();
    assert_eq!(LoginContext::open(&sealed, &KEYRING, NOW).map(|again| again.encode(NOW)), Some(context.encode(NOW)));
    assert!(
        LoginContext::open(&sealed, &KEYRING, NOW + 3600).is_none() && State::open(&sealed, &KEYRING, NOW).is_none()
    );
}
