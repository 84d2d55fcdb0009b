//! The audit trail: one line for each act, with who, which login and which epoch.

use crate::browser::Person;
use crate::emulator::{Consent, Emulator, Profile};
use crate::spawn::{TestApp, spawn_app, until};
use authseal::authid::Envelope;
use std::fs;
use std::time::Duration;

const UI: &str = "http://localhost:8200";
const NAS: &str = "http://nas.lan:8200";
const TOKEN: &str = "a8d1tq0z5v9k1hj3bd8f";

/// Lines of the trail that have all of these.
fn trail(parts: &[&str]) -> Vec<String> {
    let log = String::from_utf8_lossy(&crate::canary::listen().lock().unwrap()).into_owned();
    let found = log.lines().filter(|line| line.contains("authseal::audit: "));
    found.filter(|line| parts.iter().all(|part| line.contains(part))).map(str::to_owned).collect()
}

fn grant(authid: &str) -> String {
    format!("grant={}", Envelope::parse(authid).unwrap().grant)
}

async fn log_in(person: &mut Person, opener: &str) -> crate::browser::Page {
    let index = person.open_index(&format!("type=googledrive&token={TOKEN}"), opener).await;
    let login = index.link("/login?").unwrap();
    person.click(&index, login).await
}

/// A server behind a proxy, and somebody at an address that no other test has.
fn start(address: &str) -> (Emulator, TestApp, Person) {
    let google = Emulator::start(Profile::google());
    let app = spawn_app(&format!("{}[server]\ntrusted_proxies = [\"127.0.0.1\"]\n", google.provider_toml()));
    let mut person = app.person();
    person.behind("x-forwarded-for", address);
    (google, app, person)
}

#[tokio::test]
async fn a_login_and_every_way_of_its_authid_leave_a_line() {
    let (_google, app, mut person) = start("198.51.100.71");
    let page = log_in(&mut person, UI).await;
    let grant = grant(&page.authid().unwrap());
    let everywhere = ["client=\"198.51.100.71\"", "peer=127.0.0.1", "epoch=3", &grant];
    let lines = |event: &[&str]| trail(&[&everywhere, event].concat()).len();
    assert_eq!(lines(&["event=\"login\"", "service=googledrive", "opener=\"http://localhost:8200\""]), 1);
    assert_eq!(lines(&["event=\"delivered\"", "way=\"waiting\"", "to=\"http://localhost:8200\""]), 1);
    person.load_script(person.at(&format!("/fetch?callback=cb&token={TOKEN}")), UI).await;
    assert_eq!(lines(&["event=\"delivered\"", "way=\"fetched\"", "to=\"http://localhost:8200\""]), 1);

    let mut elsewhere = app.person();
    elsewhere.behind("x-forwarded-for", "2001:db8:71::9");
    let page = log_in(&mut elsewhere, NAS).await;
    let ticket = page.element("ready").unwrap().attribute("data-ticket").unwrap().to_owned();
    elsewhere.submit(elsewhere.at("/deliver"), &[("grant", &ticket)], page.as_source()).await;
    let grant = self::grant(&page.authid().unwrap());
    let parts = ["event=\"delivered\"", "way=\"clicked\"", "client=\"2001:db8:71::/64\"", "to=\"http://nas.lan:8200\""];
    assert_eq!(trail(&[&parts, &[grant.as_str()][..]].concat()).len(), 1);
    assert_eq!(trail(&["way=\"waiting\"", &grant]).len(), 0, "it does not wait for a stranger");
}

#[tokio::test]
async fn what_is_refused_leaves_a_line_and_so_does_a_revocation() {
    let (google, app, mut person) = start("198.51.100.72");
    google.next_person(Consent::Denies);
    log_in(&mut person, UI).await;
    let client = "client=\"198.51.100.72\"";
    assert_eq!(
        trail(&["event=\"login_refused\"", client, "service=\"googledrive\"", "why=consent was not given"]).len(),
        1
    );
    google.next_person(Consent::Fails("unauthorized_client", "x"));
    log_in(&mut person, UI).await;
    let lines = trail(&["event=\"login_refused\"", client, "unauthorized_client"]);
    assert!(lines.len() == 1 && lines[0].contains(" INFO "), "anybody can make up a callback: {lines:?}");
    let authid = app.log_in(&google);
    let send = |path: &str| app.client.post(app.at(path)).header("x-forwarded-for", "198.51.100.72");
    send("/revoked").header("x-authid", &authid).send().await.unwrap();
    send("/refresh").header("x-authid", &authid).send().await.unwrap();
    let grant = grant(&authid);
    let everywhere = [client, "epoch=3", grant.as_str()];
    let lines = |event: &[&str]| trail(&[&everywhere, event].concat()).len();
    assert_eq!(lines(&["event=\"revoked\"", "durably=true"]), 1);
    assert_eq!(lines(&["event=\"denied\"", "service=googledrive", "rule=its login"]), 1);
    fs::remove_file(app.dir.path().join("denylist")).unwrap();
    let other = app.log_in(&google);
    send("/revoked").header("x-authid", &other).send().await.unwrap();
    assert_eq!(trail(&["event=\"revoked\"", "durably=false", &self::grant(&other)]).len(), 1);
}

#[tokio::test]
async fn a_changed_keyring_and_a_changed_denylist_leave_a_line() {
    let app = spawn_app("");
    let keys = app.dir.path().join("keys.toml");
    let text = fs::read_to_string(&keys).unwrap();
    let changed = text.replace("primary = 3", "min_epoch = 4\nprimary = 4");
    let digest = authseal::seal::Keyring::parse(&changed).unwrap().digest();
    fs::write(&keys, &changed).unwrap();
    // 1030 to 1032: numbers that no other test's denylist has.
    let rules: String = (0..1031).map(|number| format!("epoch {}\n", number + 10)).collect();
    fs::write(app.dir.path().join("denylist"), format!("authseal-denylist 1\n{rules}")).unwrap();
    let soon = Duration::from_secs(20);
    until(soon, async || trail(&["event=\"keyring_changed\"", &digest]).len() == 1).await;
    until(soon, async || trail(&["event=\"denylist_changed\"", "rules=1031"]).len() == 1).await;
    // A warning where there are fewer, and only there.
    let fewer = |before: &str| {
        let log = String::from_utf8_lossy(&crate::canary::listen().lock().unwrap()).into_owned();
        log.lines().filter(|line| line.contains("the denylist has fewer rules") && line.contains(before)).count()
    };
    for (count, line) in
        [(1032, "before=1031 rules=1032"), (1032, "before=1032 rules=1032"), (1030, "before=1032 rules=1030")]
    {
        let rules: String = (0..count).map(|number| format!("epoch {}\n", number + 10)).collect();
        let (file, aside) = (app.dir.path().join("denylist"), app.dir.path().join("aside"));
        fs::write(&aside, format!("authseal-denylist 1\n{rules}")).unwrap();
        fs::rename(aside, file).unwrap();
        until(soon, async || trail(&["event=\"denylist_changed\"", line]).len() == 1).await;
    }
    until(soon, async || fewer(" before=1032 now=1030") == 1).await;
    assert_eq!([fewer(" before=1031"), fewer(" before=1032")], [0, 1]);
}
