//! HTTP: the route table, and one file for each act. Handlers are a few calls and an answer; they touch neither keys
//! nor caches nor providers.
//!
//! Errors for Duplicati are made in `reason`, for visitors in `page` and `login_error`; errors for operators are
//! log lines.

mod audience;
mod audit;
mod client;
mod cookie;
mod exchange;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod handlers;
mod middleware;
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
