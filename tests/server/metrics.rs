//! `/metrics`, read as strictly as Prometheus would, and counts that move by exactly what was done.

use crate::admin::ADMIN;
use crate::browser::From;
use crate::emulator::{Consent, Emulator, Fault, Profile};
use crate::spawn::{OLD, RETIRED, TestApp, spawn_app, spawn_at};
use authseal::clock::Clock;
use authseal::meter::{Kind, METRICS, Metric};
use std::collections::BTreeMap;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// Every sample, by name and labels as they are written.
type Samples = BTreeMap<String, f64>;

/// Reads Prometheus's text format 0.0.4; everything in it must be on the list of metrics.
async fn samples(app: &TestApp) -> Samples {
    let answer = app.ask("/metrics").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/plain; version=0.0.4; charset=utf-8")));
    let (mut samples, mut told) = (Samples::new(), Vec::new());
    for line in answer.body.lines().filter(|line| !line.is_empty()) {
        if let Some(comment) = line.strip_prefix("# ") {
            let (word, rest) = comment.split_once(' ').unwrap();
            let (name, text) = rest.split_once(' ').unwrap();
            let metric = listed(name);
            assert_eq!(text, if word == "HELP" { metric.help } else { metric.kind.label() }, "{line}");
            told.push((word.to_owned(), name.to_owned()));
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.strip_suffix('}').map_or((series, ""), |series| series.split_once('{').unwrap());
        let metric = listed(name);
        let names = labels.split(',').filter(|label| !label.is_empty()).map(|label| label.split_once('=').unwrap().0);
        let names: Vec<_> = names.filter(|name| *name != "le").collect();
        let mut listed: Vec<_> = metric.labels.iter().map(|label| label.name).collect();
        listed.sort_unstable();
        assert_eq!(names, listed, "{line}");
        for word in ["HELP", "TYPE"] {
            assert!(told.contains(&(word.to_owned(), metric.name.to_owned())), "no {word} before {line}");
        }
        let twice = samples.insert(series.to_owned(), value.parse().unwrap());
        assert_eq!(twice, None, "{series} comes twice");
    }
    samples
}

fn listed(name: &str) -> &'static Metric {
    let parts = ["_bucket", "_sum", "_count"];
    let whole = parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
    let found = METRICS
        .into_iter()
        .find(|metric| if metric.kind == Kind::Histogram { metric.name == whole } else { metric.name == name });
    found.unwrap_or_else(|| panic!("{name} is not on the list"))
}

/// By how much counters, and counts of histograms, of these metrics moved.
fn moved(before: &Samples, after: &Samples, metrics: &[&str]) -> Vec<(String, f64)> {
    let counts = |series: &str| {
        let name = series.split('{').next().unwrap();
        metrics.iter().any(|metric| name == *metric || name.strip_suffix("_count") == Some(metric))
    };
    let difference = |(series, value): (&String, &f64)| (series.clone(), value - before.get(series).unwrap_or(&0.0));
    after.iter().map(difference).filter(|(series, by)| counts(series) && *by != 0.0).collect()
}

#[tokio::test]
async fn counts_move_by_exactly_what_was_done() {
    let google = Emulator::start(Profile::google());
    let app = spawn_app(&format!("{}{ADMIN}", google.provider_toml()));
    let before = samples(&app).await;

    let mut person = app.person();
    let index = person.open_index("type=googledrive&token=x7c2mq0z5v9k1hj3bd8f", "http://localhost:8200").await;
    let login = index.link("/login?").unwrap();
    let page = person.click(&index, login).await;
    let authid = page.authid().unwrap();
    let fetch = person.at("/fetch?callback=cb&token=x7c2mq0z5v9k1hj3bd8f");
    person.load_script(fetch, "http://localhost:8200/").await;
    google.next_person(Consent::Denies);
    person.log_in("googledrive").await;
    person.visit(person.at("/logged-in?state=x&code=y"), From::Typed).await;

    for _ in 0..3 {
        assert_eq!(app.refresh(&authid).await.status, 200);
    }
    let old = app.seal_under(OLD, "googledrive", &google.log_in().refresh.unwrap());
    assert_eq!(app.refresh(&old).await.status, 200);
    assert_eq!(app.refresh("garbage").await.status, 401);
    assert_eq!(app.refresh(&old.replace(":2:", &format!(":{RETIRED}:"))).await.status, 401);
    google.misbehave_times(1, Fault::oauth(400, "invalid_grant", ""));
    assert_eq!(app.refresh(&app.log_in(&google)).await.status, 401);
    app.post("/revoked", &[("authid", &authid), ("at_provider", "yes")]).await;
    assert_eq!(app.refresh(&authid).await.status, 401);
    std::fs::remove_file(app.dir.path().join("denylist")).unwrap();
    app.post("/revoked", &[("authid", &old)]).await;
    app.get("/no/such/page").await;

    let after = samples(&app).await;
    let counts = |metrics: &[&str]| {
        moved(&before, &after, metrics).into_iter().map(|(series, by)| format!("{series} {by}")).collect::<Vec<_>>()
    };
    let exchanges = after["authseal_refresh_seconds_count{outcome=\"cached\"}"];
    assert_eq!((exchanges, after["authseal_refresh_seconds_count{outcome=\"no_key\"}"]), (2.0, 1.0));
    let rooms = ["authseal_refresh_total", "authseal_logins_total", "authseal_deliveries_total"];
    let others = ["authseal_revocations_total", "authseal_provider_call_seconds"];
    assert_eq!(
        counts(&[&rooms[..], &others[..]].concat()),
        [
            r#"authseal_deliveries_total{way="fetched"} 1"#,
            r#"authseal_deliveries_total{way="waiting"} 1"#,
            r#"authseal_logins_total{outcome="bad_state",service="none"} 1"#,
            r#"authseal_logins_total{outcome="declined",service="googledrive"} 1"#,
            r#"authseal_logins_total{outcome="done",service="googledrive"} 1"#,
            // One code, three refreshes, one login withdrawn at the provider.
            r#"authseal_provider_call_seconds_count{outcome="ok",provider="google"} 4"#,
            r#"authseal_provider_call_seconds_count{outcome="refused",provider="google"} 1"#,
            r#"authseal_refresh_total{epoch="2",outcome="fetched",service="googledrive"} 1"#,
            r#"authseal_refresh_total{epoch="3",outcome="cached",service="googledrive"} 2"#,
            r#"authseal_refresh_total{epoch="3",outcome="denied",service="googledrive"} 1"#,
            r#"authseal_refresh_total{epoch="3",outcome="fetched",service="googledrive"} 1"#,
            r#"authseal_refresh_total{epoch="3",outcome="refused",service="googledrive"} 1"#,
            r#"authseal_refresh_total{epoch="none",outcome="invalid",service="none"} 1"#,
            r#"authseal_refresh_total{epoch="none",outcome="no_key",service="none"} 1"#,
            r#"authseal_revocations_total{outcome="durable"} 1"#,
            r#"authseal_revocations_total{outcome="not_durable"} 1"#,
        ]
    );
    let answers = counts(&["authseal_http_answers_total"]);
    for line in [
        r#"{code="200",method="GET",route="/refresh"} 4"#,
        r#"{code="401",method="GET",route="/refresh"} 4"#,
        r#"{code="200",method="POST",route="/revoked"} 1"#,
        r#"{code="500",method="POST",route="/revoked"} 1"#,
        r#"{code="200",method="GET",route="/fetch"} 1"#,
        r#"{code="404",method="GET",route="none"} 1"#,
    ] {
        assert!(answers.contains(&format!("authseal_http_answers_total{line}")), "{line}: {answers:#?}");
    }
    assert_eq!(google.calls().len(), 5);
}

#[tokio::test]
async fn what_is_in_force_is_shown() {
    let app = spawn_app(ADMIN);
    let samples = samples(&app).await;
    let now = app.clock.now() as f64;
    let recent = |name: &str| samples[name] <= now && samples[name] > now - 600.0;
    assert!(recent("process_start_time_seconds") && recent("authseal_keyring_loaded_timestamp_seconds"));
    assert!(recent("authseal_denylist_loaded_timestamp_seconds"));
    for (epoch, state) in [(1, "retired"), (2, "open"), (3, "primary"), (4, "staged")] {
        assert_eq!(samples[&format!(r#"authseal_keyring_epoch_state{{epoch="{epoch}",state="{state}"}}"#)], 1.0);
    }
    for zero in [
        "keyring_load_failed",
        "denylist_load_failed",
        "denylist_rules",
        "draining",
        "store_failing",
        "store_writing_fails",
    ] {
        assert_eq!(samples[&format!("authseal_{zero}")], 0.0, "{zero}");
    }
    assert_eq!(samples[concat!("authseal_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}")], 1.0);
}

#[tokio::test]
async fn no_stranger_can_make_a_series() {
    let app = spawn_app(ADMIN);
    let before = samples(&app).await;
    let odd = ["v3:made-up:1:AAAA", "v3:made-up:77:AAAA", "v2:made-up:x"];
    for (number, authid) in odd.iter().enumerate() {
        app.refresh(authid).await;
        app.get(&format!("/made-up/{number}")).await;
        app.get(&format!("/login?id=made-up{number}")).await;
        app.get(&format!("/static/made-up{number}")).await;
    }
    let after = samples(&app).await;
    assert!(after.keys().all(|series| !series.contains("made-up") && !series.contains("77")), "{after:#?}");
    let routes = after.keys().filter(|series| series.starts_with("authseal_http_answers_total")).count();
    assert_eq!(routes - before.keys().filter(|series| series.starts_with("authseal_http_answers_total")).count(), 4);
}

#[tokio::test]
async fn how_long_logins_have_to_live_is_counted_at_each_call_to_their_provider() {
    let clock = Clock::system();
    let microsoft = Emulator::start_at(Profile::microsoft(), clock.clone());
    let google = Emulator::start_at(Profile::google(), clock.clone());
    let tables = format!("{}{}refresh_token_days = 7\n", microsoft.provider_toml(), google.provider_toml());
    let app = spawn_at(&format!("{tables}{ADMIN}"), clock.clone());
    let (ages, testing) = (app.log_in(&microsoft), app.log_in(&google));
    assert_eq!(app.refresh(&ages).await.status, 200);
    clock.advance(DAY * 80 + DAY / 2);
    assert_eq!(app.refresh(&ages).await.status, 200);
    assert_eq!(app.refresh(&ages).await.status, 200, "from memory, so it does not count");
    assert_eq!(app.refresh(&testing).await.status, 200);
    let samples = samples(&app).await;
    let at_most = |service: &str, days: u32| {
        let le = days * 86_400;
        samples[&format!(r#"authseal_login_time_left_seconds_bucket{{service="{service}",le="{le}"}}"#)]
    };
    assert_eq!([at_most("onedrivev2", 7), at_most("onedrivev2", 14), at_most("onedrivev2", 90)], [0.0, 1.0, 2.0]);
    assert_eq!(at_most("googledrive", 0), 1.0, "it ought to be dead, says the operator");
    let log = String::from_utf8_lossy(&crate::canary::listen().lock().unwrap()).into_owned();
    let grant = authseal::authid::Envelope::parse(&ages).unwrap().grant.to_string();
    let warnings: Vec<_> = log.lines().filter(|line| line.contains("ends soon") && line.contains(&grant)).collect();
    // Not at the first call, when it had 90.
    assert!(warnings.len() == 1 && warnings[0].contains("days=9"), "{warnings:?}");
    assert!(!warnings[0].contains("days=90"), "{warnings:?}");
}
