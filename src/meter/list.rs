//! Every metric there is: name, labels, help. docs/monitoring.md shows the same list; a test compares the two.
//!
//! No label has more values than this code and the operator's configuration give it: no addresses, no login ids, no text
//! of a client or a provider. A metric counts for this process alone and begins anew with it.

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many values were at most how large.
    Histogram,
}

impl Kind {
    /// As Prometheus calls it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric. Its unit is in its name, as is the custom.
#[derive(Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says, in a sentence.
    pub help: &'static str,
    /// Of a histogram, the upper ends of its buckets.
    pub(super) buckets: &'static [f64],
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help, buckets: &[] }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help, buckets: &[] }
}

pub(super) const REFRESHES: Metric = counter(
    "authseal_refresh_total",
    &["service", "epoch", "outcome"],
    "AuthIDs that came to /refresh or /token, by what became of them.",
);
pub(super) const WAITING: Metric = gauge(
    "authseal_refresh_waiting",
    &[],
    "Requests for an access token that wait: for a provider, the state store, a key or another replica.",
);
pub(super) const WAITED: Metric = counter(
    "authseal_refresh_waits_total",
    &["outcome"],
    "Requests for an access token that have waited, by how that ended.",
);
pub(super) const LAST_SEEN: Metric = gauge(
    "authseal_epoch_last_seen_timestamp_seconds",
    &["epoch"],
    "When an AuthID of this epoch was last used, or made, here; of an epoch without it none was since the start.",
);
pub(super) const LOGINS: Metric =
    counter("authseal_logins_total", &["service", "outcome"], "Logins, by how they ended.");
pub(super) const DELIVERIES: Metric = counter(
    "authseal_deliveries_total",
    &["way"],
    "AuthIDs on their way to Duplicati's page: left to wait for it, handed to the replica that it asks, fetched by it, or sent by a person's click.",
);
pub(super) const REVOCATIONS: Metric = counter(
    "authseal_revocations_total",
    &["outcome"],
    "Logins that were revoked here: written to the denylist, or refused in memory only.",
);
pub(super) const PROVIDER_CALLS: Metric = Metric {
    // From a provider next door to the longest that a call may take which cannot be repeated.
    buckets: &[0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 20.0, 60.0, 120.0],
    kind: Kind::Histogram,
    ..counter(
        "authseal_provider_call_seconds",
        &["provider", "outcome"],
        "Requests to providers and how long each took; a second attempt is one more.",
    )
};
pub(super) const DAYS_LEFT: Metric = Metric {
    buckets: &[0.0, 1.0, 3.0, 7.0, 14.0, 30.0, 60.0, 90.0],
    kind: Kind::Histogram,
    ..counter(
        "authseal_login_days_left",
        &["service"],
        "Whole days until a login ends of age, at each refresh at its provider; of logins that do end of age.",
    )
};
pub(super) const ANSWERS: Metric = counter(
    "authseal_http_answers_total",
    &["route", "class"],
    "Answers of the public listener, by route and class of status.",
);
pub(super) const CONNECTIONS: Metric = gauge("authseal_connections", &["listener"], "Open connections.");
pub(super) const CONNECTIONS_MAX: Metric =
    gauge("authseal_connections_max", &["listener"], "How many connections there may be at one time.");
pub(super) const CONNECTIONS_ENDED: Metric = counter(
    "authseal_connections_ended_total",
    &["reason"],
    "Connections that this server ended, or whose request it could not read, by reason.",
);
pub(super) const KEYRING_STATES: Metric = gauge(
    "authseal_keyring_epoch_state",
    &["epoch", "state"],
    "1 for the state that an epoch is in, 0 for the others and for epochs that left the keyring.",
);
pub(super) const KEYRING_LOADED: Metric =
    gauge("authseal_keyring_loaded_timestamp_seconds", &[], "When the keyring in force was read.");
pub(super) const KEYRING_FAILED: Metric = gauge(
    "authseal_keyring_load_failed",
    &[],
    "1 if the keyring file could not be read or has a fault, so that an older one is in force.",
);
pub(super) const DENYLIST_RULES: Metric = gauge("authseal_denylist_rules", &[], "Rules in force.");
pub(super) const DENYLIST_LOADED: Metric =
    gauge("authseal_denylist_loaded_timestamp_seconds", &[], "When the denylist in force was read.");
pub(super) const DENYLIST_FAILED: Metric = gauge(
    "authseal_denylist_load_failed",
    &[],
    "1 if the denylist file could not be read or has a fault, so that older rules are in force.",
);
pub(super) const CERTIFICATE_EXPIRES: Metric = gauge(
    "authseal_certificate_expires_timestamp_seconds",
    &[],
    "When the certificate in force ends, where this server speaks TLS itself.",
);
pub(super) const CERTIFICATE_FAILED: Metric = gauge(
    "authseal_certificate_load_failed",
    &[],
    "1 if certificate and key could not be read or do not belong together, so that an older pair is in force.",
);
pub(super) const CERTIFICATE_LOADED: Metric =
    gauge("authseal_certificate_loaded_timestamp_seconds", &[], "When the certificate in force was read.");
pub(super) const PASSWORD_LOADED: Metric = gauge(
    "authseal_password_loaded_timestamp_seconds",
    &[],
    "When the shared password in force was read, where one is asked for.",
);
pub(super) const PASSWORD_FAILED: Metric = gauge(
    "authseal_password_load_failed",
    &[],
    "1 if the password file could not be read or has a fault, so that an older password is in force.",
);
pub(super) const LAST_LOOK: Metric = gauge(
    "authseal_file_last_look_timestamp_seconds",
    &["file"],
    "When a followed file was last looked at, changed or not; about every second, unless its disk hangs.",
);
pub(super) const LOG_DROPPED: Metric = counter(
    "authseal_log_lines_dropped_total",
    &[],
    "Lines of the log that were left out, because nobody read standard error.",
);
pub(super) const STORE_FAILING: Metric =
    gauge("authseal_store_failing", &[], "1 if reading from the state store or writing to it fails.");
pub(super) const STORE_READING_FAILS: Metric =
    gauge("authseal_store_reading_fails", &[], "1 if the last request that read from the state store failed.");
pub(super) const STORE_WRITING_FAILS: Metric =
    gauge("authseal_store_writing_fails", &[], "1 if the last request that wrote to the state store failed.");
pub(super) const STORE_REQUESTS: Metric = Metric {
    // From memory to the longest that a request may take.
    buckets: &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0],
    kind: Kind::Histogram,
    ..counter(
        "authseal_store_request_seconds",
        &["kind", "verb"],
        "Requests to the state store and how long each took.",
    )
};
pub(super) const STORE_FAILURES: Metric =
    counter("authseal_store_failures_total", &["kind", "verb"], "Requests to the state store that failed.");
pub(super) const STORE_UNACKNOWLEDGED: Metric = counter(
    "authseal_store_unacknowledged_total",
    &[],
    "Records in Redis that fewer of its replicas than state.redis_wait had in time.",
);
pub(super) const ROTATIONS: Metric = counter(
    "authseal_rotations_total",
    &["outcome"],
    "Exchanges for logins whose refresh token changes, by how they ended.",
);
pub(super) const UNWRITTEN: Metric = gauge(
    "authseal_unwritten_rotations",
    &[],
    "New refresh tokens that are in this process's memory only, because the state store failed.",
);
pub(super) const DRAINING: Metric = gauge("authseal_draining", &[], "1 once this process was told to end.");
pub(super) const BUILD: Metric = gauge("authseal_build_info", &["version"], "1; the label tells what runs.");
pub(super) const STARTED: Metric = gauge("process_start_time_seconds", &[], "When this process started.");

/// A file that is followed, and its own metrics.
#[derive(Debug)]
pub struct File {
    pub(super) name: &'static str,
    pub(super) loaded: &'static Metric,
    pub(super) failed: &'static Metric,
}

impl File {
    /// The keyring.
    pub const KEYRING: Self = Self { name: "keyring", loaded: &KEYRING_LOADED, failed: &KEYRING_FAILED };
    /// The denylist.
    pub const DENYLIST: Self = Self { name: "denylist", loaded: &DENYLIST_LOADED, failed: &DENYLIST_FAILED };
    /// The certificate and its key.
    pub const CERTIFICATE: Self =
        Self { name: "certificate", loaded: &CERTIFICATE_LOADED, failed: &CERTIFICATE_FAILED };
    /// The file of the shared password.
    pub const PASSWORD: Self = Self { name: "password", loaded: &PASSWORD_LOADED, failed: &PASSWORD_FAILED };
}

/// All metrics.
pub const METRICS: [&Metric; 37] = [
    &REFRESHES,
    &WAITING,
    &WAITED,
    &LAST_SEEN,
    &LOGINS,
    &DELIVERIES,
    &REVOCATIONS,
    &PROVIDER_CALLS,
    &DAYS_LEFT,
    &ANSWERS,
    &CONNECTIONS,
    &CONNECTIONS_MAX,
    &CONNECTIONS_ENDED,
    &KEYRING_STATES,
    &KEYRING_LOADED,
    &KEYRING_FAILED,
    &DENYLIST_RULES,
    &DENYLIST_LOADED,
    &DENYLIST_FAILED,
    &CERTIFICATE_EXPIRES,
    &CERTIFICATE_LOADED,
    &CERTIFICATE_FAILED,
    &PASSWORD_LOADED,
    &PASSWORD_FAILED,
    &LAST_LOOK,
    &LOG_DROPPED,
    &STORE_FAILING,
    &STORE_READING_FAILS,
    &STORE_WRITING_FAILS,
    &STORE_REQUESTS,
    &STORE_FAILURES,
    &STORE_UNACKNOWLEDGED,
    &ROTATIONS,
    &UNWRITTEN,
    &DRAINING,
    &BUILD,
    &STARTED,
];
