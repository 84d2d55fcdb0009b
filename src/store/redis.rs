//! In Redis 6.2 or later, or Valkey: for many replicas. A key for each blob, `authseal:<shelf>:<64 hex digits>`, that
//! ends by itself. One primary is talked to; what it has not kept after a failover is as good as lost, see
//! docs/scaling.md.
//!
//! A request that broke off is made once more. For [`swap`](Redis::swap) that is safe because it can be seen afterwards
//! whether it was done.

use super::{Name, Shelf, StoreError};
use crate::files::{self, Readers};
use arc_swap::ArcSwap;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, Cmd, ErrorKind, FromRedisValue, RedisError, Script, ServerErrorKind, TlsCertificates};
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The largest file of certificates, in bytes; all that a system trusts take a quarter of it.
const MAX_CA_FILE: u64 = 1024 * 1024;
/// For names, TCP, TLS and authentication together.
const CONNECT: Duration = Duration::from_secs(1);
/// For one answer. A refresh asks five times or so and has 20 s; a Redis that is slower than this is down.
const ANSWER: Duration = Duration::from_secs(2);
/// How many keys a look at all of them asks for at a time.
const BATCH: usize = 500;

/// Compare and set: KEYS the key; ARGV whether something is expected, what, whether something is to be set, what, and for
/// how many milliseconds.
const SWAP: &str = "
local there = redis.call('GET', KEYS[1])
if ARGV[1] == '0' then
    if there then return 0 end
elseif there ~= ARGV[2] then
    return 0
end
if ARGV[3] == '0' then
    redis.call('DEL', KEYS[1])
else
    redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
end
return 1
";

pub(super) struct Redis {
    client: Client,
    connection: ArcSwap<ConnectionManager>,
    swap: Script,
}

impl Redis {
    pub(super) fn open(url: &SecretString, ca_file: Option<&Path>) -> Result<Self, StoreError> {
        let read = |path: &Path| match files::read(path, MAX_CA_FILE, Readers::All) {
            Ok((pem, _)) => Ok(pem.to_vec()),
            Err(error) => Err(StoreError::Redis(format!("the certificate {} cannot be used: {error}", path.display()))),
        };
        let root_cert = ca_file.map(read).transpose()?;
        let client = match root_cert {
            Some(_) => Client::build_with_tls(url.expose_secret(), TlsCertificates { client_tls: None, root_cert }),
            None => Client::open(url.expose_secret()),
        };
        let client = client.map_err(|error| told(&error))?;
        let connection = ArcSwap::from_pointee(connect(&client).map_err(|error| told(&error))?);
        Ok(Self { client, connection, swap: Script::new(SWAP) })
    }

    pub(super) async fn put(
        &self,
        shelf: Shelf,
        name: &Name,
        bytes: &[u8],
        lifetime: Duration,
    ) -> Result<(), StoreError> {
        let mut set = redis::cmd("SET");
        set.arg(key(shelf, name)).arg(bytes).arg("PX").arg(millis(lifetime));
        self.ask(&set).await
    }

    pub(super) async fn read(&self, shelf: Shelf, name: &Name) -> Result<Option<Vec<u8>>, StoreError> {
        self.ask(redis::cmd("GET").arg(key(shelf, name))).await
    }

    pub(super) async fn take(&self, shelf: Shelf, name: &Name) -> Result<Option<Vec<u8>>, StoreError> {
        self.ask(redis::cmd("GETDEL").arg(key(shelf, name))).await
    }

    pub(super) async fn swap(
        &self,
        shelf: Shelf,
        name: &Name,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
        lifetime: Duration,
    ) -> Result<bool, StoreError> {
        let mut call = self.swap.key(key(shelf, name));
        call.arg(u8::from(expected.is_some())).arg(expected.unwrap_or_default());
        call.arg(u8::from(new.is_some())).arg(new.unwrap_or_default()).arg(millis(lifetime));
        let invoke = async || {
            let mut connection = self.connection();
            call.invoke_async::<bool>(&mut connection).await.map_err(|error| self.failed(error))
        };
        match invoke().await {
            Ok(done) => Ok(done),
            Err(error) if !is_broken(&error) => Err(told(&error)),
            Err(_) => {
                let done = invoke().await.map_err(|error| told(&error))?;
                // Perhaps the first one was carried out and only its answer lost.
                Ok(done || self.read(shelf, name).await?.as_deref() == new)
            }
        }
    }

    pub(super) async fn heads(
        &self,
        shelf: Shelf,
        length: usize,
        each: &mut (dyn FnMut(&[u8]) + Send),
    ) -> Result<(), StoreError> {
        let mut cursor = 0u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(format!("{}*", prefix(shelf))).arg("COUNT").arg(BATCH);
            let (next, keys): (u64, Vec<String>) = self.ask(&scan).await?;
            for key in keys {
                let head: Vec<u8> =
                    self.ask(redis::cmd("GETRANGE").arg(key).arg(0).arg(length.saturating_sub(1))).await?;
                if !head.is_empty() {
                    each(&head);
                }
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }

    /// How Redis is set up, where that endangers what is stored in it.
    pub(super) async fn advice(&self) -> Result<Vec<String>, StoreError> {
        let info: String = self.ask(redis::cmd("INFO").arg("everything")).await?;
        let info: HashMap<_, _> = info.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
        let says = |key: &str| info.get(key).copied().unwrap_or_default();
        // Many hosted ones do not let themselves be asked; then the default is assumed.
        let fsync = self.ask::<HashMap<String, String>>(redis::cmd("CONFIG").arg("GET").arg("appendfsync")).await;
        let fsync = fsync.ok().and_then(|mut settings| settings.remove("appendfsync")).unwrap_or_default();
        let mut advice = Vec::new();
        let version: Vec<u32> = says("redis_version").split('.').filter_map(|part| part.parse().ok()).collect();
        if version < vec![6, 2] {
            advice.push(format!("Redis {} is too old: 6.2 or later is needed", says("redis_version")));
        }
        if says("aof_enabled") == "0" {
            advice.push(
                "Redis keeps no append-only file: if it stops, single-use logins that were refreshed since its last \
                 snapshot are lost; set `appendonly yes`"
                    .to_owned(),
            );
        } else if fsync == "no" {
            advice.push("Redis leaves it to the system when to write its file (`appendfsync no`): a crash of its machine loses up to half a minute of refreshes; set `appendfsync always`, or `everysec`".to_owned());
        }
        if says("maxmemory") != "0" && says("maxmemory_policy") != "noeviction" {
            advice.push(format!(
                "Redis drops entries when its memory is full (`maxmemory-policy {}`), and with them logins; set \
                 `maxmemory-policy noeviction`",
                says("maxmemory_policy")
            ));
        }
        Ok(advice)
    }

    fn connection(&self) -> ConnectionManager {
        ConnectionManager::clone(&self.connection.load())
    }

    /// One request, made once more if the connection was at fault.
    async fn ask<T: FromRedisValue>(&self, request: &Cmd) -> Result<T, StoreError> {
        let ask = async || {
            let mut connection = self.connection();
            request.query_async::<T>(&mut connection).await.map_err(|error| self.failed(error))
        };
        match ask().await {
            Err(error) if is_broken(&error) => ask().await,
            outcome => outcome,
        }
        .map_err(|error| told(&error))
    }

    /// The connection mends itself after faults of the network. After others that lie with it, and not with the request,
    /// a new one is needed: a password that was wrong, a primary that has become a replica.
    fn failed(&self, error: RedisError) -> RedisError {
        let of_the_request = matches!(error.kind(), ErrorKind::Server(kind) if kind != ServerErrorKind::ReadOnly);
        if !error.is_io_error()
            && !of_the_request
            && let Ok(connection) = connect(&self.client)
        {
            self.connection.store(Arc::new(connection));
        }
        error
    }
}

/// Whether Redis can be found by that URL.
pub(super) fn is_url(text: &str) -> bool {
    redis::parse_redis_url(text).is_some_and(|url| Client::open(url).is_ok())
}

/// A connection that is made when it is first needed.
fn connect(client: &Client) -> Result<ConnectionManager, RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(Some(ANSWER))
        // Whoever waits is told at once; the next request tries again.
        .set_number_of_retries(0);
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

/// Whether the connection broke. After a time-out nothing is repeated: Redis may be busy enough.
fn is_broken(error: &RedisError) -> bool {
    error.is_connection_dropped() && !error.is_timeout() && !error.is_connection_refusal()
}

/// In our words where these say more. Redis names commands and settings in its errors, never keys or values.
fn told(error: &RedisError) -> StoreError {
    match error.kind() {
        _ if error.is_timeout() => StoreError::RedisTimedOut,
        ErrorKind::AuthenticationFailed => StoreError::Redis(
            "it does not accept the password; put the right one into the URL, `redis://:PASSWORD@HOST:6379/0`"
                .to_owned(),
        ),
        _ if error.code() == Some("OOM") => StoreError::Redis("its memory is full; raise its `maxmemory`".to_owned()),
        _ => StoreError::Redis(error.to_string()),
    }
}

fn prefix(shelf: Shelf) -> String {
    format!("authseal:{}:", shelf.as_str())
}

fn key(shelf: Shelf, name: &Name) -> String {
    name.iter().fold(prefix(shelf), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn millis(lifetime: Duration) -> u64 {
    u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX).max(1)
}
