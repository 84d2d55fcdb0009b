//! Over the log in Redis: what others wrote is read twice a second, and what the own file has that the log lacks is
//! written.
//!
//! No place in the log is kept over a restart: all of it is read again, which changes nothing where nothing is new. So it
//! is after an outage that cost Redis a part of the log; whoever has what is missing writes it once more. The log is kept
//! short by a replica that puts its whole denylist at the end and cuts what was before: a reader that was away finds
//! everything behind the cut.

use super::progress::Progress;
use super::sealed::{open, seal, texts};
use super::{Fault, MAX_HELD, Parts, own};
use crate::denylist::{Change, Rules};
use crate::seal::{Keyring, random};
use crate::store::{Name, Shelf, Store};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// How often the log is read. What is revoked is in force everywhere after two of these and two writings.
const TICK: Duration = Duration::from_millis(500);
/// How many entries are asked for at a time: 2 MB at most.
const PAGE: usize = 64;
/// How many entries the log may have beside those that hold all rules, before it is cut.
const SLACK: usize = 1000;
/// How many rules an entry holds at least where there are many.
const RULES_IN_ENTRY: usize = 150;
/// How often its length is asked for: in ticks.
const SHORTEN: u32 = 20;
/// Who writes many entries does it alone for so long.
const TURN: Duration = Duration::from_secs(60);
const TURN_NAME: Name = *b"authseal replication turn\0\0\0\0\0\0\0";

pub(super) struct SharedLog {
    parts: Parts,
    store: Arc<Store>,
    progress: Arc<Progress>,
    /// The last entry that was read.
    cursor: Option<String>,
    /// What all entries up to there say.
    known: Rules,
    /// Own rules of which the log has all.
    said: Option<Arc<Rules>>,
    /// Own rules that were last held against it while it could not be reached.
    counted: Option<Arc<Rules>>,
    /// How many of the entries did not open, and with which keyring.
    unopened: (usize, Arc<Keyring>),
    slack: usize,
    until_shorten: u32,
}

impl SharedLog {
    pub(super) fn new(parts: Parts, store: Arc<Store>, progress: Arc<Progress>) -> Self {
        let unopened = (0, parts.keyring());
        let (known, slack, until_shorten) = (Rules::default(), SLACK, SHORTEN);
        Self { parts, store, progress, cursor: None, known, said: None, counted: None, unopened, slack, until_shorten }
    }

    pub(super) async fn run(mut self) {
        loop {
            match self.round().await {
                Ok(()) => self.progress.caught_up(),
                Err(error) => {
                    self.progress.failed(error);
                    // Counted, although it cannot be sent now.
                    let rules = self.parts.denylist.rules();
                    if !self.counted.replace(rules.clone()).is_some_and(|counted| Arc::ptr_eq(&counted, &rules)) {
                        let _ = self.news().await;
                    }
                }
            }
            sleep(TICK).await;
        }
    }

    async fn round(&mut self) -> Result<(), Fault> {
        let keyring = self.parts.keyring();
        if self.unopened.0 > 0 && !Arc::ptr_eq(&keyring, &self.unopened.1) {
            self.forget();
        }
        self.unopened.1 = keyring;
        self.read().await?;
        // An editor, or a copy that was put back, took rules out that nobody has removed.
        if !self.is_said() && !self.known.are_known_to(&self.parts.denylist.rules()) {
            self.forget();
            self.read().await?;
        }
        self.write().await?;
        self.until_shorten = self.until_shorten.saturating_sub(1);
        if self.until_shorten == 0 {
            self.until_shorten = SHORTEN;
            self.shorten().await?;
        }
        Ok(())
    }

    /// Whether all own rules are in the log.
    fn is_said(&self) -> bool {
        self.said.as_ref().is_some_and(|said| Arc::ptr_eq(said, &self.parts.denylist.rules()))
    }

    /// Begins from nothing.
    fn forget(&mut self) {
        (self.cursor, self.known, self.said) = (None, Rules::default(), None);
        self.unopened.0 = 0;
    }

    /// Reads to the end of the log and makes the changes of others.
    async fn read(&mut self) -> Result<(), Fault> {
        let mut changes = Vec::new();
        let mut ahead = self.cursor.clone();
        let mut refused = 0;
        loop {
            let mut entries = self.store.log_read(ahead.as_deref(), PAGE).await?.into_iter();
            let whole = entries.len() == PAGE;
            if ahead.is_some() && entries.next().map(|entry| entry.id) != ahead {
                self.forget();
                (changes, ahead, refused) = (Vec::new(), None, 0);
                continue;
            }
            for entry in entries {
                match open(&self.unopened.1, &entry.bytes) {
                    Some(told) => changes.extend(told),
                    None => refused += 1,
                }
                ahead = Some(entry.id);
            }
            // A removal is judged beside all that was said of its rule, in whatever order it came here.
            let rules = self.parts.denylist.rules();
            if self.cursor.is_some() && changes.iter().any(|change| change.removed && rules.lack(change)) {
                self.forget();
                (changes, ahead, refused) = (Vec::new(), None, 0);
                continue;
            }
            if !whole || changes.len() >= MAX_HELD {
                let taken = self.parts.take(std::mem::take(&mut changes)).await?;
                self.known.apply(taken);
                self.cursor.clone_from(&ahead);
            }
            if !whole {
                break;
            }
        }
        if refused > 0 {
            self.unopened.0 += refused;
            self.parts.refuse(refused, &self.progress);
        }
        Ok(())
    }

    /// Writes what the log lacks.
    async fn write(&mut self) -> Result<(), Fault> {
        while !self.is_said() {
            let rules = self.parts.denylist.rules();
            let news = self.news().await?;
            let all = news.len() < MAX_HELD;
            if !self.append(&news).await? {
                return Ok(());
            }
            self.progress.set_unsent(0);
            if all {
                self.said = Some(rules);
            }
            self.read().await?;
        }
        Ok(())
    }

    /// What the log lacks of the own rules.
    async fn news(&mut self) -> Result<Vec<Change>, Fault> {
        if self.is_said() {
            return Ok(Vec::new());
        }
        let (parts, known) = (self.parts.clone(), std::mem::take(&mut self.known));
        let looked = spawn_blocking(move || (parts.news(&known, MAX_HELD), known)).await;
        let (news, known) = looked.map_err(own)?;
        self.known = known;
        self.progress.set_unsent(news.as_ref().map_or(0, Vec::len));
        news
    }

    /// Appends `changes`; whether it did: not where another replica writes many.
    async fn append(&self, changes: &[Change]) -> Result<bool, Fault> {
        let texts = texts(changes);
        let turn = random::<16>().map_err(own)?;
        let many = texts.len() > 1;
        if many && !self.store.swap(Shelf::Mailbox, &TURN_NAME, None, Some(&turn), TURN).await? {
            return Ok(false);
        }
        for text in &texts {
            self.store.log_append(&seal(&self.unopened.1, text).map_err(own)?).await?;
        }
        if many {
            self.store.swap(Shelf::Mailbox, &TURN_NAME, Some(&turn), None, TURN).await?;
        }
        Ok(true)
    }

    /// Puts all rules at the end and cuts the log before them, if it is long. What did not open here is kept: others may
    /// be able to read it.
    async fn shorten(&mut self) -> Result<(), Fault> {
        let (Some(from), 0, true) = (self.cursor.clone(), self.unopened.0, self.is_said()) else { return Ok(()) };
        let most = self.slack + 4 * (1 + self.known.count() / RULES_IN_ENTRY);
        if self.store.log_len().await? <= most {
            return Ok(());
        }
        let parts = self.parts.clone();
        let all = spawn_blocking(move || parts.news(&Rules::default(), usize::MAX)).await.map_err(own)??;
        if self.append(&all).await? {
            self.read().await?;
            self.store.log_trim(&from).await?;
            tracing::info!(rules = all.len(), "the shared log of revocations was shortened");
        }
        Ok(())
    }
}
