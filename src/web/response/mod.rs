//! What is sent back: pages, and rejections with their sentences for programs and their texts for users.

pub(in crate::web) mod errors;
pub(in crate::web) mod json;
pub(in crate::web) mod names;
pub(in crate::web) mod page;
pub(in crate::web) mod reason_text;
pub(in crate::web) mod rejection;
