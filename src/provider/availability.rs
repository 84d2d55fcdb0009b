//! Whether a service can be used on this server, and if not, why: the one judgement of that.

use super::service::Service;

/// Whether a service can be used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability<'a> {
    /// Yes.
    Offered,
    /// Its logins are served; no new ones are made.
    Closed,
    /// No: this server has no client id for it.
    NotConfigured,
    /// No: the configuration says `enabled = false`.
    SwitchedOff,
    /// No: its refresh tokens change with every use, and this server has no store that outlives the process.
    NeedsStore,
    /// No: the provider ended it.
    Gone {
        /// A sentence for users, printable ASCII.
        reason: &'a str,
        /// The id of the service to use instead.
        successor: Option<&'a str>,
    },
}

impl Service {
    /// Whether it can be used here, and if not, why.
    pub fn availability(&self) -> Availability<'_> {
        if let Some(gone) = &self.provider.settings.gone {
            Availability::Gone { reason: &gone.reason, successor: gone.successor.as_deref() }
        } else if self.switched_off {
            Availability::SwitchedOff
        } else if self.client.is_none() {
            Availability::NotConfigured
        } else if self.needs_store {
            Availability::NeedsStore
        } else if !self.accepts_logins {
            Availability::Closed
        } else {
            Availability::Offered
        }
    }

    /// Whether the logins that were made with it are served.
    pub fn is_served(&self) -> bool {
        matches!(self.availability(), Availability::Offered | Availability::Closed)
    }
}
