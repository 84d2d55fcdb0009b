//! The routes of the public listener.

use crate::meter::Meter;
use crate::web::handlers::{
    acme, assets, cli_token, deliver, fetch, index, inspect, login, password, privacy, probes, refresh, revoke, token,
};
use crate::web::response::rejection;
use actix_web::{Resource, Route, guard, web};

/// Every route of the public listener. What `GET` shows, `HEAD` may ask for, except where `GET` uses something up.
pub(in crate::web) fn routes(config: &mut web::ServiceConfig, meter: &Meter) {
    use web::{get, post};
    let head_too = || web::route().guard(guard::Any(guard::Get()).or(guard::Head()));
    let mut at = |path: &str, allow: &'static str, methods: Vec<Route>| {
        let resource = methods.into_iter().fold(web::resource(path), Resource::route);
        config.service(resource.default_service(rejection::method_not_allowed(allow)));
        meter.route(path, allow);
    };
    at("/", "GET, HEAD", vec![head_too().to(index::get)]);
    at("/access", "POST", vec![post().to(password::post)]);
    at("/login", "GET", vec![get().to(login::begin)]);
    at("/logged-in", "GET, POST", vec![get().to(login::complete), post().to(login::confirm)]);
    at("/cli-token", "GET", vec![get().to(cli_token::get)]);
    at("/cli-token-login", "POST", vec![post().to(cli_token::post)]);
    at("/deliver", "POST", vec![post().to(deliver::post)]);
    at("/fetch", "GET", vec![get().to(fetch::fetch)]);
    at("/token-state", "GET", vec![get().to(fetch::state)]);
    at("/refresh", "GET, POST", vec![get().to(refresh::get), post().to(refresh::post)]);
    at("/token", "POST", vec![post().to(token::post)]);
    at("/revoke", "GET, HEAD", vec![head_too().to(revoke::get)]);
    at("/revoked", "POST", vec![post().to(revoke::post)]);
    at("/inspect", "GET, HEAD, POST", vec![head_too().to(inspect::get), post().to(inspect::post)]);
    at("/privacy-policy", "GET, HEAD", vec![head_too().to(privacy::privacy)]);
    at("/privacy-policy.txt", "GET, HEAD", vec![head_too().to(privacy::privacy)]);
    at("/static/{name}", "GET, HEAD", vec![head_too().to(assets::asset)]);
    at("/favicon.ico", "GET, HEAD", vec![head_too().to(assets::favicon)]);
    at("/isalive", "GET, HEAD", vec![head_too().to(probes::isalive)]);
    at("/healthz", "GET, HEAD", vec![head_too().to(probes::healthz)]);
    at("/readyz", "GET, HEAD", vec![head_too().to(probes::readyz)]);
    at("/.well-known/acme-challenge/{token}", "GET, HEAD", vec![head_too().to(acme::acme)]);
}
