//! The log: to standard error, pretty on a terminal, one JSON object a line elsewhere.

mod alarms;
mod json;
mod lines;

pub(super) use lines::{Finish, say};

use super::UsageError;
use crate::config::{Log, LogFormat, log_filter};
use anyhow::Context;
use std::io::{self, IsTerminal, Write};
use std::{env, panic, process};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::prelude::*;

/// Before anything is said that nobody may read: what has to be told from now on holds nobody up.
pub(super) fn prepare() -> anyhow::Result<()> {
    lines::start().context("cannot start to log")
}

/// What is logged. `RUST_LOG`, where it says anything, takes the place of the configured level.
///
/// # Errors
/// Says what is wrong with it.
pub(super) fn filter(log: &Log) -> anyhow::Result<Targets> {
    let variable = env::var_os("RUST_LOG").map(|text| text.to_string_lossy().trim().to_owned());
    let (key, text) = match variable.filter(|text| !text.is_empty()) {
        None => ("log.level", log.level.clone()),
        Some(text) => ("RUST_LOG", text),
    };
    Ok(log_filter(&text).map_err(|advice| UsageError(format!("{key} {advice}")))?)
}

/// Begins to log.
pub(super) fn start(log: &Log) -> anyhow::Result<()> {
    let filter = filter(log)?;
    // Libraries may log what they send and receive when asked for detail. Secrets pass through them, so they are never
    // asked: only our own events go below `warn`, whatever RUST_LOG says.
    let own = Targets::new().with_target("authseal", LevelFilter::TRACE).with_default(LevelFilter::WARN);
    // What strangers bring about is no alarm: requests that cannot be read are counted, and so are connections.
    let own = own.with_targets([("actix_http", LevelFilter::OFF), ("actix_server::accept", LevelFilter::OFF)]);
    let terminal = io::stderr().is_terminal();
    let pretty = match log.format {
        LogFormat::Auto => terminal,
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(|| lines::Lines).with_ansi(pretty && in_colour(terminal));
    let registry = tracing_subscriber::registry().with(filter).with(own).with(alarms::Remembers);
    // Fails when a log was started before: tests do.
    let _ = if pretty {
        registry.with(layer.with_target(false)).try_init()
    } else {
        registry.with(layer.fmt_fields(JsonFields::new()).event_format(json::Json)).try_init()
    };
    Ok(())
}

/// What <https://no-color.org> and <https://bixense.com/clicolors> say, of which `NO_COLOR` is the stronger.
fn in_colour(terminal: bool) -> bool {
    let says = |name| env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
    let no_colour = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !no_colour && (says("CLICOLOR_FORCE") || terminal && env::var_os("CLICOLOR").is_none_or(|value| value != "0"))
}

/// A panic says where it happened and nothing more: its message may hold what was being worked on, a secret too.
pub(super) fn keep_panics_quiet() {
    panic::set_hook(Box::new(|panic| {
        let words = panic.payload().downcast_ref::<String>();
        if let Some(why) = words.and_then(|words| unwritten(words)) {
            if !why.is_empty() {
                say(&format!("authseal: standard output cannot be written: {why}"));
            }
            process::exit(1);
        }
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        if tracing::dispatcher::has_been_set() {
            tracing::error!(place, "a defect of authseal");
        } else {
            // Not `eprintln`, which panics itself when nobody listens.
            let _ = writeln!(io::stderr(), "authseal: a defect of authseal, at {place}");
        }
    }));
}

/// Why standard output could not be written, if that is what a panic of the standard library says; empty where whoever
/// reads has had enough, as in `… | head`: there is nobody left to tell.
fn unwritten(panic: &str) -> Option<&str> {
    let why = panic.strip_prefix("failed printing to stdout: ")?;
    Some(if why.starts_with("Broken pipe") { "" } else { why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_system_says_of_standard_output_is_told_of_a_panic() {
        assert_eq!(unwritten("failed printing to stdout: Broken pipe (os error 32)"), Some(""));
        assert_eq!(unwritten("failed printing to stdout: No space left on device"), Some("No space left on device"));
        for words in ["index out of bounds: hunter2", "", "hunter2: failed printing to stdout: hunter2"] {
            assert_eq!(unwritten(words), None, "{words}");
        }
    }
}
