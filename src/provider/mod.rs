//! Services and providers: who they are, as data, and the calls to them, as an OAuth client (RFC 6749) makes them.
//!
//! `config/providers.toml` holds every difference between providers; [`Catalogue`] checks it together with what an
//! operator adds; [`ProviderClient`] makes the calls. A provider's own words end here: what leaves this module is a
//! [`TokenResponse`], a [`ProviderError`], or a [`CallbackError`] with its code.
//!
//! | Journey | Function | RFC |
//! | --- | --- | --- |
//! | to the consent page | [`ProviderClient::authorize_url`] | 6749 §4.1.1, PKCE 7636 §4.3, pushed 9126 |
//! | whose callback it is | [`Provider::is_issuer`] | 9207 §2.4 |
//! | an error in the callback | [`Provider::callback_error`] | 6749 §4.1.2.1 |
//! | code to tokens | [`ProviderClient::redeem`] | 6749 §4.1.3, PKCE 7636 §4.5 |
//! | login token to tokens | [`ProviderClient::exchange_login_token`] | 6749 §4.3.2 |
//! | refresh token to access token | [`ProviderClient::refresh`] | 6749 §6 |
//! | the end of a login | [`ProviderClient::revoke`] | 7009 §2 |
//! | the response | `token_response`, `error_code` | 6749 §5.1, §5.2 |
//! | the client's credentials | `client_credentials`, `client_auth` | 6749 §2.3.1 |
//! | endpoints and what they take | `discovery` | 8414, OpenID Connect Discovery 1.0 |
//! | `check --online` | [`ProviderClient::probe`] | |
//!
//! Data: `settings` as written, `validate` and `endpoint` check them, `service` and `catalogue` as checked. Calls:
//! `authorization` → `client` → `authenticated_call` → `http` (limits, retry) → `call` (one `request`, one response), over
//! a `connection` from the `pool` or a new one (`connect`, with addresses from `dns`).

mod authenticated_call;
mod authorization;
mod availability;
mod call;
mod catalogue;
mod client;
mod client_auth;
mod client_credentials;
mod client_probe;
mod connect;
mod connection;
mod discovery;
mod dns;
mod endpoint;
mod error;
mod error_code;
mod expiry;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod http;
mod json;
mod login_token;
mod metadata;
mod metadata_check;
mod outbound;
mod places;
mod pool;
mod printable;
mod probe;
mod registrations;
mod report;
mod request;
mod rotation_check;
mod service;
mod settings;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod token_response;
mod unclear_errors;
mod validate;
mod validate_clients;

pub use availability::Availability;
pub use catalogue::Catalogue;
pub use client::{ProviderClient, Revoked};
pub use error::{ProviderError, RefreshError};
pub use error_code::CallbackError;
pub use login_token::LoginToken;
pub use outbound::{Outbound, SetupError, bundled_tls};
pub use probe::{Probe, ProbeError};
pub use service::{Provider, Service};
pub use settings::{
    ClientAuth, ClientRegistration, ErrorClass, Flow, Gone, OtherRegistration, ProviderSettings, RefreshTokenPolicy,
    RevokeStyle, ServiceSettings,
};
pub use token_response::TokenResponse;
pub use validate::{RESERVED, is_client_id};
