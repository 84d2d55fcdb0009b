//! What a request carries: its form, its AuthID, and what a browser says of where it comes from.

pub(in crate::web) mod authid;
pub(in crate::web) mod csrf;
pub(in crate::web) mod form;
