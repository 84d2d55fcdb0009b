//! The listeners and what is the same for all of them: time limits, sizes, the end.

use super::form::MAX_FORM;
use super::running::{FINISH, Running};
use super::{admin, headers, routes, unfit};
use crate::app::App;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::{HttpServer, web};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// How long a client may take to send its request's head.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long an idle connection stays open.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Listens at an address.
///
/// # Errors
/// Names the address, the cause and the way out.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => "; something listens there: stop it, or choose another address with --listen",
            io::ErrorKind::PermissionDenied => "; ports below 1024 need a right of their own: choose a higher one",
            io::ErrorKind::AddrNotAvailable => {
                "; this machine has no such address: 0.0.0.0 and [::] stand for all it has"
            }
            _ => "",
        };
        io::Error::new(error.kind(), format!("cannot listen at {address}: {error}{hint}"))
    })
}

/// Everything from a request to its answer, without a listener.
pub fn service(
    app: web::Data<App>,
) -> actix_web::App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    actix_web::App::new()
        .app_data(app)
        .app_data(web::PayloadConfig::new(MAX_FORM))
        .wrap(from_fn(headers::around))
        .configure(routes)
        .default_service(web::route().to(unfit::not_found))
}

/// A server that listens and does not answer yet.
pub struct Server {
    listeners: Vec<TcpListener>,
    admin: Vec<TcpListener>,
    app: web::Data<App>,
}

impl Server {
    /// Listens at all addresses that the configuration names. Port 0 means any free one.
    ///
    /// # Errors
    /// Names the address that cannot be had.
    pub fn bind(app: App) -> io::Result<Self> {
        let at = |addresses: &[SocketAddr]| addresses.iter().copied().map(listen).collect::<io::Result<Vec<_>>>();
        let (listeners, admin) = (at(app.listen())?, at(app.admin_listen())?);
        Ok(Self { admin, ..Self::on(app, listeners) })
    }

    /// Uses listeners that are there already, and has none for operators.
    pub fn on(app: App, listeners: Vec<TcpListener>) -> Self {
        Self { listeners, admin: Vec::new(), app: web::Data::new(app) }
    }

    /// What it serves.
    pub fn app(&self) -> web::Data<App> {
        self.app.clone()
    }

    /// Where it listens really.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Where it listens for operators.
    pub fn admin_addresses(&self) -> Vec<SocketAddr> {
        self.admin.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Begins to answer, on the current runtime. Signals are left to the caller.
    ///
    /// # Errors
    /// When the listeners cannot be used.
    pub fn run(self) -> io::Result<Running> {
        let app = self.app.clone();
        let server = HttpServer::new(move || service(app.clone()))
            .client_request_timeout(HEAD_TIME)
            .keep_alive(KEEP_ALIVE)
            .shutdown_timeout(FINISH.as_secs())
            .disable_signals();
        let server = self.listeners.into_iter().try_fold(server, HttpServer::listen)?.run();
        let admin = match self.admin.as_slice() {
            [] => None,
            _ => Some(admin::server(self.app.clone(), self.admin)?),
        };
        Ok(Running::start(server, admin, self.app))
    }
}
