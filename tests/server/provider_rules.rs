//! The pretend providers themselves: each accepts what the real one documents and refuses the rest. A small OAuth
//! client does here what authseal's own will do.

use crate::emulator::{Consent, Emulator, Fault, Profile, REDIRECT_URI, Tokens};
use crate::http;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD as BASE64URL};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use url::{Url, form_urlencoded};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

type Params = BTreeMap<String, String>;

/// What a right authorization request of each provider says.
fn authorize_params(who: &Profile) -> Params {
    let mut params = Params::new();
    let mut set = |name: &str, value: &str| params.insert(name.to_owned(), value.to_owned());
    set("client_id", who.client_id);
    set("response_type", "code");
    set("redirect_uri", REDIRECT_URI);
    set("state", "the state & more");
    if !who.scopes.is_empty() {
        set("scope", &who.scopes.join(" "));
    }
    for (name, value) in who.offline.iter().filter(|(name, _)| *name != "scope") {
        set(name, value);
    }
    if who.authorize_params.contains(&"code_challenge") && who.secret_beside_pkce {
        set("code_challenge", &BASE64URL.encode(Sha256::digest(VERIFIER)));
        set("code_challenge_method", "S256");
    }
    params
}

/// What a right code exchange says.
fn code_params(who: &Profile, code: &str) -> Params {
    let mut params = Params::new();
    let mut set = |name: &str, value: &str| params.insert(name.to_owned(), value.to_owned());
    set("grant_type", "authorization_code");
    set("code", code);
    set("client_id", who.client_id);
    set("client_secret", who.secret.unwrap());
    if who.redirect_uri_with_code {
        set("redirect_uri", REDIRECT_URI);
    }
    if who.authorize_params.contains(&"code_challenge") && who.secret_beside_pkce {
        set("code_verifier", VERIFIER);
    }
    params
}

fn refresh_params(who: &Profile, token: &str) -> Params {
    let mut params = Params::new();
    let mut set = |name: &str, value: &str| params.insert(name.to_owned(), value.to_owned());
    set("grant_type", "refresh_token");
    set("refresh_token", token);
    set("client_id", who.client_id);
    if let Some(secret) = who.secret {
        set("client_secret", secret);
    }
    params
}

fn with(mut params: Params, name: &str, value: &str) -> Params {
    params.insert(name.to_owned(), value.to_owned());
    params
}

fn without(mut params: Params, name: &str) -> Params {
    params.remove(name);
    params
}

fn path(pattern: &str) -> String {
    pattern.replace("{tenant}", "common").replace("{host}", "api.pcloud.com")
}

/// Visits the authorization endpoint: the callback's parameters, or the error page.
async fn authorize(emulator: &Emulator, params: &Params) -> Result<Params, Value> {
    let mut url = Url::parse(&format!("{}{}", emulator.base(), path(emulator.who().authorize))).unwrap();
    url.query_pairs_mut().extend_pairs(params);
    let answer = http::client().get(url).send().await.unwrap();
    let Some(location) = answer.headers().get("location") else {
        return Err(json_of(answer).await.1);
    };
    let location = Url::parse(location.to_str().unwrap()).unwrap();
    assert!(location.as_str().starts_with(REDIRECT_URI));
    Ok(location.query_pairs().into_owned().collect())
}

async fn json_of(answer: reqwest::Response) -> (u16, Value) {
    let status = answer.status().as_u16();
    (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
}

async fn post(emulator: &Emulator, path: &str, params: &Params) -> (u16, Value) {
    json_of(http::client().post(format!("{}{path}", emulator.base())).form(params).send().await.unwrap()).await
}

async fn token(emulator: &Emulator, params: &Params) -> (u16, Value) {
    post(emulator, &path(emulator.who().token), params).await
}

async fn code(emulator: &Emulator) -> String {
    authorize(emulator, &authorize_params(emulator.who())).await.unwrap()["code"].clone()
}

async fn refresh(emulator: &Emulator, token_: &str) -> (u16, Value) {
    token(emulator, &refresh_params(emulator.who(), token_)).await
}

fn refresh_token(tokens: &Tokens) -> &str {
    tokens.refresh.as_deref().unwrap()
}

#[tokio::test]
async fn a_right_login_succeeds_at_every_provider() {
    for who in Profile::with_code_flow() {
        let emulator = Emulator::start(who);
        let callback = authorize(&emulator, &authorize_params(&who)).await.unwrap();
        assert_eq!(callback["state"], "the state & more", "{}", who.provider);
        let (status, answer) = token(&emulator, &code_params(&who, &callback["code"])).await;
        assert_eq!(status, 200, "{}: {answer}", who.provider);
        assert!(answer["access_token"].is_string(), "{}", who.provider);
        let pcloud = who.provider == "pcloud";
        assert_eq!(answer["refresh_token"].is_string(), !pcloud, "{}", who.provider);
        assert_eq!(answer["expires_in"].is_u64(), !pcloud, "{}", who.provider);
        assert!(emulator.use_access_token(answer["access_token"].as_str().unwrap()));
        if !pcloud {
            let (status, again) = refresh(&emulator, answer["refresh_token"].as_str().unwrap()).await;
            assert_eq!(status, 200, "{}: {again}", who.provider);
            let renews = matches!(who.provider, "microsoft" | "box");
            assert_eq!(again["refresh_token"].is_string(), renews, "{}", who.provider);
        }
    }
}

#[tokio::test]
async fn a_client_that_is_not_registered_gets_nowhere() {
    let wrong_client = [
        ("google", 401, json!("invalid_client")),
        ("microsoft", 400, json!("unauthorized_client")),
        ("box", 400, json!("invalid_client")),
        ("dropbox", 400, json!("invalid_client")),
        ("pcloud", 200, json!("Invalid client credentials provided.")),
        ("example", 401, json!("invalid_client")),
    ];
    let wrong_secret = [401, 401, 400, 400, 200, 401];
    for (who, ((provider, status, error), secret_status)) in
        Profile::with_code_flow().into_iter().zip(wrong_client.into_iter().zip(wrong_secret))
    {
        assert_eq!(who.provider, provider);
        let emulator = Emulator::start(who);
        assert!(authorize(&emulator, &with(authorize_params(&who), "client_id", "other")).await.is_err());
        let code = code(&emulator).await;
        let answer = token(&emulator, &with(code_params(&who, &code), "client_id", "other")).await;
        assert_eq!((answer.0, &answer.1["error"]), (status, &error), "{provider}");
        let answer = token(&emulator, &with(code_params(&who, &code), "client_secret", "other")).await;
        assert_eq!(answer.0, secret_status, "{provider}");
        assert!(answer.1["access_token"].is_null() && !answer.1["error"].is_null(), "{provider}");
        let answer = token(&emulator, &without(code_params(&who, &code), "client_secret")).await;
        assert!(answer.1["access_token"].is_null() && !answer.1["error"].is_null(), "{provider}");
        assert!(token(&emulator, &code_params(&who, &code)).await.1["access_token"].is_string(), "{provider}");
    }
}

#[tokio::test]
async fn redirect_uris_are_compared_letter_by_letter() {
    for who in Profile::with_code_flow() {
        let emulator = Emulator::start(who);
        for other in [
            "https://authseal.test/logged-in/",
            "https://authseal.test/Logged-in",
            "https://authseal.test:443/logged-in",
            "http://authseal.test/logged-in",
            "https://authseal.test/logged-in?token=1",
            "https://evil.test/logged-in",
        ] {
            assert!(
                authorize(&emulator, &with(authorize_params(&who), "redirect_uri", other)).await.is_err(),
                "{other}"
            );
        }
        assert!(authorize(&emulator, &without(authorize_params(&who), "redirect_uri")).await.is_err());
        if who.code_params.contains(&"redirect_uri") {
            let code = code(&emulator).await;
            let params = with(code_params(&who, &code), "redirect_uri", "https://authseal.test/");
            assert_ne!(token(&emulator, &params).await.0, 200, "{}", who.provider);
        }
        if who.redirect_uri_with_code {
            let code = code(&emulator).await;
            let params = without(code_params(&who, &code), "redirect_uri");
            assert_eq!(token(&emulator, &params).await.0, 400, "{}", who.provider);
        }
    }
}

#[tokio::test]
async fn microsoft_takes_no_query_in_a_redirect_uri_even_if_it_is_registered() {
    let emulator = Emulator::start(Profile::microsoft());
    let uri = format!("{REDIRECT_URI}?token=1");
    emulator.register(&uri);
    assert!(authorize(&emulator, &with(authorize_params(emulator.who()), "redirect_uri", &uri)).await.is_err());
}

#[tokio::test]
async fn a_challenge_must_be_met_by_its_verifier() {
    for who in Profile::with_code_flow().into_iter().filter(|who| who.code_params.contains(&"code_verifier")) {
        let who = Profile { secret_beside_pkce: true, ..who };
        let emulator = Emulator::start(who);
        for wrong in [
            without(code_params(&who, &code(&emulator).await), "code_verifier"),
            with(code_params(&who, &code(&emulator).await), "code_verifier", &VERIFIER.replace('d', "e")),
            with(code_params(&who, &code(&emulator).await), "code_verifier", "short"),
        ] {
            let (status, answer) = token(&emulator, &wrong).await;
            assert_eq!((status, &answer["error"]), (400, &json!("invalid_grant")), "{}", who.provider);
        }
        let plain = with(authorize_params(&who), "code_challenge_method", "plain");
        assert!(authorize(&emulator, &plain).await.is_err(), "{}", who.provider);
        let unasked = without(without(authorize_params(&who), "code_challenge"), "code_challenge_method");
        let code = authorize(&emulator, &unasked).await.unwrap()["code"].clone();
        assert_eq!(token(&emulator, &code_params(&who, &code)).await.0, 400, "{}", who.provider);
    }
}

#[tokio::test]
async fn box_and_pcloud_know_nothing_of_pkce() {
    for who in [Profile::box_com(), Profile::pcloud()] {
        let emulator = Emulator::start(who);
        assert!(authorize(&emulator, &with(authorize_params(&who), "code_challenge", VERIFIER)).await.is_err());
        let (_, answer) =
            token(&emulator, &with(code_params(&who, &code(&emulator).await), "code_verifier", VERIFIER)).await;
        assert!(answer["access_token"].is_null() && !answer["error"].is_null());
    }
}

#[tokio::test]
async fn dropbox_with_pkce_wants_no_secret() {
    let who = Profile::dropbox();
    let emulator = Emulator::start(who);
    let pkce = authorize_params(&Profile { secret_beside_pkce: true, ..who });
    let code = authorize(&emulator, &pkce).await.unwrap()["code"].clone();
    let params = with(code_params(&who, &code), "code_verifier", VERIFIER);
    assert_eq!(token(&emulator, &params).await.0, 400);
    assert_eq!(token(&emulator, &without(params, "client_secret")).await.0, 200);
}

#[tokio::test]
async fn a_code_works_once_and_not_for_long() {
    for who in Profile::with_code_flow() {
        let emulator = Emulator::start(who);
        let code_ = code(&emulator).await;
        let first = token(&emulator, &code_params(&who, &code_)).await.1;
        let second = token(&emulator, &code_params(&who, &code_)).await.1;
        assert!(first["access_token"].is_string() && second["access_token"].is_null(), "{}", who.provider);
        if let Some(refresh) = first["refresh_token"].as_str() {
            assert!(!emulator.is_alive(refresh), "a code that came twice was stolen");
        }
        let code_ = code(&emulator).await;
        let life = if who.provider == "box" { 30 } else { 600 };
        emulator.clock.advance(Duration::from_secs(life + 1));
        let late = token(&emulator, &code_params(&who, &code_)).await.1;
        assert!(late["access_token"].is_null(), "{}", who.provider);
        let code_ = code(&emulator).await;
        emulator.clock.advance(Duration::from_secs(life - 2));
        let just = token(&emulator, &code_params(&who, &code_)).await.1;
        assert!(just["access_token"].is_string(), "{}", who.provider);
    }
}

#[tokio::test]
async fn an_unexpected_parameter_is_an_error_everywhere() {
    for who in Profile::with_code_flow() {
        let emulator = Emulator::start(who);
        for (name, value) in [("state", "s"), ("nonsense", "1"), ("access_token", "a")] {
            let code = code(&emulator).await;
            let (_, answer) = token(&emulator, &with(code_params(&who, &code), name, value)).await;
            assert!(answer["access_token"].is_null() && !answer["error"].is_null(), "{} {name}", who.provider);
        }
        if let Some(refresh) = emulator.log_in().refresh {
            for (name, value) in [("state", "s"), ("redirect_uri", REDIRECT_URI), ("code", "c")] {
                let (status, answer) = token(&emulator, &with(refresh_params(&who, &refresh), name, value)).await;
                assert_eq!((status, &answer["error"]), (400, &json!("invalid_request")), "{} {name}", who.provider);
            }
        }
        assert!(
            authorize(&emulator, &with(authorize_params(&who), "nonsense", "1")).await.is_err(),
            "{}",
            who.provider
        );
    }
}

#[tokio::test]
async fn dropbox_names_the_field_that_it_does_not_know() {
    let emulator = Emulator::start(Profile::dropbox());
    let refresh = emulator.log_in().refresh.unwrap();
    let (status, answer) = token(&emulator, &with(refresh_params(emulator.who(), &refresh), "redirect_uri", "x")).await;
    assert_eq!((status, &answer["error_description"]), (400, &json!("unknown field \"redirect_uri\"")));
    let google = with(authorize_params(emulator.who()), "access_type", "offline");
    assert!(authorize(&emulator, &google).await.is_err());
    let long = with(authorize_params(emulator.who()), "state", &"s".repeat(501));
    assert!(authorize(&emulator, &long).await.is_err());
}

#[tokio::test]
async fn a_token_request_is_a_form_and_nothing_else() {
    for who in [Profile::google(), Profile::jottacloud(), Profile::oidc()] {
        let emulator = Emulator::start(who);
        let refresh = emulator.log_in().refresh.unwrap();
        let url = format!("{}{}", emulator.base(), who.token);
        let form: String =
            form_urlencoded::Serializer::new(String::new()).extend_pairs(refresh_params(&who, &refresh)).finish();
        for kind in ["application/json", "text/plain", ""] {
            let request = http::client().post(&url).header("content-type", kind).body(form.clone());
            assert_eq!(request.send().await.unwrap().status(), 400, "{kind}");
        }
        let twice = format!("{form}&client_id={}", who.client_id);
        let request = http::client().post(&url).header("content-type", "application/x-www-form-urlencoded").body(twice);
        assert_eq!(request.send().await.unwrap().status(), 400);
        let get = http::client().get(format!("{url}?{form}")).send().await.unwrap();
        assert_eq!(get.status(), 405);
        assert!(emulator.is_alive(&refresh));
    }
}

#[tokio::test]
async fn google_gives_a_refresh_token_only_after_a_consent_for_offline_use() {
    let who = Profile::google();
    let emulator = Emulator::start(who);
    for missing in ["access_type", "prompt"] {
        let params = without(authorize_params(&who), missing);
        let code = authorize(&emulator, &params).await.unwrap()["code"].clone();
        let (status, answer) = token(&emulator, &code_params(&who, &code)).await;
        assert_eq!((status, answer["refresh_token"].is_null()), (200, true), "{missing}");
    }
    let conflict = with(authorize_params(&who), "approval_prompt", "force");
    let page = authorize(&emulator, &conflict).await.unwrap_err();
    assert_eq!(page["error"], "invalid_request");
    assert!(page["error_description"].as_str().unwrap().contains("Conflict params"));
}

#[tokio::test]
async fn google_tells_which_scopes_were_granted() {
    let who = Profile::google();
    let emulator = Emulator::start(who);
    emulator.next_person(Consent::Unticks("https://www.googleapis.com/auth/drive"));
    let callback = authorize(&emulator, &authorize_params(&who)).await.unwrap();
    let granted = "https://www.googleapis.com/auth/drive.file https://www.googleapis.com/auth/devstorage.read_write";
    assert_eq!(callback["scope"], granted);
    let (_, answer) = token(&emulator, &code_params(&who, &callback["code"])).await;
    assert_eq!(answer["scope"], granted);
}

#[tokio::test]
async fn the_hundred_and_first_login_of_a_google_account_kills_the_first() {
    let emulator = Emulator::start(Profile::google());
    let tokens: Vec<_> = (0..101).map(|_| emulator.log_in().refresh.unwrap()).collect();
    let (status, answer) = refresh(&emulator, &tokens[0]).await;
    assert_eq!((status, &answer["error"]), (400, &json!("invalid_grant")));
    assert_eq!(answer["error_description"], "Token has been expired or revoked.");
    assert_eq!(refresh(&emulator, &tokens[1]).await.0, 200);
}

#[tokio::test]
async fn google_forgets_a_token_that_is_not_used_for_half_a_year() {
    let emulator = Emulator::start(Profile::google());
    let token = emulator.log_in().refresh.unwrap();
    for _ in 0..3 {
        emulator.clock.advance(Duration::from_secs(180 * 86_400));
        assert_eq!(refresh(&emulator, &token).await.0, 200);
    }
    emulator.clock.advance(Duration::from_secs(184 * 86_400));
    assert_eq!(refresh(&emulator, &token).await.0, 400);
}

#[tokio::test]
async fn microsoft_keeps_the_old_token_for_ninety_days_from_its_issue() {
    let emulator = Emulator::start(Profile::microsoft());
    let first = emulator.log_in().refresh.unwrap();
    let day = Duration::from_secs(86_400);
    let mut newest = String::new();
    for _ in 0..89 {
        emulator.clock.advance(day);
        let (status, answer) = refresh(&emulator, &first).await;
        assert_eq!(status, 200);
        newest = answer["refresh_token"].as_str().unwrap().to_owned();
    }
    emulator.clock.advance(2 * day);
    let (status, answer) = refresh(&emulator, &first).await;
    assert_eq!((status, &answer["error"], &answer["error_codes"]), (400, &json!("invalid_grant"), &json!([700_082])));
    assert_eq!(refresh(&emulator, &newest).await.0, 200);
}

#[tokio::test]
async fn microsoft_wants_its_tenant_its_scopes_and_no_commas() {
    let who = Profile::microsoft();
    let emulator = Emulator::start(who);
    let commas = with(authorize_params(&who), "scope", "offline_access,Files.ReadWrite");
    assert_eq!(authorize(&emulator, &commas).await.unwrap_err()["error"], "invalid_scope");
    let online = with(authorize_params(&who), "scope", "Files.ReadWrite");
    let code = authorize(&emulator, &online).await.unwrap()["code"].clone();
    assert!(token(&emulator, &code_params(&who, &code)).await.1["refresh_token"].is_null());
    let refresh = emulator.log_in().refresh.unwrap();
    let elsewhere = post(&emulator, "/contoso/oauth2/v2.0/token", &refresh_params(&who, &refresh)).await;
    assert_eq!((elsewhere.0, &elsewhere.1["error_codes"]), (400, &json!([90002])));
    let fewer = with(refresh_params(&who, &refresh), "scope", "Files.ReadWrite");
    assert_eq!(token(&emulator, &fewer).await.0, 200);
    let commas = with(refresh_params(&who, &refresh), "scope", "offline_access,Files.ReadWrite");
    assert_eq!(token(&emulator, &commas).await.0, 400);
    let url = format!("{}{}", emulator.base(), path(who.token));
    let browser =
        http::client().post(url).header("origin", "https://authseal.test").form(&refresh_params(&who, &refresh));
    assert_eq!(browser.send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn box_repeats_its_answer_until_the_new_token_is_used() {
    let emulator = Emulator::start(Profile::box_com());
    let first = emulator.log_in();
    let old = refresh_token(&first);
    let one = refresh(&emulator, old).await.1;
    let two = refresh(&emulator, old).await.1;
    assert_eq!((&one["refresh_token"], &one["access_token"]), (&two["refresh_token"], &two["access_token"]));
    assert!(emulator.use_access_token(&first.access));
    assert!(emulator.use_access_token(one["access_token"].as_str().unwrap()));
    assert!(!emulator.use_access_token(&first.access), "the earlier access tokens die with it");
    let (status, answer) = refresh(&emulator, old).await;
    assert_eq!((status, &answer["error"]), (400, &json!("invalid_grant")));
    assert_eq!(answer["error_description"], "Refresh token has expired");
    let third = refresh(&emulator, one["refresh_token"].as_str().unwrap()).await;
    assert_eq!(third.0, 200);
}

#[tokio::test]
async fn box_ends_the_grace_when_the_new_refresh_token_is_used() {
    let emulator = Emulator::start(Profile::box_com());
    let first = emulator.log_in().refresh.unwrap();
    let second = refresh(&emulator, &first).await.1["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(refresh(&emulator, &second).await.0, 200);
    assert_eq!(refresh(&emulator, &first).await.0, 400);
    assert!(emulator.is_alive(&second));
    emulator.clock.advance(Duration::from_secs(61 * 86_400));
    assert_eq!(refresh(&emulator, &second).await.0, 400);
}

#[tokio::test]
async fn jottacloud_takes_a_login_token_once_and_only_the_right_request() {
    let who = Profile::jottacloud();
    let emulator = Emulator::start(who);
    let pasted: Value = serde_json::from_slice(&BASE64URL.decode(emulator.login_token()).unwrap()).unwrap();
    let mut params = Params::new();
    for (name, value) in [
        ("client_id", "jottacli"),
        ("grant_type", "password"),
        ("scope", "openid offline_access"),
        ("username", pasted["username"].as_str().unwrap()),
        ("password", pasted["auth_token"].as_str().unwrap()),
    ] {
        params.insert(name.to_owned(), value.to_owned());
    }
    for wrong in [
        with(params.clone(), "client_id", "desktop"),
        with(params.clone(), "client_secret", "x"),
        with(params.clone(), "scope", "offline_access openid"),
        with(params.clone(), "scope", "openid"),
        with(params.clone(), "realm", "jottacloud"),
        with(params.clone(), "grant_type", "authorization_code"),
        without(params.clone(), "username"),
    ] {
        assert!(token(&emulator, &wrong).await.0 >= 400, "{wrong:?}");
    }
    let (status, answer) = token(&emulator, &params).await;
    assert_eq!((status, &answer["refresh_expires_in"]), (200, &json!(0)), "{answer}");
    let (status, answer) = token(&emulator, &params).await;
    assert_eq!((status, &answer["error"]), (401, &json!("invalid_grant")));
    assert_eq!(emulator.trapped(), 0);
}

#[tokio::test]
async fn jottacloud_kills_the_whole_line_when_an_old_token_comes_back() {
    let emulator = Emulator::start(Profile::jottacloud());
    let (first, other) = (emulator.log_in().refresh.unwrap(), emulator.log_in().refresh.unwrap());
    let second = refresh(&emulator, &first).await.1["refresh_token"].as_str().unwrap().to_owned();
    let third = refresh(&emulator, &second).await.1["refresh_token"].as_str().unwrap().to_owned();
    assert!(emulator.is_alive(&third));
    let (status, answer) = refresh(&emulator, &first).await;
    assert_eq!((status, &answer["error_description"]), (400, &json!("Stale token")));
    let (status, answer) = refresh(&emulator, &third).await;
    assert_eq!((status, &answer["error_description"]), (400, &json!("Session doesn't have required client")));
    assert!(emulator.is_alive(&other), "another login is another line");
}

#[tokio::test]
async fn pcloud_answers_200_and_says_in_the_body_what_went_wrong() {
    let who = Profile::pcloud();
    let emulator = Emulator::start(who);
    emulator.set_region(Some(("2", "eapi.pcloud.com")));
    let callback = authorize(&emulator, &authorize_params(&who)).await.unwrap();
    assert_eq!((callback["locationid"].as_str(), callback["hostname"].as_str()), ("2", "eapi.pcloud.com"));
    let params = code_params(&who, &callback["code"]);
    let elsewhere = post(&emulator, "/api.pcloud.com/oauth2_token", &params).await;
    assert_eq!((elsewhere.0, &elsewhere.1["result"]), (200, &json!(2012)));
    for extra in ["redirect_uri", "scope", "state"] {
        let answer = post(&emulator, "/eapi.pcloud.com/oauth2_token", &with(params.clone(), extra, "x")).await;
        assert_eq!((answer.0, &answer.1["result"]), (200, &json!(1004)), "{extra}");
    }
    let answer = post(&emulator, "/eapi.pcloud.com/oauth2_token", &without(params, "grant_type")).await;
    assert_eq!((answer.0, &answer.1["result"], &answer.1["token_type"]), (200, &json!(0), &json!("bearer")));
    assert_eq!(answer.1.as_object().unwrap().len(), 4); // no expires_in, no refresh_token
}

#[tokio::test]
async fn revoking_one_google_login_ends_them_all() {
    let emulator = Emulator::start(Profile::google());
    let (one, two) = (emulator.log_in().refresh.unwrap(), emulator.log_in().refresh.unwrap());
    let form = Params::from([("token".to_owned(), one.clone())]);
    let signed = with(form.clone(), "client_id", emulator.who().client_id);
    assert_eq!(post(&emulator, "/revoke", &signed).await.0, 400);
    assert_eq!(post(&emulator, "/revoke", &form).await.0, 200);
    assert!(!emulator.is_alive(&one) && !emulator.is_alive(&two));
    let again = post(&emulator, "/revoke", &form).await;
    assert_eq!((again.0, &again.1["error"]), (400, &json!("invalid_token")));
}

#[tokio::test]
async fn box_and_issuers_revoke_one_login_for_a_client_that_signs() {
    for who in [Profile::box_com(), Profile::oidc()] {
        let emulator = Emulator::start(who);
        let (one, two) = (emulator.log_in().refresh.unwrap(), emulator.log_in().refresh.unwrap());
        let bare = Params::from([("token".to_owned(), one.clone())]);
        assert!(post(&emulator, who.revoke, &bare).await.0 >= 400);
        let signed = with(with(bare, "client_id", who.client_id), "client_secret", who.secret.unwrap());
        assert_eq!(post(&emulator, who.revoke, &signed).await.0, 200);
        assert!(!emulator.is_alive(&one) && emulator.is_alive(&two));
    }
}

#[tokio::test]
async fn dropbox_revokes_what_the_bearer_holds() {
    let emulator = Emulator::start(Profile::dropbox());
    let tokens = emulator.log_in();
    let url = format!("{}/2/auth/token/revoke", emulator.base());
    let call = |token: &str| http::client().post(&url).bearer_auth(token).send();
    assert_eq!(call(refresh_token(&tokens)).await.unwrap().status(), 200);
    let tokens = emulator.log_in();
    assert_eq!(call("nonsense").await.unwrap().status(), 401);
    assert_eq!(call(&tokens.access).await.unwrap().status(), 200);
    assert!(!emulator.is_alive(refresh_token(&tokens)));
    assert_eq!(call(&tokens.access).await.unwrap().status(), 401);
}

#[tokio::test]
async fn an_issuer_takes_basic_or_the_body_but_not_both() {
    let who = Profile::oidc();
    let emulator = Emulator::start(who);
    let refresh = emulator.log_in().refresh.unwrap();
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let basic = BASE64_STANDARD.encode(format!("{}:{}", encode(who.client_id), encode(who.secret.unwrap())));
    let call = |params: Params| {
        let url = format!("{}/token", emulator.base());
        http::client().post(url).header("authorization", format!("Basic {basic}")).form(&params).send()
    };
    let both = refresh_params(&who, &refresh);
    assert_eq!(call(both.clone()).await.unwrap().status(), 400);
    assert_eq!(call(without(without(both, "client_secret"), "client_id")).await.unwrap().status(), 200);
    let discovered = http::client().get(format!("{}/.well-known/openid-configuration", emulator.base()));
    let (status, document) = json_of(discovered.send().await.unwrap()).await;
    assert_eq!((status, &document["issuer"]), (200, &json!(emulator.base())));
    emulator.set_discovery(false);
    let gone = http::client().get(format!("{}/.well-known/openid-configuration", emulator.base()));
    assert_eq!(gone.send().await.unwrap().status(), 503);
}

#[tokio::test]
async fn people_can_refuse_and_providers_can_forget() {
    let who = Profile::oidc();
    let emulator = Emulator::start(who);
    let other = "https://evil.test".to_owned();
    for consent in
        [Consent::Fails("server_error", "x"), Consent::Denies, Consent::DropsState, Consent::OtherIssuer(other.clone())]
    {
        emulator.next_person(consent);
    }
    assert_eq!(authorize(&emulator, &authorize_params(&who)).await.unwrap()["error"], "server_error");
    let callback = authorize(&emulator, &authorize_params(&who)).await.unwrap();
    assert_eq!((callback["error"].as_str(), callback.get("code")), ("access_denied", None));
    let callback = authorize(&emulator, &authorize_params(&who)).await.unwrap();
    assert!(callback.contains_key("code") && !callback.contains_key("state"));
    assert_eq!(authorize(&emulator, &authorize_params(&who)).await.unwrap()["iss"], other);
    assert_eq!(authorize(&emulator, &authorize_params(&who)).await.unwrap()["iss"], emulator.base());
}

#[tokio::test]
async fn misbehaviour_hits_as_many_calls_as_asked_for() {
    let emulator = Emulator::start(Profile::dropbox());
    let token = emulator.log_in().refresh.unwrap();
    emulator.misbehave_times(2, Fault::html(503));
    let statuses =
        [refresh(&emulator, &token).await.0, refresh(&emulator, &token).await.0, refresh(&emulator, &token).await.0];
    assert_eq!(statuses, [503, 503, 200]);
    emulator.misbehave(Fault::too_many("7"));
    assert_eq!(refresh(&emulator, &token).await.0, 429);
    emulator.behave();
    assert_eq!(refresh(&emulator, &token).await.0, 200);
    assert_eq!(emulator.calls().len(), 5);
    assert_eq!(emulator.calls()[4].names(), ["client_id", "client_secret", "grant_type", "refresh_token"]);
}

#[tokio::test]
async fn connections_can_break_at_every_place() {
    let emulator = Emulator::start(Profile::dropbox());
    let token = emulator.log_in().refresh.unwrap();
    let params = refresh_params(emulator.who(), &token);
    let url = format!("{}{}", emulator.base(), emulator.who().token);
    let call = || http::builder().timeout(Duration::from_millis(300)).build().unwrap().post(&url).form(&params).send();
    for fault in [Fault::CloseBeforeHeaders, Fault::HangBeforeHeaders, Fault::NotHttp] {
        emulator.misbehave(fault.clone());
        assert!(call().await.is_err(), "{fault:?}");
    }
    for fault in [Fault::CloseMidBody, Fault::StallMidBody, Fault::Drip, Fault::Endless] {
        emulator.misbehave(fault.clone());
        let answer = call().await.unwrap();
        assert_eq!(answer.status(), 200, "{fault:?}");
        assert!(answer.bytes().await.is_err(), "{fault:?}");
    }
    emulator.misbehave(Fault::RedirectToTrap(307));
    let answer = call().await.unwrap();
    assert_eq!((answer.status().as_u16(), emulator.trapped()), (307, 0));
    let trap = answer.headers()["location"].to_str().unwrap().to_owned();
    assert!(http::builder().timeout(Duration::from_millis(300)).build().unwrap().get(trap).send().await.is_err());
    assert_eq!(emulator.trapped(), 1);
}

#[tokio::test]
async fn answers_can_be_held_back() {
    let emulator = Emulator::start(Profile::dropbox());
    let token = emulator.log_in().refresh.unwrap();
    emulator.hold();
    let waiting = refresh(&emulator, &token);
    let release = async {
        while emulator.calls().is_empty() {
            tokio::task::yield_now().await;
        }
        emulator.release();
    };
    assert_eq!(tokio::join!(waiting, release).0.0, 200);
}

#[tokio::test]
async fn an_answer_can_be_lost_after_the_work_was_done() {
    let emulator = Emulator::start(Profile::jottacloud());
    let token = emulator.log_in().refresh.unwrap();
    emulator.lose_answers(1, Fault::CloseBeforeHeaders);
    let url = format!("{}{}", emulator.base(), emulator.who().token);
    assert!(http::client().post(url).form(&refresh_params(emulator.who(), &token)).send().await.is_err());
    assert_eq!(refresh(&emulator, &token).await.1["error_description"], "Stale token");
}

#[test]
fn an_emulator_ends_at_once_even_while_it_hangs() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let emulator = Emulator::start(Profile::google());
    emulator.misbehave(Fault::HangBeforeHeaders);
    let url = format!("{}/token", emulator.base());
    let hanging = runtime.spawn(async move { http::client().post(url).form(&Params::new()).send().await.is_err() });
    while emulator.calls().is_empty() {
        std::thread::yield_now();
    }
    let before = Instant::now();
    drop(emulator);
    assert!(before.elapsed() < Duration::from_secs(2));
    assert!(runtime.block_on(hanging).unwrap());
}
