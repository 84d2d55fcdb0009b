//! Cookies as an attacker can plant them beside ours: by other spellings of the name, twice, and among bytes that are no
//! text. Sent over a bare connection, since no HTTP library would.

use crate::browser::From;
use crate::emulator::{Emulator, Profile};
use crate::spawn::{TestApp, spawn_for};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use url::Url;

const UI: &str = "http://localhost:8200";
const NAME: &str = "__Host-authseal";
const OWN: &str = "AAAAAAAAAAAAAAAAAAAAAA";

/// Status and page of a GET with these `Cookie` headers.
fn get(app: &TestApp, url: &Url, cookies: &[&[u8]]) -> (u16, String) {
    let mut socket = TcpStream::connect(app.base.strip_prefix("http://").unwrap()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let target = format!("{}?{}", url.path(), url.query().unwrap_or_default());
    let mut request = format!("GET {target} HTTP/1.1\r\nHost: authseal.test\r\nConnection: close\r\n").into_bytes();
    request.extend_from_slice(b"X-Forwarded-For: 203.0.113.7\r\n");
    for cookie in cookies {
        request.extend([b"Cookie: ", *cookie, b"\r\n"].concat());
    }
    request.extend_from_slice(b"\r\n");
    socket.write_all(&request).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    (answer.split(' ').nth(1).unwrap_or_default().parse().unwrap_or_default(), answer)
}

/// The callback of a login that an attacker began, with his own account, and the value of his binder.
async fn attack(app: &TestApp) -> (Url, String) {
    let mut attacker = app.person();
    let callback = attacker.log_in_until_callback("googledrive").await;
    let binder = attacker.cookie_header().split_once(&format!("{NAME}=")).unwrap().1[..22].to_owned();
    (callback, binder)
}

fn has_authid(page: &str) -> bool {
    page.contains("v3:")
}

#[tokio::test]
async fn no_spelling_of_the_name_plants_a_binder() {
    let emulator = Emulator::start(Profile::google());
    let app = spawn_for(&[&emulator]);
    let (callback, binder) = attack(&app).await;
    let names: Vec<Vec<u8>> = [
        "__%48ost-authseal",
        "__%48%6F%73%74-authseal",
        "%5f_Host-authseal",
        "__Host%2dauthseal",
        "__Host%2Dauthseal",
        "__Host-authseal%20",
        "__Host-authseal%00",
        "__host-authseal",
        "__HOST-AUTHSEAL",
        "__Host-Authseal",
        "\"__Host-authseal\"",
        "=__Host-authseal",
        "=__%48ost-authseal",
        "x __Host-authseal",
        "x=y, __Host-authseal",
        "$Path=/, __Host-authseal",
        "\u{85}__Host-authseal",
        "\u{a0}__Host-authseal",
        "\u{1680}__Host-authseal",
        "\u{2000}__Host-authseal",
        "\u{2028}__Host-authseal",
        "\u{202f}__Host-authseal",
        "\u{205f}__Host-authseal",
        "\u{3000}__Host-authseal",
        "\u{feff}__Host-authseal",
        "\u{200b}__Host-authseal",
        "__Host-authseal\u{2000}",
        "__Host-authseal\u{a0}",
        "__Host\u{2011}authseal",
        "authseal",
        "__Secure-authseal",
        "__Host-authseal-state",
        "__Host-authseal-access",
    ]
    .map(|name| name.as_bytes().to_vec())
    .into_iter()
    .chain([b"\x85__Host-authseal".to_vec(), b"\xa0__Host-authseal".to_vec(), b"__Host-authseal\xa0".to_vec()])
    .collect();
    for name in &names {
        let planted = [name, b"=".as_slice(), binder.as_bytes()].concat();
        let own = format!("{NAME}={OWN}");
        let before = [&planted, b"; ".as_slice(), own.as_bytes()].concat();
        let after = [own.as_bytes(), b"; ", &planted].concat();
        for cookies in [vec![&*planted], vec![&before], vec![&after], vec![&planted, own.as_bytes()]] {
            let (status, page) = get(&app, &callback, &cookies);
            let shown = String::from_utf8_lossy(&cookies.concat()).into_owned();
            assert_eq!((status, has_authid(&page)), (400, false), "{shown}");
            assert!(page.contains("This login began in another browser"), "{shown}");
        }
    }
    assert!(emulator.calls().is_empty(), "no code was spent");
    let (status, page) = get(&app, &callback, &[format!("{NAME}={binder}").as_bytes()]);
    assert_eq!((status, has_authid(&page)), (200, true), "the attacker's own browser: {page}");
}

#[tokio::test]
async fn a_value_with_something_around_it_is_no_binder() {
    let emulator = Emulator::start(Profile::google());
    let app = spawn_for(&[&emulator]);
    let (callback, binder) = attack(&app).await;
    let huge = "A".repeat(2000);
    for value in [
        String::new(),
        format!("\"{binder}\""),
        format!("{binder}=="),
        format!("{binder}A"),
        format!("{binder} {binder}"),
        format!("{binder},{binder}"),
        format!("%20{binder}"),
        format!("%{:02x}{}", binder.as_bytes()[0], &binder[1..]),
        format!("\u{2000}{binder}"),
        format!("{binder}\u{a0}"),
        binder[1..].to_owned(),
        huge,
    ] {
        let (status, page) = get(&app, &callback, &[format!("{NAME}={value}").as_bytes()]);
        assert_eq!((status, has_authid(&page)), (400, false), "{value}");
    }
    for control in [b'\0', 0x0b, 0x0c, 0x1f, 0x7f] {
        for cookie in
            [[&[control], NAME.as_bytes(), b"=", binder.as_bytes()].concat(), format!("{NAME}={binder}").into()]
        {
            let with = if cookie[0] == control { cookie } else { [&*cookie, &[control]].concat() };
            let (status, page) = get(&app, &callback, &[&with]);
            assert_eq!((status, has_authid(&page)), (400, false), "{control:02x}: {page}");
        }
    }
    assert!(emulator.calls().is_empty());
}

#[tokio::test]
async fn two_binders_are_none_wherever_they_stand() {
    let emulator = Emulator::start(Profile::google());
    let app = spawn_for(&[&emulator]);
    let (callback, binder) = attack(&app).await;
    let (planted, own) = (format!("{NAME}={binder}"), format!("{NAME}={OWN}"));
    for cookies in [
        vec![format!("{planted}; {own}")],
        vec![format!("{own}; {planted}")],
        vec![format!("{planted};{planted}")],
        vec![format!("{planted};a=b;{NAME}=")],
        vec![planted.clone(), own.clone()],
        vec![own, "a=b".into(), planted],
    ] {
        let cookies: Vec<_> = cookies.iter().map(String::as_bytes).collect();
        let (status, page) = get(&app, &callback, &cookies);
        assert_eq!((status, has_authid(&page)), (400, false), "{:?}", String::from_utf8_lossy(&cookies.concat()));
    }
    assert!(emulator.calls().is_empty());
}

#[tokio::test]
async fn foreign_cookies_never_keep_a_login_from_its_end() {
    let long = format!("x={}", "y".repeat(3000));
    let mut others: Vec<Vec<u8>> = [
        "lang=en",
        "a",
        "=",
        ";",
        ";;; ; ;",
        "=b",
        "a=\"; b=\"",
        "%=%zz",
        "__%48ost-authseal=x",
        "\u{2000}__Host-authseal=x",
        "__Host-authseal",
        "$Version=1",
        "{}=[]",
        "a=b, c=d",
        "na\u{ef}ve=caf\u{e9}",
        &long,
    ]
    .map(|cookie| cookie.as_bytes().to_vec())
    .into();
    others.extend([b"city=M\xfcnchen".to_vec(), b"\xff\xfe=\x80".to_vec(), (0x80..=0xff).collect()]);
    for other in others {
        for first in [true, false] {
            let emulator = Emulator::start(Profile::google());
            let app = spawn_for(&[&emulator]);
            let (callback, binder) = attack(&app).await;
            let own = format!("{NAME}={binder}").into_bytes();
            let (one, two) = if first { (&other, &own) } else { (&own, &other) };
            let (status, page) = get(&app, &callback, &[&[one.as_slice(), b"; ", two].concat()]);
            let shown = String::from_utf8_lossy(&other).into_owned();
            assert_eq!((status, has_authid(&page)), (200, true), "{shown}: {page}");
        }
    }
}

#[tokio::test]
async fn the_state_that_a_provider_drops_is_read_from_the_literal_cookie_alone() {
    let emulator = Emulator::start(Profile::pcloud());
    let app = spawn_for(&[&emulator]);
    let mut person = app.person();
    let index = person.open_index("type=pcloud", UI).await;
    let login = index.link("/login?").unwrap();
    let callback = person.visit_until("/logged-in", login, index.as_source()).await;
    let bare = Url::parse("https://authseal.test/logged-in?code=x&hostname=api.pcloud.com").unwrap();
    let state = callback.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let cookies = person.cookie_header();
    let binder = cookies.split("; ").find(|cookie| cookie.starts_with("__Host-authseal=")).unwrap();
    for (name, status) in [
        ("__Host-authseal-state", 200),
        ("__%48ost-authseal-state", 400),
        ("__Host-authseal%2dstate", 400),
        ("\u{2000}__Host-authseal-state", 400),
    ] {
        let (answered, page) = get(&app, &bare, &[format!("{name}={state}; {binder}").as_bytes()]);
        assert_eq!((answered, page.contains("Did you just come from")), (status, status == 200), "{name}");
    }
    assert_eq!(person.visit(bare, From::Typed).await.authid(), None);
    assert!(emulator.calls().is_empty());
}
