//! Revoking a login, as its owner does it: each outcome, by AuthID and by revoke code, on the page and for programs.

use crate::emulator::{Emulator, Fault, Profile};
use crate::port::free_port;
use crate::rotation;
use crate::spawn::{Answer, OLD, PRIMARY, RETIRED, STAGED, TestApp, spawn_app, spawn_for, until};
use authseal::authid::{Envelope, GrantId, RevokeCode};
use secrecy::ExposeSecret;
use serde_json::json;
use std::fs;
use std::time::Duration;

fn start(who: Profile) -> (Emulator, TestApp) {
    let emulator = Emulator::start(who);
    let app = spawn_for(&[&emulator]);
    (emulator, app)
}

/// `POST /revoked` as a program does it.
async fn revoke(app: &TestApp, text: &str, query: &str) -> Answer {
    let request = app.client.post(app.at(&format!("/revoked{query}"))).header("X-AuthID", text);
    Answer::of(request.send().await.unwrap()).await
}

/// The calls of the provider's revocation endpoint so far.
fn revocations(emulator: &Emulator) -> usize {
    emulator.calls().iter().filter(|call| call.path == emulator.who().revoke).count()
}

fn grant_lines(app: &TestApp) -> usize {
    denylist(app).lines().filter(|line| line.starts_with("grant ")).count()
}

fn denylist(app: &TestApp) -> String {
    fs::read_to_string(app.dir.path().join("denylist")).unwrap()
}

fn grant_of(authid: &str) -> GrantId {
    Envelope::parse(authid).unwrap().grant
}

#[tokio::test]
async fn a_provider_that_ends_every_login_is_told_only_when_the_person_says_so() {
    let (emulator, app) = start(Profile::google());
    let (authid, other) = (app.log_in(&emulator), app.log_in(&emulator));
    let page = app.post("/revoked", &[("authid", &authid)]).await;
    assert_eq!(page.status, 200);
    for text in ["yes, durably", "not yet", "every other AuthID", "Withdraw everything at Google", "value=\"yes\""] {
        assert!(page.body.contains(text), "{text}: {}", page.body);
    }
    assert_eq!((revocations(&emulator), app.refresh(&authid).await.status), (0, 401));
    app.refresh(&other).await.access_token();
    let answer = revoke(&app, &authid, "").await.json();
    assert_eq!((&answer["provider"], &answer["already"]), (&json!("would_end_all_logins"), &json!(true)));
    assert_eq!(revocations(&emulator), 0);

    let page = app.post("/revoked", &[("authid", &authid), ("at_provider", "yes")]).await;
    assert!(page.body.contains("Withdrawn at Google</dt><dd>yes<"), "{}", page.body);
    assert!(!page.body.contains(&authid), "the AuthID is handed back only where a button needs it");
    assert_eq!(revocations(&emulator), 1);
    app.clock.advance(Duration::from_secs(7200));
    assert_eq!(app.refresh(&other).await.status, 401, "at this provider all end together");
}

#[tokio::test]
async fn each_provider_is_told_in_its_own_way_and_the_answer_says_what_came_of_it() {
    for (who, outcome, calls) in
        [(Profile::dropbox(), "done", 1), (Profile::oidc(), "done", 1), (Profile::microsoft(), "not_supported", 0)]
    {
        let (emulator, app) = start(who);
        let login = emulator.log_in().refresh.unwrap();
        let authid = app.seal(who.service, &login);
        let answer = revoke(&app, &authid, "").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let told = answer.json();
        let expected = json!({
            "revoked": true, "already": false, "grant": grant_of(&authid).to_string(), "service": who.service,
            "provider": outcome, "withdraw_url": told["withdraw_url"],
        });
        assert_eq!(told, expected);
        assert_eq!((revocations(&emulator), emulator.is_alive(&login)), (calls, calls == 0), "{}", who.provider);
        assert_eq!(app.refresh(&authid).await.status, 401);
    }
}

#[tokio::test]
async fn where_a_provider_cannot_be_told_the_page_says_where_to_do_it() {
    let (emulator, app) = start(Profile::microsoft());
    let page = app.post("/revoked", &[("authid", &app.log_in(&emulator))]).await;
    assert!(page.body.contains("Withdrawn at Microsoft</dt><dd>not possible from here<"), "{}", page.body);
    assert!(page.body.contains("https:&#x2f;&#x2f;account.live.com&#x2f;consent&#x2f;Manage"), "{}", page.body);
}

#[tokio::test]
async fn a_provider_that_is_down_does_not_keep_the_login_from_being_revoked_here() {
    for (at, fault) in [("token", Some(Fault::html(500))), ("nobody", None)] {
        let emulator = Emulator::start(Profile::dropbox());
        let mut tables = emulator.provider_toml();
        if fault.is_none() {
            tables = tables.replace(emulator.base(), &format!("http://127.0.0.1:{}", free_port()));
        }
        let app = spawn_app(&tables);
        let authid = app.log_in(&emulator);
        fault.into_iter().for_each(|fault| emulator.misbehave(fault));
        let answer = revoke(&app, &authid, "").await;
        assert_eq!(answer.status, 200, "{at}");
        assert_eq!((&answer.json()["revoked"], &answer.json()["provider"]), (&json!(true), &json!("failed")), "{at}");
        assert!(denylist(&app).contains(&format!("grant {} through {STAGED} at ", grant_of(&authid))), "{at}");
        let page = app.post("/revoked", &[("authid", &authid)]).await;
        for text in ["yes, durably", "failed: it could not be reached, or refused", "dropbox.com&#x2f;account"] {
            assert!(page.body.contains(text), "{at} {text}: {}", page.body);
        }
        assert_eq!(grant_lines(&app), 1, "{at}: once is enough");
    }
}

#[tokio::test]
async fn a_denylist_that_cannot_be_written_does_not_keep_the_provider_from_being_told() {
    let (emulator, app) = start(Profile::dropbox());
    let login = emulator.log_in().refresh.unwrap();
    let authid = app.seal("dropbox", &login);
    fs::remove_file(app.dir.path().join("denylist")).unwrap();
    let answer = revoke(&app, &authid, "").await;
    assert_eq!(answer.status, 500);
    let told = answer.json();
    assert_eq!((&told["revoked"], &told["provider"]), (&json!(false), &json!("done")));
    assert!(told["error"].as_str().unwrap().contains("not durably revoked"), "{told}");
    assert!(!emulator.is_alive(&login));
    assert_eq!(app.refresh(&authid).await.status, 401, "and this server refuses it while it runs");
    let page = app.post("/revoked", &[("authid", &authid)]).await;
    assert_eq!(page.status, 500);
    for text in ["Not durably revoked", "only until it restarts", "Withdrawn at Dropbox</dt><dd>yes<", "quote this"] {
        assert!(page.body.contains(text), "{text}: {}", page.body);
    }
}

#[tokio::test]
async fn a_program_can_leave_the_provider_alone() {
    let (emulator, app) = start(Profile::dropbox());
    let authid = app.log_in(&emulator);
    assert_eq!(revoke(&app, &authid, "?at_provider=no").await.json()["provider"], "not_asked");
    assert_eq!((revocations(&emulator), app.refresh(&authid).await.status), (0, 401));
    let other = app.log_in(&emulator);
    assert_eq!(revoke(&app, &other, "?at_provider=maybe").await.status, 400);
    assert_eq!(app.refresh(&other).await.status, 200, "a request that is not understood does nothing");
}

#[tokio::test]
async fn the_newest_refresh_token_is_the_one_that_is_revoked() {
    let emulator = Emulator::start(Profile { renewal: crate::emulator::Renewal::Rolling, ..Profile::oidc() });
    let app = spawn_app(&emulator.provider_toml().replace("rotation = \"none\"", "rotation = \"rolling\""));
    let login = emulator.log_in().refresh.unwrap();
    let authid = app.seal("exampledrive", &login);
    app.refresh(&authid).await.access_token();
    revoke(&app, &authid, "").await;
    let calls = emulator.calls();
    let sent = &calls.last().unwrap().form().unwrap()["token"];
    assert_ne!(*sent, login, "not the one that was sealed");
    assert!(!emulator.is_alive(sent));
}

#[tokio::test]
async fn an_exchange_under_way_is_waited_for_and_what_it_brings_is_revoked() {
    let emulator = Emulator::start(Profile::box_com());
    let app = spawn_app(&format!("{}[state]\nstore = \"dir:state\"\n", emulator.provider_toml()));
    let authid = rotation::log_in(&emulator, &app).await;
    app.clock.advance(Duration::from_secs(3700));
    emulator.hold();
    let revoked = async {
        until(Duration::from_secs(20), async || rotation::spent(&emulator).len() == 1).await;
        let release = async {
            until(Duration::from_secs(20), async || grant_lines(&app) == 1).await;
            // By now the provider is next, and it has not answered the exchange.
            for _ in 0..20 {
                app.get("/healthz").await;
            }
            emulator.release();
        };
        tokio::join!(revoke(&app, &authid, ""), release).0.json()
    };
    let (refreshed, revoked) = tokio::join!(app.refresh(&authid), revoked);
    assert_eq!((refreshed.status, &revoked["provider"]), (401, &json!("done")), "{revoked}");
    let calls = emulator.calls();
    let sent = &calls.last().unwrap().form().unwrap()["token"];
    assert!(*sent != rotation::spent(&emulator)[0] && !emulator.is_alive(sent), "the newer one");
}

/// The revoke code on the page that ends a login, and its AuthID.
async fn log_in(app: &TestApp, service: &str) -> (String, String) {
    let page = app.person().log_in(service).await;
    (page.element("revoke-code").unwrap().text, page.authid().unwrap())
}

#[tokio::test]
async fn the_revoke_code_of_a_login_withdraws_it_without_the_authid() {
    let (emulator, app) = start(Profile::google());
    let (code, authid) = log_in(&app, "googledrive").await;
    assert!(code.starts_with(&format!("revoke:googledrive:{PRIMARY}:")) && !authid.contains(&code), "{code}");
    app.refresh(&authid).await.access_token();
    for text in [code.clone(), format!(" {code}\r\n")] {
        let page = app.post("/revoked", &[("authid", &text)]).await;
        assert_eq!(page.status, 200, "{}", page.body);
        for text in ["yes, durably", "not possible with a revoke code", "myaccount.google.com", "Login id"] {
            assert!(page.body.contains(text), "{text}: {}", page.body);
        }
    }
    assert_eq!(app.refresh(&authid).await.status, 401, "although its access token is remembered");
    assert_eq!((revocations(&emulator), grant_lines(&app)), (0, 1));
    let again = revoke(&app, &code, "?at_provider=yes").await.json();
    assert_eq!((&again["already"], &again["provider"]), (&json!(true), &json!("needs_authid")));
    assert_eq!(again["grant"], grant_of(&authid).to_string());
}

#[tokio::test]
async fn a_code_that_was_not_made_here_revokes_nothing_and_says_so_in_one_sentence() {
    let (emulator, app) = start(Profile::google());
    let (code, authid) = log_in(&app, "googledrive").await;
    let (other_code, _) = log_in(&app, "googledrive").await;
    let (foreign_code, _) = log_in(&spawn_for(&[&emulator]), "googledrive").await;
    let (head, body) = code.rsplit_once(':').unwrap();
    let bits: String = body.chars().filter(|c| *c != '-').collect();
    let digits = "0123456789abcdefghjkmnpqrstvwxyz";
    let flipped = (0..240).map(|bit| {
        let at = bit / 5;
        let digit = digits.find(&bits[at..=at]).unwrap() ^ (1 << (bit % 5));
        let changed = format!("{}{}{}", &bits[..at], &digits[digit..=digit], &bits[at + 1..]);
        let groups: Vec<_> = (0..6).map(|group| &changed[group * 8..][..8]).collect();
        format!("{head}:{}", groups.join("-"))
    });
    // The other's tag behind this grant id, and other parts that do not belong together.
    let mixed = format!("{head}:{}{}", &body[..29], &other_code.rsplit_once(':').unwrap().1[29..]);
    let wrong = [
        mixed,
        foreign_code,
        code.replace("googledrive", "gcs"),
        code.replacen(&format!(":{PRIMARY}:"), &format!(":{OLD}:"), 1),
        code.to_uppercase().replacen("REVOKE", "revoke", 1),
        code[..code.len() - 1].to_owned(),
        "revoke:".to_owned(),
        format!("{head}:{}", grant_of(&authid)),
    ];
    for wrong in flipped.chain(wrong) {
        let answer = revoke(&app, &wrong, "").await;
        assert_eq!(answer.status, 400, "{wrong}");
        let sentence = "This revoke code is not valid here: it is mistyped, incomplete or from another server.";
        assert_eq!(answer.json(), json!({ "revoked": false, "error": sentence }), "{wrong}");
    }
    assert_eq!(grant_lines(&app), 0);
    app.refresh(&authid).await.access_token();
}

/// The revoke code under some epoch of the login that an AuthID belongs to.
fn code_of(app: &TestApp, number: u32, authid: &str) -> String {
    let Envelope { service, grant, .. } = Envelope::parse(authid).unwrap();
    RevokeCode::new(app.keys_of(number), &service, grant).encode().expose_secret().to_owned()
}

#[tokio::test]
async fn a_code_ends_with_its_epoch_and_says_that() {
    let (emulator, app) = start(Profile::google());
    let authid = app.seal_under(OLD, "googledrive", &emulator.log_in().refresh.unwrap());
    let code = code_of(&app, OLD, &authid);
    let retired = code.replacen(&format!(":{OLD}:"), &format!(":{RETIRED}:"), 1);
    let answer = revoke(&app, &retired, "").await;
    assert_eq!(answer.status, 400);
    assert!(answer.json()["error"].as_str().unwrap().contains("has been retired"), "{answer:?}");
    let newer = code.replacen(&format!(":{OLD}:"), ":99:", 1);
    assert_eq!(revoke(&app, &newer, "").await.status, 502, "another replica may know that key");

    // Below the floor, until when it counts.
    let keys = app.dir.path().join("keys.toml");
    let text = fs::read_to_string(&keys).unwrap();
    fs::write(&keys, format!("min_epoch = {PRIMARY}\n{text}")).unwrap();
    crate::spawn::until(Duration::from_secs(20), async || {
        let answer = revoke(&app, &code_of(&app, OLD, &app.seal_under(OLD, "googledrive", "x")), "").await;
        answer.status == 400 && answer.json()["error"].as_str().unwrap().contains("has been retired")
    })
    .await;
    assert_eq!(revoke(&app, &code, "").await.status, 400);
    let refresh = app.refresh(&authid).await;
    assert!(refresh.reason().contains("retired"), "its AuthID has ended too: {}", refresh.reason());
}

#[tokio::test]
async fn a_code_is_no_authid() {
    let (_emulator, app) = start(Profile::google());
    let (code, authid) = log_in(&app, "googledrive").await;
    let answer = app.refresh(&code).await;
    assert_eq!(answer.status, 401);
    assert!(answer.reason().contains("a revoke code, not an AuthID"), "{}", answer.reason());
    let page = app.post("/inspect", &[("authid", &code)]).await;
    assert_eq!((page.status, page.body.contains("a revoke code, not an AuthID")), (400, true));
    assert!(!page.body.contains(&code), "{}", page.body);
    assert_eq!(app.refresh(&authid).await.status, 200);
}

#[tokio::test]
async fn what_was_wrong_is_told_in_the_form_with_the_code_that_was_typed_and_never_an_authid() {
    let (_emulator, app) = start(Profile::google());
    let (code, authid) = log_in(&app, "googledrive").await;
    let cut = |text: &str| text[..text.len() - 1].to_owned();
    for (sent, kept) in [(cut(&code), true), (cut(&authid), false), ("<b>x".to_owned(), false), (String::new(), false)]
    {
        let page = app.post("/revoked", &[("authid", &sent)]).await;
        assert_eq!(page.status, 400, "{sent}");
        for text in
            ["role=\"alert\" id=\"error\"", "not valid here", "aria-invalid=\"true\" aria-describedby=\"error\""]
        {
            assert!(page.body.contains(text), "{text}: {}", page.body);
        }
        assert_eq!(!sent.is_empty() && page.body.contains(&format!(">{sent}</textarea>")), kept, "{}", page.body);
        assert!(!page.body.contains("<b>x"), "{}", page.body);
    }
    let marked = app.post("/revoked", &[("authid", "revoke:</textarea><b>x")]).await;
    assert!(marked.body.contains("revoke:&lt;&#x2f;textarea&gt;&lt;b&gt;x</textarea>"), "{}", marked.body);
}

#[tokio::test]
async fn garbage_leaves_the_denylist_as_it_is() {
    let (emulator, app) = start(Profile::google());
    let before = denylist(&app);
    let authid = app.log_in(&emulator);
    for at in 0..200 {
        let cut = &authid[..authid.len() - 1 - at % 40];
        let text = if at % 2 == 0 { format!("revoke:googledrive:3:{at:08}") } else { format!("{cut}{at}") };
        assert_eq!(revoke(&app, &text, "").await.status, 400, "{text}");
    }
    assert_eq!(denylist(&app), before);
}
