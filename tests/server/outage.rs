//! One provider hangs while many clients come: others notice nothing, and what is remembered is handed out. What many
//! clients and an outage do to each other is simulated in `storm`.

use crate::emulator::{Emulator, Profile};
use crate::spawn::{Answer, spawn_app, until};
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
