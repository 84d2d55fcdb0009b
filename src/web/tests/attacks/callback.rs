//! Attacks on the way back from the provider.

use crate::mitigation::Mitigation;
use crate::web::tests::site::*;

#[tokio::test]
async fn a_planted_state_cookie_ends_no_login_where_the_provider_returns_the_state() {
    prove(Mitigation::StateOptional, 400, async |site| {
        let mut browser = site.browser(HOME).await;
        let state = browser.leave(UI, TOKEN).await;
        browser.cookies.insert("__Host-authseal-state".to_owned(), state);
        let page = browser.post("/logged-in?code=of-the-attacker", &[], &[("sec-fetch-site", "same-origin")]).await;
        page.won(page.has_authid())
    })
    .await;
}

#[tokio::test]
async fn a_callback_without_a_state_is_not_redeemed_before_its_person_says_where_it_comes_from() {
    let tables = "[clients.loose]\nid = \"authseal\"\nsecret = \"b6f2e0a94c\"\n\
        [providers.loose]\nname = \"Loose\"\nrotation = \"none\"\nstate_optional = true\n\
        authorize_url = \"https://loose.test/authorize\"\ntoken_url = \"PROVIDER/token\"\n\
        [services.loosedrive]\nprovider = \"loose\"\nname = \"Loose Drive\"\nscopes = [\"files\"]\n";
    prove_with(tables, Mitigation::Confirmation, 200, async |site| {
        let mut browser = site.browser(HOME).await;
        browser.leave_for("loosedrive", UI, TOKEN).await;
        let page = browser.get("/logged-in?code=of-the-attacker", &[("sec-fetch-site", "cross-site")]).await;
        page.won(page.has_authid())
    })
    .await;
}

#[tokio::test]
async fn a_planted_cookie_brings_no_foreign_authid_into_the_mailbox() {
    prove(Mitigation::OtherAddress, 200, async |site| {
        let mut attacker = site.browser(ELSEWHERE).await;
        let state = attacker.leave(UI, TOKEN).await;
        // A browser that does not enforce `__Host-`, with the attacker's cookie in it.
        let mut browser = site.browser(HOME).await;
        browser.cookies = attacker.cookies;
        assert!(browser.come_back(&state).await.has_authid());
        site.fetch(HOME, TOKEN).await
    })
    .await;
}

#[tokio::test]
async fn an_answer_from_another_issuer_is_not_redeemed() {
    prove(Mitigation::Issuer, 400, async |site| {
        let mut browser = site.browser(HOME).await;
        let state = browser.leave(UI, TOKEN).await;
        let page = browser.come_back(&format!("{state}&iss={EVIL}")).await;
        page.won(page.has_authid())
    })
    .await;
}

#[tokio::test]
async fn a_callback_from_the_history_shows_no_authid_again() {
    prove(Mitigation::Replay, 400, async |site| {
        let mut browser = site.browser(HOME).await;
        let state = browser.leave(UI, TOKEN).await;
        assert!(browser.come_back(&state).await.has_authid());
        let again = browser.come_back(&state).await;
        again.won(again.has_authid())
    })
    .await;
}
