//! `GET /`: where a login begins. Notes who opened the page, sealed, and shows the start page or asks for the password.

use crate::app::App;
use crate::login::{BrowserCookie, FetchToken, LoginContext, Opener};
use crate::net::Origin;
use crate::web::client;
use crate::web::cookie::{self, Cookie};
use crate::web::handlers::start_link::Wanted;
use crate::web::handlers::{password_prompt, start_link, start_page};
use crate::web::request::{csrf, form};
use crate::web::response::page;
use crate::web::response::rejection::Rejection;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

/// `GET /` with `type` (show that service only), `token` (the fetch token), `redirect` or `redir` (start at once), and
/// `ctx` from a page of ours for those who begin again.
pub(in crate::web) async fn get(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Rejection> {
    if let Some(url) = own_address(&request, &app) {
        return Ok(page::see_other(&url));
    }
    let Some(browser_cookie) = cookie::browser_cookie(&request, &app).or_else(|| BrowserCookie::random().ok()) else {
        return Err(Rejection::of_status(StatusCode::INTERNAL_SERVER_ERROR));
    };
    let (referer, site) = (csrf::header(&request, "referer"), csrf::header(&request, "sec-fetch-site"));
    let (opener, client) = (app.logins().opener(referer, site), client::of(&request, &app).address);
    let ctx = form::query(&request, "ctx").filter(|_| matches!(opener, Opener::None(_)));
    let context = match ctx.and_then(|ctx| start_link::resumed(&ctx, &request, &app)) {
        Some(first) => LoginContext { client, ..first },
        None => LoginContext {
            opener,
            fetch_token: form::query(&request, "token").and_then(|token| FetchToken::parse(&token)),
            browser_cookie: browser_cookie.hash(),
            client,
        },
    };
    let wanted = Wanted::read(&app, |name| form::query(&request, name));
    let ctx = app.logins().seal_context(&context);
    let ctx = ctx.map_err(|_| Rejection::of_status(StatusCode::INTERNAL_SERVER_ERROR))?;
    if password_prompt::is_shut(&request, &app) {
        return Ok(password_prompt::ask(None, &ctx, &browser_cookie, &wanted, &request, &app));
    }
    let cookies = Cookie::Browser.header(&browser_cookie.to_cookie(), &app).into_iter().collect();
    start_page::show(&context, &ctx, cookies, wanted, &request, &app)
}

/// This page at our own address, for a visitor who came by another name of this machine: cookies set there would not
/// come back to the callback.
fn own_address(request: &HttpRequest, app: &App) -> Option<String> {
    let host = csrf::header(request, "host")?;
    let asked = Origin::parse(&format!("{}://{host}", app.public_url().scheme()))?;
    let asked_for = request.uri().path_and_query()?;
    let other_name = asked != *app.own_origin() && asked.is_loopback() && app.own_origin().is_loopback();
    other_name.then(|| format!("{}{}", app.own_origin().as_str(), asked_for))
}
