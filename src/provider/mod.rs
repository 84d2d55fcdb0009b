//! Services and providers: who they are, as data, and the calls to them.
//!
//! `config/providers.toml` holds every difference between providers; [`Catalogue`] checks it together with what an
//! operator adds; [`Providers`] makes the calls. A provider's own words stop here: what leaves this room is [`TokenResponse`],
//! a [`ProviderError`], or a [`CallbackError`] with its code.

mod address;
mod answer;
mod authorization;
mod availability;
mod calls;
mod catalogue;
mod check;
mod client_auth;
mod discovery;
mod doubt;
mod endpoint;
mod facts;
mod failure;
mod forecast;
mod habits;
mod json;
mod meaning;
mod names;
mod outbound;
mod pasted;
mod probe;
mod report;
mod service;
mod shortcomings;
#[cfg(test)]
mod stranger;
mod visit;
mod wire;

pub use address::names_loopback;
pub use answer::TokenResponse;
pub use availability::Availability;
pub use calls::{Providers, Revoked};
pub use catalogue::Catalogue;
pub use check::{RESERVED, is_client_id};
pub use facts::{
    ClientAuth, ClientFacts, ErrorClass, Flow, Gone, ProviderFacts, RefreshTokenPolicy, RevokeStyle, ServiceFacts,
};
pub use failure::{ProviderError, RefreshError};
pub use meaning::CallbackError;
pub use outbound::{Outbound, SetupError, bundled_tls};
pub use pasted::PastedToken;
pub use service::{Provider, Service};
pub use visit::{Trouble, Visit};
