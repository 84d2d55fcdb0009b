//! One provider hangs while many clients come: others notice nothing, and what is remembered is handed out. What many
//! clients and an outage do to each other is simulated in `storm`.

use crate::admin::ADMIN;
use crate::emulator::{Emulator, Fault, Profile};
use crate::spawn::{Answer, spawn_app, spawn_beside, until};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const HELD: &str = "[refresh]\nwait_seconds = 20\n";

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

#[tokio::test]
async fn what_another_server_fetched_before_an_outage_does_not_end_it() {
    let who = Profile::microsoft();
    let emulator = Emulator::start(who);
    let one = spawn_app(&format!("{}{ADMIN}[state]\nstore = \"dir:state\"\n", emulator.provider_toml()));
    let (two, authid) = (spawn_beside(&one), one.log_in(&emulator));
    let token = two.refresh(&authid).await.access_token();
    one.clock.advance(Duration::from_secs(100));
    emulator.misbehave(Fault::html(503));
    for _ in 0..20 {
        assert_eq!(one.refresh(&one.log_in(&emulator)).await.status, 503);
    }
    let suspended =
        async || one.ask("/metrics").await.body.contains("authseal_provider_suspended{provider=\"microsoft\"} 1\n");
    assert!(suspended().await);
    // Now the next one is a probe.
    one.clock.advance(Duration::from_secs(2));
    assert_eq!(one.refresh(&authid).await.access_token(), token);
    assert!(suspended().await, "nobody has heard of the provider");
}
