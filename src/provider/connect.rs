//! New connections to providers: addresses of a name, TCP, the operator's proxy, TLS. Which addresses a provider may
//! have, which authorities vouch for it and whether a proxy is on the way is settled here, once for each connection,
//! and holds for as long as it is kept.
//!
//! TLS sessions are resumed, also by connections that are used once. HTTP/2 is offered where a connection will be
//! kept: on one that is not it costs more than it saves.

use super::client_credentials::basic;
use super::connection::Connection;
use super::dns::{CachedResolver, DnsCache};
use super::outbound::{Outbound, SetupError, trusting};
use super::service::Provider;
use crate::net::names_loopback;
use hyper::Uri;
use hyper::header::HeaderValue;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use rustls::pki_types::{IpAddr, ServerName};
use std::collections::HashMap;
use std::error::Error;
use std::io;
#[cfg(test)]
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_util::either::Either;
use tower_service::Service;
use url::{Host, Position, Url};

/// TCP and TLS together. Names have been looked up before.
const CONNECT: Duration = Duration::from_secs(3);
/// How long the other side may leave unconfirmed what was sent: then it is gone, however patient the caller is.
const UNCONFIRMED: Duration = Duration::from_secs(5);
/// How often an idle connection is probed.
const PROBE: Duration = Duration::from_secs(15);

pub(super) type NotConnected = Box<dyn Error + Send + Sync>;

/// Makes connections.
pub(super) struct Connector {
    names: DnsCache,
    /// Connects to public addresses only.
    public: HttpConnector<CachedResolver>,
    /// Connects anywhere.
    anywhere: HttpConnector<CachedResolver>,
    proxy: Option<Proxy>,
    tls: Tls,
    /// That of providers that have authorities of their own, by provider.
    own: HashMap<String, Tls>,
}

struct Proxy {
    url: Url,
    uri: Uri,
    authorization: Option<HeaderValue>,
}

struct Tls {
    /// Offers HTTP/2 too.
    kept: TlsConnector,
    once: TlsConnector,
}

impl Connector {
    pub(super) fn new<'a>(
        providers: impl Iterator<Item = &'a Provider>,
        outbound: &Outbound,
        names: DnsCache,
    ) -> Result<Self, SetupError> {
        let tls = |own: Option<&Path>| {
            let once = trusting(outbound.ca_file.as_deref().into_iter().chain(own))?;
            let mut kept = once.clone();
            kept.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            Ok::<_, SetupError>(Tls { kept: Arc::new(kept).into(), once: Arc::new(once).into() })
        };
        let own = providers.filter_map(Provider::own_authorities);
        let own = own.map(|(id, file)| Ok((id.to_owned(), tls(Some(file))?))).collect::<Result<_, SetupError>>()?;
        let tcp = |public_only| {
            let mut tcp = HttpConnector::new_with_resolver(CachedResolver { names: names.clone(), public_only });
            tcp.enforce_http(false);
            tcp.set_nodelay(true);
            tcp.set_connect_timeout(Some(CONNECT));
            tcp.set_keepalive(Some(PROBE));
            tcp.set_keepalive_interval(Some(PROBE));
            tcp.set_tcp_user_timeout(Some(UNCONFIRMED));
            tcp
        };
        let proxy = outbound.proxy_url().map(Proxy::new).transpose()?;
        Ok(Self { public: tcp(true), anywhere: tcp(false), proxy, tls: tls(None)?, own, names })
    }

    /// A connection to the host of a provider's URL, of which nothing has been sent there; `kept`: for more than one
    /// request. Without a provider it is a host that the operator named, and may be anywhere.
    pub(super) async fn connect(
        &self,
        provider: Option<&Provider>,
        url: &Url,
        kept: bool,
        deadline: Instant,
    ) -> Result<Connection, NotConnected> {
        // A proxy looks names up by itself; where it is, the operator said.
        let proxy = self.proxy.as_ref().filter(|_| !names_loopback(url));
        let looked_up = self.names.prepare(proxy.map_or(url, |proxy| &proxy.url), deadline).await;
        looked_up.map_err(|error| io::Error::new(error.kind(), error))?;
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time");
        let connection = timeout_at(deadline, timeout(CONNECT, self.open(provider, url, proxy, kept)));
        connection.await.map_err(late)?.map_err(late)?
    }

    /// Answers for the system.
    #[cfg(test)]
    pub(super) fn know(&self, name: &str, address: SocketAddr) {
        self.names.know(name, address);
    }

    async fn open(
        &self,
        provider: Option<&Provider>,
        url: &Url,
        proxy: Option<&Proxy>,
        kept: bool,
    ) -> Result<Connection, NotConnected> {
        let uri: Uri = url[..Position::BeforePath].parse()?;
        let anywhere = provider.is_none_or(|provider| provider.settings.allow_private_addresses);
        let anywhere = anywhere || names_loopback(url);
        let tcp = match proxy {
            Some(proxy) => {
                let mut tunnel = Tunnel::new(proxy.uri.clone(), self.anywhere.clone());
                if let Some(authorization) = &proxy.authorization {
                    tunnel = tunnel.with_auth(authorization.clone());
                }
                tunnel.call(uri).await?
            }
            None if anywhere => self.anywhere.clone().call(uri).await?,
            None => self.public.clone().call(uri).await?,
        };
        if url.scheme() == "http" {
            return Ok(Connection::http1(TokioIo::new(Either::Right(tcp.into_inner()))).await?);
        }
        let name = match url.host() {
            Some(Host::Domain(name)) => ServerName::try_from(name.to_owned())?,
            Some(Host::Ipv4(address)) => ServerName::IpAddress(IpAddr::V4(address.into())),
            Some(Host::Ipv6(address)) => ServerName::IpAddress(IpAddr::V6(address.into())),
            None => return Err("the URL names no host".into()),
        };
        let tls = provider.and_then(|provider| self.own.get(&provider.id)).unwrap_or(&self.tls);
        let tls = if kept { &tls.kept } else { &tls.once };
        let stream = tls.connect(name, tcp.into_inner()).await?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let io = TokioIo::new(Either::Left(stream));
        Ok(if http2 { Connection::http2(io).await? } else { Connection::http1(io).await? })
    }
}

impl Proxy {
    fn new(url: Url) -> Result<Self, SetupError> {
        let plain = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
        let named = !url.username().is_empty() || url.password().is_some();
        let authorization = named.then(|| basic(&plain(url.username()), &plain(url.password().unwrap_or_default())));
        let uri = format!("http://{}", &url[Position::BeforeHost..Position::AfterPort]).parse()?;
        Ok(Self { url, uri, authorization })
    }
}

/// What kept a connection from being made or broke it, by the innermost cause: the system's or the TLS library's
/// sentence.
pub(super) fn innermost<'e>(error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    let mut cause = error;
    while let Some(deeper) = deeper(cause) {
        cause = deeper;
    }
    cause
}

/// An I/O error gives as its source not the error that it wraps, but that one's source.
fn deeper<'e>(cause: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => cause.source(),
    }
}

/// Whether it took too long.
pub(super) fn is_late(error: &(dyn Error + 'static)) -> bool {
    let timed_out = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
    std::iter::successors(Some(error), |error| deeper(*error)).any(|error| error.downcast_ref().is_some_and(timed_out))
}
