//! A provider that refuses everybody because of this server's app, as one may tell an expired client secret: nobody is told
//! to log in again, and it ends by itself.

use crate::admin::ADMIN;
use crate::emulator::{Emulator, Fault, Profile};
use crate::rotation;
use crate::spawn::{Answer, TestApp, spawn_app, until};
use futures_util::StreamExt;
use futures_util::stream;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_secs(60);
const FEW: &str = "[refresh]\nbrake_logins = 20\nbrake_refused = 5\n";

async fn refresh_all(app: &TestApp, authids: &[String]) -> Vec<Answer> {
    let asked = stream::iter(authids).map(|authid| app.refresh(authid)).buffered(64);
    asked.collect().await
}

fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

async fn metrics(app: &TestApp) -> String {
    app.ask("/metrics").await.body
}

/// Refreshes one login after the other until the brake is released.
async fn released(app: &TestApp, authids: &[String]) {
    let mut next = authids.iter().cycle();
    until(SOON, async || {
        app.clock.advance(SECOND);
        for authid in next.by_ref().take(8) {
            app.refresh(authid).await;
        }
        !metrics(app).await.contains("authseal_mass_refusal{provider=\"dropbox\"} 1\n")
    })
    .await;
}

#[tokio::test]
async fn a_provider_that_refuses_everybody_makes_few_log_in_again_and_ends_by_itself() {
    let clients = if std::env::var_os("TESTS_FULL").is_some() { 10_000 } else { 1_000 };
    let emulator = Emulator::start(Profile::dropbox());
    let app = spawn_app(&format!("{}{ADMIN}", emulator.provider_toml()));
    let authids: Vec<_> = (0..clients).map(|_| app.log_in(&emulator)).collect();
    assert_eq!(count(&refresh_all(&app, &authids).await, 200), clients);
    assert!(metrics(&app).await.contains("authseal_mass_refusal{provider=\"dropbox\"} 0\n"));
    assert_eq!(app.post("/revoked", &[("authid", &authids[700])]).await.status, 200);
    app.clock.advance(5 * HOUR);
    emulator.misbehave(Fault::oauth(400, "invalid_grant", "the secret has ended"));
    let before = emulator.calls().len();
    for _ in 0..2 {
        let answers = refresh_all(&app, &authids).await;
        // The revoked one is among them.
        assert!(count(&answers, 401) <= 20, "{} of {clients}", count(&answers, 401));
        assert_eq!(count(&answers, 401) + count(&answers, 503), clients);
        let told = answers.iter().find(|answer| answer.status == 503).unwrap();
        assert!(told.reason().contains("Your AuthID should be fine"), "{told:?}");
        assert!(answers[700].status == 401 && answers[700].reason().contains("revoked"), "{:?}", answers[700]);
    }
    assert!(emulator.calls().len() - before < 150, "{} calls", emulator.calls().len() - before);
    assert_eq!(count(&refresh_all(&app, &authids).await, 401), 1, "nor do those who were told before it came on");
    let token = app.post("/token", &[("grant_type", "refresh_token"), ("refresh_token", &authids[5])]).await;
    assert_eq!((token.status, &token.json()["error"]), (503, &"temporarily_unavailable".into()));
    assert!(metrics(&app).await.contains("authseal_mass_refusal{provider=\"dropbox\"} 1\n"));
    // Who has a token of use gets it.
    emulator.behave();
    released(&app, &authids).await;
    app.clock.advance(11 * SECOND);
    let answers = refresh_all(&app, &authids).await;
    assert_eq!((count(&answers, 200), count(&answers, 401)), (clients - 1, 1));
    // And a login that is dead is told so again.
    app.clock.advance(5 * HOUR);
    let dead = app.log_in(&emulator);
    app.refresh(&dead).await.access_token();
    app.clock.advance(5 * HOUR);
    emulator.withdraw(secrecy::ExposeSecret::expose_secret(&app.open(&dead).refresh_token));
    assert_eq!(app.refresh(&dead).await.status, 401);
}

#[tokio::test]
async fn logins_whose_tokens_change_survive_a_time_in_which_all_are_refused() {
    for who in [Profile::microsoft(), Profile::box_com(), Profile::jottacloud()] {
        let emulator = Emulator::start(who);
        let app = spawn_app(&format!("{}{FEW}[state]\nstore = \"dir:state\"\n", emulator.provider_toml()));
        let mut authids = Vec::new();
        for _ in 0..30 {
            authids.push(rotation::log_in(&emulator, &app).await);
        }
        app.clock.advance(2 * HOUR);
        assert_eq!(count(&refresh_all(&app, &authids).await, 200), 30);
        app.clock.advance(2 * HOUR);
        emulator.misbehave(Fault::oauth(400, "invalid_grant", "the secret has ended"));
        for _ in 0..3 {
            let answers = refresh_all(&app, &authids).await;
            assert!(count(&answers, 401) <= 4 && count(&answers, 503) >= 26, "{}: {answers:?}", who.provider);
            app.clock.advance(11 * SECOND);
        }
        emulator.behave();
        let mut good = 0;
        until(SOON, async || {
            app.clock.advance(21 * SECOND);
            good = count(&refresh_all(&app, &authids).await, 200);
            good == 30
        })
        .await;
    }
}

#[tokio::test]
async fn dead_logins_that_somebody_sends_on_purpose_keep_nobody_else_from_being_refused() {
    let emulator = Emulator::start(Profile::dropbox());
    let app = spawn_app(&format!("{}{ADMIN}{FEW}", emulator.provider_toml()));
    let honest: Vec<_> = (0..30).map(|_| app.log_in(&emulator)).collect();
    assert_eq!(count(&refresh_all(&app, &honest).await, 200), 30);
    // Logins that never worked here, and one that did, over and over.
    let dead: Vec<_> = (0..100).map(|number| app.seal("dropbox", &format!("dead {number}"))).collect();
    assert_eq!(count(&refresh_all(&app, &dead).await, 401), 100);
    app.clock.advance(5 * HOUR);
    emulator.withdraw(secrecy::ExposeSecret::expose_secret(&app.open(&honest[0]).refresh_token));
    for _ in 0..30 {
        app.clock.advance(11 * SECOND);
        assert_eq!(app.refresh(&honest[0]).await.status, 401);
    }
    assert!(metrics(&app).await.contains("authseal_mass_refusal{provider=\"dropbox\"} 0\n"));
    assert_eq!(count(&refresh_all(&app, &honest).await, 200), 29);
    // A provider that fails refuses nobody.
    app.clock.advance(5 * HOUR);
    emulator.misbehave(Fault::html(503));
    assert_eq!(count(&refresh_all(&app, &honest).await, 503), 30);
    assert!(metrics(&app).await.contains("authseal_mass_refusal{provider=\"dropbox\"} 0\n"));
}
