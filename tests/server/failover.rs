//! A Redis whose primary is killed or goes silent, again and again, while logins with single-use tokens are refreshed: none is lost, and
//! whoever waits gets the right access token.

use crate::admin::ADMIN;
use crate::emulator::{Emulator, Profile};
use crate::redis_fleet::Fleet;
use crate::rotation::{full, log_in};
use crate::spawn::{TestApp, spawn_at, spawn_beside, until};
use authseal::clock::Clock;
use authseal::store::{Shelf, Store, StorePlace};
use futures_util::future::join_all;
use std::path::Path;
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);
/// From the kill to the last response: sentinels and nodes notice after a second or two, and the machine is busy.
const GAP: Duration = Duration::from_secs(90);
/// Logins at each provider.
const LOGINS: usize = 6;

/// Refreshes until there is an access token; a client comes again, too.
async fn refreshed(app: &TestApp, emulator: &Emulator, authid: &str) {
    let end = Instant::now() + GAP;
    loop {
        let answer = app.refresh(authid).await;
        match answer.status {
            200 => break assert!(emulator.use_access_token(&answer.access_token()), "a token that is good"),
            503 if Instant::now() < end => tokio::time::sleep(Duration::from_millis(100)).await,
            _ => panic!("{answer:?}"),
        }
    }
}

async fn no_login_is_lost(mut fleet: Fleet) {
    let clock = Clock::system();
    let emulators = [Profile::box_com(), Profile::jottacloud()].map(|who| Emulator::start_at(who, clock.clone()));
    let providers: String = emulators.iter().map(Emulator::provider_toml).collect();
    let store = format!("[state]\nstore = \"{}\"\nredis_wait = 1\n[refresh]\nwait_seconds = 20\n", fleet.url());
    let one = spawn_at(&format!("{providers}{store}{ADMIN}"), clock.clone());
    let two = spawn_beside(&one);
    let mut logins = Vec::new();
    for emulator in &emulators {
        for _ in 0..LOGINS {
            logins.push((emulator, log_in(emulator, &one).await));
        }
    }
    let calls = || emulators.iter().map(|emulator| emulator.calls().len()).sum::<usize>();
    for round in 0..if full() { 20 } else { 2 } {
        clock.advance(HOUR);
        let before = calls();
        // Some providers have been asked and have not answered, of some logins the record is being read or marked.
        emulators.iter().for_each(Emulator::hold);
        let load = refresh_all(&logins, [&one, &two], round);
        let kill = async {
            until(GAP, async || calls() > before + round % (2 * LOGINS)).await;
            fleet.lose_a_primary(round);
            emulators.iter().for_each(Emulator::release);
            Instant::now()
        };
        let ((), killed) = tokio::join!(load, kill);
        let refreshed = killed.elapsed();
        until(GAP, async || is_written(&one).await && is_written(&two).await).await;
        eprintln!("round {round}: refreshed {refreshed:?} after the kill, written {:?} after it", killed.elapsed());
        assert!(killed.elapsed() < GAP);
        // Each once more at the other replica, with the token that is new.
        clock.advance(HOUR);
        refresh_all(&logins, [&two, &one], round).await;
        fleet.heal().await;
    }
    assert!(one.ask("/metrics").await.body.contains("\nauthseal_store_failing 0\n"));
}

/// Whether no new token is in memory alone.
async fn is_written(app: &TestApp) -> bool {
    app.ask("/metrics").await.body.contains("\nauthseal_unwritten_rotations 0\n")
}

async fn refresh_all(logins: &[(&Emulator, String)], apps: [&TestApp; 2], round: usize) {
    let all = logins.iter().enumerate();
    join_all(all.map(|(number, (emulator, authid))| refreshed(apps[(number + round) % 2], emulator, authid))).await;
}

#[tokio::test]
async fn no_login_is_lost_when_sentinels_replace_the_primary() {
    no_login_is_lost(Fleet::with_sentinels().await).await;
}

#[tokio::test]
async fn no_login_is_lost_when_a_primary_of_a_cluster_is_replaced() {
    no_login_is_lost(Fleet::cluster().await).await;
}

#[tokio::test]
async fn in_a_cluster_every_key_is_found_and_listed() {
    let fleet = Fleet::cluster().await;
    let place = StorePlace::parse(&fleet.url(), Path::new("/"), None, 1).unwrap();
    let store = Store::open(&place, Clock::system()).unwrap();
    let minute = Duration::from_secs(60);
    for number in 0..50u8 {
        let name = [number; 32];
        store.put(Shelf::Records, &name, &[number], minute).await.unwrap();
        assert!(!store.swap(Shelf::Records, &name, Some(b"x"), Some(b"y"), minute).await.unwrap());
        assert!(store.swap(Shelf::Records, &name, Some(&[number]), Some(&[number, 1]), minute).await.unwrap());
        assert_eq!(store.read(Shelf::Records, &name).await.unwrap().unwrap(), [number, 1]);
    }
    let mut heads = Vec::new();
    store.heads(Shelf::Records, 1, |head| heads.extend_from_slice(head)).await.unwrap();
    heads.sort_unstable();
    assert_eq!(heads, (0..50).collect::<Vec<_>>());
    assert_eq!(fleet.calls("getrange"), 50, "each node is asked for its own");
    assert_eq!(store.take(Shelf::Records, &[7; 32]).await.unwrap().unwrap(), [7, 1]);
    let advice = store.advice().await.unwrap();
    assert!(advice.is_empty(), "{advice:?}");
}
