//! The server's reader of AuthIDs and the independent one (`authid_reader.py`) say the same of AuthIDs made at random,
//! by both writers, right and wrong. `tests/run --full` compares a million.

use super::{Content, edit, hex, keyring, outcome};
use authseal::authid::{self, AppId, Grant, ServiceId};
use authseal::seal::Keyring;
use fastrand::Rng;
use secrecy::ExposeSecret;
use serde::Deserialize;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

/// What the Python side says of one AuthID.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Said {
    Opens(Content),
    Fault { expect: String, service: Option<String> },
}

fn count() -> usize {
    if std::env::var_os("TESTS_FULL").is_some() { 500_000 } else { 2_000 }
}

/// The seed of this run; printed where a comparison fails.
fn seed() -> u64 {
    std::env::var("TESTS_FUZZ_SEED").map_or(20_261_127, |seed| seed.parse().unwrap())
}

/// `differential.py` with `arguments`; None where `tests/run` did not make its Python environment.
fn python(arguments: &[&str]) -> Option<Child> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| here.join("target"), PathBuf::from);
    let python = target.join("venv/bin/python");
    if !python.exists() {
        eprintln!("left out: {} is not there; tests/run makes it", python.display());
        return None;
    }
    let mut command = Command::new(python);
    command.arg(here.join("tests/vectors/differential.py")).args(arguments);
    Some(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
}

fn lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap)
}

fn said_here(keyring: &Keyring, text: &str) -> Said {
    match outcome(keyring, text) {
        Ok(content) => Said::Opens(content),
        Err((fault, service)) => Said::Fault { expect: fault.to_owned(), service },
    }
}

#[test]
fn the_two_readers_agree_on_what_the_independent_writer_makes() {
    let Some(mut child) = python(&["write", &seed().to_string(), &count().to_string()]) else { return };
    let keyring = keyring("keyring.toml");
    let mut compared = 0;
    for line in lines(&mut child) {
        let (text, said): (String, Said) = serde_json::from_str(&line).unwrap();
        assert_eq!(said_here(&keyring, &text), said, "seed {}, number {compared}: {text:?}", seed());
        compared += 1;
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(compared, count());
}

/// A login of which everything that can differ is chosen at random.
fn any_grant(random: &mut Rng) -> Grant {
    const TOKEN: &str = "azAZ09-._~+/=:%\"\\é鍵\u{1f511}\n\0";
    let time = |random: &mut Rng| random.i64(0..253_402_300_800);
    let pick = |random: &mut Rng, from: &str, most: usize| -> String {
        let from: Vec<char> = from.chars().collect();
        (0..=random.usize(..most)).map(|_| from[random.usize(..from.len())]).collect()
    };
    let service = ServiceId::parse(&pick(random, "abcz019._-", 32)).unwrap();
    let most = [8, 200, 1_000][random.usize(..3)];
    let mut grant = Grant::new(service, pick(random, TOKEN, most).into(), time(random)).unwrap();
    grant.login_at = time(random);
    grant.app = random.bool().then(|| AppId::new("google", &pick(random, TOKEN, 40)));
    grant.ends_at = random.bool().then(|| time(random));
    grant
}

#[test]
fn the_two_readers_agree_on_what_the_server_makes() {
    let Some(mut child) = python(&["read"]) else { return };
    let keyring = keyring("keyring.toml");
    let mut random = Rng::with_seed(seed());
    let texts: Vec<(String, Option<Content>)> = (0..count())
        .map(|_| {
            let grant = any_grant(&mut random);
            let authid = authid::seal(keyring.primary(), &grant).unwrap();
            if random.u8(..3) == 0 {
                return (edit(&mut random, authid.expose()), None);
            }
            let content = Content {
                service: grant.service.to_string(),
                epoch: keyring.primary().epoch().number(),
                grant: grant.id.to_string(),
                token: grant.refresh_token.expose_secret().to_owned(),
                sealed: grant.sealed_at,
                login: grant.login_at,
                bind: hex(grant.record_secret.expose()),
                app: grant.app.map(|app| app.to_string()),
                ends: grant.ends_at,
            };
            (authid.expose().to_owned(), Some(content))
        })
        .collect();
    let mut stdin = child.stdin.take().unwrap();
    let mut said = lines(&mut child);
    thread::scope(|scope| {
        let texts = &texts;
        scope.spawn(move || {
            for (text, _) in texts {
                writeln!(stdin, "{}", serde_json::to_string(text).unwrap()).unwrap();
            }
        });
        for (number, (text, content)) in texts.iter().enumerate() {
            let said: Said = serde_json::from_str(&said.next().unwrap()).unwrap();
            assert_eq!(said_here(&keyring, text), said, "seed {}, number {number}: {text:?}", seed());
            if let Some(content) = content {
                assert_eq!(&said, &Said::Opens(content.clone()), "seed {}, number {number}", seed());
            }
        }
    });
    assert!(child.wait().unwrap().success());
}
