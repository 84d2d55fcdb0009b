//! A log that replicas share: entries in the order in which they came, each with an id. Only Redis has one, as a stream.
//! It is cut at the beginning by whoever has put all of it at the end again.
//!
//! Whether it is still the log that a reader knows is seen by the reader's last entry: if that is gone, entries after it
//! may be others than those that were to come.

use super::health::Verb;
use super::{Kind, Store, StoreError};

/// The stream's key.
const KEY: &str = "authseal:revocations";

/// An entry of the log.
pub struct LogEntry {
    /// Its id.
    pub id: String,
    /// What was appended.
    pub bytes: Vec<u8>,
}

/// What Redis says of an entry: its id, its fields and their values.
type Raw = (String, Vec<Vec<u8>>);

impl Store {
    /// The first `count` entries from `id` on, that one included, or from the beginning. Nothing without a log.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn log_read(&self, id: Option<&str>, count: usize) -> Result<Vec<LogEntry>, StoreError> {
        let Kind::Redis(redis) = &self.kind else { return Ok(Vec::new()) };
        let mut range = redis::cmd("XRANGE");
        range.arg(KEY).arg(id.unwrap_or("-")).arg("+").arg("COUNT").arg(count);
        let entries: Vec<Raw> = self.timed(Verb::Follow, redis.ask(&range)).await?;
        let entry = |(id, fields): Raw| LogEntry { id, bytes: fields.into_iter().nth(1).unwrap_or_default() };
        Ok(entries.into_iter().map(entry).collect())
    }

    /// Adds an entry; perhaps twice.
    ///
    /// # Errors
    /// When the store fails. Then it may have been done.
    pub async fn log_append(&self, bytes: &[u8]) -> Result<(), StoreError> {
        let Kind::Redis(redis) = &self.kind else { return Ok(()) };
        let mut add = redis::cmd("XADD");
        add.arg(KEY).arg("*").arg("e").arg(bytes);
        self.timed(Verb::Publish, redis.ask::<String>(&add)).await.map(drop)
    }

    /// How many entries there are.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn log_len(&self) -> Result<usize, StoreError> {
        let Kind::Redis(redis) = &self.kind else { return Ok(0) };
        self.timed(Verb::Follow, redis.ask(redis::cmd("XLEN").arg(KEY))).await
    }

    /// Drops all entries before `id`.
    ///
    /// # Errors
    /// When the store fails. Then it may have been done.
    pub async fn log_trim(&self, id: &str) -> Result<(), StoreError> {
        let Kind::Redis(redis) = &self.kind else { return Ok(()) };
        let mut trim = redis::cmd("XTRIM");
        trim.arg(KEY).arg("MINID").arg(id);
        self.timed(Verb::Publish, redis.ask::<i64>(&trim)).await.map(drop)
    }
}
