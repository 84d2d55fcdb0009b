//! AuthIDs that another handler knows (`legacy.export_url`), against a pretend one that answers as duplicati/oauth-handler
//! does and misbehaves on demand: it is asked once for each, by nobody who guesses, and its faults are nobody's AuthID's.

use crate::admin::ADMIN;
use crate::canary;
use crate::duplicati::Duplicati;
use crate::emulator::{Emulator, Profile, secret};
use crate::legacy::{expected, fixture};
use crate::reading::{Backend, Generation};
use crate::rotation::{records, spent};
use crate::spawn::{Answer, TestApp, spawn_at, spawn_beside};
use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use authseal::clock::Clock;
use futures_util::future::join_all;
use serde_json::json;
use std::collections::HashMap;
use std::fs;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const KEY: &str = "CANARY-api-key-of-the-handler";

/// How the handler answers.
#[derive(Clone, Default)]
enum Mood {
    #[default]
    Well,
    /// With this status, `X-Reason` if it is not empty, and body, whoever asks.
    Says(u16, &'static str, String),
    /// Elsewhere.
    Redirects(String),
    /// Never.
    Silent,
}

#[derive(Default)]
struct Shared {
    /// Password and what it has, by name.
    entries: Mutex<HashMap<String, (String, String)>>,
    mood: Mutex<Mood>,
    /// The AuthIDs that it was asked for.
    asked: Mutex<Vec<String>>,
}

struct Handler {
    at: String,
    shared: Arc<Shared>,
    server: ServerHandle,
}

impl Handler {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = format!("http://{}", listener.local_addr().unwrap());
        let shared: Arc<Shared> = Arc::default();
        let data = Data::from(shared.clone());
        let server = HttpServer::new(move || {
            App::new().app_data(data.clone()).route("/export", web::get().to(export)).default_service(web::to(
                || async {
                    HttpResponse::Ok().body("<!DOCTYPE html>the start page") // as it does on every other path
                },
            ))
        });
        let server = server.workers(1).disable_signals().shutdown_timeout(0).listen(listener).unwrap().run();
        let handle = server.handle();
        tokio::spawn(server);
        Self { at, shared, server: handle }
    }

    /// A login there, and its refresh token at the provider.
    fn log_in(&self, emulator: &Emulator) -> (String, String) {
        let token = emulator.log_in().refresh.unwrap();
        (self.knows(emulator.who().service, &token), token)
    }

    fn knows(&self, service: &str, token: &str) -> String {
        let json = json!({
            "access_token": "ya29.old", "expires_in": 3599, "refresh_token": token, "service": service,
            "scope": "all", "token_type": "Bearer",
        });
        self.has(&json.to_string())
    }

    /// An entry with this content. Names have 30 to 32 digits there.
    fn has(&self, content: &str) -> String {
        let mut entries = self.shared.entries.lock().unwrap();
        let number = entries.len();
        let name = format!("{:0width$x}", 0xdecaf + number, width = 30 + number % 3);
        let password = format!("Pa55.w0rd!{}", secret("", &format!("{number}")));
        entries.insert(name.clone(), (password.clone(), content.to_owned()));
        format!("{name}:{password}")
    }

    fn is(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }

    fn tables(&self) -> String {
        format!("[state]\nstore = \"dir:state\"\n[legacy]\nexport_url = \"{}/export\"\nexport_key = {KEY:?}\n", self.at)
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        tokio::spawn(self.server.stop(false));
    }
}

async fn export(request: HttpRequest, shared: Data<Shared>) -> HttpResponse {
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let says = |status: u16, reason: &str, body: String| {
        let mut response = HttpResponse::build(StatusCode::from_u16(status).unwrap());
        if !reason.is_empty() {
            response.insert_header(("X-Reason", reason));
        }
        response.insert_header(("content-type", "application/json")).body(body)
    };
    let refusal = |status, reason: &'static str| says(status, reason, json!({ "error": reason }).to_string());
    let Some(authid) = header("x-authid") else { return refusal(500, "Server error") };
    shared.asked.lock().unwrap().push(authid.clone());
    let mood = shared.mood.lock().unwrap().clone();
    match mood {
        Mood::Well => {}
        Mood::Says(status, reason, body) => return says(status, reason, body),
        Mood::Redirects(to) => return HttpResponse::Found().insert_header(("location", to)).finish(),
        Mood::Silent => std::future::pending().await,
    }
    if header("x-apikey").as_deref() != Some(KEY) {
        return refusal(403, "Invalid API key");
    }
    let Some((name, password)) = authid.split_once(':') else { return refusal(400, "Invalid authid in query") };
    match shared.entries.lock().unwrap().get(name) {
        None => refusal(404, "No such key"),
        Some((right, _)) if right != password => refusal(400, "Invalid authid password"),
        Some((_, content)) => says(200, "", content.clone()),
    }
}

fn start(who: Profile, tables: &str) -> (Emulator, Handler, TestApp) {
    let clock = Clock::system();
    let (emulator, handler) = (Emulator::start_at(who, clock.clone()), Handler::start());
    let app = spawn_at(&format!("{}{}{tables}", emulator.provider_toml(), handler.tables()), clock);
    (emulator, handler, app)
}

async fn refresh_from(app: &TestApp, address: &str, authid: &str) -> Answer {
    let request = app.client.get(app.at("/refresh")).header("X-AuthID", authid).header("x-forwarded-for", address);
    Answer::of(request.send().await.unwrap()).await
}

#[tokio::test]
async fn another_handler_is_asked_once_for_each_of_its_authids_and_then_not_needed() {
    for who in [Profile::google(), Profile::microsoft(), Profile::box_com()] {
        let (emulator, handler, one) = start(who, "");
        let two = spawn_beside(&one);
        let logins: Vec<_> = (0..3).map(|_| handler.log_in(&emulator)).collect();
        for (authid, _) in &logins {
            let all = join_all([&one, &one, &one, &one].map(|app| app.refresh(authid))).await;
            for answer in &all {
                assert!(emulator.use_access_token(&answer.access_token()));
            }
            let sealed = all.iter().find_map(|answer| answer.json()["v2_authid"].as_str().map(str::to_owned)).unwrap();
            assert!(sealed.starts_with(&format!("v3:{}:", who.service)), "{sealed}");
        }
        let asked: Vec<_> = logins.iter().map(|(authid, _)| authid.clone()).collect();
        assert_eq!(handler.asked(), asked, "{}", who.service);
        handler.is(Mood::Says(503, "", String::new()));
        let later = spawn_beside(&one);
        for (authid, _) in &logins {
            for generation in [Generation::V2_1, Generation::V2_2] {
                for app in [&two, &later, &one] {
                    let backend = Backend::of(who.service).unwrap();
                    let mut client = Duplicati::of(backend, generation, &app.at("/refresh"), authid, &app.clock);
                    let token = client.access_token().await.unwrap_or_else(|why| panic!("{why:?}"));
                    assert!(emulator.use_access_token(&token), "{}", who.service);
                    one.clock.advance(HOUR * 3);
                }
            }
        }
        assert_eq!(handler.asked().len(), 3, "{}", who.service);
        let keeps = if who.service == "googledrive" { 1 } else { 2 };
        assert_eq!(records(&one).len(), 3 * keeps);
        for file in records(&one) {
            let content = fs::read(file).unwrap();
            assert!(!logins.iter().any(|(_, token)| String::from_utf8_lossy(&content).contains(&**token)));
        }
        if who.service == "box.com" {
            let mut spent = spent(&emulator);
            let all = spent.len();
            spent.sort();
            spent.dedup();
            assert_eq!(spent.len(), all, "none twice");
        }
    }
}

#[tokio::test]
async fn what_fails_at_the_handler_is_never_told_as_an_authid_s_fault() {
    let (emulator, handler, app) = start(Profile::google(), "");
    let elsewhere = Handler::start();
    let huge = format!("{{\"service\": \"googledrive\", \"refresh_token\": \"{}\"}}", "x".repeat(1 << 20));
    let says = |status, reason, body: &str| Mood::Says(status, reason, body.to_owned());
    let moods = [
        says(403, "Invalid API key", "{}"),
        says(401, "", "who are you?"),
        says(404, "", "<h1>Not Found</h1>"),
        says(404, "no such page", ""),
        says(400, "", "Bad Request"),
        says(400, "No authid in query", ""),
        says(429, "", ""),
        says(500, "", "oops"),
        says(500, "Server error", "{}"),
        says(502, "", ""),
        says(200, "", ""),
        says(200, "", "<!DOCTYPE html>the start page"),
        says(200, "", "[]"),
        says(200, "", "{\"refresh_token\": \"1//some-token\"}"),
        says(200, "", "{\"service\": 7, \"refresh_token\": \"1//some-token\"}"),
        says(200, "", "{\"service\": \"googledrive\"}"),
        says(200, "", "{\"service\": \"googledrive\", \"refresh_token\": \"\"}"),
        says(200, "", "{\"service\": \"googledrive\", \"refresh_token\": null}"),
        says(200, "", "{\"service\": \"../etc\", \"refresh_token\": \"1//some-token\"}"),
        says(200, "", &huge),
        says(200, "", &"[".repeat(60_000)),
        says(204, "", ""),
        Mood::Redirects(format!("{}/export", elsewhere.at)),
        Mood::Redirects("/".to_owned()),
    ];
    for (number, mood) in moods.into_iter().enumerate() {
        let (authid, _) = handler.log_in(&emulator);
        handler.is(mood);
        let answer = app.refresh(&authid).await;
        assert_eq!(answer.status, 503, "{number}: {answer:?}");
        assert!(answer.reason().contains("Your AuthID should be fine"), "{number}: {answer:?}");
        let asked = handler.asked().len();
        app.refresh(&authid).await;
        assert_eq!(handler.asked().len(), asked, "{number}: not again at once");
        handler.is(Mood::Well);
        app.clock.advance(Duration::from_secs(11));
        let answer = app.refresh(&authid).await;
        assert!(emulator.use_access_token(&answer.access_token()), "{number}");
    }
    assert!(elsewhere.asked().is_empty(), "nobody else sees an AuthID");
}

#[tokio::test]
async fn a_handler_that_is_gone_or_silent_costs_a_bounded_time() {
    let (emulator, handler, app) = start(Profile::google(), "");
    let (authid, _) = handler.log_in(&emulator);
    handler.is(Mood::Silent);
    let begun = std::time::Instant::now();
    let answer = app.refresh(&authid).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    handler.server.stop(false).await;
    app.clock.advance(Duration::from_secs(3));
    let answer = app.refresh(&authid).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.reason().contains("Your AuthID should be fine"), "{answer:?}");
    assert_eq!(app.refresh(&app.seal("googledrive", &emulator.log_in().refresh.unwrap())).await.status, 200);
}

#[tokio::test]
async fn an_authid_that_the_handler_does_not_know_is_refused_with_the_way_to_a_new_one() {
    let (emulator, handler, app) = start(Profile::google(), "");
    let (authid, _) = handler.log_in(&emulator);
    for wrong in [format!("{authid}x"), format!("{:030x}:Pa55.w0rd!", 7), format!("{:032x}:-.-", u128::MAX)] {
        for _ in 0..3 {
            let answer = app.refresh(&wrong).await;
            assert_eq!(answer.status, 401, "{answer:?}");
            assert!(answer.reason().starts_with("This AuthID is not valid here"), "{answer:?}");
        }
    }
    assert_eq!(handler.asked().len(), 3, "what is wrong is remembered");
    for never in [format!("{}:a", "1".repeat(29)), format!("{}:a", "1".repeat(33)), format!("{:032x}:a b", 1)] {
        assert_eq!(app.refresh(&never).await.status, 401, "{never}");
    }
    for password in ["x".repeat(1000), "\u{e9}".to_owned(), "a\tb".to_owned()] {
        let answer = app.post("/refresh", &[("authid", &format!("{:032x}:{password}", 1))]).await;
        assert_eq!(answer.status, 401, "{password}: {answer:?}");
    }
    assert_eq!(handler.asked().len(), 3, "it never made such ones");
    assert_eq!(app.refresh(&authid).await.status, 200);
    app.clock.advance(Duration::from_secs(301));
    assert_eq!(app.refresh(&format!("{authid}x")).await.status, 401);
    assert_eq!(handler.asked().len(), 5, "but not for long");
    assert!(records(&app).len() == 1, "nothing is kept of what was wrong");
}

#[tokio::test]
async fn guesses_do_not_reach_the_handler_for_long_and_hinder_nobody_who_was_here_before() {
    let (emulator, handler, app) = start(Profile::google(), "");
    let (known, _) = handler.log_in(&emulator);
    let (new, _) = handler.log_in(&emulator);
    assert_eq!(app.refresh(&known).await.status, 200);
    for number in 0..40 {
        let address = format!("192.0.2.{number}");
        let answer = refresh_from(&app, &address, &format!("{new}{number}")).await;
        assert_eq!(answer.status, if number < 10 { 401 } else { 503 }, "{number}: {answer:?}");
    }
    assert_eq!(handler.asked().len(), 11, "ten for one name");
    for number in 0..400 {
        let address = format!("198.51.{}.{}", number / 100, number % 100);
        refresh_from(&app, &address, &format!("{:032x}:guess", number)).await;
    }
    assert_eq!(handler.asked().len(), 301, "and so many in all");
    assert_eq!(app.refresh(&known).await.status, 200);
    let answer = app.refresh(&new).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some());
    app.clock.advance(Duration::from_secs(61));
    assert_eq!(app.refresh(&new).await.status, 200);
}

#[tokio::test]
async fn the_folder_comes_before_the_handler() {
    let tables = format!("v1_dir = {:?}\n", fixture().join("tokens"));
    let (emulator, handler, app) = start(Profile::google(), &tables);
    let (hosted, _) = handler.log_in(&emulator);
    let in_folder = &expected()[0];
    emulator.knows(&in_folder.refresh_token);
    assert_eq!(app.refresh(&in_folder.authid).await.status, 200);
    assert_eq!(app.refresh(&format!("{}x", in_folder.authid)).await.status, 401);
    assert!(handler.asked().is_empty(), "what has a file is not asked for");
    assert_eq!(app.refresh(&hosted).await.status, 200);
    assert_eq!(handler.asked(), [hosted]);
}

#[tokio::test]
async fn an_exported_authid_is_revoked_inspected_and_sealed_like_any_other() {
    let (emulator, handler, app) = start(Profile::dropbox(), "");
    let (authid, _) = handler.log_in(&emulator);
    let page = app.post("/inspect", &[("authid", &authid)]).await;
    assert!(page.body.contains("made by the server that was here before"), "{}", page.body);
    let request = app.client.post(app.at("/revoked?at_provider=no")).header("X-AuthID", &authid);
    let answer = Answer::of(request.send().await.unwrap()).await;
    assert_eq!((answer.status, &answer.json()["revoked"]), (200, &json!(true)), "{answer:?}");
    for app in [&app, &spawn_beside(&app)] {
        assert_eq!(app.refresh(&authid).await.reason(), "This AuthID has been revoked. Please create a new one");
    }
    assert_eq!(handler.asked().len(), 1);
}

#[tokio::test]
async fn operators_see_what_the_handler_was_asked_for_and_no_secret_in_the_log() {
    let log = canary::listen();
    let (emulator, handler, app) = start(Profile::google(), ADMIN);
    assert_eq!(app.ask("/legacy").await.json()["export"], json!({ "taken_over": 0, "last": null }));
    let (authid, token) = handler.log_in(&emulator);
    assert_eq!(app.refresh(&authid).await.status, 200);
    assert_eq!(app.refresh(&format!("{:032x}:{}", 1, secret("", "guess"))).await.status, 401);
    handler.is(Mood::Says(403, "Invalid API key", String::new()));
    assert_eq!(app.refresh(&handler.log_in(&emulator).0).await.status, 503);
    let seen = app.ask("/legacy").await.json();
    assert_eq!((&seen["v1"], &seen["export"]["taken_over"]), (&json!(true), &json!(1)));
    assert!(seen["export"]["last"].as_str().unwrap().ends_with('Z'));
    assert_eq!(seen["seen"][0]["authids"], json!(1));
    let metrics = app.ask("/metrics").await.body;
    for outcome in ["ok", "unknown", "key_refused"] {
        let line = format!("authseal_legacy_export_total{{outcome=\"{outcome}\"}} 1");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
    let log = String::from_utf8_lossy(&log.lock().unwrap()).into_owned();
    assert!(log.contains("the handler of legacy.export_url does not take legacy.export_key"));
    for secret in [authid.split_once(':').unwrap().1, &token, KEY, "CANARY-api-key"] {
        assert!(!log.contains(secret), "{secret}");
    }
}
