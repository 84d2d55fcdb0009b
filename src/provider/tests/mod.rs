//! Connections to providers: which are kept, and what is sent over them when the other side closes them.

mod closing;
mod kept;
mod peer;
