//! The frozen vectors of `tests/vectors/` against the crate, as `docs/authid-format.md` promises them to other
//! implementations, and what no list of vectors can show: that no edit of an AuthID makes a second one.

#![allow(clippy::unwrap_used, reason = "tests; clippy's own exception stops at their helper functions")]

use authseal::authid::{self, Envelope, OpenError, ParseError, RevokeCode};
use authseal::seal::{EpochKeys, Key, KeyTextError, Keyring, NoKey};
use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use fastrand::Rng;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::Path;

#[path = "vectors/differential.rs"]
mod differential;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Valid {
    name: String,
    keyring: String,
    authid: String,
    opens_to: Content,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    service: String,
    epoch: u32,
    grant: String,
    token: String,
    sealed: i64,
    login: i64,
    bind: String,
    app: Option<String>,
    ends: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Invalid {
    name: String,
    keyring: String,
    authid: String,
    expect: String,
    service: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyText {
    name: String,
    text: String,
    expect: String,
    epoch: Option<u32>,
    authid_key: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Code {
    name: String,
    keyring: String,
    code: String,
    expect: String,
    service: Option<String>,
    epoch: Option<u32>,
    grant: Option<String>,
}

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name)).unwrap()
}

fn vectors<T: DeserializeOwned>(name: &str) -> Vec<T> {
    serde_json::from_str(&read(name)).unwrap()
}

fn keyring(name: &str) -> Keyring {
    Keyring::parse(&read(name)).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What an AuthID opens to, or the name of its fault and the service that a version 2 AuthID names.
fn outcome(keyring: &Keyring, text: &str) -> Result<Content, (&'static str, Option<String>)> {
    let envelope = Envelope::parse(text).map_err(|error| match error {
        ParseError::Malformed => ("malformed", None),
        ParseError::Version1 => ("version1", None),
        ParseError::Version2(service) => ("version2", service.map(|id| id.as_str().to_owned())),
    })?;
    let login = envelope.open(keyring).map_err(|error| (fault(error), None))?;
    assert_eq!((&login.service, login.id), (&envelope.service, envelope.grant));
    Ok(Content {
        service: login.service.to_string(),
        epoch: envelope.epoch.number(),
        grant: login.id.to_string(),
        token: login.refresh_token.expose_secret().to_owned(),
        sealed: login.sealed_at,
        login: login.login_at,
        bind: hex(login.record_secret.expose()),
        app: login.app.map(|app| app.to_string()),
        ends: login.ends_at,
    })
}

fn fault(error: OpenError) -> &'static str {
    match error {
        OpenError::Forged => "forged",
        OpenError::NoKey(NoKey::Newer) => "newer",
        OpenError::NoKey(NoKey::Absent) => "absent",
        OpenError::NoKey(NoKey::Retired) => "retired",
        OpenError::NoKey(NoKey::BelowFloor) => "below_floor",
    }
}

#[test]
fn every_valid_vector_opens_to_what_it_says() {
    for vector in vectors::<Valid>("valid.json") {
        assert_eq!(outcome(&keyring(&vector.keyring), &vector.authid), Ok(vector.opens_to), "{}", vector.name);
    }
}

#[test]
fn every_invalid_vector_fails_as_it_says() {
    for vector in vectors::<Invalid>("invalid.json") {
        let fault = outcome(&keyring(&vector.keyring), &vector.authid).err();
        let fault = fault.as_ref().map(|(fault, service)| (*fault, service.as_deref()));
        assert_eq!(fault, Some((vector.expect.as_str(), vector.service.as_deref())), "{}", vector.name);
    }
}

#[test]
fn every_key_text_is_read_or_refused_as_it_says() {
    for vector in vectors::<KeyText>("keys.json") {
        let keys = EpochKeys::from_text(&vector.text);
        let found = match &keys {
            Ok(_) => "valid",
            Err(KeyTextError::Shape) => "shape",
            Err(KeyTextError::Epoch) => "epoch",
            Err(KeyTextError::Checksum) => "checksum",
            Err(KeyTextError::Length) => "length",
        };
        assert_eq!(found, vector.expect, "{}", vector.name);
        let Ok(keys) = keys else { continue };
        assert_eq!(Some(keys.epoch().number()), vector.epoch, "{}", vector.name);
        let expected = vector.authid_key.unwrap();
        let bytes = std::array::from_fn(|i| u8::from_str_radix(&expected[2 * i..2 * i + 2], 16).unwrap());
        let sealed = keys.authid().seal(b"", b"x").unwrap();
        assert!(Key::new(&bytes).open(b"", &sealed).is_some(), "{}", vector.name);
    }
}

#[test]
fn every_revoke_code_counts_or_not_as_it_says() {
    for vector in vectors::<Code>("revoke_codes.json") {
        let keyring = keyring(&vector.keyring);
        let code = RevokeCode::parse(&vector.code);
        let found = code.as_ref().map_or("malformed", |code| code.check(&keyring).map_or_else(fault, |()| "valid"));
        assert_eq!(found, vector.expect, "{}", vector.name);
        let Some(code) = code.filter(|_| found == "valid") else { continue };
        let named = (Some(code.service.to_string()), Some(code.epoch.number()), Some(code.grant.to_string()));
        assert_eq!(named, (vector.service, vector.epoch, vector.grant), "{}", vector.name);
        let made = RevokeCode::new(keyring.keys(code.epoch).unwrap(), &code.service, code.grant);
        assert_eq!(made.encode().expose_secret(), vector.code.trim_ascii(), "{}", vector.name);
    }
}

#[test]
fn what_is_sealed_again_differs_in_nonce_and_epoch_alone() {
    for vector in vectors::<Valid>("valid.json") {
        let keyring = keyring(&vector.keyring);
        let login = Envelope::parse(&vector.authid).unwrap().open(&keyring).unwrap();
        let again = authid::seal(keyring.primary(), &login).unwrap();
        assert_ne!(again.expose(), vector.authid, "{}", vector.name);
        let epoch = keyring.primary().epoch().number();
        assert_eq!(outcome(&keyring, again.expose()), Ok(Content { epoch, ..vector.opens_to }), "{}", vector.name);
    }
}

/// Reads as leniently as base64url can be read, to see what a strict reader must refuse.
fn decode_leniently(body: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&URL_SAFE, config).decode(body).ok()
}

/// The parts of `text`, read leniently and printed again in the one right spelling.
fn printed_again(envelope: &Envelope, corrected: &str) -> Option<String> {
    let body = decode_leniently(corrected.rsplit(':').next()?)?;
    assert_eq!(body.get(..16), Some(envelope.grant.as_bytes().as_slice()));
    Some(format!("v3:{}:{}:{}", envelope.service, envelope.epoch, BASE64URL.encode(body)))
}

/// One edit somewhere: a character set, put in, taken out, doubled, or two neighbours swapped; or a long cut.
fn edit(random: &mut Rng, text: &str) -> String {
    const CHARACTERS: &str = "AZaz09-_:%.=+/ \n\t\0v3Aa\u{a0}\u{435}";
    let mut all: Vec<char> = text.chars().collect();
    let character = CHARACTERS.chars().nth(random.usize(..CHARACTERS.chars().count())).unwrap();
    // Half of all edits strike the head, where the grammar is.
    let reach = if random.bool() { 20 } else { all.len() - 1 };
    let at = random.usize(..reach.min(all.len() - 1));
    match random.usize(..6) {
        0 => all[at] = character,
        1 => all.insert(at, character),
        2 => drop(all.remove(at)),
        3 => all.insert(at, all[at]),
        4 => all.swap(at, at + 1),
        _ => all.truncate(at),
    }
    all.into_iter().collect()
}

#[test]
fn an_edited_authid_opens_only_when_mending_gives_the_authid_back() {
    let mut random = Rng::with_seed(20_261_123);
    let (mut parsed, mut opened) = (0, 0);
    // `tests/run --full` sets the variable.
    let edits = if std::env::var_os("TESTS_FULL").is_some() { 100_000 } else { 2_000 };
    for vector in vectors::<Valid>("valid.json") {
        let keyring = keyring(&vector.keyring);
        let correct = |text: &str| text.trim_ascii().replace("%3A", ":").replace("%3a", ":");
        for _ in 0..edits {
            let mut text = edit(&mut random, &vector.authid);
            if random.u8(..4) == 0 && text.len() > 20 {
                text = edit(&mut random, &text);
            }
            let Ok(envelope) = Envelope::parse(&text) else { continue };
            parsed += 1;
            let corrected = correct(&text);
            assert_eq!(printed_again(&envelope, &corrected).as_deref(), Some(corrected.as_str()), "{text:?}");
            if envelope.open(&keyring).is_ok() {
                opened += 1;
                assert_eq!(corrected, correct(&vector.authid), "{text:?}");
            }
        }
    }
    // Else the edits are too wild to prove anything.
    assert!(parsed > 1_000 && opened > 100, "{parsed} parsed, {opened} opened");
}

#[test]
fn the_text_that_is_handed_out_is_already_mended() {
    let keyring = keyring("keyring.toml");
    let vector = vectors::<Valid>("valid.json").remove(0);
    let login = Envelope::parse(&vector.authid).unwrap().open(&keyring).unwrap();
    let authid = authid::seal(keyring.primary(), &login).unwrap();
    let text = authid.expose();
    assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b)), "{text}");
}
