//! `/privacy-policy`, as a page and as text: what this server, configured as it is, does with data.

use crate::app::App;
use crate::web::response::page;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use std::collections::BTreeSet;

#[derive(Serialize)]
struct Privacy<'a> {
    providers: BTreeSet<&'a str>,
    store: &'a str,
    /// Whether a login begins with a password, which a cookie remembers.
    asks_password: bool,
    revoke_url: String,
}

/// `GET /privacy-policy` and `GET /privacy-policy.txt`.
pub(in crate::web) async fn privacy(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    let providers = app.catalogue().served().map(|service| service.provider.name()).collect();
    let (store, asks_password) = (app.store().name(), app.password().is_some());
    let revoke_url = page::revoke_url(&app);
    let page = Privacy { providers, store, asks_password, revoke_url };
    let template = if request.path().ends_with(".txt") { "privacy.txt" } else { "privacy.html" };
    page::show(&request, &app, StatusCode::OK, template, page)
}
