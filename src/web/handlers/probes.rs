//! `/healthz`, `/readyz` and `/isalive`: health checks of balancers, containers and monitors.

use crate::app::App;
use crate::web::request::form;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

/// The longest text that `/isalive` echoes, in bytes.
const MAX_ECHO: usize = 256;

/// `GET /healthz`: the process is alive.
pub(in crate::web) async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: whether this process wants more requests. Keys and denylist are loaded, else there would be no server.
/// Never asks a provider: its outage must not take this server out of a load balancer.
pub(in crate::web) async fn readyz(app: web::Data<App>) -> HttpResponse {
    if app.health().is_draining() {
        return HttpResponse::ServiceUnavailable().body("draining\n");
    }
    if app.replication().is_new() {
        return HttpResponse::ServiceUnavailable().body("waiting for revocations\n");
    }
    HttpResponse::Ok().body("ready\n")
}

/// `GET /isalive?data=…`: echoes `data`, as the predecessors' monitors expect.
pub(in crate::web) async fn isalive(request: HttpRequest) -> HttpResponse {
    let data = form::query(&request, "data").unwrap_or_default();
    if data.len() > MAX_ECHO {
        return HttpResponse::BadRequest().body("data is too long\n");
    }
    HttpResponse::Ok().content_type(header::ContentType::plaintext()).body(data)
}
