//! The rows of the routes against what the server does, what it counts and what the documentation says.

use super::site::{PROXY, Site};
use crate::web::middleware;
use crate::web::request_id;
use crate::web::routes::{ROUTES, Reach, Route};
use crate::web::service;
use actix_web::HttpRequest;
use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::ALLOW;
use actix_web::middleware::from_fn;
use actix_web::test::{TestRequest, call_service, init_service};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::sync::Arc;
use tracing::subscriber::set_default;

const METHODS: [Method; 5] = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE];

fn takes(route: &Route, method: &Method) -> bool {
    route.methods.split(", ").any(|taken| taken == method.as_str())
}

/// Asks for a route, as a browser behind the proxy unless `headers` say otherwise.
async fn ask<B: MessageBody, E: std::fmt::Debug>(
    server: &impl Service<actix_http::Request, Response = ServiceResponse<B>, Error = E>,
    route: &Route,
    method: &Method,
    headers: &[(&str, &str)],
) -> ServiceResponse<B> {
    let path = route.path.replace("{name}", "authseal.css").replace("{token}", "none");
    let request = TestRequest::with_uri(&path).method(method.clone()).peer_addr(PROXY.parse().unwrap());
    let request = request.insert_header(("host", "authseal.test")).insert_header(("x-forwarded-for", "203.0.113.7"));
    let request = headers.iter().fold(request, |request, header| request.insert_header(*header));
    call_service(server, request.to_request()).await
}

#[tokio::test]
async fn every_route_takes_the_methods_of_its_row_and_tells_them_for_any_other() {
    let site = Site::start("");
    let server = init_service(service(site.app.clone())).await;
    for route in &ROUTES {
        for method in METHODS {
            let response = ask(&server, route, &method, &[]).await;
            let allow = response.headers().get(ALLOW).map(|allow| allow.to_str().unwrap());
            assert_eq!(allow, (!takes(route, &method)).then_some(route.methods), "{method} {}", route.path);
        }
    }
}

async fn panics(request: HttpRequest) -> &'static str {
    request_id::span(&request).in_scope(|| tracing::warn!("said before"));
    panic!("on purpose")
}

#[tokio::test]
async fn a_request_whose_handler_panics_is_answered_as_any_other_and_counted() {
    let site = Site::start("");
    let app = actix_web::App::new().app_data(site.app.clone()).wrap(from_fn(middleware::wrap));
    let panic = || actix_web::web::get().to(panics);
    // The one has no span before its handler makes one.
    let server = init_service(app.route("/refresh", panic()).route("/login", panic())).await;
    let answers = || site.app.load().meter().answers();
    let ask = async |path: &str, proxys: Option<&str>| {
        let request = TestRequest::with_uri(path).peer_addr(PROXY.parse().unwrap());
        let request =
            request.insert_header(("host", "authseal.test")).insert_header(("x-forwarded-for", "203.0.113.7"));
        let request = proxys.into_iter().fold(request, |request, id| request.insert_header(("x-request-id", id)));
        server.call(request.to_request()).await.err().expect("what stands in for a response").error_response()
    };
    // What was said before in any thread is not passed over by this one's log.
    ask("/refresh", None).await;
    let log = site.folder.path().join("log");
    let writer = Arc::new(File::create(&log).unwrap());
    let _logged = set_default(tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish());
    for (path, proxys) in [("/refresh", None), ("/login", None), ("/refresh", Some("one/7")), ("/login", Some("one/8"))]
    {
        let before = answers();
        let response = ask(path, proxys).await;
        assert_eq!((response.status().as_u16(), answers()), (503, before + 1));
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap());
        assert!(header("x-reason").is_some_and(|reason| reason.starts_with("The server met an unexpected fault")));
        assert_eq!((header("cache-control"), header("x-frame-options")), (Some("no-store"), Some("DENY")));
        let id = header("x-request-id").unwrap();
        assert!(proxys.map_or(id.len() == 16, |proxys| id == proxys), "{path} {id}");
        let named = format!("request_id=\"{id}\"");
        let text = fs::read_to_string(&log).unwrap();
        let lines: Vec<_> = text.lines().filter(|line| line.contains(&named)).collect();
        assert!(lines.len() == 2 && lines[0].ends_with("said before"), "{path} {id}: {text}");
        assert!(lines[1].contains("a request met a fault of this program"), "{path} {id}: {text}");
    }
}

#[tokio::test]
async fn every_route_is_reached_as_its_row_says() {
    let site = Site::start("");
    let server = init_service(service(site.app.clone())).await;
    for route in &ROUTES {
        for method in METHODS.iter().filter(|method| takes(route, method)) {
            let what = format!("{method} {}", route.path);
            let foreign = ask(&server, route, method, &[("host", "evil.test")]).await.status();
            assert_eq!(foreign == 421, route.reach == Reach::OwnName, "{what}: {foreign}");
            let plain = ask(&server, route, method, &[("x-forwarded-proto", "http")]).await;
            let fine = ask(&server, route, method, &[]).await;
            assert_eq!(plain.status() == fine.status(), route.reach == Reach::Open || fine.status() == 403, "{what}");
            let led_away = ask(&server, route, method, &[("x-authid", "v3:box.com:9:x")]).await;
            let reason = led_away.headers().get("x-reason").map_or("", |reason| reason.to_str().unwrap());
            assert_eq!(reason.contains("oauth-url"), !route.takes_authid(method), "{what}: {reason}");
        }
    }
}

#[tokio::test]
async fn every_route_is_counted_from_the_start() {
    let site = Site::start("");
    let _server = init_service(service(site.app.clone())).await;
    let metrics = site.app.load().health().metrics();
    let label = |line: &str, name: &str| {
        let (_, value) = line.split_once(&format!("{name}=\"")).unwrap();
        value.split('"').next().unwrap().to_owned()
    };
    let lines = metrics.lines().filter(|line| line.starts_with("authseal_http_answers_total{"));
    let counted: BTreeSet<_> = lines.map(|line| (label(line, "route"), label(line, "method"))).collect();
    let rows = ROUTES.iter().flat_map(|route| route.methods.split(", ").map(|method| (route.path, method)));
    assert_eq!(counted, rows.map(|(path, method)| (path.to_owned(), method.to_owned())).collect());
}

#[test]
fn the_documentation_has_every_route_and_no_other() {
    let page = include_str!("../../../docs/http-api.md");
    let is_part = |char: char| char.is_ascii_alphanumeric() || "/.-<>".contains(char);
    let named: BTreeSet<_> = page.split(|char| !is_part(char)).map(|word| word.trim_end_matches('.')).collect();
    for route in &ROUTES {
        let path = route.path.replace('{', "<").replace('}', ">");
        assert!(named.contains(path.as_str()), "docs/http-api.md does not tell of {path}");
    }
    for method in ["GET", "POST"] {
        for rest in page.split(&format!("{method} /")).skip(1) {
            let path: String = rest.chars().take_while(|char| is_part(*char)).collect();
            let path = format!("/{path}").replace('<', "{").replace('>', "}");
            let known = ROUTES.iter().any(|route| route.path == path && route.methods.contains(method));
            assert!(known, "docs/http-api.md tells of {method} {path}");
        }
    }
}
