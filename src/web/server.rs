//! The listeners and what is the same for all of them: time limits, sizes, the end.

use super::form::MAX_FORM;
use super::running::{FINISH, Running};
use super::{admin, headers, redirect, routes, unfit};
use crate::app::App;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::{HttpServer, web};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// How long a client may take to send its request's head, and to agree on TLS before that.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long an idle connection stays open.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Listens at an address.
///
/// # Errors
/// Names the address, the cause and the way out.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = if address.is_ipv6() { listen_by_ipv6_alone(address) } else { TcpListener::bind(address) };
    listener.map_err(|error| {
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

/// `[::]` would take IPv4 too, or not, as the machine is set; then `0.0.0.0` beside it could not be had.
fn listen_by_ipv6_alone(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = net::socket_with(AddressFamily::INET6, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_ipv6_v6only(&socket, true)?;
    net::bind(&socket, &address)?;
    // As many waiting connections as the machine allows.
    net::listen(&socket, i32::MAX)?;
    Ok(socket.into())
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
    redirect: Vec<TcpListener>,
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
        let (listeners, redirect, admin) = (at(app.listen())?, at(app.redirect_listen())?, at(app.admin_listen())?);
        Ok(Self { redirect, admin, ..Self::on(app, listeners) })
    }

    /// Uses listeners that are there already, and no others.
    pub fn on(app: App, listeners: Vec<TcpListener>) -> Self {
        Self { listeners, redirect: Vec::new(), admin: Vec::new(), app: web::Data::new(app) }
    }

    /// What it serves.
    pub fn app(&self) -> web::Data<App> {
        self.app.clone()
    }

    /// Where it listens really.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        addresses(&self.listeners)
    }

    /// Where it sends visitors to https.
    pub fn redirect_addresses(&self) -> Vec<SocketAddr> {
        addresses(&self.redirect)
    }

    /// Where it listens for operators.
    pub fn admin_addresses(&self) -> Vec<SocketAddr> {
        addresses(&self.admin)
    }

    /// Begins to answer, on the current runtime. Signals are left to the caller.
    ///
    /// # Errors
    /// When the listeners cannot be used.
    pub fn run(self) -> io::Result<Running> {
        let app = self.app.clone();
        let server = HttpServer::new(move || service(app.clone()))
            .client_request_timeout(HEAD_TIME)
            .tls_handshake_timeout(HEAD_TIME)
            .keep_alive(KEEP_ALIVE)
            .shutdown_timeout(FINISH.as_secs())
            .disable_signals();
        let mut listeners = self.listeners.into_iter();
        let server = match self.app.certificate() {
            None => listeners.try_fold(server, HttpServer::listen),
            Some(certificate) => {
                let tls = certificate.server_config().map_err(io::Error::other)?;
                listeners.try_fold(server, |server, listener| server.listen_rustls_0_23(listener, tls.clone()))
            }
        }?;
        let mut beside = Vec::new();
        if !self.redirect.is_empty() {
            beside.push(redirect::server(self.app.clone(), self.redirect)?);
        }
        if !self.admin.is_empty() {
            beside.push(admin::server(self.app.clone(), self.admin)?);
        }
        Ok(Running::start(server.run(), beside, self.app))
    }
}

fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn all_of_ipv6_leaves_all_of_ipv4_to_another_listener_at_the_same_port() {
        let both = || {
            let four = listen((Ipv4Addr::UNSPECIFIED, 0).into())?;
            let six = listen((Ipv6Addr::UNSPECIFIED, four.local_addr()?.port()).into())?;
            Ok::<_, io::Error>((four, six))
        };
        // Some tries: another process may have that port by IPv6.
        let tries: Vec<_> = (0..5).map(|_| both()).collect();
        assert!(tries.iter().any(Result::is_ok), "{tries:?}");
    }
}
