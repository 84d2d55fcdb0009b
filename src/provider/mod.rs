//! Services and providers: who they are, as data, and the calls to them.
//!
//! `config/providers.toml` holds every difference between providers; [`Catalogue`] checks it together with what an
//! operator adds; [`ProviderClient`] makes the calls. A provider's own words stop here: what leaves this room is [`TokenResponse`],
//! a [`ProviderError`], or a [`CallbackError`] with its code.

mod token_response;
mod authorization;
mod availability;
mod client;
mod catalogue;
mod validate;
mod client_auth;
mod discovery;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod unclear_errors;
mod endpoint;
mod settings;
mod error;
mod expiry;
mod rotation_check;
mod json;
mod error_code;
mod dns;
mod outbound;
mod login_token;
mod client_probe;
mod report;
mod service;
mod metadata_check;
#[cfg(test)]
mod testing;
mod probe;
mod http;

pub use availability::Availability;
pub use catalogue::Catalogue;
pub use client::{ProviderClient, Revoked};
pub use error::{ProviderError, RefreshError};
pub use error_code::CallbackError;
pub use login_token::LoginToken;
pub use outbound::{Outbound, SetupError, bundled_tls};
pub use probe::{Trouble, Visit};
pub use service::{Provider, Service};
pub use settings::{
    ClientAuth, ClientRegistration, ErrorClass, Flow, Gone, ProviderSettings, RefreshTokenPolicy, RevokeStyle,
    ServiceSettings,
};
pub use token_response::TokenResponse;
pub use validate::is_client_id;
