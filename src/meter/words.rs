//! The words that are in labels, where they are closed sets and not the configuration's. Whoever counts has its own
//! words; tests compare the two.

/// Two lists as one.
const fn join<const A: usize, const B: usize, const ALL: usize>(
    one: [&'static str; A],
    other: [&'static str; B],
) -> [&'static str; ALL] {
    let mut all = [""; ALL];
    let (begin, end) = all.split_at_mut(A);
    begin.copy_from_slice(&one);
    end.copy_from_slice(&other);
    all
}

/// Why an AuthID that opened gave no access token.
const REFUSED: [&str; 18] = [
    "denied",
    "no_key",
    "not_offered",
    "gone",
    "refused",
    "mass_refusal",
    "operator",
    "forgotten",
    "in_doubt",
    "store",
    "busy",
    "unreachable",
    "disturbed",
    "bad_answer",
    "timed_out",
    "unclear",
    "no_room",
    "internal",
];

/// How an order of a certificate ended.
pub(super) const ACME_ORDERS: [&str; 8] =
    ["issued", "unreachable", "account", "rate_limited", "name", "refused", "unfit", "cache"];

/// What became of an AuthID that opened, each of which comes with an epoch and a service.
pub(super) const OPENED: [&str; 21] = join(["cached", "fetched", "spare"], REFUSED);

/// And of one that did not.
pub(super) const UNOPENED: [&str; 5] = ["invalid", "no_key", "gone", "store", "no_room"];

/// Both.
pub(super) const REFRESHES: [&str; 22] = join(["invalid"], OPENED);

/// The versions of AuthIDs of duplicati/oauth-server.
pub(super) const LEGACY_VERSIONS: [&str; 2] = ["v1", "v2"];

/// What came of asking another handler for what it has of one.
pub(super) const LEGACY_EXPORTS: [&str; 7] =
    ["ok", "unknown", "key_refused", "unreachable", "timed_out", "bad_response", "no_room"];

/// How a renewal ahead of time ended.
pub(super) const RENEWALS: [&str; 19] = join(["ok"], REFUSED);

/// How a request that had to wait went on.
pub(super) const WAITS: [&str; 20] = join(["ok", "invalid"], REFUSED);

/// Those that an AuthID may meet whose service is not offered.
pub(super) const NOT_OFFERED: [&str; 3] = ["denied", "not_offered", "gone"];

/// How a call to a provider failed.
const FAILURES: [&str; 10] = [
    "no_room",
    "refused",
    "operator",
    "unclear",
    "busy",
    "unreachable",
    "disturbed",
    "bad_answer",
    "timed_out",
    "bad_callback",
];

/// How a call to a provider ended.
pub(super) const CALLS: [&str; 12] = join(join::<1, 10, 11>(["ok"], FAILURES), ["not_offered"]);

/// How a login ended without a failed call.
const LOGINS_ALONE: [&str; 20] = [
    "done",
    "paused",
    "no_cookie",
    "no_code",
    "too_late",
    "stale_link",
    "not_offered",
    "bad_state",
    "unconfirmed",
    "other_browser",
    "replayed",
    "wrong_issuer",
    "declined",
    "provider_error",
    "no_refresh_token",
    "missing_scopes",
    "bad_paste",
    "too_many",
    "store",
    "internal",
];

/// How a login ended: by itself, or with a call that failed.
pub(super) const LOGINS: [&str; 30] = join(LOGINS_ALONE, FAILURES);

/// How an exchange for a login whose refresh token changes ended.
pub(super) const ROTATIONS: [&str; 8] =
    ["recorded", "answered", "unwritten", "failed", "missing", "held_off", "busy", "store"];

/// What came of a reload of the configuration.
pub(super) const RELOADS: [&str; 3] = ["applied", "refused", "needs_restart"];

/// What is asked of a state store.
pub(super) const STORE_VERBS: [&str; 8] = ["ask", "follow", "list", "publish", "put", "read", "swap", "take"];

/// The states in which an epoch opens AuthIDs.
pub(super) const OPENING: [&str; 3] = ["staged", "primary", "open"];

/// The methods of HTTP that anybody uses.
pub(super) const METHODS: [&str; 7] = ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"];

/// Statuses of errors.
pub(super) const SERVER_ERRORS: [&str; 4] = ["500", "502", "503", "504"];

/// Why a connection was ended, or its request could not be read.
pub(super) const CONNECTION_ENDS: [&str; 13] = [
    "slow_handshake",
    "bad_handshake",
    "silent",
    "slow_request",
    "slow_reader",
    "idle",
    "too_large",
    "malformed",
    "crowded",
    "tls_on_plain_port",
    "http_on_tls_port",
    "proxy_protocol",
    "http2",
];
