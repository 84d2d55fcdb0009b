//! Which Redis is talked to: one server, the primary that sentinels name, or the nodes of a cluster, each key at its own.
//! After a failover the sentinels are asked again with the next new connection; a cluster's nodes tell where a slot went.
//!
//! Each request is about one key, so nothing has to be in the same slot as something else.

use super::names::Names;
use percent_encoding::percent_decode_str;
use redis::aio::MultiplexedConnection;
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::SingleNodeRoutingInfo;
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo, Pipeline, RedisError, RedisResult,
    TlsCertificates, TlsMode, Value,
};
use socket2::TcpKeepalive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use url::Url;

/// From when on the system asks whether the other side of a quiet connection is still there, and how often.
const PROBE: Duration = Duration::from_secs(10);
/// After so many probes without an answer the connection has ended.
const PROBES: u32 = 3;
/// After so long without a word that what was sent has arrived, the connection has ended.
const UNHEARD: Duration = Duration::from_secs(5);
/// How long a node of a cluster has to accept a connection: another one may know better.
const NODE: Duration = Duration::from_millis(300);
/// How often a cluster is asked again where a slot is, and how long that waits in between, in milliseconds: all of it
/// within one attempt.
const RETRIES: u32 = 3;
const RETRY: u64 = 50;
const LONGEST_RETRY: u64 = 100;
const SENTINEL_PORT: u16 = 26379;
const REDIS_PORT: u16 = 6379;

/// Where requests go.
pub(super) enum Server {
    One(Client),
    Sentinels(Sentinels),
    Cluster(Box<ClusterClient>),
}

/// Those who know which server is the primary.
pub(super) struct Sentinels {
    url: ListUrl,
    root_cert: Option<Vec<u8>>,
    /// Whom to ask first: another one each time, since one that is silent takes all the time that an attempt has.
    first: AtomicUsize,
}

/// A connection there.
#[derive(Clone)]
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Server {
    /// For `redis://…`, `redis+sentinel://…`, `redis+cluster://…` and the same with `rediss`. Nobody is asked for anything
    /// yet.
    ///
    /// # Errors
    /// When URL or certificate cannot be used.
    pub(super) fn parse(url: &str, root_cert: Option<Vec<u8>>) -> RedisResult<Self> {
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        if let Some(("redis" | "rediss", kind)) = scheme.split_once('+') {
            return match kind {
                "sentinel" => Sentinels::parse(url, root_cert).map(Self::Sentinels),
                _ => ListUrl::parse(url, REDIS_PORT)?.cluster(root_cert).map(|client| Self::Cluster(Box::new(client))),
            };
        }
        let server = url.into_connection_info()?.set_tcp_settings(tcp());
        Ok(Self::One(match root_cert {
            Some(_) => Client::build_with_tls(server, certificates(root_cert))?,
            None => Client::open(server)?,
        }))
    }

    /// Connects.
    ///
    /// # Errors
    /// When nobody answers, or none of those who do is the primary.
    pub(super) async fn connect(&self, config: &AsyncConnectionConfig) -> RedisResult<Connection> {
        match self {
            Self::One(client) => client.get_multiplexed_async_connection_with_config(config).await.map(Connection::One),
            Self::Sentinels(sentinels) => {
                let mut client = sentinels.client(sentinels.first.fetch_add(1, Ordering::Relaxed))?;
                client.get_async_connection_with_config(config).await.map(Connection::One)
            }
            Self::Cluster(client) => client.get_async_connection().await.map(Connection::Cluster),
        }
    }
}

impl Connection {
    /// Makes requests one after the other: of a cluster at the node that has their key, or at `node`.
    ///
    /// # Errors
    /// When the connection fails, or the cluster does not know the node.
    pub(super) async fn ask(
        &mut self,
        requests: &Pipeline,
        node: Option<SingleNodeRoutingInfo>,
    ) -> RedisResult<Vec<RedisResult<Value>>> {
        match (self, node) {
            (Self::One(connection), _) => requests.query_async(connection).await,
            (Self::Cluster(connection), None) => requests.query_async(connection).await,
            (Self::Cluster(connection), Some(node)) => {
                let answers = connection.route_pipeline(requests.clone(), 0, requests.len(), node).await?;
                Ok(answers.into_iter().map(Value::extract_error).collect())
            }
        }
    }
}

impl Sentinels {
    fn parse(url: &str, root_cert: Option<Vec<u8>>) -> RedisResult<Self> {
        let url = ListUrl::parse(url, SENTINEL_PORT)?;
        if url.path.first().is_none_or(String::is_empty) || url.path.len() > 2 {
            return Err(invalid());
        }
        let sentinels = Self { url, root_cert, first: AtomicUsize::new(0) };
        sentinels.client(0).map(|_| sentinels)
    }

    /// One that asks the sentinels in turn, from `first` on.
    fn client(&self, first: usize) -> RedisResult<SentinelClient> {
        let ListUrl { tls, user, password, hosts, path, sentinel_password } = &self.url;
        let mut addresses: Vec<_> = hosts
            .iter()
            .cloned()
            .map(|(host, port)| match tls {
                true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
                false => ConnectionAddr::Tcp(host, port),
            })
            .collect();
        let first = first % addresses.len().max(1);
        addresses.rotate_left(first);
        let name = path.first().map_or("", String::as_str);
        let mut builder = SentinelClientBuilder::new(addresses, name, SentinelServerType::Master)?
            .set_client_to_redis_tcp_settings(tcp())
            .set_client_to_sentinel_tcp_settings(tcp());
        if let Some(db) = path.get(1) {
            builder = builder.set_client_to_redis_db(db.parse().map_err(|_| invalid())?);
        }
        if let Some(user) = user {
            builder = builder.set_client_to_redis_username(user);
        }
        if let Some(password) = password {
            builder = builder.set_client_to_redis_password(password);
        }
        if let Some(password) = sentinel_password {
            builder = builder.set_client_to_sentinel_password(password);
        }
        if *tls {
            builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
        }
        if self.root_cert.is_some() {
            builder = builder
                .set_client_to_redis_certificates(certificates(self.root_cert.clone()))
                .set_client_to_sentinel_certificates(certificates(self.root_cert.clone()));
        }
        builder.build()
    }
}

/// A URL with several hosts, which no standard knows: `redis+sentinel://user:password@one:26379,two,[::1]/name/0`.
pub(super) struct ListUrl {
    tls: bool,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) hosts: Vec<(String, u16)>,
    /// What is between slashes behind the hosts.
    path: Vec<String>,
    /// The argument of that name.
    sentinel_password: Option<String>,
}

impl ListUrl {
    pub(super) fn parse(text: &str, port: u16) -> RedisResult<Self> {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().map(String::from).map_err(|_| invalid());
        let (scheme, rest) = text.split_once("://").ok_or_else(invalid)?;
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) =
            authority.rsplit_once('@').map_or((None, authority), |(login, hosts)| (Some(login), hosts));
        let (user, password) = match login.map(|login| login.split_once(':').ok_or_else(invalid)).transpose()? {
            None => (None, None),
            Some(("", password)) => (None, Some(decoded(password)?)),
            Some((user, password)) => (Some(decoded(user)?), Some(decoded(password)?)),
        };
        let host = |text: &str| {
            let url = Url::parse(&format!("redis://{text}")).ok().filter(|url| url.path().is_empty())?;
            let host = url.host_str().filter(|host| !host.is_empty())?;
            Some((host.trim_matches(['[', ']']).to_owned(), url.port().unwrap_or(port)))
        };
        let hosts = hosts.split(',').map(host).collect::<Option<_>>().ok_or_else(invalid)?;
        let path = path.split('/').filter(|part| !part.is_empty()).map(decoded).collect::<RedisResult<_>>()?;
        let sentinel_password = match query {
            None => None,
            Some(query) => Some(decoded(query.strip_prefix("sentinel_password=").ok_or_else(invalid)?)?),
        };
        Ok(Self { tls: scheme.starts_with("rediss"), user, password, hosts, path, sentinel_password })
    }

    fn cluster(self, root_cert: Option<Vec<u8>>) -> RedisResult<ClusterClient> {
        if self.path.iter().any(|database| database != "0") || self.sentinel_password.is_some() {
            return Err(invalid());
        }
        let nodes = self.hosts.into_iter().map(|(host, port)| match self.tls {
            true => ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None },
            false => ConnectionAddr::Tcp(host, port),
        });
        let mut builder = ClusterClientBuilder::new(nodes)
            .tcp_settings(tcp())
            .async_dns_resolver(Names::system())
            .connection_timeout(NODE)
            .retries(RETRIES)
            .min_retry_wait(RETRY)
            .max_retry_wait(LONGEST_RETRY);
        if let Some(user) = self.user {
            builder = builder.username(user);
        }
        if let Some(password) = self.password {
            builder = builder.password(password);
        }
        if self.tls {
            builder = builder.tls(TlsMode::Secure);
        }
        if root_cert.is_some() {
            builder = builder.certs(certificates(root_cert));
        }
        builder.build()
    }
}

fn certificates(root_cert: Option<Vec<u8>>) -> TlsCertificates {
    TlsCertificates { client_tls: None, root_cert }
}

fn tcp() -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(PROBE).with_interval(PROBE).with_retries(PROBES);
    TcpSettings::default().set_nodelay(true).set_keepalive(keepalive).set_user_timeout(UNHEARD)
}

fn invalid() -> RedisError {
    RedisError::from((ErrorKind::InvalidClientConfig, "not a URL of a Redis"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_hosts_is_read() {
        let parse = |text| ListUrl::parse(text, 26379);
        let url = parse("rediss+sentinel://us%40er:p%2Fw@one:1,two,[::1]:3/main/4?sentinel_password=s%20p").unwrap();
        assert_eq!((url.tls, url.user.as_deref(), url.password.as_deref()), (true, Some("us@er"), Some("p/w")));
        let hosts = [("one", 1), ("two", 26379), ("::1", 3)].map(|(host, port)| (host.to_owned(), port));
        assert_eq!((url.hosts, url.path), (hosts.to_vec(), vec!["main".to_owned(), "4".to_owned()]));
        assert_eq!(url.sentinel_password.as_deref(), Some("s p"));
        let opens = |text: &str| Server::parse(text, None).is_ok();
        for good in [
            "redis://one:1/0",
            "redis+sentinel://one/main",
            "redis+sentinel://:pw@one,two:2/main/3",
            "redis+cluster://one:1,two:2",
            "redis+cluster://:pw@one/0",
            "rediss+cluster://user:pw@one,[fd00::1]:2",
        ] {
            assert!(opens(good), "{good}");
        }
        for bad in [
            "redis+sentinel://one",
            "redis+sentinel://one/",
            "redis+sentinel:///main",
            "redis+sentinel://one,/main",
            "redis+sentinel://one/main/x",
            "redis+sentinel://one/main/0/1",
            "redis+sentinel://one/main?other=1",
            "redis+sentinel://pw@one/main",
            "redis+cluster://one/1",
            "redis+cluster://one:x",
            "redis+cluster://",
            "redis+cluster://one?sentinel_password=x",
        ] {
            assert!(!opens(bad), "{bad}");
        }
    }

    #[test]
    fn sentinels_are_asked_in_turn_however_often() {
        let Ok(Server::Sentinels(sentinels)) = Server::parse("redis+sentinel://one,two,[::1]/main", None) else {
            panic!()
        };
        for first in [0, 1, 2, 3, 100, usize::MAX] {
            assert!(sentinels.client(first).is_ok(), "{first}");
        }
    }
}
