//! What holds for every answer: security headers, methods, sizes, and errors in the language of who asked.

use crate::emulator::{Emulator, Personality};
use crate::spawn::{Answer, TestApp, spawn_app, spawn_for};
use reqwest::Method;
use std::time::Duration;

const EVERYWHERE: [(&str, &str); 6] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("strict-transport-security", "max-age=31536000"),
    ("permissions-policy", "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("referrer-policy", "same-origin"),
];

async fn send(app: &TestApp, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = app.client.request(method.parse::<Method>().unwrap(), app.at(path)).body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(request.send().await.unwrap()).await
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[tokio::test]
async fn every_answer_of_every_route_carries_the_same_protection() {
    let app = spawn_app("");
    let long = format!("/?type={}", "x".repeat(5000));
    let large = format!("authid={}", "x".repeat(20_000));
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str, u16); // method, path, headers, body, status
    let cases: &[Case<'_>] = &[
        ("GET", "/", &[], "", 200),
        ("GET", "/?type=onedrive", &[], "", 200),
        ("GET", "/access", &[], "", 405),
        ("POST", "/access", &[FORM], "password=x", 404),
        ("GET", "/login", &[], "", 404),
        ("GET", "/login?id=nope", &[], "", 404),
        ("GET", "/login?id=googledrive", &[], "", 303),
        ("GET", "/logged-in", &[], "", 400),
        ("GET", "/cli-token", &[], "", 404),
        ("GET", "/cli-token?id=jottacloud&ctx=x", &[], "", 303),
        ("POST", "/cli-token-login", &[FORM], "id=nope", 404),
        ("POST", "/cli-token-login", &[FORM, ("origin", "https://evil.test")], "id=jottacloud", 403),
        ("POST", "/deliver", &[FORM], "grant=x", 400),
        ("POST", "/deliver", &[FORM, ("origin", "https://evil.test")], "grant=x", 403),
        ("GET", "/", &[("host", "evil.test")], "", 421),
        ("GET", "/fetch", &[], "", 200),
        ("GET", "/fetch?callback=a(b)", &[], "", 400),
        ("GET", "/token-state", &[], "", 200),
        ("GET", "/refresh", &[], "", 400),
        ("GET", "/refresh", &[("X-AuthID", "garbage")], "", 401),
        ("POST", "/refresh", &[FORM], &large, 413),
        ("POST", "/refresh", &[("content-type", "application/json")], "{}", 415),
        ("PUT", "/refresh", &[], "", 405),
        ("POST", "/token", &[FORM], "grant_type=refresh_token&refresh_token=x", 400),
        ("GET", "/revoke", &[], "", 200),
        ("POST", "/revoked", &[FORM], "authid=garbage", 400),
        ("POST", "/revoked", &[FORM, ("sec-fetch-site", "cross-site")], "authid=garbage", 403),
        ("POST", "/revoked", &[FORM], "authid=revoke:garbage", 400),
        ("GET", "/inspect", &[], "", 200),
        ("POST", "/inspect", &[FORM], "authid=garbage", 400),
        ("POST", "/inspect", &[FORM, ("origin", "https://evil.test")], "authid=garbage", 403),
        ("GET", "/privacy-policy", &[], "", 200),
        ("GET", "/privacy-policy.txt", &[], "", 200),
        ("GET", "/static/authseal.css", &[], "", 200),
        ("GET", "/static/nothing.css", &[], "", 404),
        ("GET", "/favicon.ico", &[], "", 200),
        ("GET", "/isalive?data=x", &[], "", 200),
        ("GET", "/healthz", &[], "", 200),
        ("GET", "/readyz", &[], "", 200),
        ("GET", "/.well-known/acme-challenge/x", &[], "", 404),
        ("GET", "/nothing", &[], "", 404),
        ("DELETE", "/", &[], "", 405),
        ("GET", &long, &[], "", 414),
    ];
    for (method, path, headers, body, status) in cases {
        let answer = send(&app, method, path, headers, body).await;
        let what = format!("{method} {path:.40}: {answer:.400?}");
        assert_eq!(answer.status, *status, "{what}");
        for (name, value) in EVERYWHERE {
            assert_eq!(answer.header(name), Some(value), "{name} of {what}");
        }
        let cached = path.starts_with("/static/authseal") || *path == "/favicon.ico";
        let expected = if cached { "public, max-age=300" } else { "no-store" };
        assert_eq!(answer.header("cache-control"), Some(expected), "{what}");
        let shared = if path.starts_with("/fetch?") { None } else { Some("same-origin") };
        assert_eq!(answer.header("cross-origin-resource-policy").filter(|_| shared.is_some()), shared, "{what}");
        let alone = ["/revoke", "/revoked", "/inspect"].contains(path).then_some("same-origin");
        assert_eq!(answer.header("cross-origin-opener-policy"), alone, "{what}");
        assert_eq!(answer.header("x-request-id").is_some(), *status >= 400, "{what}");
        assert!(!answer.headers.contains_key("access-control-allow-origin") && !answer.headers.contains_key("server"));
    }
}

#[tokio::test]
async fn a_fault_of_the_server_is_told_with_the_same_protection() {
    let emulator = Emulator::start(Personality::google());
    let app = spawn_for(&[&emulator]);
    let authid = app.log_in(&emulator);
    std::fs::remove_file(app.dir.path().join("denylist")).unwrap();
    let answer = send(&app, "POST", "/revoked", &[FORM], &format!("authid={authid}")).await;
    assert_eq!(answer.status, 500);
    assert!(answer.body.contains("Not durably revoked"), "{}", answer.body);
    for (name, value) in EVERYWHERE {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert_eq!((answer.header("cache-control"), answer.header("x-request-id").is_some()), (Some("no-store"), true));
    assert_eq!(app.refresh(&authid).await.status, 401, "it is refused all the same");
}

#[tokio::test]
async fn programs_get_errors_in_their_own_language() {
    let app = spawn_app("");
    let large = format!("authid={}", "x".repeat(20_000));
    for (method, path, headers, body, status) in [
        ("PUT", "/refresh", vec![], "", 405),
        ("POST", "/refresh", vec![FORM], large.as_str(), 413),
        ("POST", "/refresh", vec![("content-type", "text/plain")], "authid=x", 415),
        ("GET", "/refresh/", vec![("X-AuthID", "x")], "", 404),
        ("GET", "/", vec![("X-AuthID", "x")], "", 400),
    ] {
        let answer = send(&app, method, path, &headers, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        assert_eq!(answer.json()["error"].as_str(), Some(answer.reason()));
    }
    assert!(send(&app, "GET", "/", &[("X-AuthID", "x")], "").await.reason().contains("/refresh"));
    for (headers, body) in [(vec![FORM], large.as_str()), (vec![("content-type", "application/json")], "{}")] {
        let answer = send(&app, "POST", "/token", &headers, body).await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &"invalid_request".into()), "{answer:?}");
    }
}

#[tokio::test]
async fn a_method_that_is_not_taken_is_answered_with_those_that_are() {
    let app = spawn_app("");
    for (path, allow) in [("/", "GET, HEAD"), ("/refresh", "GET, POST"), ("/token", "POST"), ("/login", "GET")] {
        let answer = send(&app, "PATCH", path, &[], "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{path}");
    }
    for path in ["/", "/healthz", "/readyz", "/privacy-policy", "/static/authseal.js"] {
        let answer = send(&app, "HEAD", path, &[], "").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{path}");
    }
    // A look must not use anything up.
    for path in ["/logged-in", "/fetch", "/login"] {
        assert_eq!(send(&app, "HEAD", path, &[], "").await.status, 405, "{path}");
    }
}

#[tokio::test]
async fn a_form_is_known_by_its_type_in_any_spelling_and_not_needed_beside_the_header() {
    let emulator = Emulator::start(Personality::google());
    let app = spawn_for(&[&emulator]);
    let authid = app.log_in(&emulator);
    let body = format!("authid={authid}");
    for content_type in ["Application/X-WWW-Form-Urlencoded", "application/x-www-form-urlencoded; charset=utf-8"] {
        send(&app, "POST", "/refresh", &[("content-type", content_type)], &body).await.access_token();
    }
    let headers = [("content-type", "application/json"), ("X-AuthID", authid.as_str())];
    send(&app, "POST", "/refresh", &headers, "{}").await.access_token();
}

#[tokio::test]
async fn a_form_that_does_not_end_is_given_up() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let app = spawn_app("");
    let address = app.base.strip_prefix("http://").unwrap();
    let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = "POST /refresh HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 100\r\n\r\nauth";
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    let read = tokio::time::timeout(Duration::from_secs(20), connection.read_exact(&mut answer)).await;
    read.expect("an answer before Duplicati gives up").unwrap();
    assert_eq!(answer, b"HTTP/1.1 408");
}
