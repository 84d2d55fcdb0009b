//! What browsers say of a request by `Sec-Fetch-*`, `Origin` and `Referer`, in all combinations that are met: which forms
//! count as ours, who gets what waits in the mailbox, and whom a page by plain http is for.

use crate::browser::Page;
use crate::emulator::{Emulator, Profile};
use crate::spawn::{Answer, TestApp, spawn_for};

const UI: &str = "http://localhost:8200";
const OURS: &str = "https://authseal.test";
const TOKEN: &str = "x7c2mq0z5v9k1hj3bd8f";

fn start() -> (Emulator, TestApp) {
    let emulator = Emulator::start(Profile::google());
    let app = spawn_for(&[&emulator]);
    (emulator, app)
}

async fn send(request: reqwest::RequestBuilder, headers: &[(&str, &str)]) -> Answer {
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let request = request.header("host", "authseal.test").header("x-forwarded-for", "203.0.113.7");
    Answer::of(request.send().await.unwrap()).await
}

async fn get(app: &TestApp, path: &str, headers: &[(&str, &str)]) -> Answer {
    send(app.client.get(app.at(path)), headers).await
}

#[tokio::test]
async fn a_form_is_ours_where_the_browser_says_so_and_otherwise_by_its_origin() {
    let (_emulator, app) = start();
    let origins =
        [None, Some(OURS), Some("null"), Some("https://evil.test"), Some("https://authseal.test:444"), Some("")];
    let sites = [
        ("same-origin", [true, true, true, true, true, true]),
        ("same-site", [false; 6]),
        ("cross-site", [false; 6]),
        ("none", [true, true, false, false, false, false]),
        // The standard wants unknown values to be ignored.
        ("later-invention", [true, true, false, false, false, false]),
        ("", [true, true, false, false, false, false]),
    ];
    for path in ["/inspect", "/revoked", "/deliver", "/cli-token-login"] {
        let by_none = ("", [true, true, false, false, false, false]);
        for (site, taken) in sites.into_iter().chain([by_none]) {
            for (origin, taken) in origins.into_iter().zip(taken) {
                let headers =
                    [("sec-fetch-site", Some(site).filter(|_| taken || !site.is_empty())), ("origin", origin)];
                let headers: Vec<_> = headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
                let form = app.client.post(app.at(path)).form(&[("authid", "v3:x:1:AAAA")]);
                let answer = send(form, &headers).await;
                assert_eq!(answer.status != 403, taken, "{path} {headers:?}: {}", answer.status);
                assert!(taken || answer.body.contains("a proxy may strip the referrer"), "{}", answer.body);
            }
        }
    }
}

#[tokio::test]
async fn of_two_that_contradict_each_other_the_foreign_one_counts() {
    let (_emulator, app) = start();
    for sites in [["same-origin", "cross-site"], ["same-site", "same-origin"], ["none", "cross-site"]] {
        let headers = sites.map(|site| ("sec-fetch-site", site));
        let form = app.client.post(app.at("/inspect")).form(&[("authid", "v3:x:1:AAAA")]);
        assert_eq!(send(form, &headers).await.status, 403, "{sites:?}");
    }
    let headers = [("sec-fetch-site", "none"), ("origin", OURS), ("origin", "https://evil.test")];
    let form = app.client.post(app.at("/inspect")).form(&[("authid", "v3:x:1:AAAA")]);
    assert_eq!(send(form, &headers).await.status, 403);
}

#[tokio::test]
async fn an_authid_is_given_to_those_alone_whose_browser_lets_them_read_it() {
    let (_emulator, app) = start();
    let jsonp = format!("/fetch?callback=cb&token={TOKEN}");
    let plain = format!("/fetch?token={TOKEN}");
    let script = [("sec-fetch-dest", "script"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-site", "cross-site")];
    let fetch = |mode, site| [("sec-fetch-dest", "empty"), ("sec-fetch-mode", mode), ("sec-fetch-site", site)];
    let dest = |dest| [("sec-fetch-dest", dest), ("sec-fetch-mode", "no-cors"), ("sec-fetch-site", "cross-site")];
    let (jsonp, plain) = (jsonp.as_str(), plain.as_str());
    let cases = [
        ("Duplicati's page", jsonp, script.to_vec(), true),
        ("the same of this site", jsonp, vec![script[0], script[1], ("sec-fetch-site", "same-site")], true),
        ("without metadata (http)", jsonp, vec![], true),
        ("a program", plain, vec![], true),
        ("our own page", plain, fetch("cors", "same-origin").to_vec(), true),
        ("a script without a callback", plain, script.to_vec(), false),
        ("a script with `crossorigin`", jsonp, vec![script[0], ("sec-fetch-mode", "cors"), script[2]], false),
        ("a script that is loaded ahead", jsonp, [&script[..], &[("sec-purpose", "prefetch")]].concat(), false),
        ("`fetch` of another site", plain, fetch("cors", "cross-site").to_vec(), false),
        ("`fetch` of a sibling", plain, fetch("cors", "same-site").to_vec(), false),
        ("`fetch` without CORS", jsonp, fetch("no-cors", "cross-site").to_vec(), false),
        ("`fetch` that does not say where", plain, vec![("sec-fetch-dest", "empty")], false),
        ("a page", jsonp, dest("document").to_vec(), false),
        ("a frame", jsonp, dest("iframe").to_vec(), false),
        ("an image", jsonp, dest("image").to_vec(), false),
        ("a stylesheet", jsonp, dest("style").to_vec(), false),
        ("a typed address", plain, vec![("sec-fetch-dest", "document"), ("sec-fetch-site", "none")], false),
    ];
    for (what, path, headers, given) in cases {
        let mut person = app.person();
        let index = person.open_index(&format!("type=googledrive&token={TOKEN}"), UI).await;
        let page: Page = person.click(&index, index.link("/login?").unwrap()).await;
        assert_eq!(page.delivers_to().as_deref(), Some(UI), "{what}: {}", page.body);
        let headers = [&headers[..], &[("referer", "http://localhost:8200/")]].concat();
        let answer = get(&app, path, &headers).await;
        assert_eq!((answer.status, answer.body.contains("v3:")), (200, given), "{what}: {}", answer.body);
        // It waits for who can read it, whom nobody is told of.
        let asked = get(&app, &format!("/token-state?token={TOKEN}"), &[]).await;
        assert!(!asked.body.contains("asked"), "{what}: {}", asked.body);
        let later = get(&app, jsonp, &[&script[..], &[("referer", "http://localhost:8200/")]].concat()).await;
        assert_eq!(later.body.contains("v3:"), !given, "{what}: {}", later.body);
    }
}

#[tokio::test]
async fn duplicatis_address_opened_in_a_browser_by_plain_http_is_a_page() {
    let (_emulator, app) = start();
    let plain = ("x-forwarded-proto", "http");
    let navigates = ("sec-fetch-mode", "navigate");
    for (path, headers) in [
        ("/refresh?type=googledrive", vec![plain]),
        ("/refresh", vec![plain, navigates]),
        ("/?type=googledrive", vec![plain, navigates]),
        ("/inspect", vec![("forwarded", "proto=http")]),
    ] {
        let answer = get(&app, path, &headers).await;
        assert!(answer.header("content-type").unwrap().starts_with("text/html"), "{path}: {answer:?}");
        assert!(answer.body.contains("Not encrypted") && answer.header("x-reason").is_none(), "{path}: {answer:?}");
        assert!(answer.body.contains("If you did use https, the proxy"), "{path}: {}", answer.body);
    }
    for headers in [vec![plain], vec![plain, navigates, ("x-authid", "v3:x:1:AAAA")]] {
        let answer = get(&app, "/refresh", &headers).await;
        assert!(answer.reason().contains("plain http"), "{headers:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_redirect_of_ours_keeps_who_opened_the_window() {
    let (_emulator, app) = start();
    for path in [
        "/refresh?type=googledrive",
        "/login?id=googledrive",
        "/login?id=googledrive&ctx=x",
        "/cli-token?id=jottacloud",
    ] {
        let answer = get(&app, path, &[("sec-fetch-mode", "navigate"), ("sec-fetch-site", "cross-site")]).await;
        if answer.status == 303 {
            assert_eq!(answer.header("referrer-policy"), Some("strict-origin-when-cross-origin"), "{path}");
        } else {
            assert_eq!((path, answer.status), ("/cli-token?id=jottacloud", 404));
        }
    }
}
