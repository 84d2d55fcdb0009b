//! JSON on standard output, in one shape: a program gets it on one line, a terminal indented.

use serde::Serialize;
use std::io::{self, IsTerminal};

/// Prints `value`.
///
/// # Errors
/// When it cannot be written as JSON.
pub(super) fn print(value: &impl Serialize) -> anyhow::Result<()> {
    let text = match for_people() {
        true => serde_json::to_string_pretty(value)?,
        false => serde_json::to_string(value)?,
    };
    println!("{text}");
    Ok(())
}

/// Whether a person reads along.
pub(super) fn for_people() -> bool {
    io::stdout().is_terminal()
}
