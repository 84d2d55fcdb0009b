//! Rate limit for passwords: five attempts a minute from an address, twenty from a /48 of IPv6. A browser in which a
//! password was given before, though it may be outdated by now, has five of its own, so that strangers at its address
//! do not use up its attempts. Who cannot be told from others is not counted here; see
//! [`SharedPassword`](super::SharedPassword) for those.

use crate::clock::Clock;
use crate::net::{Client, ClientNet};
use crate::rate_limit::Limit;
use std::sync::Arc;
use std::time::Duration;

/// Most tries from one address, and with one pass.
const PER_ADDRESS: u32 = 5;
/// Most tries from one /48 of IPv6.
const PER_SITE: u32 = 20;

/// The nonce of a pass, which tells it from others.
pub(super) type Pass = [u8; 24];

/// The tries of the last minute.
pub(super) struct Attempts {
    addresses: Limit<ClientNet>,
    sites: Limit<ClientNet>,
    passes: Limit<Pass>,
}

/// One try, and where it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// With the others of the same browser.
    Pass(Pass),
    /// With the others of the same address.
    Address(ClientNet),
    /// Nowhere: the address is not known.
    Unknown,
}

/// A try that counts for as long as this is kept, and after it if the password was wrong.
pub(super) struct Counted {
    attempts: Arc<Attempts>,
    attempt: Attempt,
    was_wrong: bool,
}

impl Attempts {
    pub(super) fn new(clock: &Clock) -> Self {
        Self { addresses: Limit::new(clock), sites: Limit::new(clock), passes: Limit::new(clock) }
    }

    /// Counts a try; `Err` with the time to wait if it is one too many, which then does not count.
    pub(super) fn begin(self: &Arc<Self>, from: Client, pass: Option<Pass>) -> Result<Counted, Duration> {
        let attempt = self.count(from, pass)?;
        Ok(Counted { attempts: self.clone(), attempt, was_wrong: false })
    }

    fn count(&self, from: Client, pass: Option<Pass>) -> Result<Attempt, Duration> {
        if let Some(pass) = pass.filter(|pass| self.passes.admit(*pass, PER_ADDRESS).is_ok()) {
            return Ok(Attempt::Pass(pass));
        }
        let Some(address) = from.address else { return Ok(Attempt::Unknown) };
        self.addresses.admit(address, PER_ADDRESS)?;
        self.sites.admit(address.site(), PER_SITE).inspect_err(|_| self.addresses.give_back(address))?;
        Ok(Attempt::Address(address))
    }

    fn take_back(&self, this: Attempt) {
        match this {
            Attempt::Pass(pass) => self.passes.give_back(pass),
            Attempt::Address(address) => {
                self.addresses.give_back(address);
                self.sites.give_back(address.site());
            }
            Attempt::Unknown => {}
        }
    }
}

impl Counted {
    pub(super) fn attempt(&self) -> Attempt {
        self.attempt
    }

    /// What the password was: if it was wrong, the try stays counted.
    pub(super) fn checked(mut self, is_right: bool) {
        self.was_wrong = !is_right;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if !self.was_wrong {
            self.attempts.take_back(self.attempt);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate_limit::MINUTE;
    use std::net::IpAddr;

    fn tries() -> (Attempts, Clock) {
        let clock = Clock::system();
        (Attempts::new(&clock), clock)
    }

    fn at(text: &str) -> Client {
        let net = text.parse::<IpAddr>().unwrap().into();
        Client { address: Some(net), peer: net }
    }

    #[test]
    fn an_address_has_five_tries_a_minute() {
        let (tries, clock) = tries();
        assert!((0..5).all(|_| tries.count(at("192.0.2.1"), None).is_ok()));
        clock.advance(Duration::from_secs(50));
        let wait = tries.count(at("192.0.2.1"), None).unwrap_err();
        assert!(wait <= Duration::from_secs(10) && wait > Duration::from_secs(5), "{wait:?}");
        assert!(tries.count(at("::ffff:192.0.2.1"), None).is_err(), "the same address in another spelling");
        assert!(tries.count(at("192.0.2.2"), None).is_ok());
        clock.advance(Duration::from_secs(10));
        assert!(tries.count(at("192.0.2.1"), None).is_ok());
    }

    #[test]
    fn a_64_is_one_address_and_a_48_has_twenty_tries() {
        let (tries, clock) = tries();
        for network in 0..4 {
            for host in 1..=5 {
                assert!(tries.count(at(&format!("2001:db8:0:{network}::{host}")), None).is_ok());
            }
            assert!(tries.count(at(&format!("2001:db8:0:{network}:ffff::")), None).is_err());
        }
        assert!(tries.count(at("2001:db8:0:4::1"), None).is_err());
        assert!(tries.count(at("2001:db8:1::1"), None).is_ok(), "another /48");
        clock.advance(MINUTE);
        assert!((0..5).all(|_| tries.count(at("2001:db8:0:4::1"), None).is_ok()), "what was refused did not count");
    }

    #[test]
    fn a_thousand_strangers_leave_everybody_else_their_tries() {
        let (tries, _) = tries();
        for host in 0..1000 {
            let _ = tries.count(at(&format!("2001:db8:{host:x}::1")), None);
        }
        assert!((0..5).all(|_| tries.count(at("192.0.2.1"), None).is_ok()));
    }

    #[test]
    fn a_browser_that_held_a_pass_has_tries_of_its_own() {
        let (tries, _) = tries();
        assert!((0..5).all(|_| tries.count(at("192.0.2.1"), None).is_ok()));
        assert!((0..5).all(|_| tries.count(at("192.0.2.1"), Some([1; 24])) == Ok(Attempt::Pass([1; 24]))));
        assert!(tries.count(at("192.0.2.1"), Some([1; 24])).is_err());
        assert!(tries.count(at("192.0.2.1"), Some([2; 24])).is_ok());
        assert!(
            matches!(tries.count(at("192.0.2.2"), Some([1; 24])), Ok(Attempt::Address(_))),
            "and then its address's"
        );
    }

    #[test]
    fn who_cannot_be_told_from_others_is_not_counted() {
        let (tries, _) = tries();
        let unknown = Client { address: None, ..at("192.0.2.1") };
        assert!((0..1000).all(|_| tries.count(unknown, None) == Ok(Attempt::Unknown)));
        assert!(tries.count(at("192.0.2.1"), None).is_ok());
    }

    #[test]
    fn a_try_that_is_not_wrong_leaves_room_for_another() {
        let tries = Arc::new(tries().0);
        let begin = || tries.begin(at("2001:db8::1"), None);
        let mut made: Vec<_> = (0..5).map(|_| begin().ok().unwrap()).collect();
        assert!(begin().is_err());
        made.remove(2).checked(false);
        assert!(begin().is_err());
        made.remove(2).checked(true);
        assert!(begin().is_ok(), "and one that was never checked");
        begin().ok().unwrap().checked(false);
        assert!(begin().is_err());
    }
}
