//! The log: to standard error, pretty on a terminal, one JSON object a line elsewhere.

use crate::config::{Log, LogFormat};
use std::io::{self, IsTerminal};
use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets};
use tracing_subscriber::prelude::*;

/// Begins to log. `RUST_LOG`, where set, takes the place of the configured level.
pub(super) fn start(log: &Log) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(&log.level));
    // Libraries may log what they send and receive when asked for detail. Secrets pass through them, so they are never
    // asked: only our own events go below `warn`, whatever RUST_LOG says.
    let own = Targets::new().with_target("authseal", LevelFilter::TRACE).with_default(LevelFilter::WARN);
    let terminal = io::stderr().is_terminal();
    let pretty = match log.format {
        LogFormat::Auto => terminal,
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(terminal && pretty);
    let registry = tracing_subscriber::registry().with(filter).with(own);
    // Fails when a log was started before: tests do.
    let _ = if pretty {
        registry.with(layer.with_target(false)).try_init()
    } else {
        registry.with(layer.json().flatten_event(true).with_span_list(false)).try_init()
    };
}
