//! `authseal check --online` against hosts of this machine: well, refused, with a wrong certificate, with another time.

use crate::port::free_port;
use crate::redis_server::RedisServer;
use crate::tls::{renew_with, with_certificate};
use crate::{Done, GOOD, Served, authseal, done, ready, run};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// A host that takes no code, answers whatever else it is asked with 404 and a time, and `/.well-known/openid-configuration` with a document.
struct Host {
    url: String,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    fn new(headers: &'static str, document: impl FnOnce(&str) -> String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let document = document(&url);
        let ended = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&ended);
        let thread = thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::Acquire) {
                    return;
                }
                let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let asked = lines.next().unwrap_or_default();
                // The client `1` with a secret like `old`.
                let is_old = lines.take_while(|line| !line.is_empty()).filter(|line| line.contains(" Basic MTpvbG"));
                let is_old = is_old.count() > 0;
                let (status, body) = match asked.as_str() {
                    "GET /.well-known/openid-configuration HTTP/1.1" => ("200 OK", document.as_str()),
                    "POST /token HTTP/1.1" if is_old => ("401 Unauthorized", "{\"error\":\"invalid_client\"}"),
                    "POST /token HTTP/1.1" => ("400 Bad Request", "{\"error\":\"invalid_grant\"}"),
                    _ => ("404 Not Found", ""),
                };
                let length = body.len();
                let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n");
                let _ = write!(stream, "{head}\r\n{body}");
            }
        });
        Self { url, ended, thread: Some(thread) }
    }

    fn plain(headers: &'static str) -> Self {
        Self::new(headers, |_| String::new())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
        let _ = self.thread.take().unwrap().join();
    }
}

/// A URL where nobody listens.
fn nobody() -> String {
    format!("http://127.0.0.1:{}", free_port())
}

/// What is said of one provider with these facts, which is set up.
fn check(facts: &str, more: &[&str]) -> Done {
    check_with("memory", facts, more)
}

fn check_with(store: &str, facts: &str, more: &[&str]) -> Done {
    check_client(store, facts, "", more)
}

fn check_client(store: &str, facts: &str, client: &str, more: &[&str]) -> Done {
    let text = format!(
        "{GOOD}state.store = \"{store}\"\n[providers.p]\nrotation = \"none\"\n{facts}\n\
         [services.s]\nprovider = \"p\"\nscopes = [\"files\"]\n[clients.p]\nid = \"1\"\n{client}\n"
    );
    let folder = ready(GOOD);
    fs::write(folder.path().join("authseal.toml"), text).unwrap();
    run(folder.path(), &[&["check", "--online"], more].concat())
}

fn endpoints(authorize: &str, token: &str) -> String {
    format!("authorize_url = \"{authorize}/a?b=c\"\ntoken_url = \"{token}/token\"")
}

fn says(done: &Done, code: i32, line: &str) {
    let line = format!("online: {line}");
    assert!(done.code == code && done.out.lines().any(|said| said.starts_with(&line)), "{line}\n{done:?}");
}

#[test]
fn hosts_that_answer_are_well_whatever_they_say() {
    // This server as a stand-in for another: it tells the time.
    let folder = ready(GOOD);
    let host = Served::start(folder.path(), &[]);
    let url = format!("http://{}", host.address);
    let done = check_with("dir:state", &endpoints(&url, &url), &[]);
    says(&done, 0, &format!("p {url}: ok"));
    says(&done, 0, "clock: ok");
    says(&done, 0, "state store, a folder: ok");
    assert_eq!((done.out.matches("online: ").count(), done.err.as_str()), (3, ""), "{done:?}");
    let silent = Host::plain("");
    let done = check(&endpoints(&silent.url, &silent.url), &[]);
    says(&done, 0, &format!("p {}: ok", silent.url));
    assert!(!done.out.contains("clock"), "nobody told the time: {done:?}");
}

#[test]
fn where_nobody_listens_is_said_and_counts_where_backups_need_it() {
    let (host, nobody) = (Host::plain(""), nobody());
    let done = check(&endpoints(&host.url, &nobody), &[]);
    says(&done, 1, &format!("p {nobody}: failed, cannot be reached (Connection refused"));
    assert_eq!(done.err, "authseal: online: 1 of 2 failed; backups need them\n");
    let done = check(&endpoints(&nobody, &host.url), &[]);
    says(&done, 0, &format!("p {nobody}: warning, cannot be reached (Connection refused"));
    let done = check_with(&nobody.replace("http", "redis"), &endpoints(&host.url, &host.url), &[]);
    says(&done, 1, "state store, Redis: failed, is of no use now: Redis");
}

#[test]
fn a_redis_that_takes_no_writes_is_of_no_use() {
    let (primary, host) = (RedisServer::start(&["--appendonly", "yes"]), Host::plain(""));
    let replica = RedisServer::start(&["--replicaof", "127.0.0.1", &primary.address().port().to_string()]);
    let check = |server: &RedisServer| {
        check_with(&format!("redis://{}", server.address()), &endpoints(&host.url, &host.url), &[])
    };
    assert_eq!(check(&primary).code, 0);
    says(
        &check(&replica),
        1,
        "state store, Redis: failed, is of no use now: Redis: it is a replica, which takes no writes",
    );
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_not_trusted() {
    let folder = with_certificate();
    let host = Served::start(folder.path(), &[]);
    let url = format!("https://{}", host.address);
    let done = check(&endpoints(&url, &url), &[]);
    says(&done, 1, &format!("p {url}: failed, has a certificate that is not trusted ("));
}

#[test]
fn an_authority_of_ones_own_is_trusted_where_it_is_named() {
    let folder = with_certificate();
    renew_with(folder.path(), "127.0.0.1", &rcgen::PKCS_ECDSA_P256_SHA256);
    let host = Served::start(folder.path(), &[]);
    let (url, file) = (format!("https://{}", host.address), folder.path().join("cert.pem"));
    let named =
        |table: &str, file: &str| check(&format!("{}\n{table}ca_file = \"{file}\"", endpoints(&url, &url)), &[]);
    for table in ["", "[outbound]\n"] {
        let done = named(table, &file.display().to_string());
        says(&done, 0, &format!("p {url}: ok"));
    }
    let done = check(&endpoints(&url, &url), &[]);
    says(
        &done,
        1,
        &format!("p {url}: failed, has a certificate that is not trusted (UnknownIssuer); if its authority is"),
    );
    for (text, fault) in [("", "there is no certificate"), ("-----BEGIN CERTIFICATE-----\nx\n", "it is damaged")] {
        fs::write(&file, text).unwrap();
        let done = named("[outbound]\n", &file.display().to_string());
        assert!(done.code == 2 && done.err.contains(fault), "{done:?}");
    }
    assert!(named("", "/nonexistent/ca.pem").err.contains("/nonexistent/ca.pem cannot be used"));
}

#[test]
fn a_clock_that_is_off_is_warned_of() {
    let past = Host::plain("date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    let done = check(&endpoints(&past.url, &past.url), &[]);
    says(&done, 0, "clock: warning, this machine's is ");
    assert!(done.out.contains(" seconds ahead of that of the providers; set it"), "{done:?}");
    let future = Host::plain("date: Sat, 06 Nov 2100 08:49:37 GMT\r\n");
    let done = check(&endpoints(&future.url, &future.url), &[]);
    assert!(done.out.contains(" seconds behind that of the providers"), "{done:?}");
    // One that is off itself is outvoted.
    let folder = ready(GOOD);
    let right = Served::start(folder.path(), &[]);
    says(&check(&endpoints(&past.url, &format!("http://{}", right.address)), &[]), 0, "clock: ok");
}

#[test]
fn an_issuer_is_asked_for_its_document_and_the_hosts_in_it() {
    let nobody = nobody();
    let document = |issuer: &str, token: &str| {
        json!({ "issuer": issuer, "authorization_endpoint": format!("{issuer}/a"), "token_endpoint": format!("{token}/token") })
            .to_string()
    };
    let issuer = |host: &Host| format!("issuer = \"{}\"", host.url);
    let good = Host::new("", |url| document(url, url));
    let done = check(&issuer(&good), &[]);
    says(&done, 0, &format!("p {}: ok", good.url));
    says(&done, 0, &format!("p {}: ok", good.url));
    let led_astray = Host::new("", |url| document(url, &nobody));
    says(&check(&issuer(&led_astray), &[]), 1, &format!("p {nobody}: failed, cannot be reached"));
    let other = Host::new("", |url| document(&format!("{url}/other"), url));
    says(&check(&issuer(&other), &[]), 1, &format!("p {}: failed, is another issuer than its", other.url));
    let none = Host::plain("");
    says(&check(&issuer(&none), &[]), 1, &format!("p {}: failed, gives no discovery document", none.url));
    let done = check(&format!("issuer = \"{nobody}\""), &[]);
    says(&done, 1, &format!("p {nobody}: failed, cannot be reached (Connection refused"));
}

#[test]
fn a_token_address_that_is_none_and_variables_that_are_not_read_are_told() {
    let host = Host::plain("");
    let said = check(&endpoints(&host.url, &format!("{}/x", host.url)), &[]);
    says(&said, 1, &format!("p {}/x/token: failed, answers with HTTP 404, and so is no token address", host.url));
    let folder = ready(GOOD);
    let check =
        |name: &str, value: &str| done(authseal(folder.path(), &["check"]).env(name, value).spawn().unwrap()).out;
    for (name, key) in [("HTTPS_PROXY", "proxy"), ("all_proxy", "proxy"), ("SSL_CERT_FILE", "ca_file")] {
        let said = check(name, "http://hidden.example:1");
        assert!(
            said.contains(&format!(
                "warning: {name} is set, but calls to providers do not go by it; set outbound.{key}"
            )),
            "{said}"
        );
        assert!(!said.contains("hidden") && !check(name, "").contains(name), "{said}");
    }
}

#[test]
fn a_secret_that_is_refused_before_one_that_is_taken_is_warned_of() {
    let host = Host::plain("");
    let facts = format!("{}\nclient_auth = \"basic\"", endpoints(&host.url, &host.url));
    let check = |secrets: &str| check_client("memory", &facts, &format!("secrets = {secrets}"), &[]);
    let token = format!("p {}/token", host.url);
    let refused = "refuses the client 1 with what stands before number";
    says(&check(r#"["old", "new"]"#), 0, &format!("{token}: warning, {refused} 2 in its `secrets`; take that out"));
    says(&check(r#"["old", "older", "new"]"#), 0, &format!("{token}: warning, {refused} 3"));
    says(
        &check(r#"["old", "older"]"#),
        1,
        &format!("{token}: failed, refuses the client 1 (its secret sent as: basic)"),
    );
    let good = check(r#"["new", "old"]"#);
    assert!(good.code == 0 && !good.out.contains("refuses"), "{good:?}");
}

#[test]
fn scripts_get_it_as_json() {
    let (host, nobody) = (Host::plain(""), nobody());
    let done = check(&endpoints(&host.url, &nobody), &["--json"]);
    let told: Value = serde_json::from_str(&done.out).unwrap();
    let states = told["online"].as_array().unwrap().iter().map(|one| (one["about"].clone(), one["state"].clone()));
    let mut states: Vec<_> = states.map(|(about, state)| format!("{about} {state}")).collect();
    states.sort();
    let mut wanted =
        [(host.url.as_str(), "ok"), (&nobody, "failed")].map(|(url, state)| format!("\"p {url}\" \"{state}\""));
    wanted.sort();
    assert_eq!((done.code, states), (1, wanted.to_vec()), "{told:#}");
    let folder = ready(GOOD);
    let offline = run(folder.path(), &["check", "--json"]);
    assert!(serde_json::from_str::<Value>(&offline.out).unwrap()["online"].is_null(), "{offline:?}");
}
