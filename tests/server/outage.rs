//! One provider hangs or is down while many clients come: others notice nothing, what is remembered is handed out, the
//! provider is hardly asked, and when it is back everybody is served without asking again.

use crate::emulator::{Emulator, Fault, Profile};
use crate::spawn::{Answer, TestApp, spawn_app, until};
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(60);
const HELD: &str = "[refresh]\nwait_seconds = 20\n";

/// Clients that come within some seconds of a night, in an order that `seed` says.
async fn storm(app: &TestApp, authids: &[String], seed: u64) -> Vec<Answer> {
    let mut state = seed;
    join_all(authids.iter().map(|authid| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let after = Duration::from_millis((state >> 33) % 3000);
        async move {
            tokio::time::sleep(after).await;
            app.refresh(authid).await
        }
    }))
    .await
}

#[tokio::test]
async fn a_storm_of_clients_keeps_no_provider_down_and_is_served_when_it_is_back() {
    let full = std::env::var_os("TESTS_FULL").is_some();
    let (clients, seeds) = if full { (2000, 1..=5) } else { (300, 1..=1) };
    for seed in seeds {
        for fault in [Fault::html(503), Fault::CloseBeforeHeaders] {
            let emulator = Emulator::start(Profile::dropbox());
            let app = spawn_app(&format!("{}{HELD}", emulator.provider_toml()));
            let authids: Vec<_> = (0..clients).map(|_| app.log_in(&emulator)).collect();
            emulator.misbehave(fault.clone());
            let outage = async {
                until(SOON, async || emulator.calls().len() >= 20).await;
                tokio::time::sleep(6 * SECOND).await;
                let calls = emulator.calls().len();
                emulator.behave();
                calls
            };
            let (answers, calls) = tokio::join!(storm(&app, &authids, seed), outage);
            let tokens: BTreeSet<_> = answers.iter().map(Answer::access_token).collect();
            assert_eq!(tokens.len(), clients, "seed {seed}: everybody in one request");
            // Until it is known to be down as many as may be under way, each twice; then one a second, twice.
            assert!(calls < 2 * (20 + 64) + 60, "seed {seed}, {fault:?}: {calls} calls in the outage");
        }
    }
}

#[tokio::test]
async fn a_provider_that_hangs_delays_no_other_and_what_is_remembered_of_it_is_handed_out() {
    let (hanging, good) = (Emulator::start(Profile::dropbox()), Emulator::start(Profile::google()));
    let app = spawn_app(&format!("{}{}{HELD}", hanging.provider_toml(), good.provider_toml()));
    let remembered = app.log_in(&hanging);
    let token = app.refresh(&remembered).await.access_token();
    hanging.hold();
    let requests: Vec<_> = (0..200)
        .map(|_| {
            let request = app.client.get(app.at("/refresh")).header("X-AuthID", app.log_in(&hanging));
            tokio::spawn(async move { Answer::of(request.send().await.unwrap()).await })
        })
        .collect();
    until(SOON, async || hanging.calls().len() > 64).await;
    for _ in 0..20 {
        app.refresh(&app.log_in(&good)).await.access_token();
        assert_eq!(app.refresh(&remembered).await.access_token(), token);
    }
    assert!(requests.iter().all(|request| !request.is_finished()), "all of that while these waited");
    assert!(hanging.calls().len() <= 3 * 65, "{} calls", hanging.calls().len());
    hanging.release();
    for request in requests {
        request.await.unwrap().access_token();
    }
}
