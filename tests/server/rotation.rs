//! Services whose refresh tokens change when they are used, with a store in a folder: for years, on several servers, and
//! with everything that can go wrong between here and the provider.

use crate::admin::ADMIN;
use crate::browser::{From, Person};
use crate::emulator::{Emulator, Fault, Profile};
use crate::redis_server::RedisServer;
use crate::spawn::{Answer, OLD, PRIMARY, STAGED, TestApp, spawn_at, spawn_beside, until};
use authseal::clock::Clock;
use authseal::store::{Store, StorePlace};
use authseal::tokens::records_by_epoch;
use futures_util::future::join_all;
use secrecy::ExposeSecret;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::timeout;

const UI: &str = "http://localhost:8200";
const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3600);
const STORE: &str = "[state]\nstore = \"dir:state\"\n";
/// Longer than a token is left alone that may have been spent.
const HELD: Duration = Duration::from_secs(21);
/// Longer than a refusal is remembered.
const FORGOTTEN: Duration = Duration::from_secs(301);

/// A provider and a server with a store, with one time.
fn start(who: Profile) -> (Emulator, TestApp) {
    start_with(who, STORE)
}

fn start_with(who: Profile, tables: &str) -> (Emulator, TestApp) {
    let clock = Clock::system();
    let emulator = Emulator::start_at(who, clock.clone());
    let app = spawn_at(&format!("{}{tables}", emulator.provider_toml()), clock);
    (emulator, app)
}

/// A login through the pages: the AuthID.
pub(crate) async fn log_in(emulator: &Emulator, app: &TestApp) -> String {
    let page = log_in_page(&mut app.person(), emulator).await;
    page.authid().unwrap_or_else(|| panic!("{}", page.body))
}

async fn log_in_page(person: &mut Person, emulator: &Emulator) -> crate::browser::Page {
    let service = emulator.who().service;
    if !emulator.who().authorize.is_empty() {
        return person.log_in(service).await;
    }
    let index = person.open_index(&format!("type={service}"), UI).await;
    let ctx = index.field("ctx").unwrap();
    let token = emulator.login_token();
    let fields = [("id", service), ("token", token.as_str()), ("ctx", ctx.as_str())];
    person.submit(person.at("/cli-token-login"), &fields, index.as_source()).await
}

/// The refresh calls so far, by their tokens.
pub(crate) fn spent(emulator: &Emulator) -> Vec<String> {
    let calls = emulator.calls();
    let refreshes = calls.iter().filter(|call| call.params.iter().any(|(_, value)| value == "refresh_token"));
    let token =
        |params: &[(String, String)]| params.iter().find(|(name, _)| name == "refresh_token").unwrap().1.clone();
    refreshes.map(|call| token(&call.params)).collect()
}

/// The files of records, without those that are still being written.
pub(crate) fn records(app: &TestApp) -> Vec<PathBuf> {
    let shelf = app.dir.path().join("state/records");
    let folders = fs::read_dir(shelf).unwrap().map(|folder| folder.unwrap().path());
    let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap()).map(|file| file.unwrap().path());
    files.filter(|file| !file.file_name().unwrap().to_string_lossy().starts_with("aside-")).collect()
}

pub(crate) fn full() -> bool {
    std::env::var_os("TESTS_FULL").is_some()
}

#[tokio::test]
async fn services_with_single_use_tokens_are_offered_with_a_store() {
    for who in [Profile::box_com(), Profile::jottacloud()] {
        let (emulator, app) = start(who);
        let index = app.person().visit(app.person().at("/"), From::Typed).await;
        assert!(index.body.contains(emulator.who().service), "{}", index.body);
        let authid = log_in(&emulator, &app).await;
        let first = app.refresh(&authid).await;
        assert!(emulator.use_access_token(&first.access_token()));
        assert!(spent(&emulator).is_empty(), "what came with the login serves first");
        assert_eq!(records(&app).len(), 1);
        app.clock.advance(HOUR);
        let second = app.refresh(&authid).await;
        assert_ne!(second.access_token(), first.access_token());
        assert!(emulator.use_access_token(&second.access_token()));
        assert!(second.json().get("v2_authid").is_none(), "the AuthID stays as it is");
        assert_eq!(spent(&emulator).len(), 1);
    }
}

#[tokio::test]
async fn for_a_minute_what_the_store_agreed_to_is_handed_out_without_asking_it() {
    let (emulator, app) = start_with(Profile::box_com(), &format!("{STORE}{ADMIN}"));
    let authid = log_in(&emulator, &app).await;
    let counted = async || {
        let shown = app.ask("/metrics").await.body;
        let line = format!("authseal_refresh_total{{epoch=\"{PRIMARY}\",outcome=\"cached\",service=\"box.com\"}} ");
        shown.lines().find_map(|shown| shown.strip_prefix(&line)).unwrap().to_owned()
    };
    let first = app.refresh(&authid).await.access_token();
    fs::rename(app.dir.path().join("state"), app.dir.path().join("aside")).unwrap();
    for (seconds, count) in [(0, "1"), (50, "2"), (11, "2")] {
        app.clock.advance(Duration::from_secs(seconds));
        assert_eq!(app.refresh(&authid).await.access_token(), first);
        assert_eq!(counted().await, count, "{seconds} s later");
    }
}

#[tokio::test]
async fn a_second_server_adopts_what_the_first_one_got() {
    for who in [Profile::box_com(), Profile::jottacloud(), Profile::microsoft()] {
        let (emulator, one) = start(who);
        let two = spawn_beside(&one);
        let authid = log_in(&emulator, &one).await;
        for turn in 0..6 {
            one.clock.advance(HOUR);
            let (a, b) = if turn % 2 == 0 { (&one, &two) } else { (&two, &one) };
            let first = a.refresh(&authid).await.access_token();
            assert!(emulator.use_access_token(&first));
            assert_eq!(b.refresh(&authid).await.access_token(), first, "turn {turn}");
        }
        let spent = spent(&emulator);
        assert_eq!((spent.len(), spent.iter().collect::<BTreeSet<_>>().len()), (6, 6), "none twice: {spent:?}");
    }
}

/// Backs up daily for `days`, with a pause of `pause` days now and then, and restarts now and then.
async fn years(who: Profile, days: u32, pause: u32) {
    let (emulator, first) = start(who);
    let authid = log_in(&emulator, &first).await;
    let mut app = spawn_beside(&first);
    let mut day = 0;
    while day < days {
        let away = if day % 97 == 96 { pause } else { 1 };
        day += away;
        app.clock.advance(DAY * away);
        if day % 100 < away {
            app = spawn_beside(&app);
        }
        let answer = app.refresh(&authid).await;
        assert_eq!(answer.status, 200, "{} on day {day}: {answer:?}", emulator.who().service);
        assert!(emulator.use_access_token(&answer.access_token()), "day {day}");
    }
    assert_eq!(records(&app).len(), 1);
}

const THREE_YEARS: u32 = 3 * 365;

#[tokio::test]
async fn three_years_of_backups_to_something_like_box() {
    years(Profile::box_com(), THREE_YEARS, 55).await;
}

#[tokio::test]
async fn three_years_of_backups_to_something_like_jottacloud() {
    years(Profile::jottacloud(), THREE_YEARS, 40).await;
}

#[tokio::test]
async fn three_years_of_backups_to_something_like_microsoft() {
    years(Profile::microsoft(), THREE_YEARS, 85).await;
}

#[tokio::test]
async fn beyond_the_providers_own_limit_a_new_login_is_asked_for() {
    for (who, days) in [(Profile::box_com(), 61), (Profile::microsoft(), 91)] {
        let (emulator, app) = start(who);
        let authid = log_in(&emulator, &app).await;
        app.clock.advance(DAY * days);
        let answer = app.refresh(&authid).await;
        assert_eq!(answer.status, 401, "{answer:?}");
        assert!(answer.reason().contains("create a new AuthID"), "{}", answer.reason());
    }
}

#[tokio::test]
async fn without_a_durable_store_the_page_names_the_last_day_and_with_one_there_is_none() {
    for (tables, named) in [("", true), (STORE, false)] {
        let (emulator, app) = start_with(Profile::microsoft(), tables);
        let page = log_in_page(&mut app.person(), &emulator).await;
        assert_eq!(page.body.contains("It works until about"), named, "{tables}");
    }
}

#[tokio::test]
async fn twenty_clients_of_two_servers_cause_one_call_and_one_who_hangs_up_costs_nothing() {
    let (emulator, one) = start(Profile::jottacloud());
    let two = spawn_beside(&one);
    let authid = log_in(&emulator, &one).await;
    for _ in 0..if full() { 50 } else { 5 } {
        one.clock.advance(HOUR);
        let before = spent(&emulator).len();
        emulator.hold();
        let gone = one.client.get(one.at("/refresh")).header("X-AuthID", &authid);
        let gone = tokio::spawn(gone.timeout(Duration::from_secs(20)).send());
        until(Duration::from_secs(10), async || spent(&emulator).len() == before + 1).await;
        gone.abort();
        let all = join_all((0..20).map(|n| if n % 2 == 0 { one.refresh(&authid) } else { two.refresh(&authid) }));
        let release = async { emulator.release() };
        let (answers, ()) = tokio::join!(all, release);
        let tokens: BTreeSet<_> = answers.iter().map(Answer::access_token).collect();
        assert_eq!((tokens.len(), spent(&emulator).len()), (1, before + 1));
    }
}

#[tokio::test]
async fn a_lost_answer_is_waited_out_and_costs_a_login_only_at_a_strict_provider() {
    for (who, survives) in [(Profile::box_com(), true), (Profile::jottacloud(), false)] {
        let (emulator, app) = start(who);
        let authid = log_in(&emulator, &app).await;
        app.clock.advance(HOUR);
        emulator.lose_answers(1, Fault::CloseBeforeHeaders);
        let lost = app.refresh(&authid).await;
        assert_eq!(lost.status, 503);
        assert!(lost.reason().contains("should be fine"), "{}", lost.reason());
        let waiting = timeout(Duration::from_secs(1), app.refresh(&authid)).await;
        assert!(waiting.is_err(), "{waiting:?}");
        assert_eq!(spent(&emulator).len(), 1, "the token is left alone");
        app.clock.advance(HELD);
        let after = app.refresh(&authid).await;
        assert_eq!(after.status == 200, survives, "{after:?}");
        if survives {
            assert!(emulator.use_access_token(&after.access_token()));
            app.clock.advance(HOUR);
            assert!(emulator.use_access_token(&app.refresh(&authid).await.access_token()));
        } else {
            assert_eq!(after.status, 401);
            assert!(after.reason().contains("broke off"), "{}", after.reason());
            assert_eq!(app.refresh(&authid).await.status, 401, "and at once from then on");
            assert_eq!(spent(&emulator).len(), 2, "no loop");
        }
    }
}

/// A good answer with another member first, and last.
fn beside(answer: &str, member: &[u8]) -> Vec<u8> {
    let inner = &answer.as_bytes()[1..answer.len() - 1];
    [b"{", member, b",", inner, b",", member, b"}"].concat()
}

#[tokio::test]
async fn a_good_answer_in_an_odd_form_costs_no_login() {
    let forms: [fn(&str) -> Vec<u8>; 18] = [
        |answer| format!("\u{feff}{answer}\r\n\r\n").into(),
        |answer| format!("{answer}<!-- 7 ms -->").into(),
        |answer| format!("Notice: x in /srv/token.php\n{answer}").into(),
        |answer| format!("while(1){{}};{answer}").into(),
        |answer| format!("Warning: x in {{closure}}()\n{{\"level\":\"debug\"}}\n{answer}").into(),
        |answer| answer.trim_end_matches('}').into(),
        |answer| answer.replacen("\",", "\\r\\n\",", 1).into(),
        |answer| beside(answer, b"\"expires_in\":\"\""),
        |answer| beside(answer, b"\"expires_in\":NaN"),
        |answer| beside(answer, b"\"expires_in\":[-Infinity]"),
        |answer| beside(answer, b"\"scope\":7"),
        |answer| beside(answer, b"\"scope\":{\"read\":true}"),
        |answer| beside(answer, b"\"user\":\"Andr\xe9\""),
        |answer| beside(answer, b"\"user\":\"\\ud800\x00\""),
        |answer| beside(answer, b"\"error\":\"\""),
        |answer| beside(answer, format!("\"id_token\":\"{}\"", "x".repeat(60_000)).as_bytes()),
        |answer| beside(answer, format!("\"x\":{}{}", "[".repeat(30_000), "]".repeat(30_000)).as_bytes()),
        |answer| beside(answer, b"\"refresh_token\":null"),
    ];
    let (emulator, app) = start(Profile::jottacloud());
    let authid = log_in(&emulator, &app).await;
    for (number, form) in forms.into_iter().enumerate() {
        app.clock.advance(HOUR);
        emulator.lose_answers(1, Fault::Dressed(form));
        let answer = app.refresh(&authid).await;
        assert_eq!(answer.status, 200, "form {number}: {answer:?}");
        assert!(emulator.use_access_token(&answer.access_token()), "form {number}");
    }
    assert_eq!(spent(&emulator).len(), forms.len());
}

#[tokio::test]
async fn a_later_operation_of_duplicati_survives_the_time_in_doubt() {
    let (emulator, app) = start(Profile::box_com());
    let authid = log_in(&emulator, &app).await;
    app.clock.advance(HOUR);
    emulator.lose_answers(1, Fault::CloseBeforeHeaders);
    let told = app.duplicati("box.com", &authid).access_token().await.unwrap_err();
    assert!(told.text.contains("broke off") && told.attempts == [0], "{told:?}");
    app.clock.advance(HELD);
    let token = app.duplicati("box.com", &authid).access_token().await.unwrap();
    assert!(emulator.use_access_token(&token));
}

#[tokio::test]
async fn what_the_provider_turns_away_costs_nothing() {
    for who in [Profile::box_com(), Profile::jottacloud()] {
        let (emulator, app) = start(who);
        let authid = log_in(&emulator, &app).await;
        let faults = [Fault::oauth(401, "invalid_client", ""), Fault::oauth(429, "slow_down", "")];
        for fault in faults {
            app.clock.advance(HOUR);
            emulator.misbehave(fault.clone());
            let answer = app.refresh(&authid).await;
            assert_eq!(answer.status, 503, "{fault:?}: {answer:?}");
            emulator.behave();
            app.clock.advance(FORGOTTEN);
            assert!(emulator.use_access_token(&app.refresh(&authid).await.access_token()), "{fault:?}");
        }
        // 500 says nothing of whether the token was looked at.
        app.clock.advance(HOUR);
        emulator.misbehave(Fault::oauth(500, "server_error", ""));
        assert_eq!(app.refresh(&authid).await.status, 503);
        emulator.behave();
        app.clock.advance(FORGOTTEN);
        assert!(emulator.use_access_token(&app.refresh(&authid).await.access_token()));
    }
}

#[tokio::test]
async fn a_store_that_was_emptied_edited_or_set_back_yields_no_wrong_token() {
    let (emulator, app) = start(Profile::jottacloud());
    let authid = log_in(&emulator, &app).await;
    let record = records(&app).remove(0);
    let first = fs::read(&record).unwrap();
    app.clock.advance(HOUR);
    app.refresh(&authid).await.access_token();
    app.clock.advance(HOUR);
    let newest = fs::read(&record).unwrap();
    let calls = spent(&emulator).len();
    let mut edited = newest.clone();
    *edited.last_mut().unwrap() ^= 1;
    for (what, content) in [("emptied", None), ("edited", Some(edited)), ("cut", Some(newest[..20].to_vec()))] {
        let _ = fs::remove_file(&record);
        if let Some(content) = content {
            fs::write(&record, content).unwrap();
        }
        let answer = spawn_beside(&app).refresh(&authid).await;
        assert_eq!(answer.status, 401, "{what}: {answer:?}");
        assert!(answer.reason().contains("memory of this login is gone"), "{what}: {}", answer.reason());
    }
    assert_eq!(spent(&emulator).len(), calls, "nobody was asked with a guess");
    // The server that has seen the newest record puts it back by itself.
    for content in [None, Some(&first)] {
        let _ = fs::remove_file(&record);
        if let Some(content) = content {
            fs::write(&record, content).unwrap();
        }
        app.clock.advance(HOUR);
        assert!(emulator.use_access_token(&app.refresh(&authid).await.access_token()));
    }
    fs::write(&record, &first).unwrap();
    app.clock.advance(HOUR);
    let set_back = spawn_beside(&app).refresh(&authid).await;
    assert_eq!(set_back.status, 401);
    assert!(set_back.reason().contains("no longer accepts this login"), "{}", set_back.reason());
}

#[tokio::test]
async fn while_the_store_fails_nothing_is_spent_and_rolling_logins_go_on() {
    for who in [Profile::jottacloud(), Profile::box_com(), Profile::microsoft()] {
        let (emulator, app) = start(who);
        let authid = log_in(&emulator, &app).await;
        app.clock.advance(HOUR);
        let (good, aside) = (app.dir.path().join("state/records"), app.dir.path().join("aside"));
        fs::rename(&good, &aside).unwrap();
        fs::write(&good, b"no folder").unwrap();
        let calls = emulator.calls().len();
        let answer = app.refresh(&authid).await;
        if emulator.who().service == "onedrivev2" {
            assert!(emulator.use_access_token(&answer.access_token()), "the token in the AuthID lives on");
        } else {
            assert_eq!(answer.status, 503, "{answer:?}");
            assert!(answer.reason().contains("state store"), "{}", answer.reason());
            let page = log_in_page(&mut app.person(), &emulator).await;
            assert_eq!((page.status, page.authid()), (502, None));
            assert!(page.body.contains("could not be kept"), "{}", page.body);
            assert_eq!(emulator.calls().len(), calls, "nothing is spent on a login that could not be kept");
        }
        fs::remove_file(&good).unwrap();
        fs::rename(&aside, &good).unwrap();
        app.clock.advance(HOUR);
        assert!(emulator.use_access_token(&app.refresh(&authid).await.access_token()), "it repairs itself");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_written_down_is_kept_handed_out_and_written_later() {
    let (emulator, app) = start(Profile::jottacloud());
    let authid = log_in(&emulator, &app).await;
    app.clock.advance(HOUR);
    let (good, aside) = (app.dir.path().join("state/records"), app.dir.path().join("aside"));
    emulator.hold();
    let asked = app.refresh(&authid);
    let fail = async {
        until(Duration::from_secs(10), async || spent(&emulator).len() == 1).await;
        fs::rename(&good, &aside).unwrap();
        fs::write(&good, b"no folder").unwrap();
        emulator.release();
    };
    let (answer, ()) = tokio::join!(asked, fail);
    assert!(emulator.use_access_token(&answer.access_token()), "the client gets it all the same");
    let before = fs::read(aside_record(&aside)).unwrap();
    fs::remove_file(&good).unwrap();
    fs::rename(&aside, &good).unwrap();
    until(Duration::from_secs(20), async || fs::read(&records(&app)[0]).unwrap() != before).await;
    let two = spawn_beside(&app);
    assert_eq!(two.refresh(&authid).await.access_token(), answer.access_token());
    assert_eq!(spent(&emulator).len(), 1);
}

fn aside_record(shelf: &std::path::Path) -> PathBuf {
    let folder = fs::read_dir(shelf).unwrap().next().unwrap().unwrap().path();
    fs::read_dir(folder).unwrap().next().unwrap().unwrap().path()
}

#[tokio::test]
async fn revoking_ends_the_newest_token_and_its_record() {
    let (emulator, app) = start(Profile::box_com());
    let authid = log_in(&emulator, &app).await;
    app.clock.advance(HOUR);
    let access = app.refresh(&authid).await.access_token();
    assert!(emulator.use_access_token(&access));
    let answer = app.client.post(app.at("/revoked")).header("X-AuthID", &authid).send().await.unwrap();
    let answer = Answer::of(answer).await;
    assert_eq!(answer.json()["provider"], "done", "{answer:?}");
    assert!(!emulator.use_access_token(&access), "the provider ended it");
    assert!(records(&app).is_empty());
    assert_eq!(app.refresh(&authid).await.status, 401);
}

#[tokio::test]
async fn a_record_moves_to_the_newer_key_when_it_is_used() {
    let (emulator, app) = start(Profile::box_com());
    let keys = app.dir.path().join("keys.toml");
    let now = fs::read_to_string(&keys).unwrap();
    fs::write(&keys, now.replace(&format!("primary = {PRIMARY}"), &format!("primary = {OLD}"))).unwrap();
    let old = spawn_beside(&app);
    let authid = log_in(&emulator, &old).await;
    drop(old);
    fs::write(&keys, now).unwrap();
    let new = spawn_beside(&app);
    let place = StorePlace::Dir(app.dir.path().join("state"));
    let epochs = async || {
        let store = Store::open(&place, Clock::system()).unwrap();
        let counts = records_by_epoch(&store).await.unwrap();
        counts.into_keys().map(|epoch| epoch.unwrap().number()).collect::<Vec<_>>()
    };
    assert_eq!(epochs().await, [OLD]);
    app.clock.advance(HOUR);
    let answer = new.refresh(&authid).await;
    assert!(emulator.use_access_token(&answer.access_token()));
    assert_eq!(epochs().await, [PRIMARY]);
    assert!(answer.json()["v2_authid"].is_string(), "the AuthID under the newer key, with the same record");
    app.clock.advance(HOUR);
    let again = new.refresh(answer.json()["v2_authid"].as_str().unwrap()).await;
    assert!(emulator.use_access_token(&again.access_token()));
}

#[tokio::test]
async fn what_another_server_fetched_is_found_within_a_minute() {
    let (emulator, one) = start(Profile::box_com());
    let two = spawn_beside(&one);
    let authid = log_in(&emulator, &one).await;
    let first = one.refresh(&authid).await.access_token();
    assert_eq!(two.refresh(&authid).await.access_token(), first);
    let newer = test_login(&two, &authid).await;
    assert!(emulator.use_access_token(&newer));
    assert!(!emulator.use_access_token(&first), "the provider has ended it");
    one.clock.advance(Duration::from_secs(61));
    assert_eq!(one.refresh(&authid).await.access_token(), newer);
    assert_eq!(spent(&emulator).len(), 1);
}

/// Has a server ask the provider whatever it remembers: the access token that this brought.
async fn test_login(app: &TestApp, authid: &str) -> String {
    let page = app.post("/inspect", &[("authid", authid), ("act", "test")]).await;
    assert!(page.body.contains("It works"), "{page:?}");
    app.refresh(authid).await.access_token()
}

#[tokio::test]
async fn revoking_waits_for_the_exchange_under_way_and_ends_what_it_brings() {
    let (emulator, one) = start(Profile::box_com());
    let two = spawn_beside(&one);
    for revoker in [&one, &two] {
        let authid = log_in(&emulator, &one).await;
        one.clock.advance(HOUR);
        let before = spent(&emulator).len();
        let denied = |app: &TestApp| fs::read_to_string(app.dir.path().join("denylist")).unwrap().lines().count();
        let lines = denied(&one);
        emulator.hold();
        let revoke = async {
            until(Duration::from_secs(10), async || spent(&emulator).len() == before + 1).await;
            let request = revoker.client.post(revoker.at("/revoked")).header("X-AuthID", &authid).send();
            let release = async {
                // From here on, one that does not wait would end the old token.
                until(Duration::from_secs(10), async || denied(&one) == lines + 1).await;
                emulator.release();
            };
            let (answer, ()) = tokio::join!(request, release);
            Answer::of(answer.unwrap()).await
        };
        let (_, revoked) = tokio::join!(one.refresh(&authid), revoke);
        assert_eq!(revoked.json()["provider"], "done", "{revoked:?}");
        let newest = emulator.calls().into_iter().rfind(|call| call.path.contains("revoke")).unwrap();
        let ended = newest.params.iter().find(|(name, _)| name == "token").unwrap().1.clone();
        assert!(!spent(&emulator).contains(&ended), "not the token that was spent: {ended}");
        assert!(records(&one).is_empty());
    }
}

#[tokio::test]
async fn a_login_or_refresh_while_the_clock_is_wrong_hands_out_no_old_token_and_loses_nothing() {
    for wrong in [86_400, -86_400] {
        let (emulator, app) = start(Profile::jottacloud());
        app.clock.step(wrong);
        let authid = log_in(&emulator, &app).await;
        app.clock.step(-wrong);
        for _ in 0..3 {
            app.clock.advance(Duration::from_secs(4000));
            assert!(emulator.use_access_token(&spawn_beside(&app).refresh(&authid).await.access_token()), "{wrong}");
            assert!(emulator.use_access_token(&app.refresh(&authid).await.access_token()), "{wrong}");
        }
        assert_eq!(spent(&emulator).len(), 3, "{wrong}");
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_no_access_token_younger() {
    let redis = RedisServer::start(&[]);
    for store in ["dir:state".to_owned(), format!("redis://{}/0", redis.address())] {
        for who in [Profile::box_com(), Profile::jottacloud(), Profile::microsoft()] {
            let emulator = Emulator::start(who);
            let tables = format!("{}[state]\nstore = \"{store}\"\n", emulator.provider_toml());
            let app = spawn_at(&tables, Clock::system());
            let pass = |seconds| {
                let time = Duration::from_secs(seconds);
                emulator.clock.advance(time);
                app.clock.advance(time);
            };
            let authid = log_in(&emulator, &app).await;
            for back in [3000, 40, 3300] {
                pass(3400);
                let before = spawn_beside(&app);
                before.refresh(&authid).await.access_token();
                app.clock.step(-back);
                // Fetched or read before the clock was set, and read after it.
                let all = [&app, &before, &spawn_beside(&app)];
                for _ in 0..2 {
                    pass(300);
                    for server in all {
                        let token = server.refresh(&authid).await.access_token();
                        assert!(emulator.use_access_token(&token), "{} {store} {back}", who.service);
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn what_is_sealed_again_never_gets_an_older_key_than_it_had() {
    let (emulator, app) = start_with(Profile::microsoft(), "");
    let authid = app.seal_under(STAGED, emulator.who().service, &emulator.log_in().refresh.unwrap());
    let answer = app.refresh(&authid).await;
    let resealed = answer.json()["v2_authid"].as_str().unwrap().to_owned();
    assert!(resealed.starts_with(&format!("v3:{}:{STAGED}:", emulator.who().service)), "{resealed}");
}

#[tokio::test]
async fn an_answer_that_takes_longer_than_any_client_waits_is_kept_for_the_next_one() {
    let (emulator, app) = start(Profile::jottacloud());
    let two = spawn_beside(&app);
    let authid = log_in(&emulator, &app).await;
    app.clock.advance(HOUR);
    emulator.hold();
    let (first, second) = tokio::join!(app.refresh(&authid), two.refresh(&authid));
    for told in [first, second] {
        assert_eq!(told.status, 503, "{told:?}");
        assert!(told.reason().contains("has not answered yet. Your AuthID should be fine"), "{told:?}");
    }
    emulator.release();
    let answer = app.refresh(&authid).await;
    assert!(emulator.use_access_token(&answer.access_token()));
    assert_eq!(two.refresh(&authid).await.access_token(), answer.access_token());
    assert_eq!(spent(&emulator).len(), 1);
}

#[tokio::test]
async fn a_token_that_works_once_is_not_lost_with_the_thread_that_its_client_was_served_by() {
    for who in [Profile::box_com(), Profile::jottacloud()] {
        let (emulator, app) = start(who);
        let authid = log_in(&emulator, &app).await;
        app.clock.advance(HOUR);
        let other = Arc::new(app.logic());
        emulator.hold();
        let before = spent(&emulator).len();
        let (end, ended) = oneshot::channel::<()>();
        let worker = std::thread::spawn({
            let (other, authid) = (other.clone(), authid.clone());
            move || {
                let runtime = Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let tokens = other.tokens();
                    let opened = tokens.open(&authid).await.unwrap();
                    tokio::select! {
                        _ = tokens.refresh(&opened, tokens.deadline(), || None) => panic!("nobody has answered"),
                        _ = ended => {}
                    }
                });
            }
        });
        until(HELD, async || spent(&emulator).len() == before + 1).await;
        end.send(()).unwrap();
        worker.join().unwrap();
        emulator.release();
        let opened = other.tokens().open(&authid).await.unwrap();
        let granted = other.tokens().refresh(&opened, other.tokens().deadline(), || None).await.unwrap();
        assert!(emulator.use_access_token(granted.access.token.expose_secret()), "{}", who.service);
        assert_eq!(spent(&emulator).len(), before + 1, "{}", who.service);
    }
}
