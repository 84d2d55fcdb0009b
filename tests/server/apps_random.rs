//! Many logins of several registrations at one provider, in an order made at random: with a mark and without, with
//! registrations that were taken out, and secrets that change at the provider meanwhile. Of a login whose registration
//! is known, the refresh token is sent with that client and with no other, and none is lost.

use crate::admin::ADMIN;
use crate::apps::policies;
use crate::emulator::{Emulator, Fault, Profile};
use crate::spawn::{TestApp, spawn_at, spawn_beside};
use authseal::clock::Clock;
use fastrand::Rng;
use std::collections::HashSet;
use std::fmt::Write;
use std::fs;
use std::time::Duration;

const CLIENTS: [&str; 3] = ["app-a", "app-b", "app-c"];
const LOGINS: usize = 6;
const STEPS: usize = 40;

struct Login {
    client: &'static str,
    authid: String,
}

fn secret(client: &str, number: usize) -> String {
    format!("{client}-se-cret-{number}")
}

/// The registrations: the first makes logins.
fn tables(who: &Profile, clients: &[&str], random: &mut Rng) -> String {
    let mut toml = String::new();
    for (at, client) in clients.iter().enumerate() {
        let other = if at == 0 { String::new() } else { format!(".other.{client}") };
        let first = random.usize(..2);
        let secrets = [secret(client, first), secret(client, 1 - first)];
        let _ = write!(toml, "[clients.{}{other}]\nid = \"{client}\"\nsecrets = {secrets:?}\n", who.provider);
    }
    toml
}

/// Each refresh so far: the client that asked, and the refresh token.
fn asked(emulator: &Emulator) -> Vec<(String, String)> {
    let calls = emulator.calls().into_iter().filter(|call| call.param("grant_type") == Some("refresh_token"));
    let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
    calls.map(|call| (text(call.param("client_id")), text(call.param("refresh_token")))).collect()
}

async fn run(who: Profile, seed: u64) {
    let mut random = Rng::with_seed(seed);
    let clock = Clock::system();
    let emulator = Emulator::start_at(who, clock.clone());
    CLIENTS.iter().for_each(|client| emulator.set_client(client, &secret(client, 0)));
    let places = emulator.provider_toml();
    let places = &places[..places.find("[clients.").unwrap()];
    let rest = "[state]\nstore = \"dir:state\"\n[legacy]\nv2 = true\n";
    let start = tables(&who, &CLIENTS, &mut random);
    let first = spawn_at(&format!("{places}{start}{rest}{ADMIN}"), clock);

    let mut logins: Vec<Login> = Vec::new();
    for number in 0..LOGINS {
        let client = CLIENTS[number % CLIENTS.len()];
        let token = emulator.log_in_at(client).refresh.unwrap();
        let mut authid = format!("v2:{}:{token}", who.service);
        // Half of them with a mark, from a server that knows all registrations.
        if number < LOGINS / 2 {
            authid = first.refresh(&authid).await.json()["v2_authid"].as_str().unwrap().to_owned();
        }
        logins.push(Login { client, authid });
    }

    // Now one of them is taken out, and who makes logins is another one.
    let mut kept = CLIENTS.to_vec();
    let gone = kept.remove(random.usize(..kept.len()));
    let at = random.usize(..kept.len());
    kept.swap(0, at);
    let file = first.dir.path().join("authseal.toml");
    let written = fs::read_to_string(&file).unwrap();
    fs::write(&file, written.replace(&start, &tables(&who, &kept, &mut random))).unwrap();

    let mut app: TestApp = spawn_beside(&first);
    let mut found = HashSet::new();
    for step in 0..STEPS {
        let case = format!("{} seed {seed} step {step}", who.provider);
        match random.usize(..6) {
            0 => {
                let client = CLIENTS[random.usize(..CLIENTS.len())];
                emulator.set_client(client, &secret(client, random.usize(..2)));
            }
            1 => {
                app = spawn_beside(&first);
                found.clear();
            }
            _ => {}
        }
        let fault = random.usize(..5) == 0;
        if fault {
            // So that nobody can have carried it out.
            emulator.misbehave(Fault::too_many("1"));
        }
        app.clock.advance(Duration::from_secs(3700));
        let number = random.usize(..logins.len());
        let Login { client, authid } = &mut logins[number];
        let marked = !authid.starts_with("v2:");
        let before = asked(&emulator).len();
        let answer = app.refresh(authid).await;
        emulator.behave();

        let calls = &asked(&emulator)[before..];
        for (asking, token) in calls {
            assert_eq!(emulator.client_of(token).as_deref(), Some(*client), "{case}: it is this login's");
            let known = marked || found.contains(&number);
            assert!(!known || asking == client, "{case}: the token of {client} was sent with {asking}");
            assert!(asking != gone, "{case}: {asking} is not configured");
        }
        match (*client == gone, marked) {
            (true, true) => {
                assert!(answer.status == 503 && answer.reason().contains("no longer configured"), "{case}: {answer:?}");
                assert!(calls.is_empty(), "{case}: {calls:?}");
            }
            (true, false) => assert_ne!(answer.status, 200, "{case}: {answer:?}"),
            (false, _) if fault => {}
            (false, _) => {
                assert_eq!(answer.status, 200, "{case}: {answer:?}");
                found.insert(number);
                // Some owners take the AuthID that is handed to them, others keep theirs.
                if let Some(newer) = answer.json()["v2_authid"].as_str().filter(|_| random.usize(..3) == 0) {
                    *authid = newer.to_owned();
                }
            }
        }
    }
}

#[tokio::test]
async fn a_refresh_token_is_never_sent_with_a_client_that_is_known_to_be_the_wrong_one() {
    let seeds = if std::env::var_os("TESTS_FULL").is_some() { 40 } else { 2 };
    for who in policies() {
        for seed in 0..seeds {
            run(who, seed).await;
        }
    }
}
