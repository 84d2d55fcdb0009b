//! In Redis 6.2 or later, or Valkey: for many replicas. A key for each blob, `authseal:<shelf>:<64 hex digits>`, that
//! ends by itself, by the clock of Redis's machine. A primary is talked to; what it has not kept after a failover is as
//! good as lost, see docs/scaling.md. How a connection to it is got is left to [`line`](super::line).
//!
//! A request may be carried out twice, or late. [`swap`](Redis::swap) compares, so that it can be seen afterwards whether
//! it was done; a put brings the same blob again, and a take that was done for nobody costs an entry of the mailbox.

mod heads;

use super::advice::{self, READ_ONLY};
use super::copies::Copies;
use super::line::{Answer, Line, requests};
use super::server::Server;
use super::{Name, Shelf, StoreError};
use crate::clock::UnixTime;
use crate::files::{self, Readers};
use crate::meter::Meter;
use redis::cluster_routing::SingleNodeRoutingInfo;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, Value, from_redis_value};
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The largest file of certificates, in bytes; all that a system trusts take a quarter of it.
const MAX_CA_FILE: u64 = 1024 * 1024;
/// Compare-and-swap: KEYS the key; ARGV whether something is expected, what, whether something is to be set, what, and for
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
    line: Line,
    copies: Option<Copies>,
    replaced: Arc<AtomicBool>,
}

impl Redis {
    pub(super) fn open(url: &SecretString, ca_file: Option<&Path>, wait: u32) -> Result<Self, StoreError> {
        let read = |path: &Path| match files::read(path, MAX_CA_FILE, Readers::All) {
            Ok((pem, _)) => Ok(pem.to_vec()),
            Err(error) => Err(StoreError::Redis(format!("the certificate {} cannot be used: {error}", path.display()))),
        };
        let root_cert = ca_file.map(read).transpose()?;
        let server = Arc::new(Server::parse(url.expose_secret(), root_cert).map_err(|error| told(&error))?);
        let replaced = Arc::new(AtomicBool::new(false));
        let copies = (wait > 0).then(|| Copies::new(Line::new(server.clone(), replaced.clone()), wait));
        Ok(Self { line: Line::new(server, replaced.clone()), copies, replaced })
    }

    /// Has writes counted that too few replicas of Redis have.
    pub(super) fn count(&mut self, meter: Meter) {
        if let Some(copies) = &mut self.copies {
            copies.count(meter);
        }
    }

    /// Whether there is a new connection, perhaps to another server, since this was last asked.
    pub(super) fn was_replaced(&self) -> bool {
        self.replaced.swap(false, Ordering::AcqRel)
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
        self.write(shelf, set).await.map(|_| ())
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
        let mut call = redis::cmd("EVAL");
        call.arg(SWAP).arg(1).arg(key(shelf, name));
        call.arg(u8::from(expected.is_some())).arg(expected.unwrap_or_default());
        call.arg(u8::from(new.is_some())).arg(new.unwrap_or_default()).arg(millis(lifetime));
        let answer = self.write(shelf, call).await?;
        let done: bool = read_as(answer.first)?;
        // Perhaps the first one was carried out and only its answer lost.
        Ok(done || answer.repeated && self.read(shelf, name).await?.as_deref() == new)
    }

    /// How Redis is set up, where that endangers what is stored in it.
    pub(super) async fn advice(&self, now: UnixTime) -> Result<Vec<String>, StoreError> {
        let info: String = self.ask_one(redis::cmd("INFO").arg("everything")).await?;
        // Many hosted ones do not let themselves be asked; then the default is assumed.
        let fsync = self.ask_one::<HashMap<String, String>>(redis::cmd("CONFIG").arg("GET").arg("appendfsync")).await;
        let fsync = fsync.ok().and_then(|mut settings| settings.remove("appendfsync")).unwrap_or_default();
        Ok(advice::on(&info, &fsync, self.copies.as_ref().map_or(0, Copies::wanted), now))
    }

    pub(super) async fn ask<T: FromRedisValue>(&self, request: &Cmd) -> Result<T, StoreError> {
        self.ask_at(None, request).await
    }

    /// A request about no key: of a cluster, at any primary.
    async fn ask_one<T: FromRedisValue>(&self, request: &Cmd) -> Result<T, StoreError> {
        self.ask_at(Some(SingleNodeRoutingInfo::RandomPrimary), request).await
    }

    async fn ask_at<T: FromRedisValue>(
        &self,
        node: Option<SingleNodeRoutingInfo>,
        request: &Cmd,
    ) -> Result<T, StoreError> {
        let asked = self.line.ask_at(node, &requests([request.clone()])).await;
        read_as(asked.map_err(|error| told(&error))?.first)
    }

    /// A request that changes something on a shelf.
    async fn write(&self, shelf: Shelf, request: Cmd) -> Result<Answer, StoreError> {
        let written = match &self.copies {
            Some(copies) if shelf.is_durable() => copies.write(&self.line, request).await,
            _ => self.line.ask(&requests([request])).await,
        };
        written.map_err(|error| told(&error))
    }
}

/// Whether Redis can be found by that URL.
pub(super) fn is_url(text: &str) -> bool {
    Server::parse(text, None).is_ok()
}

fn read_as<T: FromRedisValue>(value: Value) -> Result<T, StoreError> {
    from_redis_value(value).map_err(|error| StoreError::Redis(error.to_string()))
}

/// In our words where these say more. Redis names commands and settings in its errors, never keys or values.
fn told(error: &RedisError) -> StoreError {
    match error.kind() {
        _ if error.is_timeout() => StoreError::TimedOut,
        ErrorKind::AuthenticationFailed => StoreError::Redis(
            "it does not accept the password; put the right one into the URL, `redis://:PASSWORD@HOST:6379/0`"
                .to_owned(),
        ),
        _ if error.code() == Some("OOM") => StoreError::Redis("its memory is full; raise its `maxmemory`".to_owned()),
        ErrorKind::Server(ServerErrorKind::ReadOnly) => StoreError::Redis(format!("it {READ_ONLY}")),
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
