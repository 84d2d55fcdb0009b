//! `[limits]`: what may happen how often in a minute.

use super::check::Keys;
use super::written::Limits;
use crate::rate_limit::Rates;

/// The most that a limit may allow in a minute.
const MAX_RATE: u32 = 1_000_000;

impl Keys<'_> {
    pub(super) fn rates(&mut self, written: &Limits) -> Rates {
        let mut rate = |name, number| match u32::try_from(number) {
            Ok(rate @ 1..=MAX_RATE) => rate,
            _ => {
                self.fault(&["limits", name], format!("must be a number from 1 to {MAX_RATE}: so many a minute"));
                1
            }
        };
        Rates {
            invalid_authids: rate("invalid_authids", written.invalid_authids),
            provider_calls: rate("provider_calls", written.provider_calls),
            provider_calls_in_all: rate("provider_calls_in_all", written.provider_calls_in_all),
        }
    }
}
