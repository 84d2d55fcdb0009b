//! The admin listener: metrics, health, the keyring's state, and reloading the configuration. None of the public routes is
//! here, and of these only `/healthz` and `/readyz` answer there, without detail.
//!
//! It is off by default, and where it listens is the operator's choice. It has no password, since nothing here is secret
//! and a reload takes up only what the operator has put there. All the same, a page of somebody else's must not read it
//! through an operator's browser: a name that was made to lead here (DNS rebinding) is refused, since nobody else can
//! have a browser ask for an address or for a name that is listed.

use crate::app::{App, LiveApp, Outcome};
use crate::replication::Page;
use crate::socket::{Crowd, Listener, Pulse, serve};
use crate::web::middleware::https_and_host;
use crate::web::pin::pin;
use crate::web::server::running::FINISH;
use actix_web::body::MessageBody;
use actix_web::dev::{self, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, ContentType};
use actix_web::middleware::{DefaultHeaders, Next, from_fn};
use actix_web::{Error, HttpRequest, HttpResponse, Route, guard, web};
use futures_util::TryStreamExt;
use futures_util::stream::poll_fn;
use serde::Deserialize;
use std::io;
use std::sync::Arc;
use url::Host;

/// Prometheus's text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Every route of the admin listener.
fn routes(config: &mut web::ServiceConfig) {
    let mut at = |path: &str, route: Route| {
        config.service(web::resource(path).route(route).default_service(web::to(read_only)));
    };
    let get = || web::route().guard(guard::Any(guard::Get()).or(guard::Head()));
    at("/metrics", get().to(metrics));
    at("/healthz", get().to(crate::web::handlers::probes::healthz));
    at("/readyz", get().to(readyz));
    at("/keyring", get().to(keyring));
    at("/denylist", get().to(denylist));
    at("/legacy", get().to(legacy));
    at("/status", get().to(status));
    at("/apps", get().to(apps));
    let reload = web::resource("/reload").route(web::post().to(reload));
    config.service(reload.default_service(web::to(post_only)));
}

/// The names that it may be asked for under, beside addresses and `localhost`.
struct Names(Vec<String>);

/// A server of these routes; one worker does.
pub(in crate::web) fn server(
    live: web::Data<LiveApp>,
    listeners: Vec<Listener>,
    names: Vec<String>,
    crowd: &Arc<Crowd>,
    pulse: &Pulse,
) -> io::Result<dev::Server> {
    let names = web::Data::new(Names(names));
    let service = move || {
        let headers = DefaultHeaders::new().add((header::CACHE_CONTROL, "no-store"));
        let headers = headers.add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
        actix_web::App::new()
            .app_data(live.clone())
            .app_data(names.clone())
            .wrap(from_fn(under_a_known_name))
            .wrap(headers)
            .configure(routes)
    };
    serve(service, listeners, None, crowd, pulse, 1, FINISH)
}

/// Lets a request through that is for an address, `localhost` or a listed name. Probes by HTTP/1.0 name no host; browsers
/// always do.
async fn under_a_known_name(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    pin(&mut request);
    let listed = |name: &str| {
        let names = request.app_data::<web::Data<Names>>();
        names.is_some_and(|names| names.0.iter().any(|listed| listed == name))
    };
    let known = |host: Host| match &host {
        Host::Domain(name) => https_and_host::is_loopback(&host) || listed(name.strip_suffix('.').unwrap_or(name)),
        Host::Ipv4(_) | Host::Ipv6(_) => true,
    };
    if https_and_host::hosts(request.request()).all(|host| host.is_some_and(known)) {
        return Ok(next.call(request).await?.map_into_left_body());
    }
    let says = "This listener answers for addresses, for localhost and for the names in admin.names.\n";
    let answer = HttpResponse::MisdirectedRequest().content_type(ContentType::plaintext()).body(says);
    Ok(request.into_response(answer).map_into_right_body())
}

async fn read_only() -> HttpResponse {
    HttpResponse::MethodNotAllowed().insert_header((header::ALLOW, "GET, HEAD")).finish()
}

async fn post_only() -> HttpResponse {
    HttpResponse::MethodNotAllowed().insert_header((header::ALLOW, "POST")).finish()
}

/// `POST /reload`: reads the configuration again, and tells what came of it; for whoever is on this machine. Browsers say
/// where a form comes from, and none has a business here.
async fn reload(request: HttpRequest, live: web::Data<LiveApp>) -> HttpResponse {
    let own = request.app_config().local_addr().ip();
    let is_here = request.peer_addr().is_some_and(|peer| {
        let peer = peer.ip().to_canonical();
        peer.is_loopback() || peer == own
    });
    if !is_here || request.headers().contains_key(header::ORIGIN) {
        let says = "This is for `authseal reload` on the machine, or in the container, that the server runs on.\n";
        return HttpResponse::Forbidden().content_type(ContentType::plaintext()).body(says);
    }
    let reloading = web::block(move || live.reload()).await;
    let Ok(verdict) = reloading else { return HttpResponse::InternalServerError().finish() };
    let mut answer = match verdict.outcome {
        Outcome::Applied => HttpResponse::Ok(),
        Outcome::Refused => HttpResponse::UnprocessableEntity(),
        Outcome::NeedsRestart => HttpResponse::Conflict(),
    };
    answer.json(verdict)
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

/// Up to where a replica knows the denylist.
#[derive(Deserialize)]
struct Known {
    after: Option<String>,
}

/// `GET /denylist`: sealed, for replicas that follow this one.
async fn denylist(app: web::Data<App>, known: web::Query<Known>) -> HttpResponse {
    match app.replication().page(known.into_inner().after).await {
        Ok(None) => HttpResponse::NotModified().finish(),
        Ok(Some(Page { tag, mut pieces })) => {
            let pieces = poll_fn(move |context| pieces.poll_recv(context)).map_ok(web::Bytes::from);
            HttpResponse::Ok().insert_header((header::ETAG, format!("\"{tag}\""))).streaming(pieces)
        }
        Err(error) => HttpResponse::ServiceUnavailable().content_type(ContentType::plaintext()).body(error + "\n"),
    }
}

/// `GET /legacy`: what `authseal legacy` adds up.
async fn legacy(app: web::Data<App>) -> HttpResponse {
    HttpResponse::Ok().json(app.tokens().old_authids())
}

/// `GET /status`: what `authseal status` shows.
async fn status(app: web::Data<App>) -> HttpResponse {
    HttpResponse::Ok().json(app.status())
}

/// `GET /apps`: what `authseal apps` adds up.
async fn apps(app: web::Data<App>) -> HttpResponse {
    HttpResponse::Ok().json(app.tokens().apps())
}
