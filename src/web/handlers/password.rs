//! `/access`: the password that a login begins with, where the operator wants one.
//!
//! Who opened our page is known from its first request alone, so the sealed context travels in the form, and the
//! answer to the right password is the page that was asked for, not a redirect to it.

use crate::app::App;
use crate::login::LoginError;
use crate::web::client;
use crate::web::cookie::{self, Cookie};
use crate::web::handlers::start_link::{self, Wanted};
use crate::web::handlers::{login_errors, password_prompt, start_page};
use crate::web::request::csrf;
use crate::web::request::form::Form;
use crate::web::response::{page, rejection};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::SecretString;

/// `POST /access` with form `password` and what [`password_prompt::ask`] put beside it: `ctx`, `type`, `redirect`.
pub(in crate::web) async fn post(request: HttpRequest, form: Form, app: web::Data<App>) -> HttpResponse {
    let Some(shared) = app.password() else {
        return rejection::answer(&request, StatusCode::NOT_FOUND);
    };
    if csrf::is_foreign_form(&request, &app) {
        return rejection::answer(&request, StatusCode::FORBIDDEN);
    }
    let field = |name: &str| form.only(name).ok().flatten().map(str::to_owned);
    let wanted = Wanted::read(&app, field);
    let (ctx, browser_cookie) = (field("ctx").unwrap_or_default(), cookie::browser_cookie(&request, &app));
    let (context, browser_cookie) = match (app.logins().context(&ctx, browser_cookie.as_ref()), browser_cookie) {
        (Ok(context), Some(browser_cookie)) => (context, browser_cookie),
        (Err(error @ LoginError::NoCookie), _) => return login_errors::show(error, None, &request, &app),
        // Too old: from the start, as with a login link.
        _ => {
            let asked_for = wanted.at_once.or(wanted.only);
            return page::see_other(&start_link::address(asked_for.as_ref().map(|service| service.id.as_str()), None));
        }
    };
    // Sealed anew, so that the links of the next page live as long as those of a first one.
    let Ok(ctx) = app.logins().seal_context(&context) else {
        return rejection::answer(&request, StatusCode::INTERNAL_SERVER_ERROR);
    };
    let password = SecretString::from(field("password").unwrap_or_default());
    let held = Cookie::Pass.read(&request, &app);
    match shared.check(password, client::of(&request, &app), held).await {
        Ok(pass) => {
            let mut response = start_page::show(&context, &ctx, &browser_cookie, wanted, &request, &app);
            Cookie::Pass.set(&pass, &mut response, &app);
            response
        }
        Err(refused) => password_prompt::ask(Some(&refused), &ctx, &browser_cookie, &wanted, &request, &app),
    }
}
