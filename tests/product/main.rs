//! The product from outside: a running server, pretend providers that are as strict as the real ones, an unmodified
//! backup client and a person with a browser.

// Only code in `#[test]` functions may unwrap by itself; in this binary everything is a test.
#![allow(clippy::unwrap_used, clippy::expect_used)]
// Until the scenarios below are switched on.
#![allow(dead_code, unused_imports)]

mod browser;
mod duplicati;
mod emulator;
mod http;
mod provider_rules;

#[cfg(false)]
mod canary;
#[cfg(false)]
mod login;
#[cfg(false)]
mod refresh;
#[cfg(false)]
mod spawn;
