//! `/static/` and `/favicon.ico`: style, script and icon of the pages, as the binary has them or the operator's folder.

use crate::app::App;
use crate::web::response::rejection::Rejection;
use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, web};

/// `GET /static/{name}`.
pub(in crate::web) async fn asset(name: web::Path<String>, app: web::Data<App>) -> Result<HttpResponse, Rejection> {
    serve(&format!("static/{name}"), &app)
}

/// `GET /favicon.ico`.
pub(in crate::web) async fn favicon(app: web::Data<App>) -> Result<HttpResponse, Rejection> {
    serve("static/favicon.svg", &app)
}

fn serve(name: &str, app: &App) -> Result<HttpResponse, Rejection> {
    let asset = app.pages().asset(name).ok_or_else(|| Rejection::of_status(StatusCode::NOT_FOUND))?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, asset.content_type))
        .insert_header((header::CACHE_CONTROL, "public, max-age=300"))
        .body(asset.content.clone()))
}
