//! All labels of key derivation, the `info` of HKDF (RFC 5869 section 2.3), on one screen: domain separation, so that
//! what was sealed for one purpose never opens for another.

/// What a key is for. Each purpose has its own HKDF info string, so no key serves two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The AuthID, version 3.
    AuthId,
    /// What our index page knows of its visitor, carried in its login links.
    Context,
    /// The OAuth `state` parameter (RFC 6749 section 4.1.1).
    State,
    /// The PKCE code verifier (RFC 7636 section 4.1), derived from the state's nonce.
    PkceVerifier,
    /// The name of a mailbox entry, derived from the fetch token.
    MailboxName,
    /// The key of a mailbox entry, derived from the fetch token.
    MailboxEntry,
    /// The name of the note that a mailbox entry was picked up, derived from the fetch token.
    MailboxPickedUp,
    /// The pass of a browser in which the shared password was given.
    AccessPass,
    /// The name of the note that somebody at another address asked for a mailbox entry, derived from the fetch token.
    MailboxAsked,
    /// The record of a login whose refresh token changes: its key, derived from the epoch's secret and the AuthID's
    /// `bind`.
    RotationRecord,
    /// The same record's name, derived from `bind` alone.
    RotationName,
    /// What another handler told of an old AuthID: its key, derived from the epoch's secret and from what only that
    /// AuthID has.
    ExportEntry,
    /// The same entry's name, derived from what only that AuthID has.
    ExportName,
    /// What the page with the AuthID hands back when its user has it sent.
    DeliveryTicket,
    /// The tag of a revoke code, derived from service and grant id.
    RevokeCode,
    /// What replicas tell each other of their denylists.
    Replication,
    /// What an epoch's secret is known by to users and other replicas; it tells nothing of the secret.
    Fingerprint,
}

impl Purpose {
    /// The HKDF info string, ASCII. Changing one makes everything sealed for that purpose unreadable.
    pub fn info(self) -> &'static [u8] {
        match self {
            Self::AuthId => b"authseal authid v3",
            Self::Context => b"authseal login context v1",
            Self::State => b"authseal login state v1",
            Self::PkceVerifier => b"authseal pkce verifier v1",
            Self::MailboxName => b"authseal mailbox name v1",
            Self::MailboxEntry => b"authseal mailbox entry v1",
            Self::MailboxPickedUp => b"authseal mailbox picked up v1",
            Self::AccessPass => b"authseal access pass v1",
            Self::MailboxAsked => b"authseal mailbox asked v1",
            Self::RotationRecord => b"authseal rotation record v1",
            Self::RotationName => b"authseal rotation name v1",
            Self::ExportEntry => b"authseal export entry v1",
            Self::ExportName => b"authseal export name v1",
            Self::DeliveryTicket => b"authseal delivery ticket v1",
            Self::RevokeCode => b"authseal revoke code v1",
            Self::Replication => b"authseal replication v1",
            Self::Fingerprint => b"authseal key fingerprint v1",
        }
    }
}
