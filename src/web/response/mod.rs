//! What is sent back: pages, and errors as whoever asks can read them.

pub(in crate::web) mod errors;
pub(in crate::web) mod page;
pub(in crate::web) mod reason_text;
pub(in crate::web) mod rejection;
