//! A mixture of faults, each in about one step of a hundred, in an order that a seed says: no login is lost, every error has
//! its fault, and memory does not grow. `TESTS_SOAK` is how many steps it takes, alone: hours, with a hundred thousand.

use crate::emulator::{Emulator, Fault, Profile};
use crate::rotation;
use crate::spawn::{TestApp, spawn_app, spawn_beside, until};
use futures_util::future::join_all;
use std::fs;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(60);
/// Of each kind of provider.
const LOGINS: usize = 5;
/// Every fault is over after so many steps.
const STEPS: usize = 3;

/// Numbers that a seed says.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

/// Of this process, in KiB.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Takes the records away, as a disk that fails, or gives them back.
fn records(app: &TestApp, away: bool) {
    let (good, aside) = (app.dir.path().join("state/records"), app.dir.path().join("aside"));
    if away {
        fs::rename(&good, &aside).unwrap();
        fs::write(&good, b"no folder").unwrap();
    } else if aside.exists() {
        fs::remove_file(&good).unwrap();
        fs::rename(&aside, &good).unwrap();
    }
}

async fn soak(seed: u64, steps: usize) {
    let mut dice = Dice(seed);
    let who = [Profile::dropbox(), Profile::microsoft(), Profile::box_com(), Profile::jottacloud()];
    let emulators = who.map(Emulator::start);
    let tables: String = emulators.iter().map(Emulator::provider_toml).collect();
    let mut app = spawn_app(&format!("{tables}[state]\nstore = \"dir:state\"\n"));
    let mut logins = Vec::new();
    for (number, emulator) in emulators.iter().enumerate() {
        for _ in 0..LOGINS {
            logins.push((number, rotation::log_in(emulator, &app).await));
        }
    }
    let (mut good, mut failed, mut ends, mut before) = (0, 0, 0, 0);
    for step in 0..steps {
        if step == ends {
            emulators.iter().for_each(Emulator::behave);
            records(&app, false);
        }
        if step > ends + STEPS && dice.below(100) < 6 {
            ends = step + STEPS;
            let emulator = &emulators[dice.below(4) as usize];
            match dice.below(6) {
                0 => emulator.misbehave(Fault::html(500)),
                1 => emulator.misbehave(Fault::CloseBeforeHeaders),
                2 => emulator.misbehave(Fault::CloseMidBody),
                3 => emulator.misbehave(Fault::too_many("2")),
                4 => records(&app, true),
                // It ends, and another one comes in its place.
                _ => app = spawn_beside(&app),
            }
        }
        let is_well = step > ends + STEPS;
        // Eight at a time; some with the same AuthID.
        let asked: Vec<_> = (0..8).map(|_| &logins[dice.below(logins.len() as u64) as usize]).collect();
        let answers = join_all(asked.iter().map(|(_, authid)| app.refresh(authid))).await;
        for ((number, _), answer) in asked.iter().zip(answers) {
            let emulator = &emulators[*number];
            match answer.status {
                200 => {
                    good += 1;
                    assert!(emulator.use_access_token(&answer.access_token()), "seed {seed}, step {step}");
                }
                // A token that may be spent is left alone until two have come who saw that nobody uses it.
                503 if !is_well || answer.reason().contains("broke off") => failed += 1,
                _ => panic!("seed {seed}, step {step}, {}: {answer:?}", emulator.who().service),
            }
        }
        app.clock.advance(SECOND * 30 * (1 + dice.below(100) as u32));
        if step == steps / 4 {
            before = memory();
        }
    }
    emulators.iter().for_each(Emulator::behave);
    records(&app, false);
    for (number, authid) in &logins {
        let mut answer = None;
        until(SOON, async || {
            app.clock.advance(30 * SECOND);
            let last = app.refresh(authid).await;
            let works = last.status == 200;
            answer = Some(last);
            works
        })
        .await;
        assert!(emulators[*number].use_access_token(&answer.unwrap().access_token()), "seed {seed}: no login is lost");
    }
    let after = memory();
    // Beside other tests it says nothing.
    assert!(std::env::var_os("TESTS_SOAK").is_none() || after < before + 32 * 1024, "{before} KiB, then {after} KiB");
    assert!(good > 3 * failed, "seed {seed}: {good} answers, and {failed} held up");
}

#[tokio::test]
async fn no_login_is_lost_in_a_mixture_of_faults() {
    let steps = std::env::var("TESTS_SOAK").map_or(30, |steps| steps.parse().unwrap());
    for seed in 1..=2 {
        soak(seed, steps).await;
    }
}
