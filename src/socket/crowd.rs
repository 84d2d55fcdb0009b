//! All connections of one listener: who is there, who waits too long, and who has to make room.
//!
//! There is no cap for an address: whole sites are behind one proxy, which may not be known as one. Only when
//! connections are nearly used up, those that wait for their client are closed, the longest first, and first of all those
//! of an address or a site that has more than its share, even the newest of them. A request that is served is never ended.

use super::arrivals::Arrivals;
use super::conn::{Conn, Phase, Reason, Told};
use crate::clock::Clock;
use crate::meter::Meter;
use crate::net::ClientNet;
use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// How often all connections are looked at.
const ROUND: Duration = Duration::from_millis(250);
/// The same while they are nearly used up, at most.
const SHORT_ROUND: Duration = Duration::from_millis(50);
/// Who has waited for less than this is not closed in favour of others: requests and responses may be on their way.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the log says that connections are nearly used up.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Who may have any number of connections.
type Exempt = Box<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// The connections of a listener.
pub struct Crowd {
    listener: &'static str,
    max: usize,
    exempt: Exempt,
    open: Mutex<HashMap<u64, Arc<Conn>>>,
    next: AtomicU64,
    leaving: AtomicBool,
    warned: Mutex<Option<Duration>>,
    arrivals: Arc<Arrivals>,
    /// Told while they are nearly used up.
    full: Arc<Notify>,
    clock: Clock,
    meter: Meter,
}

/// A connection's place among the others; it is free again when this is dropped.
pub(super) struct Place {
    number: u64,
    conn: Arc<Conn>,
    crowd: Arc<Crowd>,
}

impl Place {
    /// Counts an end, or a request that could not be read.
    pub(super) fn count(&self, reason: Reason) {
        self.crowd.count(reason);
    }
}

impl Deref for Place {
    type Target = Arc<Conn>;

    fn deref(&self) -> &Arc<Conn> {
        &self.conn
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.open().remove(&self.number);
    }
}

impl Crowd {
    /// At most `max` connections to a `listener`, which is a word for metrics and the log, and a task that looks after
    /// them as long as there are any or may be. Loopback and who is `exempt` may have any share of them.
    pub fn new(
        listener: &'static str,
        max: usize,
        exempt: impl Fn(IpAddr) -> bool + Send + Sync + 'static,
        meter: Meter,
    ) -> Arc<Self> {
        let clock = meter.clock().clone();
        let (exempt, full) = (Box::new(exempt), Arc::<Notify>::default());
        let (open, next, leaving, warned, arrivals) = Default::default();
        let crowd = Arc::new(Self { listener, max, exempt, open, next, leaving, warned, arrivals, full, clock, meter });
        let (watched, full) = (Arc::downgrade(&crowd), crowd.full.clone());
        tokio::spawn(async move {
            while let Some(crowd) = watched.upgrade() {
                crowd.look();
                drop(crowd);
                sleep(SHORT_ROUND).await;
                let _ = timeout(ROUND - SHORT_ROUND, full.notified()).await;
            }
        });
        crowd
    }

    /// How many there may be.
    pub(super) fn max(&self) -> usize {
        self.max
    }

    pub(super) fn arrivals(&self) -> &Arc<Arrivals> {
        &self.arrivals
    }

    /// Has `pause` called when the threads cannot keep up with who connects, and `resume` when they can again.
    pub async fn keep_up<P: Future<Output = ()>, R: Future<Output = ()>>(
        &self,
        pause: impl Fn() -> P,
        resume: impl Fn() -> R,
    ) {
        loop {
            self.arrivals.are_late().await;
            tracing::debug!(self.listener, "this machine cannot keep up; nobody is accepted until it does");
            pause().await;
            self.arrivals.have_caught_up().await;
            resume().await;
        }
    }

    /// Whether nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.open().is_empty()
    }

    /// Ends each connection as soon as no request of it is served.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        self.look();
    }

    /// Lets a connection in. How many there are is bounded by who accepts them.
    pub(super) fn enter(self: &Arc<Self>, peer: Option<IpAddr>, phase: Phase) -> Place {
        let peer = peer.map(|peer| peer.to_canonical()).filter(|peer| !peer.is_loopback() && !(self.exempt)(*peer));
        let conn = Arc::new(Conn::new(peer.map(ClientNet::from), phase, self.clock.clone()));
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut open = self.open();
        open.insert(number, conn.clone());
        if self.is_full(open.len()) {
            self.full.notify_one();
        }
        drop(open);
        Place { number, conn, crowd: self.clone() }
    }

    pub(super) fn count(&self, reason: Reason) {
        self.meter.connection_ended(reason.label());
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<Conn>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether so many are nearly all that there may be.
    fn is_full(&self, open: usize) -> bool {
        open > self.max - self.max / 8
    }

    fn look(&self) {
        // Not under the lock: waking and counting take longer than looking.
        let mut open: Vec<_> = self.open().values().cloned().collect();
        self.meter.connections(self.listener, open.len(), self.max);
        let now = self.clock.uptime();
        let leaving = self.leaving.load(Ordering::Relaxed);
        for conn in &open {
            if let Some(reason) = conn.overdue(now) {
                self.end(conn, reason);
            } else if leaving && conn.may_leave() {
                conn.end();
            }
        }
        open.retain(|conn| conn.was_told() == Told::Nothing);
        if self.is_full(open.len()) {
            self.make_room(&open, now);
        }
    }

    /// Closes those of the `open` ones who have waited longest, until half of the places are free or nobody waits.
    fn make_room(&self, open: &[Arc<Conn>], now: Duration) {
        let (networks, sites) = (shares(open, |network| network), shares(open, ClientNet::site));
        let many = |network| {
            networks.get(&network) > Some(&(self.max / 8)) || sites.get(&network.site()) > Some(&(self.max / 4))
        };
        let waiting = open.iter().filter_map(|conn| {
            let (few, since) = (!conn.network.is_some_and(many), conn.waits_since()?);
            (!few || now.saturating_sub(since) >= PATIENCE).then_some((few, since, conn))
        });
        let mut waiting: Vec<_> = waiting.collect();
        waiting.sort_unstable_by_key(|(few, since, _)| (*few, *since));
        waiting.truncate(open.len().saturating_sub(self.max / 2));
        let closed = waiting.iter().filter(|(_, _, conn)| self.end(conn, Reason::Crowded)).count();
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|before| now.saturating_sub(before) >= WARN_EVERY) {
            *warned = Some(now);
            let (listener, open, max) = (self.listener, open.len(), self.max);
            tracing::warn!(
                listener,
                open,
                max,
                closed,
                "connections are nearly used up; those that wait longest are closed"
            );
        }
    }

    fn end(&self, conn: &Conn, reason: Reason) -> bool {
        let first = conn.end();
        if first {
            self.count(reason);
        }
        first
    }
}

/// How many of the `open` ones come from each `group` of addresses.
fn shares(open: &[Arc<Conn>], group: fn(ClientNet) -> ClientNet) -> HashMap<ClientNet, usize> {
    let mut shares = HashMap::new();
    open.iter().filter_map(|conn| conn.network).for_each(|network| *shares.entry(group(network)).or_default() += 1);
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Names;

    const MAX: usize = 80;

    fn crowd(clock: &Clock) -> Arc<Crowd> {
        let proxy = |peer: IpAddr| peer.to_string() == "192.0.2.80";
        Crowd::new("test", MAX, proxy, Meter::new(clock.clone(), Names::default()))
    }

    /// So many connections, from an address each or from the one that has no `{}`.
    fn enter(crowd: &Arc<Crowd>, peer: &str, count: usize) -> Vec<Place> {
        let peer = |number: usize| peer.replace("{}", &number.to_string()).parse().unwrap();
        (0..count).map(|number| crowd.enter(Some(peer(number)), Phase::Idle)).collect()
    }

    fn left(places: &[Place]) -> usize {
        places.iter().filter(|place| place.was_told() == Told::Nothing).count()
    }

    #[tokio::test]
    async fn nobody_makes_room_before_it_is_needed() {
        let clock = Clock::system();
        let crowd = crowd(&clock);
        let places = enter(&crowd, "203.0.113.9", MAX - MAX / 8);
        clock.advance(Duration::from_secs(20));
        crowd.look();
        assert_eq!(left(&places), places.len());
    }

    #[tokio::test]
    async fn the_longest_waiting_make_room_and_who_is_served_does_not() {
        let clock = Clock::system();
        let crowd = crowd(&clock);
        let served = enter(&crowd, "198.51.100.{}", 20);
        served.iter().for_each(|place| place.called(0));
        clock.advance(Duration::from_secs(5));
        let waiting = enter(&crowd, "203.0.113.{}", 30);
        clock.advance(Duration::from_secs(5));
        let later = enter(&crowd, "203.0.113.1{}", 20);
        clock.advance(Duration::from_secs(2));
        let now = enter(&crowd, "203.0.113.2{}", 5);
        crowd.look();
        assert_eq!([&served, &waiting, &later, &now].map(|places| left(places)), [20, 0, 15, 5]);
        // Those who were told are not gone yet, and nobody is told in their place.
        crowd.look();
        assert_eq!(left(&later), 15);
        drop((served, waiting, later, now));
        assert!(crowd.open().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_of_an_address_make_room_at_once_where_others_have_a_moment() {
        let crowd = crowd(&Clock::system());
        let few = enter(&crowd, "198.51.100.{}", MAX / 2);
        tokio::task::yield_now().await; // after the first look, which nobody had to ask for
        let many = enter(&crowd, "203.0.113.9", MAX / 2);
        assert_eq!(left(&many), MAX / 2);
        sleep(2 * SHORT_ROUND).await; // and nobody waits for the next round
        assert_eq!([left(&few), left(&many)], [MAX / 2, 0]);
    }

    #[tokio::test]
    async fn an_address_that_has_more_than_its_share_makes_room_first() {
        for (many, first) in [
            ("203.0.113.9", true),
            ("::ffff:203.0.113.9", true),
            ("2001:db8:1:2::{}", true),
            ("2001:db8:1:{}::1", true), // a site
            ("2001:db8:{}::1", false),
            ("192.0.2.80", false), // a proxy of ours
            ("127.0.0.{}", false),
            ("::1", false),
        ] {
            let clock = Clock::system();
            let crowd = crowd(&clock);
            let few = enter(&crowd, "198.51.100.{}", 40);
            clock.advance(Duration::from_secs(5));
            let many_of_one = enter(&crowd, many, 35);
            clock.advance(Duration::from_secs(5));
            crowd.look();
            assert_eq!([left(&few), left(&many_of_one)], if first { [40, 0] } else { [5, 35] }, "{many}");
        }
    }
}
