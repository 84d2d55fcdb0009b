//! `[limits]`: what may happen how often in a minute; and of `[refresh]`, how long requests wait and how many, and when
//! refusals of a provider are taken for this server's fault.

use super::check::Checker;
use super::raw::{Limits, Refresh};
use crate::rate_limit::Rates;
use crate::tokens::{BrakeSettings, Patience};
use std::time::Duration;

/// The most that a limit may allow in a minute.
const MAX_RATE: u32 = 1_000_000;
/// The longest that a request may wait, in seconds: Duplicati gives up after 25.
const MAX_WAIT: u64 = 22;
/// The most logins that the brake may need.
const MAX_LOGINS: usize = 1_000_000;

impl Checker<'_> {
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

    pub(super) fn patience(&mut self, written: &Refresh) -> Patience {
        let wait = self.parse_key(&["refresh", "wait_seconds"], Some(written.wait_seconds), |seconds| match seconds {
            0..=MAX_WAIT => Ok(Duration::from_secs(seconds)),
            _ => Err(format!("must be at most {MAX_WAIT}: Duplicati gives up after 25 seconds")),
        });
        let most =
            self.parse_key(&["refresh", "max_waiting"], written.max_waiting, |most| match usize::try_from(most) {
                Ok(most @ 1..) => Ok(most),
                _ => Err("must be at least 1; `wait_seconds = 0` lets nobody wait".to_owned()),
            });
        Patience { wait: wait.unwrap_or_default(), most }
    }

    pub(super) fn brake(&mut self, written: &Refresh) -> BrakeSettings {
        let mut logins = |name, number, least| {
            let read = self.parse_key(&["refresh", name], Some(number), |number: u64| match usize::try_from(number) {
                Ok(logins) if (least..=MAX_LOGINS).contains(&logins) => Ok(logins),
                _ => Err(format!("must be a number of logins from {least} to {MAX_LOGINS}")),
            });
            read.unwrap_or_default()
        };
        BrakeSettings {
            logins: logins("brake_logins", written.brake_logins, 0),
            refused: logins("brake_refused", written.brake_refused, 1),
        }
    }
}
