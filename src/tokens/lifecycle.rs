//! The service itself: put together, by other settings while it runs, and brought to its end without losing anything.

use super::apps::Apps;
use super::brake::Brakes;
use super::breaker::Breakers;
use super::cache::TokenCache;
use super::exported::Exported;
use super::old::OldAuthIds;
use super::repeats::Repeats;
use super::room::Room;
use super::rotation::Rotation;
use super::single_flight::Flights;
use super::waiting::Loops;
use super::{Inner, Settings, TokenService};
use crate::clock::Clock;
use crate::denylist::Denylist;
use crate::keyring_file::LiveKeyring;
use crate::meter::Meter;
use crate::provider::ProviderClient;
use crate::store::Store;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

impl TokenService {
    /// Puts the parts together. Provider calls are made on the runtime that is current here.
    pub fn new(
        keyring: Arc<LiveKeyring>,
        denylist: Arc<Denylist>,
        providers: Arc<ProviderClient>,
        store: Arc<Store>,
        settings: Settings,
        clock: Clock,
        meter: Meter,
    ) -> Self {
        let Settings { patience, brake, legacy } = settings;
        let exported = |export| Exported::new(export, store.clone(), keyring.clone(), &clock, meter.clone());
        let old = OldAuthIds::new(legacy, None, exported, &clock);
        let rotation = || Arc::new(Rotation::new(store.clone(), keyring.clone(), clock.clone(), meter.clone()));
        let rotation = store.is_durable().then(rotation);
        let ending = CancellationToken::new();
        Self(Arc::new(Inner {
            keyring,
            denylist,
            apps: Apps::new(providers.catalogue(), &clock, &meter),
            providers,
            cache: TokenCache::new(clock.clone()),
            repeats: Arc::new(Repeats::new(&clock)),
            flights: Flights::new(),
            patience,
            old,
            brakes: Brakes::new(brake, clock.clone(), meter.clone()),
            breakers: Arc::new(Breakers::new(clock.clone(), meter.clone())),
            room: Arc::new(Room::new(patience.most, meter.clone())),
            loops: Arc::new(Loops::new(ending.clone())),
            ending,
            revocations: Flights::new(),
            rotation,
            clock,
            meter,
        }))
    }

    /// Lets so many connections be there: half of them may wait, unless it was said how many.
    pub fn set_connections(&self, connections: usize) {
        self.0.room.set_connections(connections);
    }

    /// The same by other settings: access tokens, calls under way and rotated refresh tokens are shared. What is under way
    /// here is seen to its end by the settings of before, so nobody joins a loop of them. `repaired`: what made calls fail
    /// may have been put right.
    pub fn with(&self, providers: Arc<ProviderClient>, store: Arc<Store>, settings: Settings, repaired: bool) -> Self {
        let inner = &*self.0;
        let Settings { patience, brake, legacy } = settings;
        let exported = |export| Exported::new(export, store, inner.keyring.clone(), &inner.clock, inner.meter.clone());
        let apps = inner.apps.with(providers.catalogue(), &inner.meter);
        inner.room.set_most(patience.most);
        if repaired {
            inner.breakers.forget();
            inner.brakes.try_again(|app| apps.has(app));
        }
        Self(Arc::new(Inner {
            apps,
            providers,
            cache: if repaired { inner.cache.without_failures() } else { inner.cache.clone() },
            patience,
            old: OldAuthIds::new(legacy, Some(&inner.old), exported, &inner.clock),
            loops: Arc::new(Loops::new(inner.ending.clone())),
            brakes: inner.brakes.with_settings(brake),
            ..inner.clone()
        }))
    }

    /// Keeps nobody waiting any longer. Whose first call to a provider is under way gets what comes of it.
    pub fn end_waiting(&self) {
        self.0.ending.cancel();
    }

    /// Waits for the provider calls under way, for `patience` at most, and until what they brought is written down, 5 s
    /// more: it must not be lost with the process. Returns whether nothing is left; the log names the logins that are
    /// lost if the process ends all the same.
    pub async fn settle(&self, patience: Duration) -> bool {
        let landed = async {
            self.0.flights.settle().await;
            self.0.revocations.settle().await;
            if let Some(exported) = &self.0.old.exported {
                exported.flights.settle().await;
            }
        };
        let landed = tokio::time::timeout(patience, landed).await.is_ok();
        match &self.0.rotation {
            Some(rotation) => rotation.settle().await && landed,
            None => landed,
        }
    }
}
