//! A state store that hangs or takes nothing, seen from the clients of a whole server.

use crate::admin::ADMIN;
use crate::browser::From;
use crate::emulator::{Emulator, Profile};
use crate::redis_server::RedisServer;
use crate::relay::{Relay, Swallow};
use crate::spawn::{spawn_at, spawn_beside, until};
use authseal::clock::Clock;
use authseal::store::{Shelf, Store, StorePlace};
use std::fs;
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_secs(20);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How many lines of the log have all of these. The numbers among them are no other test's.
fn logged(parts: &[&str]) -> usize {
    let log = String::from_utf8_lossy(&crate::canary::listen().lock().unwrap()).into_owned();
    log.lines().filter(|line| parts.iter().all(|part| line.contains(part))).count()
}

#[tokio::test]
async fn the_log_hears_once_of_records_that_are_not_copied_and_for_how_long_a_store_failed() {
    crate::canary::listen();
    let redis = RedisServer::start(&[]);
    let url = format!("redis://{}/0", redis.address()).into();
    let store = Store::open(&StorePlace::Redis { url, ca_file: None, wait: 7 }, Clock::system()).unwrap();
    for _ in 0..3 {
        store.put(Shelf::Records, &[1; 32], b"record", HOUR).await.unwrap();
    }
    assert_eq!(logged(&["fewer replicas of Redis", "wanted=7"]), 1);

    let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::system());
    let store = Store::open(&StorePlace::Dir(folder.path().to_owned()), clock.clone()).unwrap();
    let (records, away) = (folder.path().join("records"), folder.path().join("away"));
    fs::rename(&records, &away).unwrap();
    fs::write(&records, b"no folder").unwrap();
    assert!(store.read(Shelf::Records, &[1; 32]).await.is_err());
    clock.advance(Duration::from_secs(98_762));
    fs::rename(&records, folder.path().join("file")).unwrap();
    fs::rename(&away, &records).unwrap();
    assert_eq!(store.read(Shelf::Records, &[1; 32]).await.unwrap(), None);
    assert_eq!(logged(&["the state store answers again", " seconds=9876"]), 1);
}

#[tokio::test]
async fn the_log_hears_of_most_records_that_have_ended_unless_there_are_only_a_few() {
    crate::canary::listen();
    let told = |ended: u8, all: u8| {
        let numbers = [format!(" ended={ended} "), format!(" all={all}")];
        logged(&["most records in the state folder", &numbers[0], &numbers[1]]) > 0
    };
    let cases = [(8, 9), (9, 18), (2, 2), (11, 13)];
    for (ended, all) in cases {
        let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::system());
        let store = Store::open(&StorePlace::Dir(folder.path().to_owned()), clock.clone()).unwrap();
        for number in 0..all {
            let days = if number < ended { 1 } else { 100 };
            store.put(Shelf::Records, &[number; 32], b"record", days * DAY).await.unwrap();
        }
        store.put(Shelf::Mailbox, &[1; 32], b"entry", HOUR).await.unwrap();
        let entry = folder.path().join("mailbox/01").join("01".repeat(32));
        clock.advance(2 * DAY);
        // A sweep comes with a request, and may pass over what takes it too long.
        until(SOON, async || {
            clock.advance(HOUR);
            store.read(Shelf::Records, &[0; 32]).await.unwrap();
            !entry.exists()
        })
        .await;
    }
    until(SOON, async || told(11, 13)).await;
    assert_eq!(cases.map(|(ended, all)| told(ended, all)), [false, false, false, true]);
}

#[tokio::test]
async fn a_connection_to_redis_that_hangs_at_any_moment_costs_no_login() {
    let redis = RedisServer::start(&[]);
    let relay = Relay::start(redis.address());
    let clock = Clock::system();
    let emulator = Emulator::start_at(Profile::box_com(), clock.clone());
    let store = format!("[state]\nstore = \"redis://{}/0\"\n", relay.address());
    let one = spawn_at(&format!("{}{store}", emulator.provider_toml()), clock);
    let two = spawn_beside(&one);
    let authid = one.person().log_in(emulator.who().service).await.authid().unwrap();
    for what in [Swallow::Requests, Swallow::Answers, Swallow::Everything] {
        // Before anything is asked.
        one.clock.advance(HOUR);
        relay.swallow_on_open(what);
        let access = one.refresh(&authid).await.access_token();
        assert!(emulator.use_access_token(&access), "{what:?}");
        // While the provider is asked: its answer finds a connection that hangs.
        one.clock.advance(HOUR);
        let calls = emulator.calls().len();
        emulator.hold();
        let hang = async {
            until(SOON, async || emulator.calls().len() > calls).await;
            relay.swallow_on_open(what);
            emulator.release();
        };
        let (answer, ()) = tokio::join!(one.refresh(&authid), hang);
        let access = answer.access_token();
        assert!(emulator.use_access_token(&access), "{what:?}");
        assert_eq!(two.refresh(&authid).await.access_token(), access, "{what:?}: it is written down");
        assert_eq!(emulator.calls().len(), calls + 1, "{what:?}: nothing is spent twice");
    }
}

#[tokio::test]
async fn a_store_that_takes_nothing_is_told_apart_from_one_that_cannot_be_read_and_is_asked_until_it_does() {
    let clock = Clock::system();
    let emulator = Emulator::start_at(Profile::box_com(), clock.clone());
    let app = spawn_at(&format!("{}[state]\nstore = \"dir:state\"\n{ADMIN}", emulator.provider_toml()), clock);
    let authid = app.person().log_in(emulator.who().service).await.authid().unwrap();
    let store = async || app.ask("/readyz").await.json()["store"].take();
    let gauges = async || {
        let shown = app.ask("/metrics").await.body;
        ["failing", "reading_fails", "writing_fails"]
            .map(|name| shown.contains(&format!("\nauthseal_store_{name} 1\n")))
    };
    assert_eq!(gauges().await, [false; 3]);
    app.clock.advance(HOUR);
    let (locks, aside) = (app.dir.path().join("state/locks"), app.dir.path().join("aside"));
    fs::rename(&locks, &aside).unwrap();
    fs::write(&locks, b"no folder").unwrap();
    let refused = app.refresh(&authid).await;
    assert_eq!(refused.status, 503);
    assert!(refused.reason().contains("state store"), "{}", refused.reason());
    assert!(emulator.calls().iter().all(|call| call.params.iter().all(|(_, value)| value != "refresh_token")));
    for _ in 0..3 {
        let _ = app.refresh(&authid).await;
        let state = store().await;
        assert!(state["reading_fails_since"].is_null() && state["writing_fails_since"].is_string(), "{state}");
        assert_eq!(state["failing_since"], state["writing_fails_since"]);
        assert_eq!(gauges().await, [true, false, true]);
    }
    fs::remove_file(&locks).unwrap();
    fs::rename(&aside, &locks).unwrap();
    // Nobody asks for anything that would be written.
    until(SOON, async || gauges().await == [false; 3]).await;
    assert!(store().await["failing_since"].is_null());
}

#[tokio::test]
async fn a_login_that_cannot_be_written_down_is_handed_out_only_where_it_works_without() {
    for (who, works) in [(Profile::box_com(), false), (Profile::microsoft(), true)] {
        let clock = Clock::system();
        let emulator = Emulator::start_at(who, clock.clone());
        let app = spawn_at(&format!("{}[state]\nstore = \"dir:state\"\n", emulator.provider_toml()), clock);
        let locks = app.dir.path().join("state/locks");
        fs::rename(&locks, app.dir.path().join("aside")).unwrap();
        fs::write(&locks, b"no folder").unwrap();
        let page = app.person().log_in(who.service).await;
        assert_eq!(page.authid().is_some(), works, "{}: {}", who.service, page.body);
        assert_eq!(page.body.contains("The login could not be kept"), !works, "{}", who.service);
        if let Some(authid) = page.authid() {
            assert!(emulator.use_access_token(&app.refresh(&authid).await.access_token()));
        }
    }
}

#[tokio::test]
async fn a_lock_that_is_held_is_an_answer_of_two_seconds_and_the_other_logins_go_on() {
    let clock = Clock::system();
    let emulator = Emulator::start_at(Profile::jottacloud(), clock.clone());
    let google = Emulator::start_at(Profile::google(), clock.clone());
    let tables = format!("{}{}[state]\nstore = \"dir:state\"\n", emulator.provider_toml(), google.provider_toml());
    let app = spawn_at(&tables, clock);
    let kept = app.person().log_in(google.who().service).await.authid().unwrap();
    let token = emulator.login_token();
    let (authid, mut person) = {
        let mut person = app.person();
        let index = person.open_index(&format!("type={}", emulator.who().service), "http://localhost:8200").await;
        let ctx = index.field("ctx").unwrap();
        let fields = [("id", emulator.who().service), ("token", token.as_str()), ("ctx", ctx.as_str())];
        let page = person.submit(person.at("/cli-token-login"), &fields, index.as_source()).await;
        (page.authid().unwrap(), person)
    };
    app.clock.advance(HOUR);
    let held: Vec<_> = (0..=255u8)
        .map(|number| {
            let path = app.dir.path().join(format!("state/locks/{number:02x}"));
            let file = fs::File::create(path).unwrap();
            file.lock().unwrap();
            file
        })
        .collect();
    let begun = Instant::now();
    let answer = app.refresh(&authid).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.reason().contains("state store"), "{}", answer.reason());
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!(app.refresh(&kept).await.status, 200);
    assert_eq!(person.visit(person.at("/"), From::Typed).await.status, 200);
    drop(held);
    assert!(emulator.use_access_token(&app.refresh(&authid).await.access_token()));
}
