//! The places of those who wait: of each request that is held, since it costs a connection and memory. Their number is
//! bounded, and nobody takes so many of them that the others are kept out: no login, and no client whose address is known.

use crate::authid::GrantId;
use crate::meter::Meter;
use crate::net::ClientNet;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most places that one login takes after a failure: eight backends at a time, each of several backups, and all of them
/// repeated.
const LOGIN_PLACES: usize = 64;
/// One client's address takes one in so many places, and so does a login whose first call is under way: all get its
/// answer. Either may always take as many as a login after a failure.
const PART: usize = 4;

/// The places of those who wait.
pub(super) struct Room {
    /// 0: half of the connections.
    most: AtomicUsize,
    connections: AtomicUsize,
    taken: AtomicUsize,
    by: Mutex<HashMap<Holder, usize>>,
    meter: Meter,
}

/// Whoever takes a place, and must leave some to others.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Holder {
    Login(GrantId),
    /// Of a client whose address is known.
    Address(ClientNet),
}

/// A place; it is free again when this is dropped.
pub(super) struct Place<'a> {
    room: &'a Room,
    holders: [Option<Holder>; 2],
}

impl Room {
    pub(super) fn new(most: Option<usize>, meter: Meter) -> Self {
        Self {
            most: AtomicUsize::new(most.unwrap_or_default()),
            connections: AtomicUsize::new(usize::MAX),
            taken: AtomicUsize::new(0),
            by: Mutex::default(),
            meter,
        }
    }

    pub(super) fn set_most(&self, most: Option<usize>) {
        self.most.store(most.unwrap_or_default(), Ordering::Relaxed);
    }

    pub(super) fn set_connections(&self, connections: usize) {
        self.connections.store(connections, Ordering::Relaxed);
    }

    fn by(&self) -> MutexGuard<'_, HashMap<Holder, usize>> {
        self.by.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn most(&self) -> usize {
        match self.most.load(Ordering::Relaxed) {
            0 => self.connections.load(Ordering::Relaxed) / 2,
            most => most,
        }
    }

    /// A place in the first one of so many parts of the room, for one of whom nobody knows who it is.
    pub(super) fn enter(&self, parts: usize) -> Option<Place<'_>> {
        let most = self.most().div_ceil(parts);
        let more = |taken| (taken < most).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        self.meter.waiting(1.0);
        Some(Place { room: self, holders: [None; 2] })
    }

    /// A place for a login of a client, if its address is known, as long as they leave some to others.
    pub(super) fn enter_as(&self, login: GrantId, address: Option<ClientNet>, has_failed: bool) -> Option<Place<'_>> {
        let mut place = self.enter(1)?;
        let part = (self.most() / PART).max(LOGIN_PLACES);
        let of_login = if has_failed { LOGIN_PLACES } else { part };
        let holders = [Some((Holder::Login(login), of_login)), address.map(|net| (Holder::Address(net), part))];
        let mut by = self.by();
        if holders.iter().flatten().any(|(holder, most)| by.get(holder).is_some_and(|taken| taken >= most)) {
            drop(by);
            return None;
        }
        for (holder, _) in holders.into_iter().flatten() {
            *by.entry(holder).or_default() += 1;
        }
        drop(by);
        place.holders = holders.map(|holder| holder.map(|(holder, _)| holder));
        Some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut by = self.room.by();
        for holder in self.holders.iter().flatten() {
            if let Entry::Occupied(mut taken) = by.entry(*holder) {
                *taken.get_mut() -= 1;
                if *taken.get() == 0 {
                    taken.remove();
                }
            }
        }
        drop(by);
        self.room.taken.fetch_sub(1, Ordering::Relaxed);
        self.room.meter.waiting(-1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_and_an_address_leave_places_to_others() {
        let room = Room::new(Some(1000), Meter::default());
        let login = |number| GrantId::new([number; 16]);
        let net = |number| Some(ClientNet::from(std::net::IpAddr::from([192, 0, 2, number])));
        let one: Vec<_> = std::iter::from_fn(|| room.enter_as(login(1), None, true)).collect();
        assert_eq!(one.len(), LOGIN_PLACES);
        let by_address: Vec<_> = (2..250).map_while(|number| room.enter_as(login(number), net(1), true)).collect();
        assert_eq!(by_address.len(), 248);
        let more: Vec<_> = std::iter::from_fn(|| room.enter_as(login(250), net(1), true)).collect();
        assert_eq!(more.len(), 2, "a quarter");
        assert!(room.enter_as(login(250), net(2), true).is_some() && room.enter_as(login(1), net(2), true).is_none());
        assert_eq!(room.taken.load(Ordering::Relaxed), one.len() + by_address.len() + more.len());
        drop((one, by_address, more));
        assert!(room.enter_as(login(1), net(1), true).is_some());
        assert!(room.by().is_empty() && room.taken.load(Ordering::Relaxed) == 0, "and none is left behind");
    }

    #[test]
    fn a_login_whose_first_call_is_under_way_takes_as_many_places_as_an_address() {
        for (most, expected) in [(1000, 250), (100, LOGIN_PLACES)] {
            let room = Room::new(Some(most), Meter::default());
            let login = GrantId::new([1; 16]);
            let all: Vec<_> = std::iter::from_fn(|| room.enter_as(login, None, false)).collect();
            assert_eq!(all.len(), expected, "of {most}");
            assert!(room.enter_as(login, None, true).is_none());
            assert!(room.enter_as(GrantId::new([2; 16]), None, true).is_some());
        }
    }

    #[test]
    fn a_room_has_so_many_places_and_a_part_of_them_for_some() {
        let room = Room::new(Some(16), Meter::default());
        let shown = |room: &Room| room.meter.render().contains("authseal_refresh_waiting 16\n");
        let some: Vec<_> = std::iter::from_fn(|| room.enter(8)).collect();
        assert_eq!(some.len(), 2);
        let others: Vec<_> = std::iter::from_fn(|| room.enter(1)).collect();
        assert!(others.len() == 14 && shown(&room));
        drop((some, others));
        assert!(room.enter(8).is_some() && !shown(&room));
        room.set_most(None);
        room.set_connections(33);
        assert_eq!(std::iter::from_fn(|| room.enter(1)).map(std::mem::forget).count(), 16, "half of the connections");
    }
}
