//! The product from outside: a running server, pretend providers that are as strict as the real ones, an unmodified
//! backup client and a person with a browser.

// Only code in `#[test]` functions may unwrap by itself; in this binary everything is a test.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod access;
mod admin;
mod ahead;
mod again;
mod apps;
mod apps_random;
mod audit;
mod brake;
mod browser;
mod canary;
mod connections;
mod cookies;
mod delivery;
mod dead;
mod duplicati;
mod emulator;
mod export;
mod ending;
mod failover;
mod faulty_years;
mod fetch_metadata;
mod http;
mod http_rules;
mod inspect;
#[path = "../support/keyring.rs"]
mod keyring;
mod legacy;
mod limits;
mod login;
mod metrics;
mod moving;
mod outage;
#[path = "../support/port.rs"]
mod port;
mod provider_rules;
mod reading;
mod redis_fleet;
mod redis_server;
mod refresh;
mod reload;
mod relay;
mod repeated;
mod replication;
mod rotation;
mod revoke;
mod soak;
mod spawn;
mod store;
mod storm;
mod texts;
mod waiting;
mod windows;

/// The binary's, so that what is measured of memory is what a server holds.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
