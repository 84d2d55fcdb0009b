//! `/login` and `/logged-in`: the authorization request (RFC 6749 section 4.1.1, PKCE RFC 7636), the authorization
//! response (section 4.1.2), and the page with the AuthID. `state`, `code_verifier` and the token request are left to
//! [`crate::login`].

use crate::app::App;
use crate::login::{Callback, Caution, FetchToken, LoggedIn, LoginContext, LoginError, Opener, Silence};
use crate::net::Origin;
use crate::provider::Service;
use crate::web::cookie::{self, Cookie};
use crate::web::handlers::{login_errors, password_prompt, start_link};
use crate::web::request::csrf::{self, SameOrigin};
use crate::web::request::form;
use crate::web::response::page::{self, When};
use crate::web::response::rejection::Rejection;
use crate::web::{audit, client};
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

#[derive(Serialize)]
struct Page<'a> {
    service: Named<'a>,
    provider: &'a str,
    authid: &'a str,
    grant: Option<String>,
    revoke_code: Option<&'a str>,
    /// Where that is used.
    revoke_url: String,
    /// When the login ends of old age.
    last_day: Option<When>,
    /// The origin that the script may send the AuthID to.
    deliver_to: Option<&'a str>,
    /// Whether the AuthID waits in the mailbox.
    mailbox: bool,
    /// Whether the page hands it on to the mailbox of another replica, which the balancer finds by the fetch token.
    relayed: bool,
    fetch_token: Option<&'a str>,
    waiting_for: Option<&'a str>,
    /// Why the AuthID goes nowhere by itself: the key of a text.
    why_copy: Option<&'static str>,
    /// Whether the login began at another address, or came back without its state: why nobody else gets the AuthID.
    other_address: bool,
    no_state: bool,
    /// An origin that the AuthID is sent to after a click; whether it would go there by itself, were there nothing to
    /// read first.
    send_to: Option<&'a str>,
    send_to_trusted: bool,
    /// Whether it would go there unencrypted.
    send_plainly: bool,
    /// What `/deliver` wants for such a click.
    ticket: Option<&'a str>,
    /// Where to log in once more.
    again_url: String,
    raw_token: bool,
    withdraw_url: Option<&'a str>,
    shown: Vec<Shown<'a>>,
}

#[derive(Serialize)]
pub(in crate::web) struct Named<'a> {
    id: &'a str,
    name: &'a str,
    /// Whether Duplicati has a backend for it.
    duplicati: bool,
}

impl<'a> Named<'a> {
    pub(in crate::web) fn of(service: &'a Service) -> Self {
        Self { id: service.id.as_str(), name: &service.name, duplicati: service.duplicati }
    }
}

#[derive(Serialize)]
struct Confirm<'a> {
    service: Named<'a>,
    provider: &'a str,
    /// Where to begin once more instead.
    again_url: String,
}

#[derive(Serialize)]
struct Shown<'a> {
    label: &'a str,
    value: &'a str,
}

/// `GET /login` with `id` and the `ctx` that our own page put into its link.
pub(in crate::web) async fn begin(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Rejection> {
    let service = form::query(&request, "id").and_then(|id| app.catalogue().find(&id).cloned());
    let Some(service) = service else {
        return Err(login_errors::unknown_service());
    };
    let ctx = form::query(&request, "ctx").unwrap_or_default();
    if ctx.is_empty() || password_prompt::is_shut(&request, &app) || csrf::is_not_from_our_page(&request) {
        return Ok(start_link::redirect(&service.id, &ctx, &request, &app));
    }
    let browser_cookie = cookie::browser_cookie(&request, &app);
    match app.logins().begin(&service, &ctx, browser_cookie.as_ref(), client::of(&request, &app)).await {
        Ok(begun) => {
            let mut response = HttpResponse::SeeOther().insert_header((header::LOCATION, begun.url)).finish();
            // Otherwise it might end while the person is at the provider.
            if let Some(browser_cookie) = &browser_cookie {
                Cookie::Browser.set(&browser_cookie.to_cookie(), &mut response, &app);
            }
            if let Some(state) = begun.state_cookie {
                Cookie::State.set(&state, &mut response, &app);
            }
            Ok(response)
        }
        Err(LoginError::StaleLink) => Ok(start_link::redirect(&service.id, &ctx, &request, &app)),
        Err(error) => {
            Err(login_errors::reject(&error, start_link::resumed(&ctx, &request, &app).as_ref(), &request, &app))
        }
    }
}

/// `GET /logged-in`: the callback (RFC 6749 section 4.1.2).
pub(in crate::web) async fn complete(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Rejection> {
    finish(&request, &app, false).await
}

/// `POST /logged-in`, with the same query: the person pressed the button of [`ask`].
pub(in crate::web) async fn confirm(
    request: HttpRequest,
    _: SameOrigin,
    app: web::Data<App>,
) -> Result<HttpResponse, Rejection> {
    if csrf::is_not_from_our_page(&request) {
        return Err(Rejection::of_status(StatusCode::FORBIDDEN));
    }
    finish(&request, &app, true).await
}

async fn finish(request: &HttpRequest, app: &App, confirmed: bool) -> Result<HttpResponse, Rejection> {
    let all = form::query_pairs(request);
    let first = |name: &str| all.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    let callback = Callback {
        code: first("code").map(SecretString::from),
        state: first("state"),
        state_cookie: Cookie::State.read(request, app).map(str::to_owned),
        confirmed,
        iss: first("iss"),
        all,
    };
    let (browser_cookie, client) = (cookie::browser_cookie(request, app), client::of(request, app));
    let done = match callback.all.is_empty() {
        // The address that the page with the AuthID has given itself.
        true => Err(LoginError::Replayed(None)),
        false => app.logins().complete(&callback, browser_cookie.as_ref(), client).await,
    };
    let resumed = || app.logins().resumed_after(&callback, browser_cookie.as_ref(), client);
    match done {
        Ok(logged_in) => Ok(show(&logged_in, request, app)),
        Err(ref error @ LoginError::Unconfirmed(ref service)) => {
            audit::login_refused(error, false, request, app);
            Ok(ask(service, resumed().as_ref(), request, app))
        }
        Err(error) => Err(login_errors::reject(&error, resumed().as_ref(), request, app)),
    }
}

/// The page that asks whether the person comes from the provider. Its form goes to the address that it has itself.
fn ask(service: &Service, resumed: Option<&LoginContext>, request: &HttpRequest, app: &App) -> HttpResponse {
    let provider = service.provider.name();
    let again_url = start_link::address(Some(service.id.as_str()), start_link::seal(resumed, app).as_deref());
    let page = Confirm { service: Named::of(service), provider, again_url };
    page::show(request, app, StatusCode::OK, "confirm.html", page)
}

/// The page with the AuthID.
pub(in crate::web) fn show(logged_in: &LoggedIn, request: &HttpRequest, app: &App) -> HttpResponse {
    audit::login(logged_in, request, app);
    let service = &logged_in.service;
    let by_itself = logged_in.shown.is_empty();
    let (trusted, clicked) = match &logged_in.opener {
        Opener::Trusted(origin) if by_itself => (Some(origin.as_str()), None),
        Opener::Trusted(origin) | Opener::Unknown(origin) => (None, Some(origin)),
        Opener::None(_) => (None, None),
    };
    let why_copy = match logged_in.opener {
        Opener::None(Silence::ByHand) => Some("logged_in.why_by_hand"),
        // Pages with https tell nothing to a server with http.
        Opener::None(Silence::Hidden) if app.public_url().scheme() == "http" => Some("logged_in.why_hidden_http"),
        Opener::None(Silence::Hidden) => Some("logged_in.why_hidden"),
        Opener::None(Silence::Forgotten) => Some("logged_in.why_forgotten"),
        _ => logged_in.mailbox_failed.then_some("logged_in.why_mailbox"),
    };
    let page = Page {
        service: Named::of(service),
        provider: service.provider.name(),
        authid: logged_in.authid.expose_secret(),
        grant: logged_in.grant.map(|grant| grant.to_string()),
        revoke_code: logged_in.revoke_code.as_ref().map(ExposeSecret::expose_secret),
        revoke_url: page::revoke_url(app),
        last_day: logged_in.ends.map(|time| When::day(time, request, app)),
        deliver_to: trusted.filter(|_| !logged_in.mailbox_failed),
        mailbox: logged_in.waits,
        relayed: logged_in.waits && !app.store().is_shared(),
        fetch_token: logged_in.fetch_token.as_ref().map(FetchToken::expose),
        waiting_for: trusted,
        why_copy,
        other_address: logged_in.caution == Some(Caution::OtherAddress),
        no_state: logged_in.caution == Some(Caution::NoState),
        send_to: clicked.map(Origin::as_str),
        send_to_trusted: matches!(logged_in.opener, Opener::Trusted(_)),
        send_plainly: clicked.is_some_and(Origin::is_plain),
        ticket: logged_in.ticket.as_deref(),
        again_url: start_link::address(Some(service.id.as_str()), logged_in.again.as_deref()),
        raw_token: service.provider.raw_token(),
        withdraw_url: service.provider.withdraw_url(),
        shown: logged_in.shown.iter().map(|(label, value)| Shown { label, value }).collect(),
    };
    page::show(request, app, StatusCode::OK, "logged_in.html", page)
}
