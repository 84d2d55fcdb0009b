//! Waiting in the client's place: what may get better within seconds is held and tried again, the rest is told at once.
//! Time is real here, since the server's pauses are; so waits are short where no more is needed.

use crate::admin::ADMIN;
use crate::emulator::{Emulator, Fault, Profile};
use crate::reading::{Backend, Generation, Operation};
use crate::rotation;
use crate::spawn::{Answer, TestApp, UNKNOWN, spawn_app, spawn_at, spawn_beside, until};
use authseal::clock::Clock;
use futures_util::future::join_all;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
/// Longer than anything takes that is not waited for, and shorter than the longest wait.
const SOON: Duration = Duration::from_secs(15);
const STORE: &str = "[state]\nstore = \"dir:state\"\n";
/// The default, said so that the tests' own is not taken.
const LONG: &str = "[refresh]\nwait_seconds = 20\n";
const SHORT: &str = "[refresh]\nwait_seconds = 2\n";

fn start(who: Profile, tables: &str) -> (Emulator, TestApp) {
    let clock = Clock::system();
    let emulator = Emulator::start_at(who, clock.clone());
    let app = spawn_at(&format!("{}{tables}", emulator.provider_toml()), clock);
    (emulator, app)
}

/// A request whose answer is not waited for.
fn ask(app: &TestApp, authid: &str) -> JoinHandle<(Answer, Duration)> {
    let request = app.client.get(app.at("/refresh")).header("X-AuthID", authid);
    tokio::spawn(async move {
        let begun = Instant::now();
        (Answer::of(request.send().await.unwrap()).await, begun.elapsed())
    })
}

/// Waits until the provider was asked so often, while this request gets no answer.
async fn held(emulator: &Emulator, calls: usize, request: &JoinHandle<(Answer, Duration)>) {
    until(SOON, async || emulator.calls().len() >= calls || request.is_finished()).await;
    assert!(!request.is_finished(), "it was answered after {} calls", emulator.calls().len());
}

async fn waiting(app: &TestApp) -> u32 {
    let metrics = app.ask("/metrics").await.body;
    let line = metrics.lines().find_map(|line| line.strip_prefix("authseal_refresh_waiting ")).unwrap();
    line.parse().unwrap()
}

#[tokio::test]
async fn a_client_does_not_notice_what_passes() {
    let moment = |status| Fault::json(status, r#"{"error":"server_error"}"#);
    for who in [Profile::google(), Profile::microsoft()] {
        let (emulator, app) = start(who, LONG);
        for fault in [
            Fault::html(500),
            moment(500),
            moment(502),
            Fault::html(503),
            moment(504),
            Fault::html(599),
            Fault::html(408),
            Fault::CloseBeforeHeaders,
            Fault::CloseMidBody,
            Fault::NotHttp,
            Fault::json(429, "{}"),
            Fault::oauth(400, "temporarily_unavailable", "x"),
            Fault::too_many("1"),
            Fault::Reply { status: 503, headers: vec![("retry-after", "1".to_owned())], body: b"busy".to_vec() },
        ] {
            let authid = app.log_in(&emulator);
            emulator.misbehave(fault.clone());
            let request = ask(&app, &authid);
            // More often than one call is made by itself.
            held(&emulator, emulator.calls().len() + 3, &request).await;
            emulator.behave();
            let (answer, _) = request.await.unwrap();
            assert!(emulator.use_access_token(&answer.access_token()), "{} {fault:?}", who.provider);
        }
    }
}

#[tokio::test]
async fn what_will_stay_is_told_at_once() {
    let (emulator, app) = start(Profile::google(), LONG);
    for fault in [
        Fault::html(200),
        Fault::json(200, ""),
        Fault::json(200, r#"{"access_token":7}"#),
        Fault::json(204, ""),
        Fault::RedirectToTrap(302),
        Fault::RedirectToTrap(307),
        Fault::html(400),
        Fault::html(403),
        Fault::html(404),
        Fault::oauth(400, "teapot", "x"),
        Fault::oauth(400, "invalid_grant", "x"),
        Fault::oauth(401, "invalid_client", "x"),
        Fault::oauth(400, "admin_policy_enforced", "x"),
        Fault::too_many("21"),
        Fault::too_many("86400"),
    ] {
        let authid = app.log_in(&emulator);
        let before = emulator.calls().len();
        emulator.misbehave(fault.clone());
        let (answer, after) = ask(&app, &authid).await.unwrap();
        assert!([401, 503].contains(&answer.status) && after < SOON, "{fault:?}: {answer:?} after {after:?}");
        assert!(emulator.calls().len() <= before + 2, "{fault:?}: and nothing was tried again");
        let (again, after) = ask(&app, &authid).await.unwrap();
        assert_eq!(again.status, answer.status, "{fault:?}");
        assert!(after < SOON && emulator.calls().len() <= before + 2, "{fault:?}: it is remembered");
        emulator.behave();
    }
    let (answer, after) = ask(&app, "v3:googledrive:3:nonsense").await.unwrap();
    assert!(answer.status == 401 && after < SOON, "{answer:?} after {after:?}");
}

#[tokio::test]
async fn at_the_end_of_the_time_the_last_reason_is_told_and_the_next_client_is_held_too() {
    let (emulator, app) = start(Profile::google(), SHORT);
    let authid = app.log_in(&emulator);
    emulator.misbehave(Fault::html(503));
    for _ in 0..2 {
        let before = emulator.calls().len();
        let (answer, after) = ask(&app, &authid).await.unwrap();
        assert!(answer.status == 503 && !answer.reason().is_empty(), "{answer:?}");
        assert!(after >= SECOND && after < SOON, "{after:?}");
        let calls = emulator.calls().len() - before;
        assert!((2..=8).contains(&calls), "{calls} calls, each in two attempts");
    }
    // Within the pause that is remembered.
    let request = ask(&app, &authid);
    emulator.behave();
    request.await.unwrap().0.access_token();
}

#[tokio::test]
async fn a_pause_that_the_provider_asks_for_is_waited_out_as_far_as_there_is_time() {
    for seconds in [1, 7] {
        let (emulator, app) = start(Profile::google(), LONG);
        let authid = app.log_in(&emulator);
        emulator.misbehave_times(1, Fault::too_many(&seconds.to_string()));
        let (answer, after) = ask(&app, &authid).await.unwrap();
        answer.access_token();
        assert!(after >= seconds * SECOND && emulator.calls().len() == 2, "{after:?}");
    }
    let (emulator, app) = start(Profile::google(), SHORT);
    let authid = app.log_in(&emulator);
    emulator.misbehave(Fault::too_many("7"));
    let begun = Instant::now();
    let (answer, _) = ask(&app, &authid).await.unwrap();
    assert!(answer.status == 503, "{answer:?}");
    assert!(begun.elapsed() < 7 * SECOND && emulator.calls().len() == 1);
}

#[tokio::test]
async fn a_provider_that_is_slow_is_waited_for_and_given_up_in_time() {
    let (emulator, app) = start(Profile::google(), "[refresh]\nwait_seconds = 4\n");
    let authid = app.log_in(&emulator);
    emulator.hold();
    let (answer, after) = ask(&app, &authid).await.unwrap();
    assert!(answer.status == 503 && answer.reason().contains("in time"), "{answer:?}");
    assert!(after >= 3 * SECOND && after < SOON, "{after:?}");
    let request = ask(&app, &authid);
    emulator.release();
    request.await.unwrap().0.access_token();
    assert_eq!(emulator.calls().len(), 1, "what came of the call served the next one");
}

#[tokio::test]
async fn a_lost_answer_of_a_single_use_token_is_waited_out_and_the_token_tried_once() {
    let (emulator, app) = start(Profile::box_com(), &format!("{STORE}{LONG}"));
    let authid = rotation::log_in(&emulator, &app).await;
    app.clock.advance(HOUR);
    emulator.lose_answers(1, Fault::CloseBeforeHeaders);
    let request = ask(&app, &authid);
    until(SOON, async || rotation::spent(&emulator).len() == 1).await;
    tokio::time::sleep(2 * SECOND).await;
    assert!(!request.is_finished() && rotation::spent(&emulator).len() == 1, "the token is left alone");
    app.clock.advance(Duration::from_secs(21));
    let (answer, _) = request.await.unwrap();
    assert!(emulator.use_access_token(&answer.access_token()));
    assert_eq!(rotation::spent(&emulator).len(), 2);
}

#[tokio::test]
async fn a_single_use_token_that_was_turned_away_is_tried_again_and_survives() {
    for who in [Profile::box_com(), Profile::jottacloud()] {
        let (emulator, app) = start(who, &format!("{STORE}{LONG}"));
        let authid = rotation::log_in(&emulator, &app).await;
        for fault in [Fault::too_many("6"), Fault::oauth(429, "slow_down", "")] {
            app.clock.advance(HOUR);
            let before = rotation::spent(&emulator).len();
            emulator.misbehave_times(2, fault.clone());
            let (answer, _) = ask(&app, &authid).await.unwrap();
            assert!(emulator.use_access_token(&answer.access_token()), "{fault:?}");
            assert_eq!(rotation::spent(&emulator).len(), before + 3, "{fault:?}");
        }
    }
}

#[tokio::test]
async fn a_state_store_that_is_away_is_waited_for() {
    let (emulator, app) = start(Profile::jottacloud(), &format!("{STORE}{LONG}"));
    let authid = rotation::log_in(&emulator, &app).await;
    app.clock.advance(HOUR);
    let (good, aside) = (app.dir.path().join("state/records"), app.dir.path().join("aside"));
    fs::rename(&good, &aside).unwrap();
    fs::write(&good, b"no folder").unwrap();
    let request = ask(&app, &authid);
    tokio::time::sleep(2 * SECOND).await;
    assert!(!request.is_finished() && rotation::spent(&emulator).is_empty());
    fs::remove_file(&good).unwrap();
    fs::rename(&aside, &good).unwrap();
    assert!(emulator.use_access_token(&request.await.unwrap().0.access_token()));
    assert_eq!(rotation::spent(&emulator).len(), 1);
}

#[tokio::test]
async fn an_authid_under_a_key_that_is_still_to_come_waits_for_it() {
    let (emulator, app) = start(Profile::google(), LONG);
    let authid = app.seal_under(UNKNOWN, "googledrive", &emulator.log_in().refresh.unwrap());
    let request = ask(&app, &authid);
    tokio::time::sleep(SECOND).await;
    assert!(!request.is_finished());
    app.stage_the_unknown();
    request.await.unwrap().0.access_token();
    let (_, app) = start(Profile::google(), SHORT);
    let (answer, after) = ask(&app, &app.seal_under(UNKNOWN, "googledrive", "x")).await.unwrap();
    assert!(answer.status == 503 && answer.reason().contains("newer key"), "{answer:?}");
    assert!(after >= SECOND && after < SOON, "{after:?}");
    // On pages nobody waits.
    let begun = Instant::now();
    app.post("/revoked", &[("authid", &app.seal_under(UNKNOWN, "googledrive", "x"))]).await;
    assert!(begun.elapsed() < SOON);
}

#[tokio::test]
async fn a_login_that_is_revoked_meanwhile_gets_nothing() {
    let (emulator, app) = start(Profile::google(), LONG);
    let authid = app.log_in(&emulator);
    emulator.misbehave(Fault::html(503));
    let request = ask(&app, &authid);
    held(&emulator, 3, &request).await;
    let begun = Instant::now();
    let tested = app.post("/inspect", &[("authid", &authid), ("act", "test")]).await;
    assert!(!tested.body.contains("It works") && begun.elapsed() < SOON, "a test does not wait");
    let begun = Instant::now();
    assert_eq!(app.post("/revoked", &[("authid", &authid)]).await.status, 200);
    assert!(begun.elapsed() < SOON, "nor does a revocation");
    // At the next failure: the loop has tries left, and others may wait for it.
    let (answer, after) = request.await.unwrap();
    assert!(after < SOON, "{after:?}");
    assert!(answer.status == 401 && answer.reason().contains("revoked"), "{answer:?}");
}

#[tokio::test]
async fn nobody_waits_who_has_a_token_of_use() {
    let faults = [Fault::html(503), Fault::HangBeforeHeaders, Fault::too_many("15")];
    // And where nothing is tried a second time.
    for (fault, tables) in faults.into_iter().map(|fault| (fault, LONG)).chain([(Fault::HangBeforeHeaders, "")]) {
        let (emulator, app) = start(Profile::google(), tables);
        let authid = app.log_in(&emulator);
        let token = app.refresh(&authid).await.access_token();
        app.clock.advance(3500 * SECOND);
        emulator.misbehave(fault.clone());
        let (answer, after) = ask(&app, &authid).await.unwrap();
        assert_eq!(answer.access_token(), token, "{fault:?}");
        assert!(after < 6 * SECOND, "{fault:?}: {after:?}");
    }
}

/// A login whose access token is remembered and has 100 seconds left: none that is handed out while there are others.
async fn with_a_spare_token(who: Profile) -> (Emulator, TestApp, String, String) {
    let (emulator, app) = start(who, &format!("{STORE}{SHORT}"));
    emulator.set_access_life(Some(3600));
    let authid = rotation::log_in(&emulator, &app).await;
    let token = app.refresh(&authid).await.access_token();
    app.clock.advance(3500 * SECOND);
    (emulator, app, authid, token)
}

#[tokio::test]
async fn where_a_token_works_once_the_remembered_one_is_handed_out_when_the_time_is_over() {
    for who in [Profile::box_com(), Profile::jottacloud()] {
        let (emulator, app, authid, token) = with_a_spare_token(who).await;
        emulator.hold();
        let (answer, after) = ask(&app, &authid).await.unwrap();
        assert_eq!(answer.access_token(), token, "{}", who.service);
        assert!(after >= SECOND, "the exchange under way may end it: {after:?}");
        emulator.release();
        let newer = app.refresh(&authid).await.access_token();
        assert!(newer != token && emulator.use_access_token(&newer), "{}", who.service);
        assert_eq!(rotation::spent(&emulator).len(), 1, "{}", who.service);
    }
}

#[tokio::test]
async fn what_another_server_fetched_is_handed_out_too_when_the_provider_fails() {
    for who in [Profile::microsoft(), Profile::box_com()] {
        let (emulator, app, authid, token) = with_a_spare_token(who).await;
        let other = spawn_beside(&app);
        emulator.misbehave(Fault::html(503));
        let (answer, after) = ask(&other, &authid).await.unwrap();
        assert_eq!(answer.access_token(), token, "{}", who.service);
        assert!(answer.expires() <= 100 && after < SOON, "{after:?}");
        app.clock.advance(80 * SECOND);
        assert_eq!(other.refresh(&authid).await.status, 503, "{}", who.service);
    }
}

#[tokio::test]
async fn a_room_that_is_full_is_said_at_once() {
    let (emulator, app) = start(Profile::google(), &format!("{ADMIN}{LONG}max_waiting = 5\n"));
    let token = app.log_in(&emulator);
    app.refresh(&token).await.access_token();
    emulator.misbehave(Fault::html(503));
    let held: Vec<_> = (0..5).map(|_| ask(&app, &app.log_in(&emulator))).collect();
    until(SOON, async || waiting(&app).await == 5).await;
    for _ in 0..5 {
        let (answer, after) = ask(&app, &app.log_in(&emulator)).await.unwrap();
        assert!(answer.status == 503 && answer.reason().contains("no room to wait"), "{answer:?}");
        assert!(after < SOON && answer.header("retry-after").is_some(), "{after:?}");
    }
    app.refresh(&token).await.access_token();
    emulator.behave();
    for request in held {
        request.await.unwrap().0.access_token();
    }
    assert_eq!(waiting(&app).await, 0);
    let metrics = app.ask("/metrics").await.body;
    assert!(metrics.contains("authseal_refresh_waits_total{outcome=\"ok\"} 5\n"), "{metrics}");
    assert!(metrics.contains("outcome=\"no_room\"} 5\n"), "{metrics}");
}

#[tokio::test]
async fn who_is_refused_needs_no_room_to_wait() {
    let (emulator, dropbox) = (Emulator::start(Profile::google()), Emulator::start(Profile::dropbox()));
    let tables = format!("{}{}{ADMIN}{LONG}max_waiting = 2\n", emulator.provider_toml(), dropbox.provider_toml());
    let app = spawn_app(&tables);
    emulator.misbehave(Fault::html(503));
    let held: Vec<_> = (0..2).map(|_| ask(&app, &app.log_in(&emulator))).collect();
    until(SOON, async || waiting(&app).await == 2).await;
    let refused = app.refresh(&app.seal("dropbox", "a token that is over")).await;
    assert_eq!(refused.status, 401, "{refused:?}");
    emulator.behave();
    for request in held {
        request.await.unwrap().0.access_token();
    }
}

#[tokio::test]
async fn half_of_the_connections_may_wait() {
    let tables = format!("{ADMIN}{LONG}[server]\nmax_connections = 16\n");
    let (emulator, app) = start(Profile::google(), &tables);
    emulator.misbehave(Fault::html(503));
    let requests: Vec<_> = (0..10).map(|_| ask(&app, &app.log_in(&emulator))).collect();
    until(SOON, async || waiting(&app).await == 8 && requests.iter().filter(|it| it.is_finished()).count() == 2).await;
    emulator.behave();
    let answers = join_all(requests).await.into_iter().map(|answer| answer.unwrap().0);
    let (good, told): (Vec<_>, Vec<_>) = answers.partition(|answer| answer.status == 200);
    assert!(good.len() == 8 && told.iter().all(|answer| answer.reason().contains("no room to wait")), "{told:?}");
}

#[tokio::test]
async fn five_hundred_are_held_and_let_go_when_the_provider_is_back() {
    let (emulator, app) = start(Profile::google(), &format!("{ADMIN}{LONG}"));
    let threads = || fs::read_dir("/proc/self/task").unwrap().count();
    let shared: Vec<_> = (0..9).map(|_| app.log_in(&emulator)).collect();
    emulator.misbehave(Fault::html(503));
    app.ask("/metrics").await;
    let before = threads();
    // Some with an AuthID of their own, most with others together.
    let authids = (0..500).map(|number| match number % 10 {
        9 => app.log_in(&emulator),
        shares => shared[shares].clone(),
    });
    let requests: Vec<_> = authids.map(|authid| ask(&app, &authid)).collect();
    until(SOON, async || waiting(&app).await == 500).await;
    assert!(threads() < before + 50, "{before} threads, and then {}", threads());
    emulator.behave();
    let tokens = join_all(requests).await.into_iter().map(|answer| answer.unwrap().0.access_token());
    assert_eq!(tokens.collect::<std::collections::BTreeSet<_>>().len(), 59);
}

#[tokio::test]
async fn one_login_and_one_address_leave_places_to_others() {
    let (emulator, app) = start(Profile::google(), &format!("{ADMIN}{LONG}"));
    let from = |address: &str, authid: &str| {
        let request = app.client.get(app.at("/refresh")).header("X-AuthID", authid).header("x-forwarded-for", address);
        tokio::spawn(async move { Answer::of(request.send().await.unwrap()).await })
    };
    let (busy, other) = (app.log_in(&emulator), app.log_in(&emulator));
    emulator.misbehave(Fault::html(503));
    let many: Vec<_> = (0..90).map(|_| from("203.0.113.9", &busy)).collect();
    until(SOON, async || waiting(&app).await == 64).await;
    let told = until_told(&many).await;
    assert_eq!(told, 26, "beyond what one login takes");
    let others = [from("203.0.113.9", &other), from("203.0.113.10", &other)];
    until(SOON, async || waiting(&app).await == 66).await;
    emulator.behave();
    for request in others {
        request.await.unwrap().access_token();
    }
    let mut no_room = 0;
    for request in many {
        let answer = request.await.unwrap();
        no_room += usize::from(answer.status == 503 && answer.reason().contains("no room to wait"));
    }
    assert_eq!(no_room, told);
}

#[tokio::test]
async fn all_who_ask_for_one_login_at_once_get_the_one_answer_of_a_call_that_takes_long() {
    for who in [Profile::google(), Profile::box_com()] {
        let (emulator, app) = start(who, &format!("{ADMIN}{LONG}{STORE}"));
        let authid = rotation::log_in(&emulator, &app).await;
        // So that no token of the login is left.
        app.clock.advance(2 * HOUR);
        let before = emulator.calls().len();
        emulator.hold();
        let requests: Vec<_> = (0..100).map(|_| ask(&app, &authid)).collect();
        until(SOON, async || waiting(&app).await == 100).await;
        emulator.release();
        let tokens = join_all(requests).await.into_iter().map(|answer| answer.unwrap().0.access_token());
        assert_eq!(tokens.collect::<std::collections::BTreeSet<_>>().len(), 1);
        assert_eq!(emulator.calls().len(), before + 1);
    }
}

/// How many of these were answered, when it is no more for a while.
async fn until_told(requests: &[JoinHandle<Answer>]) -> usize {
    let finished = || requests.iter().filter(|request| request.is_finished()).count();
    until(SOON, async || finished() >= requests.len() - 64).await;
    finished()
}

#[tokio::test]
async fn a_server_that_ends_tells_all_who_wait_at_once() {
    let drains = format!("{ADMIN}{LONG}[server]\ndrain_seconds = 1\ntrusted_proxies = [\"127.0.0.1\"]\n");
    let emulator = Emulator::start(Profile::google());
    let mut app = spawn_app(&format!("{}{drains}", emulator.provider_toml()));
    emulator.misbehave(Fault::html(503));
    let newer = app.seal_under(UNKNOWN, "googledrive", "x");
    let requests: Vec<_> = (0..8).map(|_| ask(&app, &app.log_in(&emulator))).chain([ask(&app, &newer)]).collect();
    until(SOON, async || waiting(&app).await == 9).await;
    let begun = Instant::now();
    app.terminate();
    for request in requests {
        let (answer, _) = request.await.unwrap();
        assert!(answer.status == 503 && !answer.reason().is_empty(), "{answer:?}");
        assert_eq!(answer.header("connection"), Some("close"));
    }
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    until(SOON, async || app.has_ended()).await;
}

#[tokio::test]
async fn a_backup_goes_on_after_an_outage_of_seconds_in_one_attempt() {
    let (emulator, app) = start(Profile::google(), LONG);
    let emulator = Arc::new(emulator);
    for (generation, operation) in [(Generation::V2_1, Operation::List), (Generation::V2_2, Operation::Delete)] {
        let authid = app.log_in(&emulator);
        let url = app.at("/refresh");
        let mut client = crate::duplicati::Duplicati::of(Backend::GoogleDrive, generation, &url, &authid, &app.clock);
        emulator.misbehave(Fault::html(502));
        let before = emulator.calls().len();
        let (seen, back) = (emulator.clone(), emulator.clone());
        let outage = async move {
            until(SOON, async || seen.calls().len() > before + 3).await;
            back.behave();
        };
        let (token, ()) = tokio::join!(client.token_for(operation), outage);
        assert!(emulator.use_access_token(&token.unwrap()));
        assert!(client.waits.is_empty(), "one attempt: {:?}", client.waits);
    }
}
