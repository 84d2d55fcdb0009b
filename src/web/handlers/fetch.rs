//! `/fetch` and `/token-state`: Duplicati's page polls for the AuthID that waits for it, by JSON or JSONP. An AuthID is
//! given once, and only to a page that a browser lets read it.

use crate::app::App;
use crate::login::FetchToken;
use crate::mitigation::{self, Mitigation};
use crate::net::Origin;
use crate::web::request::csrf::{self, Cause};
use crate::web::request::form;
use crate::web::{audit, client};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

/// `GET /fetch` with `token`, and `callback` for JSONP: `{"wait": …}`, `{"authid": …}` or `{"error": …}`.
pub(in crate::web) async fn fetch(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    let callback = form::query(&request, "callback");
    // No page of ours loads it as a script: there it could only serve somebody who got markup into one.
    if mitigation::on(Mitigation::OwnJsonp) && callback.is_some() && is_from_our_page(&request, &app) {
        return HttpResponse::BadRequest().json(json!({ "error": "Scripts are for other pages than our own." }));
    }
    if mitigation::on(Mitigation::JsonpCallback) && callback.as_deref().is_some_and(|callback| !is_callback(callback)) {
        return HttpResponse::BadRequest().json(json!({ "error": "The callback is not a plain JavaScript name." }));
    }
    let answer = match form::query(&request, "token").and_then(|token| FetchToken::parse(&token)) {
        None => json!({ "error": "The token must have 16 to 64 varied letters and digits." }),
        Some(token) => match pick_up(&token, &request, &app).await {
            Some(authid) => {
                audit::delivered("fetched", &authid, origin(&request).as_ref(), &request, &app);
                json!({ "authid": authid.expose_secret() })
            }
            None => json!({ "wait": "Not yet, please ask again." }),
        },
    };
    match callback {
        None => HttpResponse::Ok().json(answer),
        Some(callback) => jsonp(&callback, &answer),
    }
}

/// `GET /token-state` with `token`: whether the AuthID was picked up, and if not, whether somebody asked for it whom it
/// is kept from.
pub(in crate::web) async fn state(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    let token = form::query(&request, "token").and_then(|token| FetchToken::parse(&token));
    let (mut success, mut asked) = (false, false);
    if let Some(token) = token {
        success = app.logins().was_picked_up(&token).await;
        asked = !success && app.logins().was_asked_for(&token).await;
    }
    HttpResponse::Ok().json(if asked {
        json!({ "success": false, "asked": true })
    } else {
        json!({ "success": success })
    })
}

/// Asks the mailbox for those who can read the answer: an AuthID is given once.
async fn pick_up(token: &FetchToken, request: &HttpRequest, app: &App) -> Option<SecretString> {
    if mitigation::on(Mitigation::MailboxAsker) && !can_read(request) {
        return None;
    }
    app.logins().pick_up(token, client::of(request, app), origin(request)).await
}

/// Whether a browser would let the page that asks read the answer. Of other sites' pages only a JSONP script does; our
/// own may `fetch` it. A program that is no browser says nothing.
fn can_read(request: &HttpRequest) -> bool {
    let is_ours = csrf::cause(request) == Cause::OurPage;
    let is_jsonp = || {
        let is_plain = csrf::header(request, "sec-fetch-mode").is_none_or(|mode| mode == "no-cors");
        is_plain && form::query(request, "callback").is_some()
    };
    !csrf::is_prefetch(request)
        && match csrf::header(request, "sec-fetch-dest") {
            None => true,
            Some("script") => is_ours || is_jsonp(),
            Some(dest) => is_ours && dest == "empty",
        }
}

/// Whether a page of ours asks. Older browsers say so by `Referer` alone.
fn is_from_our_page(request: &HttpRequest, app: &App) -> bool {
    match csrf::cause(request) {
        Cause::OurPage => true,
        Cause::OtherPage => false,
        Cause::Unknown => origin(request).as_ref() == Some(app.own_origin()),
    }
}

/// Which page asks, as its browser says.
fn origin(request: &HttpRequest) -> Option<Origin> {
    csrf::header(request, "referer").or_else(|| csrf::header(request, "origin")).and_then(Origin::parse)
}

/// A script that calls `callback`. The comment in front keeps the answer from beginning with chosen bytes, the escapes
/// keep it from being read as anything but a script.
fn jsonp(callback: &str, answer: &Value) -> HttpResponse {
    let json = answer.to_string();
    let json = json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    let json = json.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
    HttpResponse::Ok()
        .content_type("application/javascript; charset=utf-8")
        // The one answer that other sites' pages may load.
        .insert_header((
            HeaderName::from_static("cross-origin-resource-policy"),
            HeaderValue::from_static("cross-origin"),
        ))
        .body(format!("/**/{callback}({json});"))
}

/// `name(.name){0,4}` with names of 1 to 32 letters, digits, `_` and `$` that do not begin with a digit.
fn is_callback(text: &str) -> bool {
    let is_name = |name: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'$';
        (1..=32).contains(&name.len()) && name.bytes().all(allowed) && !name.as_bytes()[0].is_ascii_digit()
    };
    text.split('.').count() <= 5 && text.split('.').all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_is_a_plain_dotted_name() {
        for good in ["angular.callbacks._0", "cb", "$", "_a.b1.C.$d.e", &"a".repeat(32)] {
            assert!(is_callback(good), "{good}");
        }
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "1a",
            "a.1",
            "a b",
            "a(b)",
            "alert(1)//",
            "a;b",
            "a\nb",
            "a[0]",
            "a-b",
            "<script>",
            "a.b.c.d.e.f",
            "ä",
            "a\u{2028}",
            "CWS\u{7}",
            "a'b",
            "a\"",
            "a/*",
            "=a",
            &"a".repeat(33),
        ] {
            assert!(!is_callback(bad), "{bad}");
        }
    }
}
