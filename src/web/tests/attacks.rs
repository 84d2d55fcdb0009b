//! One attack for each mitigation, made twice: with it switched off the attack succeeds, with it the attack fails. So
//! every mitigation is known to be what keeps its attack out.

mod callback;
mod delivery;

use super::site::*;
use crate::authid::{GrantId, RevokeCode};
use crate::mitigation::Mitigation;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use secrecy::ExposeSecret;
use std::time::Duration;

#[test]
fn every_guard_has_its_attack() {
    let (_, mitigations) = include_str!("../../mitigation.rs").split_once("enum Mitigation {").unwrap();
    let (mitigations, _) = mitigations.split_once("\n}").unwrap();
    let names: Vec<_> = mitigations.lines().filter_map(|line| line.trim().strip_suffix(',')).collect();
    assert!(names.contains(&"BrowserCookie"), "{names:?}");
    for name in names {
        assert!(
            [include_str!("attacks.rs"), include_str!("attacks/callback.rs"), include_str!("attacks/delivery.rs")]
                .concat()
                .contains(&format!("Mitigation::{name}, ")),
            "{name} is not proved"
        );
    }
}

#[tokio::test]
async fn a_login_does_not_end_in_another_browser() {
    prove(Mitigation::BrowserCookie, 400, async |site| {
        let state = site.browser(ELSEWHERE).await.leave(UI, TOKEN).await;
        let page = site.browser(HOME).await.come_back(&state).await;
        page.won(page.has_authid())
    })
    .await;
}

#[tokio::test]
async fn a_login_link_is_of_no_use_in_another_browser() {
    prove(Mitigation::BrowserCookie, 303, async |site| {
        let ctx = site.browser(ELSEWHERE).await.open(UI, TOKEN).await;
        let away = site.browser(HOME).await.get(&format!("/login?id=drive&ctx={ctx}"), &[]).await;
        away.won(away.leads_to_provider())
    })
    .await;
}

#[tokio::test]
async fn a_stolen_ticket_is_of_no_use_in_another_browser() {
    prove(Mitigation::BrowserCookie, 400, async |site| {
        let page = site.browser(HOME).await.log_in(EVIL, TOKEN).await;
        let ticket = page.between("data-ticket=\"", "\"");
        let sent = site.browser(ELSEWHERE).await.post("/deliver", &[("grant", &ticket)], &[]).await;
        sent.won(site.fetch_as(HOME, TOKEN, &[("referer", EVIL)]).await.is_ok())
    })
    .await;
}

#[tokio::test]
async fn an_old_state_ends_no_login() {
    prove(Mitigation::Age, 400, async |site| {
        let mut browser = site.browser(HOME).await;
        let state = browser.leave(UI, TOKEN).await;
        site.clock.advance(Duration::from_secs(1200));
        let page = browser.come_back(&state).await;
        page.won(page.has_authid())
    })
    .await;
}

#[tokio::test]
async fn another_site_begins_no_login() {
    prove(Mitigation::OwnPageOnly, 303, async |site| {
        let mut browser = site.browser(HOME).await;
        let ctx = browser.open(UI, TOKEN).await;
        let away = browser.get(&format!("/login?id=drive&ctx={ctx}"), FROM_EVIL).await;
        away.won(away.leads_to_provider())
    })
    .await;
}

#[tokio::test]
async fn a_guess_of_the_browser_spends_no_login() {
    const GUESSES: [(&str, &str); 5] = [
        ("sec-purpose", "prefetch"),
        ("sec-purpose", "prefetch;prerender"),
        ("purpose", "Prefetch"),
        ("x-purpose", "preview"),
        ("x-moz", "prefetch"),
    ];
    for guess in GUESSES {
        prove(Mitigation::Navigation, 503, async move |site| {
            let mut browser = site.browser(HOME).await;
            let state = browser.leave(UI, TOKEN).await;
            let uri = format!("/logged-in?code=code&state={state}");
            let guess = browser.get(&uri, &[guess]).await;
            let spent = !browser.come_back(&state).await.has_authid();
            guess.won(spent)
        })
        .await;
    }
}

#[tokio::test]
async fn what_is_no_page_of_its_own_spends_no_login() {
    prove(Mitigation::Navigation, 403, async |site| {
        let mut browser = site.browser(HOME).await;
        let state = browser.leave(UI, TOKEN).await;
        let uri = format!("/logged-in?code=code&state={state}");
        let image = browser.get(&uri, &[("sec-fetch-dest", "image")]).await;
        let spent = !browser.come_back(&state).await.has_authid();
        image.won(spent)
    })
    .await;
}

#[tokio::test]
async fn no_page_is_shown_under_a_foreign_name() {
    prove(Mitigation::HostName, 421, async |site| {
        let page = site.browser(HOME).await.get("/", &[("host", "evil.test")]).await;
        page.won(page.body.contains("ctx="))
    })
    .await;
}

#[tokio::test]
async fn another_site_revokes_nothing() {
    prove(Mitigation::ForeignForm, 403, async |site| {
        let mut browser = site.browser(HOME).await;
        let page = browser.log_in(UI, TOKEN).await;
        let authid = format!("v3:{}", page.between("v3:", "<"));
        let revoked = browser.post("/revoked", &[("authid", authid.trim())], FROM_EVIL).await;
        revoked.won(revoked.status == 200)
    })
    .await;
}

#[tokio::test]
async fn another_site_has_no_authid_tested() {
    prove(Mitigation::ForeignForm, 403, async |site| {
        let mut browser = site.browser(HOME).await;
        let authid = format!("v3:{}", browser.log_in(UI, TOKEN).await.between("v3:", "<"));
        let fields = [("authid", authid.as_str()), ("act", "test")];
        let tested = browser.post("/inspect", &fields, FROM_EVIL).await;
        tested.won(tested.body.contains("It works"))
    })
    .await;
}

#[tokio::test]
async fn nobody_revokes_a_login_by_its_id_alone() {
    prove(Mitigation::RevokeCodeTag, 400, async |site| {
        let victims =
            site.browser(HOME).await.log_in(UI, TOKEN).await.between("Login id</summary>\n      <p><code>", "<");
        let mut browser = site.browser(ELSEWHERE).await;
        let own = browser.log_in(UI, TOKEN).await.between("revoke:", "<");
        let mut code = RevokeCode::parse(&format!("revoke:{own}")).unwrap();
        code.grant = GrantId::parse(&victims).unwrap();
        let revoked = browser.post("/revoked", &[("authid", code.encode().expose_secret())], &[]).await;
        revoked.won(revoked.status == 200 && revoked.body.contains(&victims))
    })
    .await;
}

#[tokio::test]
async fn nobody_sends_test_after_test_to_a_provider() {
    prove(Mitigation::TestLimit, 429, async |site| {
        let mut browser = site.browser(HOME).await;
        let authid = format!("v3:{}", browser.log_in(UI, TOKEN).await.between("v3:", "<"));
        let fields = [("authid", authid.as_str()), ("act", "test")];
        for _ in 0..10 {
            assert!(browser.post("/inspect", &fields, &[]).await.body.contains("It works"));
        }
        let one_more = browser.post("/inspect", &fields, &[]).await;
        one_more.won(one_more.body.contains("It works"))
    })
    .await;
}

#[tokio::test]
async fn another_site_presses_no_button() {
    prove(Mitigation::ForeignForm, 403, async |site| {
        let mut browser = site.browser(HOME).await;
        let ticket = browser.log_in(EVIL, TOKEN).await.between("data-ticket=\"", "\"");
        let sent = browser.post("/deliver", &[("grant", &ticket)], FROM_EVIL).await;
        sent.won(site.fetch_as(HOME, TOKEN, &[("referer", EVIL)]).await.is_ok())
    })
    .await;
}

#[tokio::test]
async fn another_site_pastes_no_token_of_its_own() {
    prove(Mitigation::ForeignForm, 403, async |site| {
        let mut browser = site.browser(HOME).await;
        let ctx = browser.open(UI, TOKEN).await;
        let token = BASE64URL.encode(r#"{"username":"mallory","auth_token":"of-the-attacker"}"#);
        let fields = [("id", "shelf"), ("ctx", ctx.as_str()), ("token", token.as_str())];
        let page = browser.post("/cli-token-login", &fields, FROM_EVIL).await;
        page.won(page.has_authid())
    })
    .await;
}

#[tokio::test]
async fn another_site_gives_no_password() {
    prove_with(ASKS_FOR_PASSWORD, Mitigation::ForeignForm, 403, async |site| give_password(site, FROM_EVIL).await)
        .await;
}

/// Whether the password opens this server when its form is sent with these headers.
async fn give_password(site: &Site, headers: &[(&str, &str)]) -> Outcome {
    let mut browser = site.browser(HOME).await;
    let ctx = browser.open(UI, TOKEN).await;
    let page = browser.post("/access", &[("ctx", ctx.as_str()), ("password", PASSWORD)], headers).await;
    page.won(browser.cookies.contains_key("__Host-authseal-access"))
}

#[tokio::test]
async fn no_login_begins_around_the_password() {
    prove_with(ASKS_FOR_PASSWORD, Mitigation::Password, 303, async |site| {
        let mut browser = site.browser(HOME).await;
        let ctx = browser.open(UI, TOKEN).await;
        let away = browser.get(&format!("/login?id=drive&ctx={ctx}"), &[]).await;
        away.won(away.leads_to_provider())
    })
    .await;
}

#[tokio::test]
async fn no_login_ends_by_plain_http() {
    prove(Mitigation::PlainHttp, 403, async |site| {
        let mut browser = site.browser(HOME).await;
        let state = browser.leave(UI, TOKEN).await;
        let uri = format!("/logged-in?code=code&state={state}");
        let page = browser.get(&uri, &[("x-forwarded-proto", "http")]).await;
        page.won(page.has_authid())
    })
    .await;
}

#[tokio::test]
async fn no_password_is_taken_by_plain_http() {
    prove_with(ASKS_FOR_PASSWORD, Mitigation::PlainHttp, 403, async |site| {
        give_password(site, &[("x-forwarded-proto", "http")]).await
    })
    .await;
}

#[tokio::test]
async fn no_password_is_taken_under_a_foreign_name() {
    prove_with(ASKS_FOR_PASSWORD, Mitigation::HostName, 421, async |site| {
        give_password(site, &[("host", "evil.test")]).await
    })
    .await;
}
