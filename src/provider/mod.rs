//! Providers and services as data, and the calls to them.

mod facts;

pub use facts::{ClientAuth, ClientFacts, Flow, Gone, Meaning, ProviderFacts, RevokeStyle, Rotation, ServiceFacts};
