//! What holds for every answer: security headers, methods, sizes, and errors in the language of who asked.

use crate::emulator::{Emulator, Profile};
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
        ("POST", "/refresh", &[FORM], &large, 400),
        ("POST", "/refresh", &[("content-type", "application/json")], "{}", 400),
        ("PUT", "/refresh", &[], "", 400),
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
            // A redirect of a login must not hide who opened it from the page that it leads to.
            let leads_on = name == "referrer-policy" && *status == 303;
            let value = if leads_on { "strict-origin-when-cross-origin" } else { value };
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
    let emulator = Emulator::start(Profile::google());
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

/// What a client with an AuthID reads, wherever it asks and however: one of three statuses, and the sentence.
fn assert_readable(answer: &Answer, what: &str) {
    assert!([401, 503].contains(&answer.status), "{what}: {answer:?}");
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"), "{what}");
    assert!(
        answer.body == answer.reason() || answer.body.is_empty() && what.starts_with("HEAD "),
        "{what}: {answer:?}"
    );
    assert_eq!(answer.header("retry-after").is_some(), answer.status == 503, "{what}");
    for unwanted in ["location", "set-cookie", "content-encoding"] {
        assert_eq!(answer.header(unwanted), None, "{what}");
    }
}

#[tokio::test]
async fn whoever_sends_an_authid_gets_one_of_three_statuses_whatever_else_is_asked() {
    let app = spawn_for(&[&Emulator::start(Profile::google())]);
    let long = format!("/refresh?{}", "x".repeat(5000));
    let large = format!("authid={}", "x".repeat(20_000));
    let paths = "/ /access /login /login?id=googledrive /logged-in /logged-in?code=x&state=y /cli-token /cli-token-login \
        /deliver /fetch /fetch?callback=a&token=x7c2mq0z5v9k1hj3bd8f /token-state /token /revoke /privacy-policy \
        /static/authseal.css /static/no /favicon.ico /isalive?data=x /healthz /readyz /.well-known/acme-challenge/x \
        /metrics /nothing /refresh /refresh/x /refres /Refresh /refresh/ //refresh /%72efresh /%2Frefresh /TOKEN/ \
        /?type=googledrive /?redirect=googledrive /refresh?type=googledrive /refresh?authid=x /refresh?%ff=%zz&& /%00 \
        /./refresh /a/../refresh";
    for path in paths.split_whitespace().chain([long.as_str()]) {
        for method in "GET HEAD POST PUT PATCH DELETE OPTIONS TRACE BREW".split(' ') {
            let answer = send(&app, method, path, &[("X-AuthID", "v3:googledrive:3:x")], "").await;
            assert_readable(&answer, &format!("{method} {path:.60}"));
        }
    }
    for headers in [
        vec![("content-type", "application/json")],
        vec![("content-type", "\t\"")],
        vec![("content-encoding", "br"), FORM],
        vec![("expect", "100-continue"), FORM],
        vec![("expect", "nothing")],
        vec![("accept", "application/json")],
        vec![("accept-encoding", "gzip, br")],
        vec![("origin", "https://evil.test"), ("sec-fetch-site", "cross-site")],
        vec![("sec-purpose", "prefetch")],
        vec![("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "image")],
        vec![("host", "evil.test")],
        vec![("X-AuthID", "again")],
        vec![("cookie", "__Host-authseal-state=x")],
        vec![("x-forwarded-proto", "http")],
        vec![("range", "bytes=0-1"), ("if-match", "x")],
    ] {
        for (method, path) in [("GET", "/refresh"), ("POST", "/refresh"), ("GET", "/"), ("POST", "/token")] {
            let all = [&[("X-AuthID", "v3:googledrive:3:x")], headers.as_slice()].concat();
            assert_readable(&send(&app, method, path, &all, &large).await, &format!("{method} {path} {headers:?}"));
        }
    }
    let right = send(&app, "GET", "/", &[("X-AuthID", "x")], "").await;
    assert!(right.reason().ends_with("https://authseal.test/refresh"), "{}", right.reason());
}

#[tokio::test]
async fn boxes_users_read_the_link_in_the_body_alone() {
    let app = spawn_app("");
    let link = ". Create a new AuthID at https://authseal.test/?type=box.com";
    for (authid, has_link) in [
        ("v3:box.com:3:x", true),
        (" v3%3Abox.com%3A3%3Ax", true),
        ("v3:box.com", false),
        ("v3:dropbox:3:x", false),
        ("box.com", false),
    ] {
        let in_header = send(&app, "GET", "/refresh", &[("X-AuthID", authid)], "").await;
        let in_form = app.post("/refresh", &[("authid", authid)]).await;
        let elsewhere = send(&app, "PUT", "/nothing", &[("X-AuthID", authid)], "").await;
        for answer in [in_header, in_form, elsewhere] {
            let expected = format!("{}{}", answer.reason(), if has_link { link } else { "" });
            assert_eq!((answer.status, answer.body.as_str()), (401, expected.as_str()), "{authid}");
        }
    }
    let later = send(&app, "GET", "/refresh", &[("X-AuthID", &app.seal("box.com", "x"))], "").await;
    assert_eq!((later.status, later.body.as_str()), (503, later.reason()));
}

#[tokio::test]
async fn without_an_authid_the_reason_is_told_with_400_as_text_or_as_json_where_that_is_asked_for() {
    let app = spawn_app("");
    let large = format!("authid={}", "x".repeat(20_000));
    for (method, path, headers, body) in [
        ("GET", "/refresh", vec![], ""),
        ("HEAD", "/refresh", vec![], ""),
        ("PUT", "/refresh", vec![], ""),
        ("GET", "/refresh?authid=v3:googledrive:3:x", vec![], ""),
        ("POST", "/refresh", vec![FORM], large.as_str()),
        ("POST", "/refresh", vec![FORM], ""),
        ("POST", "/refresh", vec![("content-type", "text/plain")], "authid=x"),
        ("POST", "/REFRESH/", vec![("content-type", "application/json")], "{\"authid\":\"x\"}"),
    ] {
        let what = format!("{method} {path} {headers:?}");
        let answer = send(&app, method, path, &headers, body).await;
        assert_eq!((answer.status, answer.header("content-type")), (400, Some("text/plain; charset=utf-8")), "{what}");
        assert!(method == "HEAD" || answer.body == answer.reason(), "{what}: {answer:?}");
        for accept in ["application/json", "text/html, Application/JSON;q=0.9"] {
            let headers = [headers.as_slice(), &[("accept", accept)]].concat();
            let answer = send(&app, method, path, &headers, body).await;
            assert_eq!((answer.status, answer.header("content-type")), (400, Some("application/json")), "{what}");
            assert!(method == "HEAD" || answer.json()["error"] == answer.reason(), "{what}");
        }
    }
    for (headers, body) in [(vec![FORM], large.as_str()), (vec![("content-type", "application/json")], "{}")] {
        let answer = send(&app, "POST", "/token", &headers, body).await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &"invalid_request".into()), "{answer:?}");
    }
}

#[tokio::test]
async fn an_address_is_one_and_the_same_in_every_spelling() {
    let emulator = Emulator::start(Profile::google());
    let app = spawn_for(&[&emulator]);
    let authid = app.log_in(&emulator);
    for path in
        "/refresh /refresh/ //refresh /refresh// /Refresh /REFRESH /%72efresh //%52eFresh/ /refresh/?a=b".split(' ')
    {
        send(&app, "GET", path, &[("X-AuthID", &authid)], "").await.access_token();
        send(&app, "POST", path, &[FORM], &format!("authid={authid}")).await.access_token();
    }
    let form = format!("grant_type=refresh_token&refresh_token={authid}");
    for path in ["/token", "/token/", "/TOKEN", "//Token//"] {
        let answer = send(&app, "POST", path, &[FORM], &form).await;
        assert_eq!((answer.status, &answer.json()["token_type"]), (200, &"Bearer".into()), "{path}");
    }
    for (path, body) in [
        ("/isAlive/?data=x", "x"),
        ("/IsAlive?data=X", "X"),
        ("//healthz", "ok\n"),
        ("/Token-State/?token=x7c2mq0z5v9k1hj3bd8f", "{\"success\":false}"),
    ] {
        assert_eq!(send(&app, "GET", path, &[], "").await.body, body, "{path}");
    }
    // What is no spelling of ours stays what it is.
    for path in
        "/refresh%2F /refresh%3Fa /refresh;x /refresh. /ref/resh /static/AUTHSEAL.css /static//authseal.css".split(' ')
    {
        assert_eq!(send(&app, "GET", path, &[], "").await.status, 404, "{path}");
    }
    let page = send(&app, "GET", "//evil.test//", &[], "").await;
    assert_eq!((page.status, page.header("location")), (404, None));
}

#[tokio::test]
async fn a_method_that_is_not_taken_is_answered_with_those_that_are() {
    let app = spawn_app("");
    for (path, status, allow) in
        [("/", 405, "GET, HEAD"), ("/refresh", 400, "GET, POST"), ("/token", 405, "POST"), ("/login", 405, "GET")]
    {
        let answer = send(&app, "PATCH", path, &[], "").await;
        assert_eq!((answer.status, answer.header("allow")), (status, Some(allow)), "{path}");
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
    let emulator = Emulator::start(Profile::google());
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
    assert_eq!(answer, b"HTTP/1.1 400");
}
