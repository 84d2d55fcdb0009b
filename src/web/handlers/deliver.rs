//! `/deliver`: the user pressed a button on the page with the AuthID, so it goes where it does not go by itself.

use crate::app::App;
use crate::login::LoginError;
use crate::web::request::csrf::OwnForm;
use crate::web::{audit, cookie};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

/// `POST /deliver` with form `grant`, and `to=asker` for a program at another address: `{"deliver_to": origin}`, or
/// `{"error": …}`.
pub(in crate::web) async fn post(request: HttpRequest, form: OwnForm, app: web::Data<App>) -> HttpResponse {
    let browser_cookie = cookie::browser_cookie(&request, &app);
    match app.logins().deliver(form.field("grant"), browser_cookie.as_ref(), form.field("to") == "asker").await {
        Ok((origin, authid)) => {
            let way = if form.field("to") == "replica" { "relayed" } else { "clicked" };
            audit::delivered(way, &authid, Some(&origin), &request, &app);
            HttpResponse::Ok().json(json!({ "deliver_to": origin.as_str() }))
        }
        Err(LoginError::Seal(error)) => {
            tracing::error!(%error, "an AuthID could not be delivered");
            HttpResponse::InternalServerError().json(json!({ "error": "The server met an unexpected fault." }))
        }
        Err(error) => {
            if app.limits().log.admits("an AuthID was not sent on", error.label().to_owned()) {
                tracing::info!(why = %error, "an AuthID was not sent on");
            }
            HttpResponse::BadRequest().json(json!({ "error": "This is not of a login in this browser, or too old." }))
        }
    }
}
