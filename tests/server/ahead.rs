//! An access token that is asked for near its end is renewed beside: who asks gets the remembered one at once.

use crate::admin::ADMIN;
use crate::emulator::{Emulator, Fault, Profile};
use crate::rotation::log_in;
use crate::spawn::{OLD, PRIMARY, TestApp, spawn_app, spawn_at, spawn_beside, until};
use authseal::clock::Clock;
use futures_util::future::join_all;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
const STORE: &str = "[state]\nstore = \"dir:state\"\n";
/// Left of a token that is handed out for 30 seconds more: late for every login.
const LATE: u64 = 150;

/// A provider whose access tokens live for an hour, a server for it, and an AuthID whose token is late.
async fn late(who: Profile, tables: &str, seal: impl Fn(&TestApp, &str) -> String) -> (Emulator, TestApp, String) {
    let emulator = Emulator::start(who);
    emulator.set_access_life(Some(3600));
    let app = spawn_app(&format!("{}{ADMIN}{tables}", emulator.provider_toml()));
    let authid = seal(&app, &emulator.log_in().refresh.unwrap());
    app.refresh(&authid).await.access_token();
    app.clock.advance(Duration::from_secs(3600 - LATE));
    (emulator, app, authid)
}

async fn renewals(app: &TestApp, outcome: &str) -> u32 {
    let metrics = app.ask("/metrics").await.body;
    let name = format!("authseal_renewals_total{{outcome=\"{outcome}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

async fn renewed(app: &TestApp, outcome: &str) {
    until(SOON, async || renewals(app, outcome).await == 1).await;
}

#[tokio::test]
async fn who_asks_twice_near_the_end_is_answered_at_once_and_one_call_renews_the_token_beside() {
    for (who, tables) in [(Profile::google(), ""), (Profile::dropbox(), ""), (Profile::microsoft(), STORE)] {
        let (emulator, app, authid) = late(who, tables, |app, token| app.seal(who.service, token)).await;
        let before = app.refresh(&authid).await.access_token();
        assert_eq!(emulator.calls().len(), 1, "the first request may be the last");
        emulator.hold();
        // The provider says nothing, and yet each of these is answered.
        for answer in join_all((0..30).map(|_| app.refresh(&authid))).await {
            assert_eq!(answer.access_token(), before);
            assert!(answer.expires() <= 150 && answer.json().get("v2_authid").is_none());
        }
        until(SOON, async || emulator.calls().len() == 2).await;
        emulator.release();
        renewed(&app, "ok").await;
        let after = app.refresh(&authid).await;
        assert!(emulator.use_access_token(&after.access_token()) && after.access_token() != before);
        assert!(after.expires() > 3500);
        app.clock.advance(Duration::from_secs(200));
        assert_eq!(app.refresh(&authid).await.access_token(), after.access_token(), "nobody had to wait");
        assert_eq!(emulator.calls().len(), 2);
    }
}

#[tokio::test]
async fn a_token_that_is_not_asked_for_near_its_end_is_not_renewed() {
    let emulator = Emulator::start(Profile::google());
    let app = spawn_app(&format!("{}{ADMIN}", emulator.provider_toml()));
    let authid = app.log_in(&emulator);
    for _ in 0..50 {
        app.refresh(&authid).await.access_token();
        app.clock.advance(Duration::from_secs(60));
    }
    assert_eq!((renewals(&app, "ok").await, emulator.calls().len()), (0, 1));
}

#[tokio::test]
async fn nothing_is_renewed_ahead_whose_answer_would_have_to_reach_the_client() {
    for (who, epoch) in [(Profile::google(), OLD), (Profile::microsoft(), PRIMARY)] {
        let (emulator, app, authid) = late(who, "", |app, token| app.seal_under(epoch, who.service, token)).await;
        let before = app.refresh(&authid).await.access_token();
        for _ in 0..10 {
            assert_eq!(app.refresh(&authid).await.access_token(), before);
        }
        app.clock.advance(Duration::from_secs(LATE));
        let answer = app.refresh(&authid).await;
        assert!(emulator.use_access_token(&answer.access_token()));
        assert_eq!((renewals(&app, "ok").await, emulator.calls().len()), (0, 2), "{}", who.provider);
        // Under the newest epoch, or around the new refresh token, which no store has.
        assert!(answer.json().get("v2_authid").is_some(), "{}", who.provider);
    }
}

#[tokio::test]
async fn tokens_that_work_once_are_not_spent_before_somebody_needs_it() {
    for who in [Profile::box_com(), Profile::jottacloud()] {
        let clock = Clock::system();
        let emulator = Emulator::start_at(who, clock.clone());
        emulator.set_access_life(Some(3600));
        let mut app = spawn_at(&format!("{}{ADMIN}{STORE}", emulator.provider_toml()), clock);
        let authid = log_in(&emulator, &app).await;
        let (first, calls) = (app.refresh(&authid).await.access_token(), emulator.calls().len());
        app.clock.advance(Duration::from_secs(3600 - LATE));
        for _ in 0..5 {
            assert_eq!(app.refresh(&authid).await.access_token(), first);
        }
        // Calls that began beside are finished first.
        app.terminate();
        until(SOON, async || app.has_ended()).await;
        assert_eq!(emulator.calls().len(), calls);
    }
}

#[tokio::test]
async fn a_renewal_that_fails_is_not_repeated_and_takes_nothing_from_anybody() {
    let (emulator, app, authid) = late(Profile::google(), "", |app, token| app.seal("googledrive", token)).await;
    let before = app.refresh(&authid).await.access_token();
    emulator.misbehave(Fault::html(503));
    for _ in 0..20 {
        assert_eq!(app.refresh(&authid).await.access_token(), before);
    }
    renewed(&app, "disturbed").await;
    let calls = emulator.calls().len();
    for _ in 0..20 {
        app.clock.advance(Duration::from_secs(1));
        assert_eq!(app.refresh(&authid).await.access_token(), before);
    }
    assert_eq!((calls, emulator.calls().len()), (3, 3), "one renewal, which is sent twice");
    emulator.behave();
    app.clock.advance(Duration::from_secs(60));
    assert_ne!(app.refresh(&authid).await.access_token(), before, "then it is asked as ever");
}

#[tokio::test]
async fn a_provider_that_answers_nobody_is_not_asked_ahead_of_time() {
    let (emulator, app, authid) = late(Profile::google(), "", |app, token| app.seal("googledrive", token)).await;
    let before = app.refresh(&authid).await.access_token();
    emulator.misbehave(Fault::html(503));
    for _ in 0..20 {
        assert_eq!(app.refresh(&app.log_in(&emulator)).await.status, 503);
    }
    assert!(app.ask("/metrics").await.body.contains("authseal_provider_suspended{provider=\"google\"} 1"));
    let calls = emulator.calls().len();
    for _ in 0..20 {
        assert_eq!(app.refresh(&authid).await.access_token(), before);
    }
    assert_eq!((renewals(&app, "disturbed").await, emulator.calls().len()), (0, calls));
}

#[tokio::test]
async fn of_two_replicas_one_renews_and_the_other_finds_it() {
    let who = Profile::microsoft();
    let (emulator, one, authid) = late(who, STORE, |app, token| app.seal(who.service, token)).await;
    let two = spawn_beside(&one);
    two.refresh(&authid).await.access_token();
    for app in [&one, &two] {
        for _ in 0..2 {
            app.refresh(&authid).await.access_token();
        }
        renewed(app, "ok").await;
    }
    let tokens = [one.refresh(&authid).await.access_token(), two.refresh(&authid).await.access_token()];
    assert!(tokens[0] == tokens[1] && emulator.use_access_token(&tokens[0]));
    assert_eq!(emulator.calls().len(), 2);
    // And so it goes on.
    one.clock.advance(Duration::from_secs(3600 - LATE));
    for _ in 0..2 {
        one.refresh(&authid).await.access_token();
    }
    until(SOON, async || renewals(&one, "ok").await == 2).await;
    assert_eq!(emulator.calls().len(), 3);
}

#[tokio::test]
async fn a_server_that_ends_keeps_what_a_renewal_brings() {
    let who = Profile::microsoft();
    let tables = format!("{STORE}[server]\ndrain_seconds = 0\ntrusted_proxies = [\"127.0.0.1\"]\n");
    let (emulator, mut app, authid) = late(who, &tables, |app, token| app.seal(who.service, token)).await;
    emulator.hold();
    for _ in 0..3 {
        app.refresh(&authid).await.access_token();
    }
    until(SOON, async || emulator.calls().len() == 2).await;
    app.terminate();
    until(SOON, async || app.ask("/readyz").await.status == 503).await;
    assert!(!app.has_ended(), "it waits for the answer");
    emulator.release();
    until(SOON, async || app.has_ended()).await;
    let next = spawn_beside(&app);
    let answer = next.refresh(&authid).await;
    assert!(emulator.use_access_token(&answer.access_token()) && answer.expires() > 3400);
    assert_eq!(emulator.calls().len(), 2, "its token and the new refresh token are in the store");
}
