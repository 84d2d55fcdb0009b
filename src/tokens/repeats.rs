//! AuthIDs that brought a remembered access token, and so came more than once within its life, as most do not. One that
//! comes again is recognised by a keyed digest of its whole text, so that the answer needs no cipher. Neither the text
//! is kept nor anything secret that was in it.
//!
//! An entry says what an AuthID opened to, and under which keyring. It does not say that the AuthID may be used: the
//! keyring, the denylist, the service and the age of the access token are looked at each time, as they are after
//! opening. What does not pass is opened again, by the code that knows the reasons.
//!
//! Whoever found a text with the digest of somebody else's AuthID would get that user's access tokens. So the digest is
//! a pseudorandom function with 128 bits of output (SipHash-2-4) under a random key of this process. Digests never
//! leave it: a collision cannot be searched for elsewhere, each try is a request, and hits one of N entries by chance
//! once in 2^128 / N, less than a forged tag of the cipher itself (RFC 8439 section 4). An output of 64 bits, which is
//! enough for hash tables, would not be.

use super::{Granted, Inner, Opened, Source, TokenService, rotation};
use crate::authid::{AppId, Envelope, GrantId, ServiceId};
use crate::clock::{Clock, UnixTime};
use crate::lru::Lru;
use crate::meter::Repetition;
use crate::seal::{Epoch, KeyringNumber, random};
use crate::store::Name;
use siphasher::sip128::SipHasher24;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most AuthIDs remembered; above it the least recently used go. As many as there are access tokens in memory, at about
/// 300 bytes each.
const MOST: u64 = 60_000;

/// AuthIDs by their digests.
pub(super) struct Repeats {
    /// `None` without randomness: then none is recognised.
    key: Option<SipHasher24>,
    known: Lru<u128, Arc<Known>, BuildHasherDefault<AsItIs>>,
}

/// The hash of a digest, which is as good as random already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write_u128(&mut self, digest: u128) {
        self.0 = digest as u64;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("keys are digests");
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What an AuthID opened to.
struct Known {
    keyring: KeyringNumber,
    epoch: Epoch,
    service: ServiceId,
    grant: GrantId,
    login_at: UnixTime,
    app: Option<AppId>,
    /// Where refresh tokens work once.
    record: Option<Name>,
    counted: Repetition,
}

/// An AuthID that came again.
pub struct Repeat {
    /// What it gave.
    pub granted: Granted,
    /// Its login.
    pub grant: GrantId,
    /// Its epoch.
    pub epoch: Epoch,
}

impl Repeats {
    /// Knows none.
    pub(super) fn new(clock: &Clock) -> Self {
        Self::with_room(MOST, clock)
    }

    fn with_room(most: u64, clock: &Clock) -> Self {
        let key = random::<16>().ok().map(|key| SipHasher24::new_with_key(&key));
        Self { key, known: Lru::new(most, Duration::MAX, clock) }
    }

    fn digest(&self, authid: &str) -> Option<u128> {
        self.key.as_ref().map(|key| key.hash(authid.as_bytes()).as_u128())
    }
}

impl TokenService {
    /// What an AuthID gives that was [remembered](Self::remember), if no provider and no store has to be asked. `begun`
    /// is when it came; it is counted, but not once more as a login of its registration: the first time was within the
    /// life of this access token.
    pub fn repeat(&self, authid: &str, begun: Instant) -> Option<Repeat> {
        let Inner { repeats, keyring, clock, .. } = &*self.0;
        let known = repeats.known.get(&repeats.digest(authid)?)?;
        let Known { epoch, grant, login_at, app, .. } = *known;
        let is_in_force = known.keyring == keyring.load().number();
        if !is_in_force || self.0.denies(&known.service, epoch, grant, login_at).is_some() {
            return None;
        }
        let service = self.0.served(&known.service, app).ok()?;
        let at = clock.moment();
        // What is late may be renewed with the refresh token, which only the AuthID has.
        let access = self.0.cached(grant, || known.record, service, at).filter(|access| !access.is_late(grant, at))?;
        known.counted.now(at.instant.saturating_duration_since(begun), at.now);
        let expires_in = access.left(at).as_secs();
        let service = known.service.clone();
        let granted = Granted { access, expires_in, service, source: Source::Memory, resealed: None };
        Some(Repeat { granted, grant, epoch })
    }

    /// Remembers what a sealed AuthID opened to, which brought an access token. Only in its one spelling: others open
    /// too, and would fill the room.
    pub fn remember(&self, authid: &str, opened: &Opened) {
        let Inner { repeats, meter, .. } = &*self.0;
        let Some((epoch, keyring)) = opened.sealed() else { return };
        let Some(digest) = repeats.digest(authid).filter(|_| Envelope::is_canonical(authid)) else { return };
        let login = &opened.login;
        let rotates = self.0.served(&login.service, login.app).is_ok_and(|service| self.0.is_single_use(service));
        let known = Known {
            keyring,
            epoch,
            service: login.service.clone(),
            grant: login.id,
            login_at: login.login_at,
            app: login.app,
            record: rotates.then(|| rotation::name(login)),
            counted: meter.repetition(login.service.as_str(), epoch.number(), Source::Memory.label()),
        };
        repeats.known.insert(digest, Arc::new(known));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Meter;
    use crate::seal::testing::{epoch, keyring};

    #[test]
    fn the_room_is_bounded_and_digests_are_of_this_process() {
        let [one, other] = [(); 2].map(|_| Repeats::with_room(100, &Clock::system()));
        assert_eq!(one.digest("v3"), one.digest("v3"));
        assert_ne!(one.digest("v3"), other.digest("v3"), "each has a key of its own");
        let known = Arc::new(Known {
            keyring: keyring(1, &[1]).number(),
            epoch: epoch(1),
            service: ServiceId::parse("drive").unwrap(),
            grant: GrantId::new([1; 16]),
            login_at: 0,
            app: None,
            record: None,
            counted: Meter::default().repetition("drive", 1, "cached"),
        });
        for number in 0..10_000 {
            one.known.insert(one.digest(&number.to_string()).unwrap(), known.clone());
        }
        assert_eq!(one.known.lock().iter().count(), 100);
        assert!(one.known.get(&one.digest("9999").unwrap()).is_some(), "the newest stays");
    }
}
