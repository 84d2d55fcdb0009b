//! Handles on the series of one counter, for what is counted on every request: found without a lock and without
//! allocating, made when first needed.

use arc_swap::ArcSwap;
use metrics::Counter;
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// Counters by what tells them apart. Only values of a small set may come as keys: none is ever forgotten.
pub(super) struct Handles<K>(ArcSwap<HashMap<K, Counter>>);

impl<K> Default for Handles<K> {
    fn default() -> Self {
        Self(ArcSwap::from_pointee(HashMap::new()))
    }
}

impl<K: Clone + Eq + Hash> Handles<K> {
    /// Counts one; `register` makes the handle that is not there yet. Of handles registered twice at once either will
    /// do: they lead to the same number.
    pub(super) fn count<Q>(&self, key: &Q, register: impl FnOnce() -> Counter)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(counter) = self.0.load().get(key) {
            return counter.increment(1);
        }
        let counter = register();
        counter.increment(1);
        self.0.rcu(|known| {
            let mut known = HashMap::clone(known);
            known.insert(key.to_owned(), counter.clone());
            known
        });
    }
}
