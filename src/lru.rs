//! What may be forgotten: a table with room for so much, in which what was used least recently makes room for what is
//! new. All that the process remembers of requests, and could do without, is in tables of this one kind.
//!
//! A new entry is always taken, since somebody waits for it. What has had its life is never handed out; it is dropped
//! with what it holds when it is asked for, when others come and it is the least recently used, or else by the first
//! insertion a minute later. One lock for each table: it is held for as long as it takes to follow a few pointers, and
//! lets several steps be one.

use crate::clock::Clock;
use hashlink::LinkedHashMap;
use hashlink::linked_hash_map::RawEntryMut;
use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often the table is searched for what has had its life. With 100,000 entries that takes two milliseconds, and some
/// tens of them if nearly all are dropped.
const SWEEP: Duration = Duration::from_secs(60);
/// How many of the least recently used an insertion drops that have had their life: more than one, so that a table whose
/// entries live equally long does not grow while these come and go.
const DEAD: usize = 2;

/// A table. Clones are the same one.
pub struct Lru<K, V, S = RandomState>(Arc<Mutex<Entries<K, V, S>>>);

impl<K, V, S> Clone for Lru<K, V, S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Eq + Hash, V, S: BuildHasher + Default> Lru<K, V, S> {
    /// A table with room for this many entries, or for entries of this weight together, each of which lives for so long
    /// by [`Clock::uptime`]; [`Duration::MAX`] is for ever. Nothing is set aside for them.
    pub fn new(room: u64, life: Duration, clock: &Clock) -> Self {
        let (all, clock) = (LinkedHashMap::default(), clock.clone());
        Self(Arc::new(Mutex::new(Entries { all, room, life, taken: 0, sweep_at: Duration::MAX, clock })))
    }

    /// The table itself, for several steps that nobody else comes between.
    pub fn lock(&self) -> MutexGuard<'_, Entries<K, V, S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`Entries::get`].
    pub fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        V: Clone,
    {
        self.lock().get(key).cloned()
    }

    /// See [`Entries::insert`].
    pub fn insert(&self, key: K, value: V) {
        self.lock().insert(key, value);
    }

    /// See [`Entries::remove`].
    pub fn remove<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.lock().remove(key)
    }
}

/// What a table holds.
pub struct Entries<K, V, S = RandomState> {
    /// The most recently used last.
    all: LinkedHashMap<K, Entry<V>, S>,
    room: u64,
    life: Duration,
    /// How much of the room is taken.
    taken: u64,
    /// When it is next searched for what has had its life; never, as long as nothing in it has an end.
    sweep_at: Duration,
    clock: Clock,
}

struct Entry<V> {
    value: V,
    until: Duration,
    weight: u32,
}

impl<V> Entry<V> {
    /// `now` is not looked at for what lives for ever.
    fn is_alive(&self, now: impl FnOnce() -> Duration) -> bool {
        self.until == Duration::MAX || now() < self.until
    }
}

impl<K: Eq + Hash, V, S: BuildHasher> Entries<K, V, S> {
    /// What is there for this key, which is now the most recently used.
    pub fn get<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let RawEntryMut::Occupied(mut found) = self.all.raw_entry_mut().from_key(key) else { return None };
        if !found.get().is_alive(|| self.clock.uptime()) {
            self.taken -= u64::from(found.remove().weight);
            return None;
        }
        found.to_back();
        Some(&found.into_mut().value)
    }

    /// Puts an entry of weight 1 in the place of what was there, which is returned.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.insert_with(key, value, 1, self.life)
    }

    /// The same with a weight and a life of its own. What alone is too heavy for the table is not kept.
    pub fn insert_with(&mut self, key: K, value: V, weight: u32, life: Duration) -> Option<V> {
        let now = self.clock.uptime();
        if now >= self.sweep_at {
            self.sweep_at = now + SWEEP;
            self.sweep(now);
        }
        let until = now.saturating_add(life);
        if until < Duration::MAX {
            self.sweep_at = self.sweep_at.min(now + SWEEP);
        }
        let before = self.remove(&key);
        if u64::from(weight) <= self.room {
            self.taken += u64::from(weight);
            self.all.insert(key, Entry { value, until, weight });
        }
        let mut dead = DEAD;
        while let Some((_, oldest)) = self.all.front() {
            let is_over = dead > 0 && !oldest.is_alive(|| now);
            if self.taken <= self.room && !is_over {
                break;
            }
            dead -= usize::from(is_over);
            self.taken -= u64::from(oldest.weight);
            self.all.pop_front();
        }
        before
    }

    /// Takes out what is there for this key.
    pub fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let gone = self.all.remove(key)?;
        self.taken -= u64::from(gone.weight);
        gone.is_alive(|| self.clock.uptime()).then_some(gone.value)
    }

    /// All that is there, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let now = self.clock.uptime();
        self.all.iter().filter(move |(_, entry)| entry.is_alive(|| now)).map(|(key, entry)| (key, &entry.value))
    }

    fn sweep(&mut self, now: Duration) {
        let taken = &mut self.taken;
        self.all.retain(|_, entry| {
            let is_alive = entry.is_alive(|| now);
            *taken -= if is_alive { 0 } else { u64::from(entry.weight) };
            is_alive
        });
        if self.all.len() < self.all.capacity() / 4 {
            self.all.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Weak;

    fn table<V>(room: u64, life: u64) -> (Lru<u32, V>, Clock) {
        let clock = Clock::system();
        (Lru::new(room, Duration::from_secs(life), &clock), clock)
    }

    fn keys<V>(table: &Lru<u32, V>) -> Vec<u32> {
        let mut keys: Vec<u32> = table.lock().iter().map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn what_was_used_least_recently_makes_room() {
        let (table, _) = table(3, 60);
        for key in 1..=3 {
            table.insert(key, key);
        }
        assert_eq!(table.get(&1), Some(1));
        table.insert(2, 20);
        table.insert(4, 4);
        assert_eq!(keys(&table), [1, 2, 4]);
        assert_eq!(table.remove(&1), Some(1));
        table.insert(5, 5);
        assert_eq!(keys(&table), [2, 4, 5], "what was taken out leaves its room");
        assert_eq!(table.get(&2), Some(20));
    }

    #[test]
    fn heavy_entries_take_more_of_the_room_and_too_heavy_ones_are_not_kept() {
        let (table, _) = table(10, 60);
        let put = |key, weight| table.lock().insert_with(key, (), weight, Duration::MAX);
        for (key, weight) in [(1, 4), (2, 4), (3, 2)] {
            put(key, weight);
        }
        assert_eq!(keys(&table), [1, 2, 3]);
        put(1, 1);
        put(4, 3);
        assert_eq!(keys(&table), [1, 2, 3, 4], "one in the place of another has its weight alone");
        put(5, 1);
        assert_eq!(keys(&table), [1, 3, 4, 5]);
        assert_eq!(put(3, 11), Some(()));
        assert_eq!(keys(&table), [1, 4, 5], "nothing makes room for what cannot fit");
    }

    #[test]
    fn what_has_had_its_life_is_not_handed_out() {
        let (table, clock) = table(10, 60);
        table.insert(1, "a minute");
        table.lock().insert_with(2, "two minutes", 1, Duration::from_secs(120));
        table.lock().insert_with(3, "for ever", 1, Duration::MAX);
        clock.advance(Duration::from_secs(59));
        assert_eq!(keys(&table), [1, 2, 3]);
        clock.advance(Duration::from_secs(1));
        assert_eq!((table.get(&1), table.get(&2)), (None, Some("two minutes")));
        clock.advance(Duration::from_secs(60));
        assert_eq!(keys(&table), [3]);
        assert_eq!((table.remove(&2), table.remove(&3)), (None, Some("for ever")));
    }

    #[test]
    fn what_nobody_asks_for_is_dropped_after_its_life() {
        let (table, clock) = table(10, 60);
        let held: Vec<Weak<u32>> = (0..3).map(|key| weak(&table, key)).collect();
        clock.advance(Duration::from_secs(60));
        assert!(held.iter().all(|held| held.upgrade().is_some()));
        let new = weak(&table, 9);
        assert!(held.iter().all(|held| held.upgrade().is_none()));
        assert!(new.upgrade().is_some());
        assert_eq!(table.lock().taken, 1);
    }

    #[test]
    fn who_comes_takes_the_place_of_what_has_had_its_life() {
        let (table, clock) = table(10_000, 10);
        for key in 0..1000 {
            clock.advance(Duration::from_millis(100));
            table.insert(key, ());
            assert!(table.lock().all.len() <= 101);
        }
        for key in 0..100 {
            table.lock().insert_with(key, (), 1, Duration::MAX);
        }
        clock.advance(Duration::from_secs(12));
        table.insert(2000, ());
        assert_eq!(table.lock().taken, 100 + 99, "two at a time, so nobody waits for long");
    }

    fn weak(table: &Lru<u32, Arc<u32>>, key: u32) -> Weak<u32> {
        let value = Arc::new(key);
        let weak = Arc::downgrade(&value);
        table.insert(key, value);
        weak
    }

    #[test]
    fn a_table_that_was_full_gives_its_memory_back() {
        let (table, clock) = table(10_000, 60);
        for key in 0..10_000 {
            table.insert(key, ());
        }
        assert!(table.lock().all.capacity() >= 10_000);
        clock.advance(Duration::from_secs(120));
        table.insert(1, ());
        assert!(table.lock().all.capacity() < 100);
    }

    #[test]
    fn several_steps_are_one() {
        let (table, _) = table(10, 60);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let mut table = table.lock();
                        let count = table.get(&1).copied().unwrap_or_default();
                        table.insert(1, count + 1);
                    }
                });
            }
        });
        assert_eq!(table.get(&1), Some(4000));
    }
}
