//! A mixture of faults, each in about one step of a hundred, in an order that a seed says, for two replicas: no login is
//! lost, every error has its fault, and nothing grows. `TESTS_SOAK` is how many steps it takes, alone: hours, with ten
//! thousand. Without it there are a few steps, in which every kind of fault comes once.
//!
//! Nothing of a round is in the next one, since the pretended providers remember all that they ever gave out.

use crate::admin::ADMIN;
use crate::canary;
use crate::emulator::{Emulator, Fault, Profile};
use crate::redis_server::RedisServer;
use crate::rotation;
use crate::spawn::{Answer, TestApp, spawn_app, spawn_beside, until};
use fastrand::Rng;
use futures_util::future::join_all;
use std::collections::HashSet;
use std::fs;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(60);
/// Of each kind of provider.
const LOGINS: usize = 5;
/// The first of the providers whose tokens work once; a replica that dies under such a call takes the token with it.
const ONCE: usize = 2;
/// After so many steps nothing may be left of a fault.
const STEPS: usize = 3;
/// Kinds of faults, and two of them.
const KINDS: u64 = 8;
const HANG: u64 = 4;
const DEATH: u64 = 7;
/// Steps of a round.
const ROUND: usize = 1000;

/// Whether no other test runs beside: then what the process holds says something.
fn alone() -> bool {
    std::env::var_os("TESTS_SOAK").is_some()
}

/// What this process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    kib: u64,
    descriptors: usize,
    threads: usize,
}

impl Held {
    fn now() -> Self {
        // Not the pages of the program's file, some 40 MiB: how many of them are there is for the machine to say.
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        let count = |folder| fs::read_dir(folder).unwrap().count();
        Self {
            kib: line.trim().trim_end_matches(" kB").parse().unwrap(),
            descriptors: count("/proc/self/fd"),
            threads: count("/proc/self/task"),
        }
    }

    /// Waits until no more is held than when it was `warm`: what a fault began ends within seconds, a replica and its
    /// threads, too. Connections are kept, so that their number varies.
    async fn comes_back_to(warm: Self) {
        let end = Instant::now() + SOON;
        let more = (32 * 1024, 64, 8);
        while alone() {
            let now = Self::now();
            let few = now.kib < warm.kib + more.0 && now.descriptors < warm.descriptors + more.1;
            if few && now.threads < warm.threads + more.2 {
                return;
            }
            assert!(Instant::now() < end, "{warm:?}, then {now:?}");
            tokio::time::sleep(SECOND / 10).await;
        }
    }
}

/// Two replicas with one store, and the providers.
struct World {
    emulators: [Emulator; 4],
    replicas: Vec<TestApp>,
    /// The store; without it, it is a folder.
    redis: Option<RedisServer>,
    /// How many calls with a refresh token each provider had when a fault began; none while all is well.
    began: Option<[usize; 4]>,
    /// The tokens of calls of which nobody may know whether they arrived.
    doubtful: HashSet<String>,
}

impl World {
    fn new(with_redis: bool) -> Self {
        let who = [Profile::dropbox(), Profile::microsoft(), Profile::box_com(), Profile::jottacloud()];
        let emulators = who.map(Emulator::start);
        let redis = with_redis.then(|| RedisServer::start(&[]));
        let store = redis.as_ref().map_or("dir:state".to_owned(), |redis| format!("redis://{}/0", redis.address()));
        let tables: String = emulators.iter().map(Emulator::provider_toml).collect();
        let first = spawn_app(&format!("{tables}[state]\nstore = \"{store}\"\n{ADMIN}[site]\nname = \"A\"\n"));
        let replicas = vec![spawn_beside(&first), first];
        Self { emulators, replicas, redis, began: None, doubtful: HashSet::new() }
    }

    fn spent(&self) -> [Vec<String>; 4] {
        std::array::from_fn(|at| rotation::spent(&self.emulators[at]))
    }

    /// Takes the store away, as a Redis that is paused or a disk that fails, or gives it back.
    fn store(&self, away: bool) {
        if let Some(redis) = &self.redis {
            return redis.stop(away);
        }
        let folder = self.replicas[0].dir.path();
        let (good, aside) = (folder.join("state/records"), folder.join("aside"));
        if away {
            fs::rename(&good, &aside).unwrap();
            fs::write(&good, b"no folder").unwrap();
        } else if aside.exists() {
            fs::remove_file(&good).unwrap();
            fs::rename(&aside, &good).unwrap();
        }
    }

    /// Begins a fault, but for the death of a replica.
    async fn fail(&mut self, kind: u64, emulator: usize) {
        self.began = Some(self.spent().map(|spent| spent.len()));
        let provider = &self.emulators[emulator];
        match kind {
            0 => provider.misbehave(Fault::html(500)),
            1 => provider.misbehave(Fault::CloseBeforeHeaders),
            2 => provider.misbehave(Fault::CloseMidBody),
            3 => provider.misbehave(Fault::too_many("2")),
            HANG => provider.hold(),
            5 => self.store(true),
            6 => self.reload().await,
            _ => {}
        }
    }

    /// Ends every fault.
    fn heal(&mut self) {
        self.emulators.iter().for_each(|emulator| {
            emulator.behave();
            emulator.release();
        });
        self.store(false);
        if let Some(began) = self.began.take() {
            let spent = self.spent().into_iter().zip(began);
            self.doubtful.extend(spent.flat_map(|(spent, before)| spent.into_iter().skip(before)));
        }
    }

    /// Another configuration, in both replicas.
    async fn reload(&self) {
        let file = self.replicas[0].dir.path().join("authseal.toml");
        let text = fs::read_to_string(&file).unwrap();
        let (old, new) = if text.contains("name = \"A\"") { ("A", "B") } else { ("B", "A") };
        fs::write(file, text.replace(&format!("name = \"{old}\""), &format!("name = \"{new}\""))).unwrap();
        for app in &self.replicas {
            let answer = app.client.post(format!("{}/reload", app.admin.as_ref().unwrap())).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{answer:?}");
        }
    }

    /// That no token was sent again after its answer came.
    fn sent_once(&self, seed: u64) -> usize {
        let mut again = 0;
        for spent in &self.spent()[ONCE..] {
            let mut seen = HashSet::new();
            for token in spent.iter().filter(|token| !seen.insert(*token)) {
                assert!(self.doubtful.contains(token), "seed {seed}: a token was sent again, without a fault");
                again += 1;
            }
        }
        again
    }
}

/// An answer, or why there is none, as of a replica that is gone.
async fn ask(client: reqwest::Client, url: String, authid: &str) -> reqwest::Result<Answer> {
    Ok(Answer::of(client.get(url).header("X-AuthID", authid).send().await?).await)
}

async fn soak(seed: u64, steps: usize, short: bool) {
    let mut random = Rng::with_seed(seed);
    let mut world = World::new(seed % 2 == 1);
    // In a hundred steps; how many a fault lasts; and a hang: longer than one attempt of a call, or just a moment.
    let (often, lasts, hang) = if short { (100, 1, SECOND / 4) } else { (KINDS, STEPS, 12 * SECOND) };
    let mut logins = Vec::new();
    for number in 0..4 {
        for _ in 0..LOGINS {
            logins.push((number, rotation::log_in(&world.emulators[number], &world.replicas[0]).await));
        }
    }
    let clock = world.replicas[0].clock.clone();
    let (mut good, mut failed, mut faults, mut ends, mut warm) = (0, 0, 0, 0, Held::now());
    for step in 0..steps {
        if alone() {
            // All that is logged is kept, for a test that searches it: tens of MB in a round.
            canary::listen().lock().unwrap().clear();
        }
        if step == ends {
            world.heal();
        }
        let mut kind = None;
        if step > ends + STEPS && random.u64(..100) < often {
            ends = step + lasts;
            // One after the other, so that even a short run has each.
            let next = (seed * KINDS / 2 + faults) % KINDS;
            world.fail(next, random.usize(..4)).await;
            kind = Some(next);
            faults += 1;
        }
        let dies = kind == Some(DEATH);
        let is_well = step > ends + STEPS;
        let from = if dies { ONCE * LOGINS } else { logins.len() };
        // Eight at a time; some with the same AuthID.
        let asked: Vec<_> = (0..8).map(|_| (&logins[random.usize(..from)], random.usize(..2))).collect();
        let calls: Vec<_> = asked
            .iter()
            .map(|((_, authid), replica)| {
                let app = &world.replicas[*replica];
                ask(app.client.clone(), app.at("/refresh"), authid)
            })
            .collect();
        let (replicas, emulators) = (&mut world.replicas, &world.emulators);
        let after = if dies { Duration::from_millis(random.u64(..20)) } else { hang };
        let meanwhile = async {
            if !dies && kind != Some(HANG) {
                return;
            }
            tokio::time::sleep(after).await;
            emulators.iter().for_each(Emulator::release);
            if dies {
                drop(replicas.remove(0));
                replicas.push(spawn_beside(&replicas[0]));
            }
        };
        let (answers, ()) = tokio::join!(join_all(calls), meanwhile);
        for (((number, _), _), answer) in asked.iter().zip(answers) {
            let emulator = &world.emulators[*number];
            match answer {
                Ok(answer) if answer.status == 200 => {
                    good += 1;
                    assert!(emulator.use_access_token(&answer.access_token()), "seed {seed}, step {step}");
                }
                // A token that may be spent is left alone until two have come who saw that nobody uses it.
                Ok(answer) if answer.status == 503 && (!is_well || answer.reason().contains("broke off")) => {
                    failed += 1
                }
                Err(_) if dies => failed += 1,
                answer => panic!("seed {seed}, step {step}, {}: {answer:?}", emulator.who().service),
            }
        }
        clock.advance(SECOND * 30 * random.u32(1..=100));
        if step == steps / 4 {
            warm = Held::now();
        }
    }
    world.heal();
    Held::comes_back_to(warm).await;
    for (at, (number, authid)) in logins.iter().enumerate() {
        let mut answer = None;
        until(SOON, async || {
            clock.advance(30 * SECOND);
            let last = world.replicas[at % 2].refresh(authid).await;
            let works = last.status == 200;
            answer = Some(last);
            works
        })
        .await;
        assert!(
            world.emulators[*number].use_access_token(&answer.unwrap().access_token()),
            "seed {seed}: none is lost"
        );
    }
    let again = world.sent_once(seed);
    assert!(good > 3 * failed, "seed {seed}: {good} answers, and {failed} held up");
    eprintln!(
        "seed {seed}: {steps} steps, {faults} faults, {good} answers, {failed} held up, {again} sent again after a doubt"
    );
}

#[tokio::test]
async fn no_login_is_lost_in_a_mixture_of_faults() {
    let Some(steps) = std::env::var("TESTS_SOAK").ok().map(|steps| steps.parse::<usize>().unwrap()) else {
        soak(1, 30, true).await;
        return soak(2, 30, true).await;
    };
    let seed = std::env::var("TESTS_FUZZ_SEED").map_or(1, |seed| seed.parse().unwrap());
    let (began, mut warm) = (Instant::now(), None);
    for round in 0..steps.div_ceil(ROUND) {
        soak(seed + round as u64, ROUND.min(steps), false).await;
        let held = Held::now();
        eprintln!("after {} s: {held:?}", began.elapsed().as_secs());
        // Two rounds: one with each kind of store.
        if round > 1 {
            Held::comes_back_to(*warm.get_or_insert(held)).await;
        }
    }
}
