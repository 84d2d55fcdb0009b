//! Remembers the warnings and errors of the log, for `authseal status`: their fixed text alone.

use crate::clock::Clock;
use crate::meter::ALARMS;
use std::fmt::Debug;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// Of our own lines; what a library says has no fixed text.
pub(super) struct Remembers;

impl<S: Subscriber> Layer<S> for Remembers {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let level = match *metadata.level() {
            Level::ERROR => "ERROR",
            Level::WARN => "WARN",
            _ => return,
        };
        if metadata.target().starts_with("authseal") {
            let mut message = Message::default();
            event.record(&mut message);
            ALARMS.note(level, message.0, Clock::system().now());
        }
    }
}

#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}
