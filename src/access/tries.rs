//! How many passwords may be tried: five a minute from one address, thirty in all. The second bound keeps the list of
//! tries short, so that it needs no other. A restart forgets them.

use crate::clock::Clock;
use crate::login::ClientNet;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The time that the bounds are for.
const WINDOW: Duration = Duration::from_secs(60);
/// Most tries from one address.
const PER_ADDRESS: usize = 5;
/// Most tries in all.
const IN_ALL: usize = 30;

/// The tries of the last minute, oldest first.
pub(super) struct Tries {
    recent: Mutex<VecDeque<Try>>,
    clock: Clock,
}

/// One try.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Try {
    at: Duration,
    from: ClientNet,
}

impl Tries {
    pub(super) fn new(clock: Clock) -> Self {
        Self { recent: Mutex::default(), clock }
    }

    /// Counts a try; `Err` with the time to wait if it is one too many, which then does not count.
    pub(super) fn begin(&self, from: ClientNet) -> Result<Try, Duration> {
        let this = Try { at: self.clock.uptime(), from };
        let mut recent = self.lock();
        recent.retain(|old| old.at + WINDOW > this.at);
        let mut same = recent.iter().filter(|old| old.from == this.from);
        let in_the_way = match same.clone().count() {
            count if count >= PER_ADDRESS => same.next(),
            _ if recent.len() >= IN_ALL => recent.front(),
            _ => None,
        };
        if let Some(old) = in_the_way {
            return Err((old.at + WINDOW).saturating_sub(this.at));
        }
        recent.push_back(this);
        Ok(this)
    }

    /// Takes a try back.
    pub(super) fn forgive(&self, this: Try) {
        let mut recent = self.lock();
        if let Some(at) = recent.iter().position(|other| *other == this) {
            recent.remove(at);
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Try>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tries() -> (Tries, Clock) {
        let clock = Clock::system();
        (Tries::new(clock.clone()), clock)
    }

    fn address(text: &str) -> ClientNet {
        text.parse::<std::net::IpAddr>().unwrap().into()
    }

    #[test]
    fn an_address_has_five_tries_a_minute() {
        let (tries, clock) = tries();
        for _ in 0..5 {
            assert!(tries.begin(address("192.0.2.1")).is_ok());
            clock.advance(Duration::from_secs(10));
        }
        let wait = tries.begin(address("192.0.2.1")).err().unwrap();
        assert!(wait <= Duration::from_secs(10) && wait > Duration::from_secs(5), "{wait:?}");
        assert!(tries.begin(address("::ffff:192.0.2.1")).is_err(), "the same address in another spelling");
        assert!(tries.begin(address("192.0.2.2")).is_ok());
        clock.advance(Duration::from_secs(10));
        assert!(tries.begin(address("192.0.2.1")).is_ok(), "the oldest is forgotten");
        assert!(tries.begin(address("192.0.2.1")).is_err(), "the others are not");
    }

    #[test]
    fn a_64_is_one_address() {
        let (tries, _) = tries();
        for host in 1..=5 {
            assert!(tries.begin(address(&format!("2001:db8::{host}"))).is_ok());
        }
        assert!(tries.begin(address("2001:db8::ffff:1")).is_err());
        assert!(tries.begin(address("2001:db8:0:1::1")).is_ok());
    }

    #[test]
    fn there_are_thirty_tries_a_minute_in_all() {
        let (tries, clock) = tries();
        for host in 1..=30 {
            assert!(tries.begin(address(&format!("192.0.2.{host}"))).is_ok());
        }
        for host in 31..=99 {
            assert!(tries.begin(address(&format!("192.0.2.{host}"))).is_err());
        }
        assert_eq!(tries.lock().len(), 30);
        clock.advance(WINDOW);
        assert!(tries.begin(address("192.0.2.31")).is_ok());
        assert_eq!(tries.lock().len(), 1);
    }

    #[test]
    fn a_try_taken_back_leaves_room_for_another() {
        let (tries, _) = tries();
        let made: Vec<_> = (0..5).map(|_| tries.begin(address("192.0.2.1")).unwrap()).collect();
        assert!(tries.begin(address("192.0.2.1")).is_err());
        tries.forgive(made[2]);
        tries.forgive(made[2]);
        assert!(tries.begin(address("192.0.2.1")).is_ok());
        assert!(tries.begin(address("192.0.2.1")).is_err());
    }
}
