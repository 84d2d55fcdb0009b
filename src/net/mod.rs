//! Where requests come from and go to, as types: the network of a client, the origin of a page, and the addresses that
//! a provider may have; and how long one wants to be left alone. No I/O.

mod address;
mod client;
mod origin;
mod retry_after;

pub use address::{is_public, names_loopback};
pub use client::{Client, ClientNet, from_bytes, to_bytes};
pub use origin::Origin;
pub use retry_after::retry_after;
