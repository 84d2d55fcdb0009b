//! HTTP. Handlers are a few calls and a response; they touch neither keys nor caches nor providers. What goes wrong is a
//! `response::rejection::Rejection` until the outermost layer writes it for whoever asks.
//!
//! A file imports only what is further down: `server` (listeners, shutdown) → `middleware` (what holds for every request)
//! → `routes` (one row for each) → `handlers` (one file for each endpoint) → `exchange` → `audit` → `request` (what comes
//! in) → `response` (what goes out) → `cookie`, `request_id`, `client`, `audience`, `pin`.
//!
//! | Journey | Handlers | Step |
//! | --- | --- | --- |
//! | a login: who opened the page, which service | `index::get`, `password::post` | before RFC 6749 section 4.1 |
//! | off to the provider | `login::begin` | authorization request with PKCE (RFC 6749 section 4.1.1, RFC 7636) |
//! | back with a code | `login::complete`, `login::confirm` | authorization response and token request (sections 4.1.2, 4.1.3) |
//! | with a token made at the provider | `cli_token::get`, `cli_token::post` | in place of these two |
//! | the AuthID gets to Duplicati's page | `deliver::post`, `fetch::fetch`, `fetch::state` | ours; `postMessage` (RFC 9700 section 4.17) |
//! | a backup | `refresh::get`, `refresh::post`; `token::post` | access token for a refresh token (sections 6, 5.1, 5.2) |
//! | the end of a login | `revoke::get`, `revoke::post` | denylist; token revocation at the provider (RFC 7009) |
//! | a look at an AuthID | `inspect::get`, `inspect::post` | ours |

mod audience;
mod audit;
mod client;
mod cookie;
mod exchange;
mod expected;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod handlers;
mod middleware;
mod pin;
mod request;
mod request_id;
mod response;
mod routes;
mod server;

pub use response::errors::verdict;
pub use server::running::Running;
pub use server::{Server, listen, service};

#[cfg(test)]
mod tests;
