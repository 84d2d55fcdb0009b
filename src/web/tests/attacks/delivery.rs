//! Attacks on the way of an AuthID to Duplicati's page.

use crate::mitigation::Mitigation;
use crate::web::tests::site::*;

#[tokio::test]
async fn an_authid_does_not_wait_for_an_unknown_opener() {
    prove(Mitigation::TrustedOpener, 200, async |site| {
        site.browser(HOME).await.log_in(EVIL, TOKEN).await;
        // By a script on the opener's page, in the same browser.
        site.fetch_as(HOME, TOKEN, &[("referer", EVIL)]).await
    })
    .await;
}

#[tokio::test]
async fn a_planted_token_fetches_nothing_from_elsewhere() {
    prove(Mitigation::MailboxAddress, 200, async |site| {
        site.browser(HOME).await.log_in(UI, TOKEN).await;
        site.fetch(ELSEWHERE, TOKEN).await
    })
    .await;
}

#[tokio::test]
async fn a_token_planted_through_a_trusted_page_fetches_nothing_for_another_page() {
    prove(Mitigation::MailboxOrigin, 200, async |site| {
        // A page on the person's own machine led the browser here, with the attacker's token.
        site.browser(HOME).await.log_in(UI, TOKEN).await;
        site.fetch_as(HOME, TOKEN, &[("referer", EVIL)]).await
    })
    .await;
}

#[tokio::test]
async fn a_guessed_token_fetches_nothing() {
    for guess in ["0", "1111111111111111", "abcdefgh"] {
        prove(Mitigation::FetchTokenStrength, 200, async |site| {
            site.browser(HOME).await.log_in(UI, guess).await;
            site.fetch(HOME, guess).await
        })
        .await;
    }
}

#[tokio::test]
async fn a_hostile_callback_is_not_reflected() {
    prove(Mitigation::JsonpCallback, 400, async |site| {
        let uri = format!("/fetch?callback=alert(document.cookie)//&token={TOKEN}");
        let script = site.browser(HOME).await.get(&uri, &[]).await;
        script.won(script.body.contains("alert(document.cookie)"))
    })
    .await;
}

#[tokio::test]
async fn nobody_but_a_trusted_proxy_says_who_asks() {
    prove(Mitigation::TrustedProxy, 200, async |site| {
        site.browser(HOME).await.log_in(UI, TOKEN).await;
        let as_home = &[("referer", UI), ("x-forwarded-for", HOME)];
        let answer = site.direct(ELSEWHERE).await.get(&format!("/fetch?token={TOKEN}"), as_home).await;
        answer.won(answer.body.contains("authid"))
    })
    .await;
}

#[tokio::test]
async fn what_ends_tls_and_does_not_say_for_whom_is_not_everybody() {
    prove(Mitigation::HiddenProxy, 200, async |site| {
        let terminator = "192.0.2.99:5000";
        site.direct(terminator).await.log_in(UI, TOKEN).await;
        let answer = site.direct(terminator).await.get(&format!("/fetch?token={TOKEN}"), &[("referer", UI)]).await;
        answer.won(answer.body.contains("authid"))
    })
    .await;
}

#[tokio::test]
async fn who_knows_a_token_does_not_replace_what_waits_for_it() {
    prove(Mitigation::MailboxOwner, 200, async |site| {
        site.browser(HOME).await.log_in(UI, TOKEN).await;
        let mut attacker = site.browser(ELSEWHERE).await;
        let page = attacker.log_in(UI, TOKEN).await;
        let (own, ticket) = (page.between("v3:", "<"), page.between("data-ticket=\"", "\""));
        let _ = site.fetch(HOME, TOKEN).await; // Duplicati asks, and is told to wait
        attacker.post("/deliver", &[("grant", &ticket), ("to", "asker")], &[]).await;
        let answer = site.browser(HOME).await.get(&format!("/fetch?token={TOKEN}"), &[("referer", UI)]).await;
        answer.won(answer.body.contains(own.trim()))
    })
    .await;
}

#[tokio::test]
async fn markup_in_a_page_of_ours_finds_no_script_there() {
    // Older browsers send no `Sec-Fetch-Site`.
    for says in [("sec-fetch-site", "same-origin"), ("referer", OWN)] {
        prove(Mitigation::OwnJsonp, 400, async |site| {
            let uri = format!("/fetch?callback=a.b.c&token={TOKEN}");
            let script = site.browser(HOME).await.get(&uri, &[says]).await;
            script.won(script.body.contains("a.b.c("))
        })
        .await;
    }
}

#[tokio::test]
async fn a_page_that_a_browser_was_sent_to_fetches_nothing() {
    prove(Mitigation::MailboxAsker, 200, async |site| {
        site.browser(HOME).await.log_in(UI, TOKEN).await;
        site.fetch_as(HOME, TOKEN, &[("sec-fetch-dest", "document")]).await
    })
    .await;
}

#[tokio::test]
async fn who_tries_many_tokens_does_not_find_the_right_one() {
    prove(Mitigation::FetchLimit, 200, async |site| {
        site.browser(HOME).await.log_in(UI, TOKEN).await;
        for guess in 100..120 {
            assert!(site.fetch(HOME, &format!("abcdefghijklm{guess}")).await.is_err());
        }
        site.fetch(HOME, TOKEN).await
    })
    .await;
}
