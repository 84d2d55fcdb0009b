//! Ports for servers that must be told theirs beforehand.

use std::net::TcpListener;

/// One that nobody has. Below the range that the system gives out for port 0: whatever starts meanwhile, in another test
/// or on the other end of a connection, does not take it.
pub(crate) fn free_port() -> u16 {
    std::iter::repeat_with(|| fastrand::u16(12_000..32_000))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("some port is free")
}
