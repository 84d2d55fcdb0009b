//! x
mod binder;
mod context;
mod fetch_token;
mod mailbox;
mod origin;
pub use binder::Binder;
pub use context::*;
pub use fetch_token::FetchToken;
pub use origin::*;
