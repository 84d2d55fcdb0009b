//! Defence against slow clients and floods (slowloris, pipelining): how long a client may take before a request of its
//! connection is served, how much it may send ahead of its responses, how many connections there are. The same for
//! plain http and TLS, on every listener.
//!
//! The HTTP library bounds the first head of a connection and nothing after it. So each socket is wrapped (`stream`),
//! each wrapper keeps what its connection waits for (`conn`), and one task goes over all of them four times a second
//! and ends what waits too long (`crowd`): no timer for each connection, and [`crate::clock::Clock`] moves all bounds.
//! A request that is being served has no bound here; what it waits for has. While more come than can be served, nobody
//! is accepted (`arrivals`).

mod arrivals;
mod conn;
mod crowd;
mod descriptors;
mod handed;
mod opening;
mod pulse;
mod serve;
mod stream;

pub use crowd::Crowd;
pub use descriptors::{max_connections, raise_limit};
pub(crate) use handed::READY;
pub use handed::{Handed, Listener, Purpose, Sockets};
pub use pulse::Pulse;
pub use serve::serve;
