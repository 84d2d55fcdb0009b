//! authseal: an OAuth handler for Duplicati that keeps no database.
//!
//! A person logs in once, in a browser; the provider's refresh token is sealed into a string, the *AuthID*, with a
//! key that only this server holds. Later a backup client sends the AuthID to `/refresh` and gets an access token.
//!
//! The rooms, in reading order. A room imports only what is above it (`tests/imports/` checks that).

pub mod unseen;
pub mod clock;
pub mod lru;
pub mod mitigation;
pub mod net;
pub mod meter;
pub mod seal;
pub mod authid;
pub mod rate_limit;
pub mod watch;
pub mod files;
pub mod provider;
pub mod legacy;
pub mod keyring_file;
pub mod tls;
pub mod acme;
pub mod denylist;
pub mod store;
pub mod replication;
pub mod health;
pub mod tokens;
pub mod password;
pub mod config;
pub mod login;
pub mod texts;
pub mod pages;
pub mod app;
pub mod socket;
pub mod web;
pub mod demo;
pub mod cli;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
