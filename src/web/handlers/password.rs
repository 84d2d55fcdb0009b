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
use crate::web::request::csrf::OwnForm;
use crate::web::response::page;
use crate::web::response::rejection::Rejection;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::SecretString;

/// `POST /access` with form `password` and what [`password_prompt::ask`] put beside it: `ctx`, `type`, `redirect`.
pub(in crate::web) async fn post(
    request: HttpRequest,
    form: OwnForm,
    app: web::Data<App>,
) -> Result<HttpResponse, Rejection> {
    let shared = app.password().ok_or_else(|| Rejection::of_status(StatusCode::NOT_FOUND))?;
    let wanted = Wanted::read(&app, |name| Some(form.field(name).to_owned()));
    let browser_cookie = cookie::browser_cookie(&request, &app);
    let (context, browser_cookie) =
        match (app.logins().context(form.field("ctx"), browser_cookie.as_ref()), browser_cookie) {
            (Ok(context), Some(browser_cookie)) => (context, browser_cookie),
            (Err(error @ LoginError::NoCookie), _) => return Err(login_errors::reject(&error, None, &request, &app)),
            // Too old: from the start, as with a login link.
            _ => {
                let asked_for = wanted.at_once.or(wanted.only);
                let start = start_link::address(asked_for.as_ref().map(|service| service.id.as_str()), None);
                return Ok(page::see_other(&start));
            }
        };
    // Sealed again, so that the links of the next page live as long as those of a first one.
    let ctx = app.logins().seal_context(&context);
    let ctx = ctx.map_err(|_| Rejection::of_status(StatusCode::INTERNAL_SERVER_ERROR))?;
    let password = SecretString::from(form.field("password").to_owned());
    let held = Cookie::Pass.read(&request, &app);
    match shared.check(password, client::of(&request, &app), held).await {
        Ok(pass) => {
            let browser_cookie = Cookie::Browser.header(&browser_cookie.to_cookie(), &app);
            let cookies = browser_cookie.into_iter().chain(Cookie::Pass.header(&pass, &app)).collect();
            start_page::show(&context, &ctx, cookies, wanted, &request, &app)
        }
        Err(refused) => Ok(password_prompt::ask(Some(&refused), &ctx, &browser_cookie, &wanted, &request, &app)),
    }
}
