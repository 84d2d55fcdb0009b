//! Revocation at the provider (RFC 7009), beside the denylist's: whether it is wanted, and what came of it. `revoke`
//! does it; `cache` remembers it.

/// Whether a login shall be ended at its provider too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProviderRevocationMode {
    /// Unless that ends other logins of the same user as well.
    IfHarmless,
    /// Whatever else ends with it.
    Always,
    /// No.
    Never,
}

/// What became of a login at its provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProviderRevocation {
    /// The provider withdrew the access, or it had ended before.
    Done,
    /// The provider has no way to do so, or none that this server may use.
    NotSupported,
    /// The provider could not be reached or refused.
    Failed,
    /// Not tried: it would end every login of that user at this app, so it takes their word.
    WouldEndAllLogins,
    /// Not tried, as was asked.
    NotAsked,
    /// Not tried: there were too many calls of this kind in the last minute.
    TooMany,
    /// Not possible with a revoke code, which holds no access.
    NeedsAuthid,
}

impl ProviderRevocation {
    /// The kind in a word, for the log and for programs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::NotSupported => "not_supported",
            Self::Failed => "failed",
            Self::WouldEndAllLogins => "would_end_all_logins",
            Self::NotAsked => "not_asked",
            Self::TooMany => "too_many",
            Self::NeedsAuthid => "needs_authid",
        }
    }

    /// In words for users: the answer to whether the provider withdrew the access.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Done => "yes",
            Self::NotSupported => "not possible from here",
            Self::Failed => "failed: it could not be reached, or refused",
            Self::WouldEndAllLogins => "not yet: it would end every login made with this server there",
            Self::NotAsked => "no, that was not asked for",
            Self::TooMany => "not yet: too many were withdrawn in the last minute, so try again in a minute",
            Self::NeedsAuthid => "not possible with a revoke code, which holds no access",
        }
    }
}
