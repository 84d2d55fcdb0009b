//! A scripted login at the demo: what a user with a browser would do, without either, from the start page to an access
//! token.

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client, Response};
use serde::Serialize;
use thiserror::Error;
use url::Url;

/// What the walk brought home; made to be printed, because the demo's secrets are worth nothing.
#[derive(Debug, Serialize)]
pub struct Walked {
    /// The AuthID.
    pub authid: String,
    /// What `/refresh` answered.
    pub refresh: serde_json::Value,
}

/// Where the walk ended early.
#[derive(Debug, Error)]
pub enum WalkError {
    /// The HTTP client failed.
    #[error("{0}: {1}")]
    Http(&'static str, reqwest::Error),
    /// An answer was not what a person would have needed.
    #[error("{0}: the answer ({1}) has not what was looked for")]
    Lost(&'static str, u16),
}

/// Logs in to `service` at the authseal server `base`, allows everything, and asks for an access token.
///
/// # Errors
/// Names the step that did not work.
pub async fn walk(base: &Url, service: &str) -> Result<Walked, WalkError> {
    let client = Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().tls_certs_only([]).build();
    let client = client.map_err(|error| WalkError::Http("making an HTTP client", error))?;
    let step = "opening the start page";
    let page = send(step, client.get(at(base, &format!("/?type={service}"))?)).await?;
    let cookie = header(&page, SET_COOKIE.as_str()).and_then(|cookie| cookie.split(';').next().map(str::to_owned));
    let (cookie, page) = (cookie.ok_or_else(|| lost(step, &page))?, text(step, page).await?);
    let page = unescape(&page);
    let link = between(&page, "href=\"/login?", "\"").ok_or(WalkError::Lost(step, 200))?;

    let step = "following the login link";
    let link = at(base, &format!("/login?{link}"))?;
    let away = send(step, client.get(link).header(COOKIE, &cookie)).await?;
    let consent =
        header(&away, LOCATION.as_str()).and_then(|url| Url::parse(&url).ok()).ok_or_else(|| lost(step, &away))?;

    let step = "allowing access at the provider";
    let form = [("request", consent.query().unwrap_or_default()), ("decision", "allow")];
    let back = send(step, client.post(at(&consent, "consent")?).form(&form)).await?;
    let back = header(&back, LOCATION.as_str()).ok_or_else(|| lost(step, &back))?;

    let step = "coming back";
    let page = send(step, client.get(back).header(COOKIE, &cookie)).await?;
    let status = page.status().as_u16();
    let page = text(step, page).await?;
    let authid = between(&page, "v3:", "<").and_then(|rest| rest.split(['"', ' ', '\n']).next());
    let authid = format!("v3:{}", authid.ok_or(WalkError::Lost(step, status))?);

    let step = "asking for an access token";
    let refresh = send(step, client.get(at(base, "/refresh")?).header("X-AuthID", &authid)).await?;
    let status = refresh.status();
    let refresh =
        serde_json::from_str(&text(step, refresh).await?).map_err(|_| WalkError::Lost(step, status.as_u16()))?;
    if status.is_success() { Ok(Walked { authid, refresh }) } else { Err(WalkError::Lost(step, status.as_u16())) }
}

async fn send(step: &'static str, request: reqwest::RequestBuilder) -> Result<Response, WalkError> {
    request.send().await.map_err(|error| WalkError::Http(step, error.without_url()))
}

async fn text(step: &'static str, response: Response) -> Result<String, WalkError> {
    response.text().await.map_err(|error| WalkError::Http(step, error.without_url()))
}

fn lost(step: &'static str, response: &Response) -> WalkError {
    WalkError::Lost(step, response.status().as_u16())
}

fn at(base: &Url, path: &str) -> Result<Url, WalkError> {
    base.join(path).map_err(|_| WalkError::Lost("making an address", 0))
}

fn header(response: &Response, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.to_owned())
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    text.split_once(start)?.1.split_once(end).map(|(found, _)| found)
}

fn unescape(html: &str) -> String {
    html.replace("&amp;", "&").replace("&#x2f;", "/")
}
