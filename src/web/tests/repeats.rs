//! Attacks on AuthIDs that came before and so are not opened again: whatever would be refused after opening is refused.

use super::site::*;
use crate::authid::{Envelope, Grant, RevokeCode, ServiceId, seal};
use crate::clock::rfc3339;
use crate::seal::Keyring;
use crate::seal::testing::{key_table, keyring_text};
use secrecy::ExposeSecret;
use std::fs;
use std::time::{Duration, Instant};

/// A server, and an AuthID that it knows.
struct Known {
    site: Site,
    authid: String,
    login: Grant,
}

impl Known {
    async fn new() -> Self {
        let site = Site::start("[refresh]\nwait_seconds = 0\n");
        let login =
            Grant::new(ServiceId::parse("drive").unwrap(), "token".to_owned().into(), site.clock.now()).unwrap();
        let keyring = Keyring::parse(&read(&site, "keys.toml")).unwrap();
        let authid = seal(keyring.primary(), &login).unwrap().expose().to_owned();
        let known = Self { site, authid, login };
        assert!(!known.repeats(&known.authid), "it never came");
        assert_eq!(known.refresh(&known.authid).await, 200);
        assert!(!known.repeats(&known.authid), "most come once in the life of an access token");
        assert_eq!(known.refresh(&known.authid).await, 200);
        assert!(known.repeats(&known.authid), "it came again");
        known
    }

    /// Whether it is answered without being opened.
    fn repeats(&self, authid: &str) -> bool {
        self.site.app.load().tokens().repeat(authid, Instant::now()).is_some()
    }

    async fn refresh(&self, authid: &str) -> u16 {
        self.site.browser(HOME).await.get("/refresh", &[("x-authid", authid)]).await.status
    }

    /// Writes a file, and waits until the known AuthID is answered with this status; meanwhile it is with 200 or this.
    async fn becomes(&self, status: u16, file: &str, text: &str) {
        fs::write(self.site.folder.path().join(file), text).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.refresh(&self.authid).await != status {
            assert!(Instant::now() < deadline, "{status} did not come of {text}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(self.repeats(&self.authid), status == 200, "{text}");
    }
}

fn read(site: &Site, file: &str) -> String {
    fs::read_to_string(site.folder.path().join(file)).unwrap()
}

#[tokio::test]
async fn a_repeat_gets_what_the_first_request_got() {
    let known = Known::new().await;
    let mut browser = known.site.browser(HOME).await;
    let headers = [("x-authid", known.authid.as_str())];
    let (first, second) = (browser.get("/refresh", &headers).await, browser.get("/refresh", &headers).await);
    assert!(first.body.starts_with("{\"access_token\":\"access\",\"expires\":3"), "{}", first.body);
    assert_eq!(first.body.split(',').next(), second.body.split(',').next());
    let form = [("grant_type", "refresh_token"), ("refresh_token", known.authid.as_str())];
    assert!(browser.post("/token", &form, &[]).await.body.starts_with("{\"access_token\":\"access\""));
    let repeat = known.site.app.load().tokens().repeat(&known.authid, Instant::now()).unwrap();
    assert_eq!((repeat.grant, repeat.granted.service.as_str()), (known.login.id, "drive"));
    assert!(repeat.granted.resealed.is_none());
}

#[tokio::test]
async fn every_rule_of_the_denylist_stops_a_repeat_alone_and_beside_all_others() {
    let known = Known::new().await;
    let later = rfc3339(known.login.login_at + 1);
    let rules = [
        "epoch 1".to_owned(),
        "epoch 1 service drive".to_owned(),
        format!("epoch 1 login-before {later}"),
        format!("grant {} through 1 at {later}", known.login.id),
    ];
    let others = format!("epoch 2\nepoch 1 service shelf\nepoch 1 login-before {}", rfc3339(known.login.login_at));
    for rule in rules.iter().chain([&rules.join("\n")]) {
        known.becomes(401, "denylist", &format!("authseal-denylist 1\n{others}\n{rule}\n")).await;
        known.becomes(200, "denylist", &format!("authseal-denylist 1\n{others}\n")).await;
    }
}

#[tokio::test]
async fn a_rule_for_a_service_counts_by_each_of_its_names() {
    let known = Known::new().await;
    let app = known.site.app.load();
    let is_paused = || app.tokens().paused(app.catalogue().find("drive").unwrap()).is_some();
    for (name, refused) in [("drive", true), ("disk", true), ("disc", false)] {
        let rules = format!("authseal-denylist 1\nepoch 1 service shelf\nepoch 1 service {name}\n");
        known.becomes(if refused { 401 } else { 200 }, "denylist", &rules).await;
        assert_eq!(is_paused(), refused, "{name}");
        known.becomes(200, "denylist", "authseal-denylist 1\n").await;
    }
}

#[tokio::test]
async fn a_login_that_is_revoked_gets_nothing_from_that_moment_on() {
    let known = Known::new().await;
    let keyring = Keyring::parse(&read(&known.site, "keys.toml")).unwrap();
    let code = RevokeCode::new(keyring.primary(), &known.login.service, known.login.id);
    let revoked =
        known.site.browser(HOME).await.post("/revoked", &[("authid", code.encode().expose_secret())], &[]).await;
    assert_eq!(revoked.status, 200);
    assert!(!known.repeats(&known.authid));
    assert_eq!(known.refresh(&known.authid).await, 401);
}

#[tokio::test]
async fn another_secret_under_the_same_epoch_ends_all_repeats() {
    let known = Known::new().await;
    let old = read(&known.site, "keys.toml");
    known.becomes(401, "keys.toml", &keyring_text(1, &[1])).await;
    known.becomes(200, "keys.toml", &old).await;
}

#[tokio::test]
async fn a_repeat_lives_through_a_rotation_and_ends_with_its_key() {
    let known = Known::new().await;
    let (one, two) = (read(&known.site, "keys.toml"), key_table(2));
    known.becomes(200, "keys.toml", &format!("{}{two}", one.replace("primary = 1", "primary = 2"))).await;
    let retired = "[[key]]\nepoch = 1\nretired = 2026-11-24T10:00:00Z\n";
    known.becomes(401, "keys.toml", &format!("primary = 2\n{retired}{two}")).await;
    known.becomes(200, "keys.toml", &one).await;
    let floor = one.replace("primary = 1", "primary = 2\nmin_epoch = 2");
    known.becomes(401, "keys.toml", &format!("{floor}{two}")).await;
}

#[tokio::test]
async fn no_changed_text_is_taken_for_a_repeat() {
    let known = Known::new().await;
    let text = known.authid.as_bytes();
    for at in 0..text.len() {
        let mut changed = text.to_vec();
        changed[at] ^= 1;
        let changed = String::from_utf8(changed).unwrap();
        assert!(!known.repeats(&changed), "{at}");
        assert!(!known.repeats(&known.authid[..at]), "{at}");
    }
    let last = known.authid.char_indices().next_back().unwrap().0;
    let changed = format!("{}{}", &known.authid[..last], if text[last] == b'A' { 'B' } else { 'A' });
    assert_eq!(known.refresh(&changed).await, 401);
    assert!(!known.repeats(&changed));
}

#[tokio::test]
async fn another_spelling_is_taken_and_not_remembered() {
    let known = Known::new().await;
    for text in [format!(" {}", known.authid), format!("{} ", known.authid), known.authid.replace(':', "%3A")] {
        let form = [("authid", text.as_str())];
        assert_eq!(known.site.browser(HOME).await.post("/refresh", &form, &[]).await.status, 200, "{text}");
        assert!(!known.repeats(&text), "{text}");
    }
}

#[tokio::test]
async fn a_repeat_ends_with_its_access_token_and_begins_with_the_next() {
    let known = Known::new().await;
    known.site.clock.advance(Duration::from_secs(3500));
    assert!(!known.repeats(&known.authid));
    assert_eq!(known.refresh(&known.authid).await, 200);
    assert!(known.repeats(&known.authid));
    known.site.clock.step(3500);
    assert!(!known.repeats(&known.authid), "the machine slept");
}

#[tokio::test]
async fn what_brought_no_token_is_not_remembered() {
    let known = Known::new().await;
    let keyring = Keyring::parse(&keyring_text(2, &[2])).unwrap();
    let newer = seal(keyring.primary(), &known.login).unwrap().expose().to_owned();
    assert!(Envelope::is_canonical(&newer));
    let service = ServiceId::parse("nowhere").unwrap();
    let keyring = Keyring::parse(&read(&known.site, "keys.toml")).unwrap();
    let foreign = seal(keyring.primary(), &Grant { service, ..known.login.clone() }).unwrap().expose().to_owned();
    for text in [newer, foreign] {
        assert_ne!(known.refresh(&text).await, 200);
        assert!(!known.repeats(&text));
    }
}
