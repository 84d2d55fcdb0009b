//! The listeners, and what all of them share: how many connections, and the shutdown. What a connection may do is left
//! to [`crate::socket`].

mod admin;
mod redirect;
pub(in crate::web) mod running;

use crate::app::LiveApp;
use crate::config::Listeners;
use crate::socket::{self, Crowd, Handed, Listener, Pulse, Purpose, Sockets};
use crate::web::middleware;
use crate::web::request::form::MAX_FORM;
use crate::web::routes;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::middleware::from_fn;
use actix_web::web;
use running::{FINISH, Listening, Running};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

/// Of all connections, one in so many is for each of the listeners beside the public ones.
const BESIDE: usize = 8;

/// Connections that the kernel keeps until they are accepted. std asks for 128, and one more costs its client a second;
/// but while nobody is accepted, since the machine cannot keep up, each has all those before it to wait for.
const BACKLOG: i32 = 1024;

/// Listens at an address.
///
/// # Errors
/// Names the address, the cause and the way out.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    listen_for("with --listen", address)
}

/// The same at an address that is said `there`.
fn listen_for(there: &str, address: SocketAddr) -> io::Result<TcpListener> {
    let listener = if address.is_ipv6() { bind_ipv6_alone(address) } else { TcpListener::bind(address) };
    let listener = listener.and_then(|listener| Ok(net::listen(&listener, BACKLOG).map(|()| listener)?));
    listener.map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => {
                format!("; something listens there: stop it, or choose another address {there}")
            }
            io::ErrorKind::PermissionDenied => {
                format!("; ports below 1024 need a right of their own: choose a higher one {there}")
            }
            io::ErrorKind::AddrNotAvailable => {
                format!("; this machine has no such address: choose one {there}, where 0.0.0.0 and [::] are all it has")
            }
            _ => String::new(),
        };
        io::Error::new(error.kind(), format!("cannot listen at {address}: {error}{hint}"))
    })
}

/// `[::]` would take IPv4 too, or not, as the machine is set; then `0.0.0.0` beside it could not be had.
fn bind_ipv6_alone(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = net::socket_with(AddressFamily::INET6, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_ipv6_v6only(&socket, true)?;
    net::bind(&socket, &address)?;
    Ok(socket.into())
}

/// Everything from a request to its answer, without a listener.
pub fn service(
    live: web::Data<LiveApp>,
) -> actix_web::App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    let meter = live.load().meter().clone();
    actix_web::App::new()
        .app_data(live)
        .app_data(web::PayloadConfig::new(MAX_FORM))
        .wrap(from_fn(middleware::wrap))
        .configure(|config| routes::routes(config, &meter))
        .default_service(web::route().to(routes::not_found))
}

/// A server that listens and does not answer yet.
pub struct Server {
    public: Vec<Listener>,
    redirect: Vec<Listener>,
    admin: Vec<Listener>,
    /// Somebody else has them too, and keeps them open.
    kept: bool,
    pulse: Pulse,
    live: web::Data<LiveApp>,
    /// One worker for each processor.
    workers: usize,
    max_connections: usize,
    drain: Duration,
    admin_names: Vec<String>,
}

impl Server {
    /// Listens at all addresses that the configuration names, where no sockets of that purpose were `handed` over. Port 0
    /// means any free one.
    ///
    /// # Errors
    /// Names the address that cannot be had.
    pub fn bind(app: impl Into<LiveApp>, listeners: Listeners, mut handed: Handed) -> io::Result<Self> {
        let live = app.into();
        let kept = handed.are_kept();
        let mut at = |purpose: Purpose, there: &str, addresses: &[SocketAddr]| match handed.take(purpose) {
            none if none.is_empty() => {
                let all = addresses.iter().map(|address| listen_for(there, *address).map(Listener::Tcp));
                all.collect::<io::Result<Vec<_>>>()
            }
            handed => Ok(handed),
        };
        let public = at(Purpose::Public, "with --listen", &listeners.public)?;
        let redirect = at(Purpose::Redirect, "in `tls.redirect_listen`", &listeners.redirect)?;
        let admin = at(Purpose::Admin, "in `admin.listen`", &listeners.admin)?;
        if live.load().certificate().live.is_none() && !redirect.is_empty() {
            return Err(io::Error::other(
                "a socket `redirect` was handed over, and there is no [tls] to send visitors to",
            ));
        }
        Ok(Self { redirect, admin, kept, ..Self::listening(live, public, listeners) })
    }

    /// Listens on `public`, which are there already, and at none of the addresses that `listeners` names.
    pub fn on(app: impl Into<LiveApp>, public: Vec<TcpListener>, listeners: Listeners) -> Self {
        Self::listening(app.into(), public.into_iter().map(Listener::Tcp).collect(), listeners)
    }

    fn listening(live: LiveApp, public: Vec<Listener>, listeners: Listeners) -> Self {
        let workers = available_parallelism().map_or(1, NonZeroUsize::get);
        let max_connections = socket::max_connections(listeners.max_connections, workers);
        let live = web::Data::new(live);
        live.load().tokens().set_connections(max_connections);
        let Listeners { drain, admin_names, .. } = listeners;
        let (redirect, admin, kept) = (Vec::new(), Vec::new(), false);
        let pulse = Pulse::new(live.load().meter().clock().clone());
        Self { public, redirect, admin, kept, pulse, live, workers, max_connections, drain, admin_names }
    }

    /// Its sockets once more, for a successor.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub fn sockets(&self) -> io::Result<Sockets> {
        let all = [(Purpose::Public, &self.public), (Purpose::Redirect, &self.redirect), (Purpose::Admin, &self.admin)];
        let all = all.into_iter().flat_map(|(purpose, sockets)| sockets.iter().map(move |socket| (purpose, socket)));
        let all = all.map(|(purpose, socket)| Ok((purpose, socket.another()?)));
        Ok(Sockets::new(all.collect::<io::Result<_>>()?, self.kept))
    }

    /// Whether its threads still serve.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// How many connections there may be at one time, over all listeners.
    pub fn max_connections(&self) -> usize {
        self.max_connections
    }

    /// What it serves.
    pub fn live(&self) -> web::Data<LiveApp> {
        self.live.clone()
    }

    /// Where it listens really.
    pub fn addresses(&self) -> Vec<String> {
        addresses(&self.public)
    }

    /// Where it sends visitors to https.
    pub fn redirect_addresses(&self) -> Vec<String> {
        addresses(&self.redirect)
    }

    /// Where it listens for operators.
    pub fn admin_addresses(&self) -> Vec<String> {
        addresses(&self.admin)
    }

    /// Begins to answer, on the current runtime. Signals are left to the caller.
    ///
    /// # Errors
    /// When the listeners cannot be used.
    pub fn run(self) -> io::Result<Running> {
        let Self {
            public: listeners,
            redirect,
            admin,
            kept,
            pulse,
            live,
            workers,
            max_connections,
            drain,
            admin_names,
        } = self;
        let beside = (max_connections / BESIDE).max(1);
        let taken = beside * [&redirect, &admin].into_iter().filter(|listeners| !listeners.is_empty()).count();
        let app = live.load();
        let tls = app.certificate().server_config().map_err(io::Error::other)?;
        let public = crowd("public", max_connections - taken, &live);
        let served = live.clone();
        let server = socket::serve(move || service(served.clone()), listeners, tls, &public, &pulse, workers, FINISH)?;
        let public = Listening::start(server, public);
        let mut others = Vec::new();
        if !redirect.is_empty() {
            let crowd = crowd("redirect", beside, &live);
            others.push(Listening::start(redirect::server(live.clone(), redirect, &crowd, &pulse)?, crowd));
        }
        if !admin.is_empty() {
            let crowd = crowd("admin", beside, &live);
            others.push(Listening::start(admin::server(live.clone(), admin, admin_names, &crowd, &pulse)?, crowd));
        }
        Ok(Running::start(public, others, live, drain, kept))
    }
}

/// The connections of a listener. The operator's own proxies may have any share of them.
fn crowd(listener: &'static str, max: usize, live: &web::Data<LiveApp>) -> Arc<Crowd> {
    let proxies = live.clone();
    Crowd::new(listener, max, move |peer| proxies.load().http().trusts(peer), live.load().meter().clone())
}

fn addresses(listeners: &[Listener]) -> Vec<String> {
    listeners.iter().map(Listener::to_string).collect()
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
