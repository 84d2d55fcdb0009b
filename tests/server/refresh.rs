//! `/refresh`: AuthID in, access token out, and every way in which that can go wrong.

use crate::emulator::{CANARY, Emulator, Fault, Profile};
use crate::spawn::{Answer, OLD, PRIMARY, RETIRED, STAGED, TestApp, UNKNOWN, spawn_app, spawn_at, spawn_for, until};
use authseal::clock::{Clock, rfc3339};
use futures_util::future::join_all;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, Instant};

const DAY: Duration = Duration::from_secs(86_400);
/// As long as a first failure that may pass is remembered.
const MOMENT: Duration = Duration::from_secs(2);
/// Longer than anything is remembered that a provider said no to.
const FORGOTTEN: Duration = Duration::from_secs(601);

/// A provider whose refresh tokens stay, and a server for it.
fn google() -> (Emulator, TestApp) {
    let emulator = Emulator::start(Profile::google());
    let app = spawn_for(&[&emulator]);
    (emulator, app)
}

#[tokio::test]
async fn an_authid_brings_an_access_token_and_says_how_long_it_lives() {
    let (emulator, app) = google();
    let answer = app.refresh(&app.log_in(&emulator)).await;
    assert!(emulator.use_access_token(&answer.access_token()));
    assert!((3595..=3600).contains(&answer.expires()));
    assert_eq!(answer.json()["type"], "googledrive");
    let names: Vec<_> = answer.json().as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["access_token", "expires", "type"]);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let calls = emulator.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!((calls[0].method.as_str(), calls[0].path.as_str()), ("POST", "/token"));
    assert_eq!(calls[0].names(), ["client_id", "client_secret", "grant_type", "refresh_token"]);
    assert_eq!(calls[0].headers["content-type"], "application/x-www-form-urlencoded");
}

#[tokio::test]
async fn every_provider_without_single_use_tokens_is_served() {
    for who in [Profile::google(), Profile::microsoft(), Profile::dropbox(), Profile::oidc()] {
        let emulator = Emulator::start(who);
        let app = spawn_for(&[&emulator]);
        let answer = app.refresh(&app.log_in(&emulator)).await;
        assert!(emulator.use_access_token(&answer.access_token()), "{}", who.provider);
        assert_eq!(answer.json()["type"], who.service);
        assert_eq!(emulator.calls().len(), 1, "{}", who.provider);
    }
}

#[tokio::test]
async fn single_use_tokens_are_not_touched_without_a_store() {
    let (box_com, jottacloud) = (Emulator::start(Profile::box_com()), Emulator::start(Profile::jottacloud()));
    let app = spawn_for(&[&box_com, &jottacloud]);
    for emulator in [&box_com, &jottacloud] {
        let token = emulator.log_in().refresh.unwrap();
        let answer = app.refresh(&app.seal(emulator.who().service, &token)).await;
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.reason().contains("operator"), "{}", answer.reason());
        assert!(emulator.calls().is_empty() && emulator.is_alive(&token));
    }
}

#[tokio::test]
async fn twenty_refreshes_at_once_cause_one_call() {
    let (emulator, app) = google();
    let authid = app.log_in(&emulator);
    emulator.hold();
    let all = join_all((0..20).map(|_| app.refresh(&authid)));
    let release = async {
        until(Duration::from_secs(5), async || emulator.calls().len() == 1).await;
        emulator.release();
    };
    let (answers, ()) = tokio::join!(all, release);
    let tokens: BTreeSet<_> = answers.iter().map(Answer::access_token).collect();
    assert_eq!((tokens.len(), emulator.calls().len()), (1, 1));
    app.refresh(&authid).await.access_token();
    assert_eq!(emulator.calls().len(), 1, "the next one is served from memory");
    app.refresh(&app.log_in(&emulator)).await.access_token();
    assert_eq!(emulator.calls().len(), 2, "another login is another call");
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_cancel_the_call() {
    let (emulator, app) = google();
    let authid = app.log_in(&emulator);
    emulator.hold();
    let request = app.client.get(app.at("/refresh")).header("X-AuthID", &authid);
    let client = tokio::spawn(request.timeout(Duration::from_secs(20)).send());
    until(Duration::from_secs(5), async || emulator.calls().len() == 1).await;
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    emulator.release();
    app.refresh(&authid).await.access_token();
    assert_eq!(emulator.calls().len(), 1);
}

#[tokio::test]
async fn what_is_left_of_a_token_shrinks_with_time_until_a_new_one_is_fetched() {
    let (emulator, app) = google();
    let authid = app.log_in(&emulator);
    let first = app.refresh(&authid).await;
    app.clock.advance(Duration::from_secs(1000));
    let second = app.refresh(&authid).await;
    assert_eq!(second.access_token(), first.access_token());
    assert!((2590..=2600).contains(&second.expires()));
    app.clock.advance(Duration::from_secs(2470));
    let third = app.refresh(&authid).await;
    assert_eq!(third.access_token(), first.access_token());
    assert!((121..=130).contains(&third.expires()));
    app.clock.advance(Duration::from_secs(15));
    let fourth = app.refresh(&authid).await;
    assert_ne!(fourth.access_token(), first.access_token());
    assert!((3595..=3600).contains(&fourth.expires()));
    assert_eq!(emulator.calls().len(), 2);
}

#[tokio::test]
async fn a_short_token_is_kept_for_half_its_life() {
    let (emulator, app) = google();
    emulator.set_access_life(Some(60));
    let authid = app.log_in(&emulator);
    app.refresh(&authid).await.access_token();
    app.clock.advance(Duration::from_secs(25));
    assert!((30..=35).contains(&app.refresh(&authid).await.expires()));
    assert_eq!(emulator.calls().len(), 1);
    app.clock.advance(Duration::from_secs(6));
    assert!((55..=60).contains(&app.refresh(&authid).await.expires()));
    assert_eq!(emulator.calls().len(), 2);
}

/// What a person has to do, by what the reason says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Withdrawn,
    Expired,
    Consent,
    Policy,
    Locked,
    AdminConsent,
    Operator,
    Busy,
    Pause,
    Unclear,
    Outage,
    OutageOrDead,
    Redirect,
    Nonsense,
}

impl Class {
    fn status(self) -> u16 {
        match self {
            Self::Withdrawn | Self::Expired | Self::Consent | Self::Policy | Self::Locked | Self::AdminConsent => 401,
            _ => 503,
        }
    }
}

/// One fault after the other; reasons of a class must be one sentence, and classes must differ.
async fn check_faults(who: Profile, faults: Vec<(&str, Fault, Class)>) -> BTreeMap<Class, String> {
    let emulator = Emulator::start(who);
    let app = spawn_for(&[&emulator]);
    let mut reasons = BTreeMap::<Class, String>::new();
    for (name, fault, class) in faults {
        let authid = app.log_in(&emulator);
        emulator.misbehave(fault);
        let before = emulator.calls().len();
        let answer = app.refresh(&authid).await;
        let calls = emulator.calls().len() - before;
        assert_eq!(answer.status, class.status(), "{name}: {answer:?}");
        assert!((1..=2).contains(&calls), "{name}: {calls} calls");
        assert!(calls == 1 || class.status() == 503, "{name}: what will not change is not asked twice");
        // The HTTP status in it differs.
        let reason = answer.reason().replace(|c: char| c.is_ascii_digit(), "");
        let said = format!("{answer:?}");
        assert!(!said.contains(CANARY) && !said.contains("forged"), "{name}: {said}");
        assert_eq!(reason.contains("create a new"), answer.status == 401, "{name}: {reason}");
        let certainly_fine = matches!(class, Class::Busy | Class::Pause);
        assert_eq!(reason.contains("Your AuthID is fine"), certainly_fine, "{name}: {reason}");
        assert_eq!(reasons.entry(class).or_insert_with(|| reason.clone()), &reason, "{name}");
        assert_eq!(answer.header("retry-after").is_some(), answer.status == 503, "{name}");
        assert!(reason.contains("HTTP ") && answer.body == answer.reason(), "{name}: {answer:?}");
        emulator.behave();
        app.clock.advance(FORGOTTEN);
        assert_eq!(app.refresh(&authid).await.status, 200, "{name}: the login is fine when the fault is over");
    }
    assert_eq!(emulator.trapped(), 0);
    let sentences: BTreeSet<_> = reasons.values().collect();
    assert_eq!(sentences.len(), reasons.len(), "{reasons:?}");
    reasons
}

fn dead(text: &str) -> Fault {
    Fault::oauth(400, "invalid_grant", text)
}

#[tokio::test]
async fn every_error_of_a_provider_gets_its_status_and_its_reason() {
    use Class::*;
    let secret = format!("words\r\nX-Reason: forged\r\n\r\n<script>{}", "x".repeat(30_000));
    let faults = vec![
        ("withdrawn", dead("Token has been expired or revoked."), Withdrawn),
        ("half a day later", dead("Bad Request"), Withdrawn),
        ("the account is gone", dead("Account has been deleted"), Withdrawn),
        ("without a text", Fault::json(400, r#"{"error":"invalid_grant"}"#), Withdrawn),
        ("a text full of traps", dead(&secret[..4000]), Withdrawn),
        ("with status 401", Fault::oauth(401, "invalid_grant", "x"), Withdrawn),
        ("by an administrator", Fault::oauth(400, "admin_policy_enforced", "x"), AdminConsent),
        ("wrong secret", Fault::oauth(401, "invalid_client", "Unauthorized"), Operator),
        ("client deleted", Fault::oauth(401, "deleted_client", "The OAuth client was deleted."), Operator),
        ("client not allowed", Fault::oauth(400, "unauthorized_client", "x"), Operator),
        ("request not understood", Fault::oauth(400, "invalid_request", "x"), Unclear),
        ("too many, no word for how long", Fault::json(429, "{}"), Busy),
        ("too many, for 20 s", Fault::too_many("20"), Pause),
        ("too many, for 30 s", Fault::too_many("30"), Pause),
        ("too many, for 31 s", Fault::too_many("31"), Pause),
        ("too many, for a day", Fault::too_many("86400"), Pause),
        ("too many, for ever", Fault::too_many("99999999999999999999999"), Pause),
        ("server error", Fault::html(500), OutageOrDead),
        ("bad gateway", Fault::html(502), Outage),
        ("forbidden by a balancer", Fault::html(403), Unclear),
        ("not found", Fault::html(404), Unclear),
        ("an error without JSON", Fault::html(400), Unclear),
        ("an unknown code", Fault::oauth(400, "teapot", "x"), Unclear),
        ("a page instead of a token", Fault::html(200), Nonsense),
        ("nothing", Fault::json(200, ""), Nonsense),
        ("garbage", Fault::json(200, "\u{fffd}\u{0}not json"), Nonsense),
        ("a list", Fault::json(200, "[]"), Nonsense),
        ("no token", Fault::json(200, r#"{"expires_in":3600}"#), Nonsense),
        ("an empty token", Fault::json(200, r#"{"access_token":"","expires_in":3600}"#), Nonsense),
        ("a token that is a number", Fault::json(200, r#"{"access_token":1,"expires_in":3600}"#), Nonsense),
        ("cut JSON", Fault::json(200, r#"{"access_token":"a","#), Nonsense),
        ("deep nesting", Fault::json(200, format!("{{\"access_token\":\"a\",\"x\":{}", "[".repeat(20_000))), Nonsense),
        ("deep but whole", Fault::json(200, format!("{{\"a\":{}1{}}}", "[".repeat(40), "]".repeat(40))), Nonsense),
        ("a token of 100 KB", Fault::json(200, json!({"access_token": "x".repeat(100_000)}).to_string()), Nonsense),
        ("ten megabytes", Fault::json(200, json!({"access_token": "x".repeat(10_000_000)}).to_string()), Nonsense),
        ("without end", Fault::Endless, Nonsense),
        ("compressed, they say", Fault::gzip_bomb(), Nonsense),
        ("a redirect with the body", Fault::RedirectToTrap(307), Redirect),
        ("a lasting one", Fault::RedirectToTrap(308), Redirect),
        ("a plain one", Fault::RedirectToTrap(302), Redirect),
    ];
    let reasons = check_faults(Profile::google(), faults).await;
    assert!(reasons[&Operator].contains("operator"), "{}", reasons[&Operator]);
}

#[tokio::test]
async fn a_connection_that_breaks_is_not_the_logins_fault() {
    // The classes are not told apart here: where a connection breaks depends on what was read before.
    for (name, fault) in [
        ("before the answer", Fault::CloseBeforeHeaders),
        ("within the answer", Fault::CloseMidBody),
        ("another protocol", Fault::NotHttp),
        ("too large a header", {
            let headers = vec![("x-large", "y".repeat(500_000))];
            Fault::Reply { status: 200, headers, body: Vec::new() }
        }),
    ] {
        let (emulator, app) = google();
        let authid = app.log_in(&emulator);
        emulator.misbehave(fault);
        let answer = app.refresh(&authid).await;
        assert_eq!(answer.status, 503, "{name}: {answer:?}");
        assert!(!answer.reason().contains("create a new"), "{name}: {}", answer.reason());
        emulator.behave();
        app.clock.advance(MOMENT);
        assert_eq!(app.refresh(&authid).await.status, 200, "{name}");
    }
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_not_the_logins_fault() {
    let (emulator, app) = google();
    let authid = app.log_in(&emulator);
    drop(emulator);
    let answer = app.refresh(&authid).await;
    assert_eq!(answer.status, 503);
    assert!(answer.reason().contains("cannot be reached"), "{}", answer.reason());
}

#[tokio::test]
async fn microsofts_numbers_say_what_its_codes_do_not() {
    use Class::*;
    let graph = |code: u32| Fault::microsoft(400, "invalid_grant", code);
    let faults = vec![
        ("90 days old", graph(700_082), Expired),
        ("inactive", graph(70008), Expired),
        ("registered as a page", graph(700_084), Expired),
        ("sign-in frequency", graph(70043), Expired),
        ("revoked", graph(50173), Withdrawn),
        ("any other number", graph(123_456), Withdrawn),
        ("too old", graph(700_081), Expired),
        ("second factor", graph(50076), Policy),
        ("blocked by a rule", graph(53003), Policy),
        ("not assigned", graph(50105), Policy),
        ("a step elsewhere", graph(50158), Policy),
        ("switched off", graph(50057), Locked),
        ("locked", graph(50053), Locked),
        ("consent missing", Fault::microsoft(400, "invalid_grant", 65001), AdminConsent),
        ("an administrator's consent", graph(90094), AdminConsent),
        ("passing", graph(90033), Busy),
        ("passing whatever is beside it", Fault::microsoft(401, "invalid_client", 90033), Busy),
        ("interaction", Fault::microsoft(400, "interaction_required", 1), Consent),
        ("loop detected", graph(50196), Busy),
        ("tenant throttled", graph(90055), Busy),
        ("transient", graph(90024), Busy),
        ("transient too", graph(90006), Busy),
        ("and this one", graph(70012), Busy),
        ("wrong secret", Fault::microsoft(401, "invalid_client", 7_000_215), Operator),
        ("secret expired", Fault::microsoft(401, "invalid_client", 7_000_222), Operator),
        ("wrong kind of app", Fault::microsoft(400, "invalid_request", 9_002_332), Operator),
    ];
    check_faults(Profile::microsoft(), faults).await;
}

#[tokio::test]
async fn dropbox_words_are_understood() {
    let faults = vec![
        ("revoked", dead("refresh token is invalid or revoked"), Class::Withdrawn),
        ("malformed", dead("refresh token is malformed"), Class::Withdrawn),
        ("wrong secret", Fault::oauth(400, "invalid_client", "Invalid client_id or client_secret"), Class::Operator),
        ("too many", Fault::too_many("25"), Class::Pause),
    ];
    check_faults(Profile::dropbox(), faults).await;
}

#[tokio::test]
async fn what_the_provider_really_says_of_a_dead_login_is_understood() {
    for who in [Profile::google(), Profile::microsoft(), Profile::dropbox(), Profile::oidc()] {
        let emulator = Emulator::start(who);
        let app = spawn_for(&[&emulator]);
        let token = emulator.log_in().refresh.unwrap();
        emulator.withdraw(&token);
        for token in [token.as_str(), "never-issued"] {
            let answer = app.refresh(&app.seal(who.service, token)).await;
            // What was never issued is, for some, a request that makes no sense; it is never somebody else's fault.
            assert_eq!(answer.status, 401, "{} {token}: {answer:?}", who.provider);
            assert!(answer.reason().contains("create a new"), "{}", answer.reason());
        }
    }
}

#[tokio::test]
async fn where_nothing_is_waited_for_even_a_short_pause_of_the_provider_is_told_and_kept() {
    let (emulator, app) = google();
    let authid = app.log_in(&emulator);
    emulator.misbehave(Fault::too_many("5"));
    for _ in 0..2 {
        let answer = app.refresh(&authid).await;
        let told = answer.header("retry-after").and_then(|seconds| seconds.parse::<u32>().ok());
        assert!(answer.status == 503 && told.is_some_and(|seconds| seconds <= 5), "{answer:?}");
    }
    assert_eq!(emulator.calls().len(), 1);
}

#[tokio::test]
async fn a_single_fault_is_not_seen_by_the_client() {
    for fault in [Fault::html(500), Fault::html(503), Fault::CloseBeforeHeaders] {
        let (emulator, app) = google();
        let authid = app.log_in(&emulator);
        emulator.misbehave_times(1, fault.clone());
        assert_eq!(app.refresh(&authid).await.status, 200, "{fault:?}");
        assert_eq!(emulator.calls().len(), 2);
    }
}

#[tokio::test]
async fn a_date_to_come_back_at_is_understood() {
    for ahead in [20, 3600] {
        let (emulator, app) = google();
        let authid = app.log_in(&emulator);
        let date = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(ahead));
        emulator.misbehave(Fault::too_many(&date));
        let answer = app.refresh(&authid).await;
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!(answer.status == 503 && (ahead - 10..=ahead).contains(&wait), "{date}: {answer:?}");
    }
}

#[tokio::test]
async fn during_a_long_pause_the_provider_is_left_alone() {
    let (emulator, app) = google();
    let authid = app.log_in(&emulator);
    emulator.misbehave(Fault::too_many("120"));
    let first = app.refresh(&authid).await;
    assert_eq!((first.status, emulator.calls().len()), (503, 1));
    let asked: u64 = first.header("retry-after").unwrap().parse().unwrap();
    assert!((115..=120).contains(&asked), "{asked}");
    assert_eq!((app.refresh(&authid).await.status, emulator.calls().len()), (503, 1));
    emulator.behave();
    app.clock.advance(Duration::from_secs(121));
    assert_eq!((app.refresh(&authid).await.status, emulator.calls().len()), (200, 2));
}

#[tokio::test]
async fn how_long_a_token_lives_is_read_with_suspicion() {
    let (emulator, app) = google();
    let unsaid = "null -5 0 0.5 1e300 18446744073709551615 NaN \"soon\" \"\" true [3600]";
    let unsaid = unsaid.split(' ').map(|life| (life, 1795..=1800));
    let said = [("\"3600 \"", 3595..=3600), ("3600.7", 3595..=3600), ("2592000", 86_395..=86_400)];
    for (expires_in, expected) in unsaid.chain(said) {
        let authid = app.log_in(&emulator);
        emulator.misbehave(Fault::json(200, format!(r#"{{"access_token":"a","expires_in":{expires_in}}}"#)));
        let answer = app.refresh(&authid).await;
        assert_eq!(answer.status, 200, "{expires_in}: {answer:?}");
        assert!(expected.contains(&answer.expires()), "{expires_in}: {}", answer.expires());
    }
}

#[tokio::test]
async fn slow_providers_are_given_up_before_the_client_gives_up() {
    let faults = [Fault::HangBeforeHeaders, Fault::Drip, Fault::StallMidBody];
    join_all(faults.map(async |fault| {
        let (emulator, app) = google();
        let authid = app.log_in(&emulator);
        emulator.misbehave(fault.clone());
        let begun = Instant::now();
        let answer = app.refresh(&authid).await;
        assert!(begun.elapsed() < Duration::from_millis(20_500), "{fault:?}: {:?}", begun.elapsed());
        assert_eq!(answer.status, 503, "{fault:?}: {answer:?}");
        assert!(answer.reason().contains("in time"), "{}", answer.reason());
        emulator.behave();
        app.clock.advance(MOMENT);
        assert_eq!(app.refresh(&authid).await.status, 200, "{fault:?}");
    }))
    .await;
}

#[tokio::test]
async fn a_dead_login_is_remembered_for_ten_seconds() {
    let (emulator, app) = google();
    let token = emulator.log_in().refresh.unwrap();
    let authid = app.seal("googledrive", &token);
    emulator.withdraw(&token);
    for _ in 0..3 {
        assert_eq!(app.refresh(&authid).await.status, 401);
    }
    assert_eq!(emulator.calls().len(), 1);
    app.clock.advance(Duration::from_secs(11));
    assert_eq!(app.refresh(&authid).await.status, 401);
    assert_eq!(emulator.calls().len(), 2);
}

/// What a backup's owner sees of each kind of fault, and how often the server was asked.
#[tokio::test]
async fn a_backup_sees_each_kind_of_fault_as_it_should() {
    let cases: [(Fault, &[u64], &str); 4] = [
        (dead("x"), &[1], "create a new"),
        (Fault::oauth(401, "invalid_client", "x"), &[], "operator"),
        (Fault::html(500), &[], "Google has an outage (HTTP 500)"),
        (Fault::too_many("3600"), &[], "asks for a pause of 3600 s (HTTP 429)"),
    ];
    for (fault, waits, says) in cases {
        let (emulator, app) = google();
        let mut client = app.duplicati("gcs", &app.log_in(&emulator));
        emulator.misbehave(fault.clone());
        let failure = client.access_token().await.unwrap_err();
        assert!(failure.text.contains(says), "{fault:?}: {failure:?}");
        assert!(failure.text.ends_with(&format!("{}?type=gcs", app.base)), "{failure:?}");
        assert_eq!(client.waits.iter().map(Duration::as_secs).collect::<Vec<_>>(), waits, "{fault:?}");
    }
}

#[tokio::test]
async fn a_backup_does_not_notice_a_fault_that_passes() {
    let (emulator, app) = google();
    emulator.misbehave_times(1, Fault::html(503));
    let mut client = app.duplicati("googledrive", &app.log_in(&emulator));
    client.access_token().await.unwrap();
    assert_eq!(client.waits.len(), 0);
}

#[tokio::test]
async fn an_authid_of_an_older_epoch_is_answered_with_a_newer_one() {
    let (emulator, app) = google();
    let old = app.seal_under(OLD, "googledrive", &emulator.log_in().refresh.unwrap());
    let mut client = app.duplicati("googledrive", &old);
    client.access_token().await.unwrap();
    assert!(client.authid.starts_with(&format!("v3:googledrive:{PRIMARY}:")));
    let answer = app.refresh(&client.authid).await;
    assert_eq!((answer.status, answer.json().get("v2_authid")), (200, None));
    assert_eq!(emulator.calls().len(), 1, "it is the same login");
    let staged = app.refresh(&app.seal_under(STAGED, "googledrive", &emulator.log_in().refresh.unwrap())).await;
    assert_eq!((staged.status, staged.json().get("v2_authid")), (200, None), "never sealed downward");
}

#[tokio::test]
async fn a_microsoft_login_lives_on_in_the_client_and_ages_in_its_configuration() {
    let clock = Clock::system();
    let emulator = Emulator::start_at(Profile::microsoft(), clock.clone());
    let app = spawn_at(&emulator.provider_toml(), clock.clone());
    let stored = app.log_in(&emulator);
    let mut running = app.duplicati("onedrivev2", &stored);
    for day in 0..120 {
        assert!(running.access_token().await.is_ok(), "day {day}: a process that continues has the newest");
        if day < 90 {
            assert!(app.duplicati("onedrivev2", &stored).access_token().await.is_ok(), "day {day}");
        }
        clock.advance(DAY);
    }
    let answer = app.refresh(&stored).await;
    assert_eq!(answer.status, 401);
    assert!(answer.reason().contains("age"), "{}", answer.reason());
}

#[tokio::test]
async fn a_revoked_authid_is_refused_although_its_token_is_still_in_memory() {
    let (emulator, app) = google();
    let (authid, other) = (app.log_in(&emulator), app.log_in(&emulator));
    app.refresh(&authid).await.access_token();
    app.refresh(&other).await.access_token();
    let revoke = app.client.post(app.at("/revoked")).header("X-AuthID", &authid).send().await.unwrap();
    assert_eq!(revoke.status(), 200);
    let answer = app.refresh(&authid).await;
    assert_eq!(answer.status, 401);
    assert!(answer.reason().contains("revoked"), "{}", answer.reason());
    assert_eq!(app.refresh(&other).await.status, 200);
    let list = fs::read_to_string(app.dir.path().join("denylist")).unwrap();
    let rules: Vec<_> = list.lines().filter(|line| line.starts_with("grant ")).collect();
    assert_eq!(rules.len(), 1);
    assert!(rules[0].contains(&format!(" through {STAGED} at ")), "{}", rules[0]);
    let again = app.client.post(app.at("/revoked")).header("X-AuthID", &authid).send().await.unwrap();
    assert_eq!(again.status(), 200, "revoking twice is no mistake");
}

#[tokio::test]
async fn a_revocation_while_the_provider_is_asked_counts() {
    let (emulator, app) = google();
    let authid = app.log_in(&emulator);
    emulator.hold();
    let revoke = async {
        until(Duration::from_secs(5), async || emulator.calls().len() == 1).await;
        let revoke = app.client.post(app.at("/revoked")).header("X-AuthID", &authid).send();
        let release = async {
            let list = app.dir.path().join("denylist");
            until(Duration::from_secs(5), async || fs::read_to_string(&list).unwrap().contains("grant ")).await;
            emulator.release();
        };
        tokio::join!(revoke, release).0.unwrap()
    };
    let (answer, revoked) = tokio::join!(app.refresh(&authid), revoke);
    assert_eq!((answer.status, revoked.status().as_u16()), (401, 200));
    assert!(answer.reason().contains("revoked"), "{}", answer.reason());
}

#[tokio::test]
async fn a_new_refresh_token_that_does_not_fit_costs_nobody_the_access_token() {
    let emulator = Emulator::start(Profile::microsoft());
    let app = spawn_for(&[&emulator]);
    let huge = json!({"access_token": "at", "expires_in": 3600, "refresh_token": "x".repeat(5000)});
    emulator.misbehave(Fault::json(200, huge.to_string()));
    let answer = app.refresh(&app.log_in(&emulator)).await;
    assert_eq!(answer.access_token(), "at");
    assert!(answer.json().get("v2_authid").is_none());
}

#[tokio::test]
async fn of_a_long_pause_the_rest_is_told_and_its_end_may_be_waited_for() {
    let (emulator, app) = google();
    let authid = app.log_in(&emulator);
    emulator.misbehave(Fault::too_many("40"));
    let first = app.refresh(&authid).await;
    assert_eq!((first.status, first.header("retry-after")), (503, Some("40")));
    emulator.behave();
    app.clock.advance(Duration::from_secs(5));
    let second = app.refresh(&authid).await;
    let rest: u64 = second.header("retry-after").unwrap().parse().unwrap();
    assert!(second.status == 503 && (30..=35).contains(&rest), "{second:?}");
    app.clock.advance(Duration::from_secs(10));
    assert_eq!(app.refresh(&authid).await.status, 503);
    app.clock.advance(Duration::from_secs(26));
    app.refresh(&authid).await.access_token();
}

#[tokio::test]
async fn a_denylist_edited_by_hand_is_in_force_within_two_seconds() {
    let (emulator, app) = google();
    let file = app.dir.path().join("denylist");
    let (authid, old) =
        (app.log_in(&emulator), app.seal_under(OLD, "googledrive", &emulator.log_in().refresh.unwrap()));
    for authid in [&authid, &old] {
        assert_eq!(app.refresh(authid).await.status, 200);
    }
    fs::write(&file, format!("authseal-denylist 1\nepoch {OLD}\n")).unwrap();
    until(Duration::from_secs(2), async || app.refresh(&old).await.status == 401).await;
    assert!(app.refresh(&old).await.reason().contains("operator"));
    assert_eq!(app.refresh(&authid).await.status, 200);

    fs::write(&file, "authseal-denylist 1\nepoch two\n").unwrap();
    let later = rfc3339(app.clock.now() + 3600);
    for _ in 0..100 {
        assert_eq!(app.refresh(&old).await.status, 401, "the last good rules stay");
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    fs::write(&file, format!("authseal-denylist 1\nepoch {PRIMARY} login-before {later}\n")).unwrap();
    until(Duration::from_secs(2), async || app.refresh(&authid).await.status == 401).await;
    assert_eq!(app.refresh(&old).await.status, 200);
}

#[tokio::test]
async fn every_answer_carries_what_keeps_it_out_of_caches_and_frames() {
    let (emulator, app) = google();
    let (authid, gone) = (app.log_in(&emulator), emulator.log_in().refresh.unwrap());
    emulator.withdraw(&gone);
    let big = "x".repeat(20_000);
    let answers = [
        (200, app.refresh(&authid).await),
        (200, app.refresh(&authid).await),
        (401, app.refresh(&app.seal("googledrive", &gone)).await),
        (401, app.refresh("nonsense").await),
        (400, app.get("/refresh").await),
        (303, app.get("/refresh?type=box.com").await),
        (404, app.get("/nowhere").await),
        (400, Answer::of(app.client.delete(app.at("/refresh")).send().await.unwrap()).await),
        (400, app.post("/refresh", &[("authid", &big)]).await),
        (200, app.get("/").await),
        (400, app.get("/logged-in").await),
        (200, app.get("/healthz").await),
    ];
    for (status, answer) in answers {
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{answer:?}");
        assert!(answer.header("strict-transport-security").unwrap().contains("max-age=31536000"), "{answer:?}");
        // A token for who sent an AuthID in a header is no page, and no browser gets it.
        let is_token = answer.body.contains("access_token");
        for name in ["cross-origin-resource-policy", "content-security-policy", "permissions-policy"] {
            assert_eq!(answer.header(name).is_some(), !is_token, "{name} of {answer:?}");
        }
        assert_eq!(answer.header("access-control-allow-origin"), None, "{answer:?}");
    }
}

#[tokio::test]
async fn a_browser_that_lands_here_is_taken_to_the_login() {
    let (emulator, app) = google();
    let answer = app.get("/refresh?type=googledrive").await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/?type=googledrive")));
    assert_eq!(answer.header("referrer-policy"), Some("strict-origin-when-cross-origin"));
    let hostile = app.get("/refresh?type=%0d%0aLocation:%20//evil.test").await;
    assert_eq!((hostile.status, hostile.header("location")), (303, Some("/")));
    // A request that carries an AuthID is never sent elsewhere: the client would take the AuthID along.
    let request = app.client.get(app.at("/refresh?type=googledrive")).header("sec-fetch-mode", "navigate");
    let answer = Answer::of(request.header("X-AuthID", app.log_in(&emulator)).send().await.unwrap()).await;
    assert_eq!(answer.status, 200);
    let mut person = app.person();
    let from = crate::browser::From::opener("http://localhost:8200");
    let page = person.visit(person.at("/refresh?type=googledrive"), from).await;
    assert_eq!((page.status, page.url.as_str()), (200, "https://authseal.test/?type=googledrive"));
    let login = page.link("/login?id=googledrive").unwrap();
    let done = person.click(&page, login).await;
    assert_eq!(done.delivers_to().as_deref(), Some("http://localhost:8200"), "the opener is not forgotten on the way");
}

#[tokio::test]
async fn an_authid_is_taken_from_header_or_form_and_from_a_url_only_where_that_is_allowed() {
    let (emulator, app) = google();
    let authid = app.log_in(&emulator);
    app.post("/refresh", &[("authid", &authid)]).await.access_token();
    for spelling in [format!(" {authid}\r\n"), authid.replace(':', "%3A"), authid.replace(':', "%3a")] {
        app.post("/refresh", &[("authid", &spelling)]).await.access_token();
    }
    let in_url = app.get(&format!("/refresh?authid={authid}")).await;
    assert_eq!(in_url.status, 400);
    assert!(in_url.reason().contains("URL"), "{}", in_url.reason());
    let twice = app.client.get(app.at("/refresh")).header("X-AuthID", &authid).header("X-AuthID", &authid);
    let twice = Answer::of(twice.send().await.unwrap()).await;
    assert_eq!(twice.status, 401);
    twice.reason();
    assert_eq!(app.post("/refresh", &[("authid", &authid), ("authid", &authid)]).await.status, 400);
    for nothing in [app.get("/refresh").await, app.post("/refresh", &[]).await] {
        assert_eq!(nothing.status, 400);
        nothing.reason();
    }
    assert_eq!(emulator.calls().len(), 1);
    let open = spawn_app(&format!("{}[refresh]\nallow_query_authid = true\n", emulator.provider_toml()));
    let authid = open.log_in(&emulator);
    open.get(&format!("/refresh?authid={authid}")).await.access_token();
}

#[tokio::test]
async fn no_changed_authid_opens_and_none_reaches_the_provider() {
    let (emulator, app) = google();
    let authid = app.log_in(&emulator);
    let (head, body) = authid.rsplit_once(':').unwrap();
    let epoch_at = head.len() - 1;
    let forged = app.refresh("nonsense").await.reason().to_owned();
    let mut flips = Vec::new();
    for at in 0..authid.len() {
        for bit in 0..8 {
            let mut bytes = authid.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            // What cannot be in a header never gets that far.
            if bytes[at] > 0x20 && bytes[at] != 0x7f {
                flips.push((at, bytes));
            }
        }
    }
    assert!(flips.len() > 1000);
    for (at, bytes) in flips {
        let request = app.client.get(app.at("/refresh")).header("X-AuthID", bytes.as_slice());
        let answer = Answer::of(request.send().await.unwrap()).await;
        let reason = answer.reason();
        let text = String::from_utf8_lossy(&bytes);
        if at == epoch_at && bytes[at].is_ascii_digit() && bytes[at] > b'4' {
            assert_eq!(answer.status, 503, "{text}: a newer replica may know it");
        } else {
            assert_eq!(answer.status, 401, "{text}");
            // The version and the epoch are in clear; all else is one and the same "not valid here".
            assert!(reason == forged || at < 2 || at == epoch_at, "{text}: {reason}");
        }
    }
    let swapped = [
        authid.replacen("googledrive", "dropbox", 1),
        authid.replacen("googledrive", "googledocs", 1),
        authid.replacen("googledrive", "nowhere", 1),
        authid.replacen(":3:", ":2:", 1),
        authid.replacen(":3:", ":4:", 1),
        format!("{head}:{}{}", &app.log_in(&emulator).rsplit_once(':').unwrap().1[..22], &body[22..]),
    ];
    let respelled = [
        authid.replacen("v3", "V3", 1),
        authid.replacen("googledrive", "GoogleDrive", 1),
        authid.replacen(":3:", ":03:", 1),
        authid.replacen(":3:", ":+3:", 1),
        authid.replacen(":3:", "::", 1),
        authid.replacen(":3:", ":0:", 1),
        authid.replacen(":3:", ":4294967299:", 1),
        format!("{authid}="),
        format!("{authid}A"),
        format!("{authid}:"),
        format!("{head}:{}%{}", &body[..9], &body[9..]),
        format!("{head}:{}+/", &body[..body.len() - 2]),
        format!("{head}:{}", &body[..60]),
        format!("{head}:"),
        "v2:googledrive:1//refresh".to_owned(),
        format!("{}:password", "0aF9".repeat(8)),
        "A".repeat(7000),
        ":::".to_owned(),
        String::new(),
    ];
    for text in swapped.iter().chain(&respelled) {
        let answer = app.post("/refresh", &[("authid", text)]).await;
        assert_eq!(answer.status, 401, "{text}");
        let older = text.starts_with("v2:") || text.ends_with(":password");
        assert_eq!(answer.reason() == forged, !older, "{text}: {}", answer.reason());
    }
    for (epoch, status) in [(RETIRED, 401), (UNKNOWN, 503)] {
        let answer = app.refresh(&app.seal_under(epoch, "googledrive", "token")).await;
        assert_eq!(answer.status, status);
        assert_ne!(answer.reason(), forged);
    }
    assert!(emulator.calls().is_empty(), "the provider is never asked");
    app.refresh(&authid).await.access_token();
}

#[tokio::test]
async fn a_service_that_has_ended_says_so() {
    let (_, app) = google();
    for authid in [app.seal("onedrive", "token"), "v2:onedrive:token".to_owned()] {
        let answer = app.refresh(&authid).await;
        assert_eq!(answer.status, 401);
        assert!(answer.reason().contains("onedrivev2"), "{}", answer.reason());
    }
}

#[tokio::test]
async fn an_oauth_library_gets_the_same_at_the_token_endpoint() {
    let (emulator, app) = google();
    let authid = app.seal_under(OLD, "googledrive", &emulator.log_in().refresh.unwrap());
    let form = [("grant_type", "refresh_token"), ("refresh_token", authid.as_str()), ("client_id", "any")];
    let answer = app.post("/token", &form).await;
    assert_eq!((answer.status, &answer.json()["token_type"]), (200, &json!("Bearer")));
    assert!(emulator.use_access_token(answer.json()["access_token"].as_str().unwrap()));
    let newer = answer.json()["refresh_token"].as_str().unwrap().to_owned();
    assert!(newer.starts_with("v3:googledrive:3:"), "under the primary from now on");
    let answer = app.post("/token", &[("grant_type", "refresh_token"), ("refresh_token", &newer)]).await;
    assert_eq!((answer.status, answer.json().get("refresh_token")), (200, None));

    let refused = app.post("/token", &[("grant_type", "refresh_token"), ("refresh_token", "nonsense")]).await;
    assert_eq!((refused.status, &refused.json()["error"]), (400, &json!("invalid_grant")));
    let wrong = app.post("/token", &[("grant_type", "password")]).await;
    assert_eq!((wrong.status, &wrong.json()["error"]), (400, &json!("unsupported_grant_type")));
    emulator.misbehave(Fault::html(500));
    let other = app.log_in(&emulator);
    let later = app.post("/token", &[("grant_type", "refresh_token"), ("refresh_token", &other)]).await;
    assert_eq!((later.status, &later.json()["error"]), (503, &json!("temporarily_unavailable")));
    assert_eq!(later.header("retry-after"), Some("30"));
}
