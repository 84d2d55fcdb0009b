//! What can be asked at an admin listener.

use serde::de::DeserializeOwned;

/// What an admin listener answers at an address.
pub(in crate::cli) trait Told: DeserializeOwned {
    /// The address.
    const PATH: &'static str;
    /// What it is, in a word or two.
    const WHAT: &'static str;
}
