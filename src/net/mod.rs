//! Where requests come from and go to, as types: the network of a client, the origin of a page, and the addresses that a
//! provider may have. No I/O.

mod address;
mod client;
mod origin;

pub use address::{is_public, names_loopback};
pub use client::{Client, ClientNet, from_bytes, to_bytes};
pub use origin::Origin;
