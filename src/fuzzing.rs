//! What must hold of every reader of text that others wrote, whatever text that is: properties, each a function of bytes
//! that panics where one is broken. `fuzz/` feeds them inputs that cargo-fuzz makes up; the test at the foot feeds them
//! the inputs kept in `fuzz/corpus/`. Nothing here is in a program that serves: it is compiled for tests and with the
//! feature `fuzzing` alone. Those of a reader that its room keeps to itself are in the room's own `fuzzing.rs`.

#![allow(clippy::unwrap_used, reason = "what cannot fail here and does is a finding")]

use crate::clock::{UnixTime, rfc3339};
use crate::config::{Config, ConfigErrors, Sources};
use crate::denylist::{Rule, parse};
use crate::keyring_file::{Change, apply, pack, unpack};
use crate::legacy::{Digest, OldAuthId, decrypt, may_be_old};
use crate::seal::Keyring;
use crate::{authid, cli, legacy, login, provider, replication, store, web};
use secrecy::ExposeSecret;
use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

/// A property of bytes; panics where it does not hold.
pub type Check = fn(&[u8]);

/// All of them, by the name of their fuzz target and of their folder in `fuzz/corpus/`.
pub const CHECKS: [(&str, Check); 23] = [
    ("aes_crypt", aes_crypt),
    ("authid", authid::fuzzing::authid),
    ("authid_content", authid::fuzzing::authid_content),
    ("callback", provider::fuzzing::callback),
    ("changes", replication::fuzzing::changes),
    ("config_env", config_env),
    ("config_toml", config_toml),
    ("context", login::fuzzing::context),
    ("cookie", web::fuzzing::cookie),
    ("denylist", denylist),
    ("discovery", provider::fuzzing::discovery),
    ("export_answer", legacy::fuzzing::export_answer),
    ("form", web::fuzzing::form),
    ("import_compose", cli::import::fuzzing::import_compose),
    ("import_rclone", cli::import::fuzzing::import_rclone),
    ("import_settings", cli::import::fuzzing::import_settings),
    ("keyring", keyring),
    ("old_authid", old_authid),
    ("opener", login::fuzzing::opener),
    ("pasted", authid::fuzzing::pasted),
    ("pieces", replication::fuzzing::pieces),
    ("store_place", store::fuzzing::store_place),
    ("token_response", provider::fuzzing::token_response),
];

/// Runs the property called `name`.
///
/// # Panics
/// When it does not hold of `data`, or there is none of that name.
pub fn run(name: &str, data: &[u8]) {
    CHECKS.iter().find(|(known, _)| *known == name).unwrap().1(data);
}

const NOW: UnixTime = 1_795_428_000; // 2026-11-23T10:00:00Z
/// What inputs hold where a secret would be.
pub(crate) const CANARY: &str = "hunter2-Zw3";

/// The keyring of the test vectors.
pub(crate) static KEYRING: LazyLock<Keyring> =
    LazyLock::new(|| Keyring::parse(include_str!("../tests/vectors/keyring.toml")).unwrap());

/// `data` as text; what is no UTF-8 in it becomes U+FFFD.
pub(crate) fn lossy(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}

/// `text` with one byte of it another one; the first three bytes of `data` choose which, and what.
pub(crate) fn changed(text: &str, data: &[u8]) -> Option<String> {
    let [high, low, new, ..] = data else { return None };
    let at = usize::from(u16::from_be_bytes([*high, *low])) % text.len();
    let mut bytes = text.as_bytes().to_vec();
    bytes[at] = new & 0x7f;
    String::from_utf8(bytes).ok().filter(|changed| changed != text)
}

/// A keyring survives being put on one line; a step that is written into it is read again as that step; no fault holds
/// a secret. What is no TOML is told with its line.
fn keyring(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let keyring = match Keyring::parse(text) {
        Ok(keyring) => keyring,
        Err(fault) => return is_quiet(&fault, &fault.to_string(), text),
    };
    let digest = keyring.digest();
    assert_eq!(Keyring::parse(&unpack(&pack(text))).unwrap().digest(), digest);
    assert!(keyring.entries().all(|(epoch, _, entry)| keyring.keys(epoch).is_err() || entry.keys.is_ok()));
    assert!(keyring.around_primary().count() <= 3);
    let (Ok(stage), newest) = (Change::stage(&keyring, NOW), keyring.newest()) else { return };
    if let Ok(edited) = apply(text, stage) {
        let after = Keyring::parse(&edited).unwrap();
        assert!(after.keys(newest).is_ok() == keyring.keys(newest).is_ok() && after.newest() == stage.epoch());
        assert_eq!(after.entries().count(), keyring.entries().count() + 1);
        assert_eq!(after.primary().fingerprint(), keyring.primary().fingerprint());
        if let Ok(edited) = apply(&edited, Change::Promote(stage.epoch())) {
            assert_eq!(Keyring::parse(&edited).unwrap().primary().epoch(), stage.epoch());
        }
        if let Ok(edited) = apply(&edited, Change::Retire(stage.epoch(), NOW)) {
            assert!(edited.contains(&rfc3339(NOW)) && Keyring::parse(&edited).unwrap().keys(stage.epoch()).is_err());
        }
    }
}

/// What a fault says, for people or in a log, holds nothing that looks like a key's secret in `text`.
fn is_quiet(fault: &dyn Debug, said: &str, text: &str) {
    let secrets = text.split(|char: char| !char.is_ascii_alphanumeric() && !"-_".contains(char));
    for secret in secrets.filter(|word| word.len() >= 40) {
        assert!(!said.contains(secret) && !format!("{fault:?}").contains(secret), "{said}");
    }
    let line = said.split_once("(near line ").and_then(|(_, rest)| rest.split_once(')')?.0.parse().ok());
    assert!(line.is_none_or(|line: usize| (1..=text.matches('\n').count() + 1).contains(&line)), "{said}");
}

/// A rule is written as it is read, a faulty line is told with its number and never quoted, and a list that is read is
/// the rules that its lines are.
fn denylist(data: &[u8]) {
    let count = 1 + data.iter().filter(|byte| **byte == b'\n').count();
    match parse(data).unwrap() {
        Ok(parsed) => {
            let lines = data.split(|byte| *byte == b'\n').skip(1);
            let rules: Vec<Rule> = lines.filter_map(|line| Rule::parse(&lossy(line)).ok()).collect();
            let written: String = rules.iter().map(|rule| format!("{rule}\n")).collect();
            let again = parse(format!("authseal-denylist 1\n{written}").as_bytes()).unwrap().unwrap();
            assert_eq!((again.rules.count(), again.torn), (parsed.rules.count(), false));
        }
        Err(faults) => {
            assert!((1..=20).contains(&faults.first.len()));
            assert!(faults.first.iter().all(|fault| (1..=count).contains(&fault.line)));
            let said = faults.to_string();
            assert!(said.starts_with("line ") && !said.contains(CANARY), "{said}");
        }
    }
    for line in data.split(|byte| *byte == b'\n') {
        if let Ok(rule) = Rule::parse(&lossy(line)) {
            assert_eq!(Rule::parse(&rule.to_string()).as_ref(), Ok(&rule));
            assert_eq!(rule.bare(), rule.bare().bare());
        }
    }
}

/// An old AuthID has one spelling, by which it is denied, and its login is known as one of that kind.
fn old_authid(data: &[u8]) {
    let Some(old) = OldAuthId::parse(&lossy(data)) else { return };
    let spelled = match &old {
        OldAuthId::Version1 { file, password } => format!("{file}:{}", password.expose_secret()),
        OldAuthId::Version2 { service, refresh_token } => format!("v2:{service}:{}", refresh_token.expose_secret()),
    };
    let again = OldAuthId::parse(&spelled).unwrap();
    assert_eq!((again.version(), again.digest(), again.grant()), (old.version(), old.digest(), old.grant()));
    assert_eq!(again.record_secret().expose(), old.record_secret().expose());
    assert!(may_be_old(old.grant()) && Digest::parse(&old.digest().to_string()) == Some(old.digest()));
}

/// A file that opens with the password holds what was put into it, up to the length of its last block, which the format
/// does not protect: whatever else is changed in it, it stays shut.
fn aes_crypt(data: &[u8]) {
    /// The password of the file in `tests/oauth-server/`.
    const PASSWORD: &str = "correct horse";
    if let Ok(content) = decrypt(data, PASSWORD) {
        let whole = include_bytes!("../tests/oauth-server/secrets.json");
        let same = content.iter().zip(whole).all(|(one, other)| one == other);
        assert!(same && content.len().abs_diff(whole.len()) < 16, "{} bytes", content.len());
    }
}

/// A configuration's file: every fault has a key and a sentence, none holds a configured value, and each line that one
/// names is there.
fn config_toml(data: &[u8]) {
    let (Ok(text), folder) = (str::from_utf8(data), tempfile::tempdir().unwrap()) else { return };
    fs::write(folder.path().join("authseal.toml"), text).unwrap();
    let Err(faults) = Config::load(&sources(folder.path(), Vec::new())) else { return };
    let lines = text.matches('\n').count() + 1;
    are_told(&faults);
    assert!(faults.all().iter().filter_map(|fault| fault.line).all(|line| (1..=lines).contains(&line)), "{faults}");
    if let Ok(table) = text.parse::<toml::Table>()
        && !keys(&table).contains(CANARY)
    {
        assert!(!faults.to_string().contains(CANARY), "{faults}");
    }
}

/// All keys of a table, each followed by a space.
fn keys(table: &toml::Table) -> String {
    fn inner(value: &toml::Value) -> String {
        match value {
            toml::Value::Table(table) => keys(table),
            toml::Value::Array(all) => all.iter().map(inner).collect(),
            _ => String::new(),
        }
    }
    table.iter().map(|(key, value)| format!("{key} {}", inner(value))).collect()
}

/// The environment, a `NAME=value` each line, the prefix left out: the same.
fn config_env(data: &[u8]) {
    let (text, folder) = (lossy(data), tempfile::tempdir().unwrap());
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let env: Vec<_> = pairs.map(|(name, value)| (format!("AUTHSEAL_{name}"), value.to_owned())).collect();
    let named = env.iter().any(|(name, _)| name.to_ascii_lowercase().contains(&CANARY.to_ascii_lowercase()));
    let Err(faults) = Config::load(&sources(folder.path(), env)) else { return };
    are_told(&faults);
    assert!(named || !faults.to_string().contains(CANARY), "{faults}");
}

fn sources(folder: &Path, env: Vec<(String, String)>) -> Sources {
    let (working_dir, system_file) = (folder.to_owned(), folder.join("none.toml"));
    Sources { working_dir, system_file, env, now: NOW, ..Sources::default() }
}

/// Each fault takes one line at a terminal, whatever its key is made of.
fn are_told(faults: &ConfigErrors) {
    assert!(!faults.is_empty() && faults.all().iter().all(|fault| !fault.says.is_empty()));
    assert!(faults.all().iter().all(|fault| !fault.to_string().contains(['\n', '\r', '\u{1b}'])), "{faults}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    /// The inputs of one property: bytes by their file's name.
    fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
        files.map(|path| (path.display().to_string(), fs::read(&path).unwrap())).collect()
    }

    #[test]
    fn what_must_hold_holds_of_every_input_that_is_kept() {
        for (name, check) in CHECKS {
            let inputs = corpus(name);
            assert!(inputs.len() >= 3, "fuzz/corpus/{name} has inputs");
            for (path, input) in inputs {
                std::panic::catch_unwind(|| check(&input)).unwrap_or_else(|_| panic!("{path}: see above"));
            }
        }
    }

    /// For compilers without cargo-fuzz: a few of each kept input, more with `TESTS_FUZZ=<number>`, of one property with
    /// `TESTS_FUZZ_ONLY=<name>`. `TESTS_FUZZ_SEED` chooses other ones.
    #[test]
    fn what_must_hold_holds_of_kept_inputs_that_were_damaged() {
        let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
        let rounds = number("TESTS_FUZZ").unwrap_or(3);
        let only = std::env::var("TESTS_FUZZ_ONLY").ok();
        for (name, check) in CHECKS.into_iter().filter(|(name, _)| only.as_ref().is_none_or(|only| only == name)) {
            let inputs = corpus(name);
            let mut random = Rng::with_seed(number("TESTS_FUZZ_SEED").unwrap_or(1));
            for at in (0..rounds).flat_map(|_| 0..inputs.len()) {
                let other = random.usize(..inputs.len());
                let input = damage(&mut random, &inputs[at].1, &inputs[other].1);
                let shown = input.escape_ascii();
                std::panic::catch_unwind(|| check(&input))
                    .unwrap_or_else(|_| panic!("{name}: b\"{shown}\", see above"));
            }
        }
    }

    /// One to four changes: a byte, a piece taken out, doubled, or brought from `other`, an end cut off.
    fn damage(random: &mut Rng, input: &[u8], other: &[u8]) -> Vec<u8> {
        const ODD: &[u8] = b"\0\n\r \"#%&',-/0:;<=>[\\]_{}~\x7f\x80\xad\xc2\xe2\xef\xff";
        let mut bytes = input.to_vec();
        for _ in 0..=random.usize(..4) {
            let at = random.usize(..=bytes.len());
            let end = (at + random.usize(..9)).min(bytes.len());
            let new = match random.u8(..6) {
                0 => vec![ODD[random.usize(..ODD.len())]],
                1 => vec![random.u8(..)],
                2 => Vec::new(),
                3 => bytes[at..end].repeat(random.usize(1..=3)),
                4 => {
                    let (start, length) = (random.usize(..=other.len()), random.usize(..64));
                    other[start..].iter().copied().take(length).collect()
                }
                _ => {
                    bytes.truncate(end);
                    continue;
                }
            };
            bytes.splice(at..end, new);
        }
        bytes
    }

    #[test]
    fn every_property_has_its_fuzz_target_and_no_target_is_without_one() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        let mut found: Vec<_> = fs::read_dir(folder.join("fuzz_targets"))
            .unwrap()
            .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        found.sort();
        assert_eq!(found, CHECKS.map(|(name, _)| name));
        let manifest: toml::Table = fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap();
        let listed = manifest["bin"].as_array().unwrap().iter().map(|bin| bin["name"].as_str().unwrap());
        assert_eq!(listed.collect::<Vec<_>>(), found);
    }
}
