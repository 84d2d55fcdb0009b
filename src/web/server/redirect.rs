//! The listener for plain http where this server speaks https itself: browsers are redirected, and nobody else is. What
//! was sent with an AuthID has been readable on its way; to redirect it would keep that from being noticed.

use crate::app::{App, LiveApp};
use crate::authid::ServiceId;
use crate::socket::{Crowd, Listener, Pulse, serve};
use crate::web::audience::AUTHID_HEADER;
use crate::web::handlers::{acme, probes};
use crate::web::middleware;
use crate::web::middleware::{https_and_host, oauth_url, rejections};
use crate::web::pin::pin;
use crate::web::request::form;
use crate::web::response::rejection::Rejection;
use crate::web::server::running::FINISH;
use actix_web::body::MessageBody;
use actix_web::dev::{self, ServiceRequest, ServiceResponse};
use actix_web::http::{Method, StatusCode, header};
use actix_web::middleware::{DefaultHeaders, Next, from_fn};
use actix_web::{Error, HttpRequest, HttpResponse, web};
use std::io;
use std::sync::Arc;

/// A server that does this; one worker does.
pub(in crate::web) fn server(
    live: web::Data<LiveApp>,
    listeners: Vec<Listener>,
    crowd: &Arc<Crowd>,
    pulse: &Pulse,
) -> io::Result<dev::Server> {
    let service = move || {
        // No HSTS: over http it would mean nothing (RFC 6797 section 7.2).
        let headers = DefaultHeaders::new()
            .add((header::CACHE_CONTROL, "no-store"))
            .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .add((header::CONTENT_SECURITY_POLICY, middleware::CSP))
            .add((header::REFERRER_POLICY, "no-referrer"));
        actix_web::App::new()
            .app_data(live.clone())
            .wrap(from_fn(at_the_door))
            .wrap(headers)
            .route("/.well-known/acme-challenge/{token}", web::get().to(acme::acme))
            .route("/healthz", web::get().to(probes::healthz))
            .default_service(web::to(redirect))
    };
    serve(service, listeners, None, crowd, pulse, 1, FINISH)
}

/// Refuses an AuthID, at whatever address.
async fn at_the_door(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    pin(&mut request);
    https_and_host::fold(&mut request);
    oauth_url::read(&mut request);
    match request.app_data::<web::Data<App>>() {
        Some(app) if request.headers().contains_key(&AUTHID_HEADER) => {
            let rejection = https_and_host::plain_http(request.request(), app);
            let response = rejections::write(&rejection, request.request());
            Ok(request.into_response(response.map_into_right_body()))
        }
        _ => Ok(rejections::written(next.call(request).await?)),
    }
}

/// Sends a visitor to the same path by https. Of the query only the service goes along: what others could read on the
/// way, a fetch token perhaps, is not to be of use any more. Who opened the window is still told.
async fn redirect(request: HttpRequest, app: web::Data<App>) -> Result<HttpResponse, Rejection> {
    if form::query(&request, "authid").is_some() || !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(https_and_host::plain_http(&request, &app));
    }
    if request.path().len() > middleware::MAX_URI {
        return Err(Rejection::of_status(StatusCode::URI_TOO_LONG));
    }
    let service = form::query(&request, "type").and_then(|id| ServiceId::parse(&id));
    let query = service.map_or_else(String::new, |id| format!("?type={id}"));
    let location = format!("{}{}{query}", app.own_origin().as_str(), request.path());
    Ok(HttpResponse::PermanentRedirect()
        .insert_header((header::LOCATION, location))
        .insert_header((header::REFERRER_POLICY, "strict-origin-when-cross-origin"))
        .finish())
}
