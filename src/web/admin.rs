//! What operators ask, on a listener of its own: metrics, health, the keyring's state. None of the public routes is
//! here, and of these only `/healthz` and `/readyz` answer there, without detail.
//!
//! Nothing here is secret, so there is no password; where it listens is the operator's choice, and off by default.

use super::running::FINISH;
use crate::app::App;
use crate::socket::{Crowd, serve};
use actix_web::dev;
use actix_web::http::header;
use actix_web::middleware::DefaultHeaders;
use actix_web::{HttpResponse, Route, guard, web};
use std::io;
use std::net::TcpListener;
use std::sync::Arc;

/// Prometheus's text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every route of the admin listener.
fn routes(config: &mut web::ServiceConfig) {
    let mut at = |path: &str, route: Route| {
        config.service(web::resource(path).route(route).default_service(web::to(read_only)));
    };
    let get = || web::route().guard(guard::Any(guard::Get()).or(guard::Head()));
    at("/metrics", get().to(metrics));
    at("/healthz", get().to(super::fixed::healthz));
    at("/readyz", get().to(readyz));
    at("/keyring", get().to(keyring));
}

/// A server of these routes; one worker does.
pub(super) fn server(app: web::Data<App>, listeners: Vec<TcpListener>, crowd: &Arc<Crowd>) -> io::Result<dev::Server> {
    let service = move || {
        let headers = DefaultHeaders::new().add((header::CACHE_CONTROL, "no-store"));
        let headers = headers.add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
        actix_web::App::new().app_data(app.clone()).wrap(headers).configure(routes)
    };
    serve(service, listeners, None, crowd, 1, FINISH)
}

async fn read_only() -> HttpResponse {
    HttpResponse::MethodNotAllowed().insert_header((header::ALLOW, "GET, HEAD")).finish()
}

/// `GET /metrics`: for Prometheus.
async fn metrics(app: web::Data<App>) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, METRICS_TYPE)).body(app.health().metrics())
}

/// `GET /readyz`: whether this process wants requests, and what it has to serve them with.
async fn readyz(app: web::Data<App>) -> HttpResponse {
    let readiness = app.health().readiness();
    let mut answer = if readiness.ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    answer.json(readiness)
}

/// `GET /keyring`: what `authseal keys` compares.
async fn keyring(app: web::Data<App>) -> HttpResponse {
    HttpResponse::Ok().json(app.health().keyring())
}
