//! `/static/` and `/favicon.ico`: style, script and icon of the pages, as the binary has them or the operator's folder.

use crate::app::App;
use crate::web::response::rejection;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};

/// `GET /static/{name}`.
pub(in crate::web) async fn asset(name: web::Path<String>, request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    serve(&format!("static/{name}"), &request, &app)
}

/// `GET /favicon.ico`.
pub(in crate::web) async fn favicon(request: HttpRequest, app: web::Data<App>) -> HttpResponse {
    serve("static/favicon.svg", &request, &app)
}

fn serve(name: &str, request: &HttpRequest, app: &App) -> HttpResponse {
    let Some(asset) = app.pages().asset(name) else { return rejection::answer(request, StatusCode::NOT_FOUND) };
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, asset.content_type))
        .insert_header((header::CACHE_CONTROL, "public, max-age=300"))
        .body(asset.content.clone())
}
