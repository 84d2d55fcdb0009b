//! The end of a process: it says so first, loses nothing, and then is gone.

use crate::admin::ADMIN;
use crate::emulator::{Emulator, Profile};
use crate::http;
use crate::rotation::log_in;
use crate::spawn::{Answer, TestApp, spawn_app, spawn_at, until};
use authseal::clock::Clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// A server that continues for some seconds after it was told to end, and an AuthID whose access token it remembers.
async fn start(seconds: u32) -> (Emulator, TestApp, String) {
    let google = Emulator::start(Profile::google());
    let app = spawn_app(&format!("{}{ADMIN}[server]\ndrain_seconds = {seconds}\n", google.provider_toml()));
    let authid = app.log_in(&google);
    app.refresh(&authid).await.access_token();
    (google, app, authid)
}

#[tokio::test]
async fn while_requests_come_in_a_server_ends_and_none_of_them_fails() {
    let (_google, mut app, authid) = start(2).await;
    let (sent, away) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    // A balancer's connections: kept open between requests, until readiness ends.
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (client, url, authid) = (http::client(), app.at("/refresh"), authid.clone());
            let (sent, away) = (sent.clone(), away.clone());
            tokio::spawn(async move {
                let mut closed = 0;
                while !away.load(Ordering::Relaxed) {
                    let answer = Answer::of(client.get(&url).header("x-authid", &authid).send().await.unwrap()).await;
                    assert_eq!(answer.status, 200, "{answer:?}");
                    closed += u32::from(answer.header("connection") == Some("close"));
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                closed
            })
        })
        .collect();
    let asked_more = async |count: u32| {
        let before = sent.load(Ordering::Relaxed);
        until(PATIENCE, async || sent.load(Ordering::Relaxed) >= before + count).await;
    };
    asked_more(100).await;
    assert_eq!((app.ask("/readyz").await.status, app.get("/readyz").await.status), (200, 200));
    app.terminate();
    until(PATIENCE, async || app.ask("/readyz").await.status == 503).await;
    let public = app.get("/readyz").await;
    assert_eq!((public.status, public.body.as_str(), public.header("connection")), (503, "draining\n", Some("close")));
    let detail = app.ask("/readyz").await.json();
    assert_eq!((&detail["ready"], &detail["draining"]), (&false.into(), &true.into()));
    assert_eq!(app.ask("/healthz").await.status, 200);
    assert!(app.ask("/metrics").await.body.contains("authseal_draining 1\n"));
    asked_more(100).await;
    away.store(true, Ordering::Relaxed);
    let mut closed = 0;
    for client in clients {
        closed += client.await.unwrap();
    }
    // All of the last hundred but those that were on their way already.
    assert!(closed >= 92, "every answer closes its connection: {closed}");
    until(PATIENCE, async || app.has_ended()).await;
    let gone = app.client.get(app.at("/healthz")).send().await.unwrap_err();
    assert!(gone.is_connect(), "{gone}");
}

#[tokio::test]
async fn what_is_under_way_is_finished_also_for_a_client_that_hung_up() {
    let (google, mut app, _) = start(0).await;
    google.hold();
    let (stays, leaves) = (app.log_in(&google), app.log_in(&google));
    let ask = |authid: &str| {
        let request = http::client().get(app.at("/refresh")).header("x-authid", authid);
        tokio::spawn(async move { Answer::of(request.send().await.unwrap()).await })
    };
    let (answered, hung_up) = (ask(&stays), ask(&leaves));
    until(PATIENCE, async || google.calls().len() == 3).await;
    hung_up.abort();
    app.terminate();
    // The listener is closed, and the process is still there for the calls under way.
    until(PATIENCE, async || app.client.get(app.at("/healthz")).send().await.is_err()).await;
    assert!(!app.has_ended());
    google.release();
    assert_eq!(answered.await.unwrap().status, 200);
    until(PATIENCE, async || app.has_ended()).await;
    assert_eq!(google.calls().len(), 3, "neither call was made again");
}

#[tokio::test]
async fn what_is_under_way_is_waited_for_and_it_is_told_whether_all_came_to_its_end() {
    for who in [Profile::google(), Profile::microsoft(), Profile::box_com()] {
        let clock = Clock::system();
        let emulator = Emulator::start_at(who, clock.clone());
        let app = spawn_at(&format!("{}[state]\nstore = \"dir:state\"\n", emulator.provider_toml()), clock);
        let authid = log_in(&emulator, &app).await;
        app.clock.advance(Duration::from_secs(3700));
        let logic = Arc::new(app.logic());
        assert!(logic.tokens().settle(PATIENCE).await, "nothing is under way");
        let before = emulator.calls().len();
        emulator.hold();
        let (theirs, opened) = (logic.clone(), logic.tokens().open(&authid).await.unwrap());
        let client = tokio::spawn(async move {
            let tokens = theirs.tokens();
            tokens.refresh(&opened, tokens.deadline(), || None).await.is_ok()
        });
        until(PATIENCE, async || emulator.calls().len() == before + 1).await;
        client.abort();
        assert!(!logic.tokens().settle(Duration::from_millis(50)).await, "{}", who.service);
        let log = String::from_utf8_lossy(&crate::canary::listen().lock().unwrap()).into_owned();
        let grant = app.open(&authid).id.to_string();
        let is_named = |line: &str| line.contains("the provider has not answered yet") && line.contains(&grant);
        // Of a token that may be spent, as the log says before the process ends.
        assert_eq!(log.lines().any(is_named), who.service == "box.com");
        emulator.release();
        assert!(logic.tokens().settle(PATIENCE).await, "{}", who.service);
        let opened = logic.tokens().open(&authid).await.unwrap();
        assert!(logic.tokens().cached(&opened).is_some(), "{}: what came is kept", who.service);
    }
}
