//! Every metric there is: name, labels, help. docs/monitoring.md shows the same list; a test compares the two.
//!
//! No label has more values than this code and the operator's configuration give it: no addresses, no login ids, no text
//! of a client or a provider. A metric counts for this process alone and starts at 0 with it: every series of a counter
//! or histogram whose labels are known is there from the start, since `increase()` of one that appears with its first
//! event does not see that event.

use super::metric::{Label, Metric, Values, counter, elsewhere, gauge, histogram, label, outcome};
use super::replication::{BEHIND, RECEIVED, REFUSED, UNSENT};
use super::waits::{MASS_REFUSAL, RENEWALS, SUSPENDED, WAITED, WAITING};
use super::words;

const SERVICE: Label = label("service", Values::Services);
const SERVICE_OR_NONE: Label = label("service", Values::ServicesOrNone);
const EPOCH: Label = elsewhere("epoch");

/// In seconds.
const DAY: f64 = 86_400.0;
/// From what is in memory to the longest that a call to a provider may take, in seconds.
const DURATIONS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0];

pub(super) const REFRESHES: Metric = counter(
    "authseal_refresh_total",
    &[EPOCH, elsewhere("outcome"), elsewhere("service")],
    "AuthIDs that came to /refresh or /token, by what became of them.",
);
pub(super) const REFRESH_TIME: Metric = histogram(
    "authseal_refresh_seconds",
    &[outcome(&words::REFRESHES)],
    "How long the exchange of an AuthID took at /refresh or /token, waiting for a provider included.",
    DURATIONS,
);
pub(super) const LAST_SEEN: Metric = gauge(
    "authseal_epoch_last_seen_timestamp_seconds",
    &[EPOCH],
    "When an AuthID of this epoch was last used or made here; 0 if none was since this process started.",
);
pub(super) const LOGINS: Metric =
    counter("authseal_logins_total", &[outcome(&words::LOGINS), SERVICE_OR_NONE], "Logins, by how they ended.");
pub(super) const LEGACY_REFRESHES: Metric = counter(
    "authseal_legacy_refresh_total",
    &[label("version", Values::Words(&words::LEGACY_VERSIONS)), SERVICE],
    "AuthIDs of duplicati/oauth-server that brought an access token.",
);
pub(super) const LEGACY_AUTHIDS: Metric = gauge(
    "authseal_legacy_authids",
    &[label("version", Values::Words(&words::LEGACY_VERSIONS)), SERVICE],
    "How many different ones that was since this process started; absent if none.",
);
pub(super) const APP_LOGINS: Metric = gauge(
    "authseal_app_logins",
    &[elsewhere("app"), elsewhere("provider")],
    "Different logins that brought an access token in the last 35 days, by the app registration they belong to.",
);
pub(super) const LEGACY_LAST_SEEN: Metric = gauge(
    "authseal_legacy_last_seen_timestamp_seconds",
    &[label("version", Values::Words(&words::LEGACY_VERSIONS)), SERVICE],
    "When the last of them came; absent if none did since this process started.",
);
pub(super) const LEGACY_EXPORTS: Metric = counter(
    "authseal_legacy_export_total",
    &[outcome(&words::LEGACY_EXPORTS)],
    "AuthIDs that the handler of `legacy.export_url` was asked for, by what came of it.",
);
pub(super) const DELIVERIES: Metric = counter(
    "authseal_deliveries_total",
    &[label("way", Values::Words(&["waiting", "relayed", "fetched", "clicked"]))],
    "AuthIDs on their way to Duplicati's page: left to wait for it, handed to the replica that it asks, fetched by it, or sent by a person's click.",
);
pub(super) const REVOCATIONS: Metric = counter(
    "authseal_revocations_total",
    &[outcome(&["durable", "not_durable"])],
    "Logins that were revoked here: written to the denylist, or refused in memory only.",
);
pub(super) const PROVIDER_CALLS: Metric = histogram(
    "authseal_provider_call_seconds",
    &[outcome(&words::CALLS), label("provider", Values::Providers)],
    "Requests to providers and how long each took; a second attempt is one more.",
    DURATIONS,
);
pub(super) const DAYS_LEFT: Metric = histogram(
    "authseal_login_time_left_seconds",
    &[SERVICE],
    "How long until a login expires, in whole days, at each refresh at its provider; of logins that do expire.",
    &[0.0, DAY, 3.0 * DAY, 7.0 * DAY, 14.0 * DAY, 30.0 * DAY, 60.0 * DAY, 90.0 * DAY],
);
pub(super) const ANSWERS: Metric = counter(
    "authseal_http_answers_total",
    &[elsewhere("method"), elsewhere("code"), elsewhere("route")],
    "Answers of the public listener, by method, status and route.",
);
pub(super) const CONNECTIONS: Metric = gauge("authseal_connections", &[elsewhere("listener")], "Open connections.");
pub(super) const CONNECTIONS_MAX: Metric =
    gauge("authseal_connections_max", &[elsewhere("listener")], "How many connections there may be at one time.");
pub(super) const CONNECTIONS_ENDED: Metric = counter(
    "authseal_connections_ended_total",
    &[label("reason", Values::Words(&words::CONNECTION_ENDS))],
    "Connections that this server ended, or whose request it could not read, by reason.",
);
pub(super) const KEYRING_STATES: Metric = gauge(
    "authseal_keyring_epoch_state",
    &[EPOCH, elsewhere("state")],
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
pub(super) const ACME_ORDERS: Metric = counter(
    "authseal_acme_orders_total",
    &[outcome(&words::ACME_ORDERS)],
    "Orders of certificates, where this server has them issued itself, by how they ended.",
);
pub(super) const ACME_NEXT: Metric = gauge(
    "authseal_acme_next_attempt_timestamp_seconds",
    &[],
    "When a certificate will be ordered next, where this server has them issued itself.",
);
pub(super) const SECRET_EXPIRES: Metric = gauge(
    "authseal_client_secret_expires_timestamp_seconds",
    &[elsewhere("client")],
    "When a client secret ends, by clients.<id>.secret_expires; only of clients that have it.",
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
pub(super) const CONFIGURATION_LOADED: Metric =
    gauge("authseal_configuration_loaded_timestamp_seconds", &[], "When the configuration in force was read.");
pub(super) const CONFIGURATION_FAILED: Metric = gauge(
    "authseal_configuration_load_failed",
    &[],
    "1 if the last reload was refused, so that an older configuration is in force.",
);
pub(super) const RELOADS: Metric = counter(
    "authseal_reloads_total",
    &[outcome(&words::RELOADS)],
    "Reloads of the configuration that somebody asked for, by what came of them.",
);
pub(super) const LAST_LOOK: Metric = gauge(
    "authseal_file_last_look_timestamp_seconds",
    &[elsewhere("file")],
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
pub(super) const STORE_REQUESTS: Metric = histogram(
    "authseal_store_request_seconds",
    &[elsewhere("kind"), elsewhere("verb")],
    "Requests to the state store and how long each took.",
    // From memory to the longest that a request may take.
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0],
);
pub(super) const STORE_FAILURES: Metric = counter(
    "authseal_store_failures_total",
    &[elsewhere("kind"), elsewhere("verb")],
    "Requests to the state store that failed.",
);
pub(super) const STORE_UNACKNOWLEDGED: Metric = counter(
    "authseal_store_unacknowledged_total",
    &[],
    "Records in Redis that fewer of its replicas than state.redis_wait had in time.",
);
pub(super) const ROTATIONS: Metric = counter(
    "authseal_rotations_total",
    &[outcome(&words::ROTATIONS)],
    "Exchanges for logins whose refresh token changes, by how they ended.",
);
pub(super) const UNWRITTEN: Metric = gauge(
    "authseal_unwritten_rotations",
    &[],
    "New refresh tokens that are in this process's memory only, because the state store failed.",
);
pub(super) const DRAINING: Metric = gauge("authseal_draining", &[], "1 once this process was told to end.");
pub(super) const BUILD: Metric =
    gauge("authseal_build_info", &[elsewhere("version")], "Always 1; the label is the version that runs.");
pub(super) const STARTED: Metric =
    gauge("process_start_time_seconds", &[], "When this process started, in seconds since 1970.");

pub(super) const CPU: Metric =
    counter("process_cpu_seconds_total", &[], "Processor time that this process has used, in seconds.");
pub(super) const RESIDENT: Metric =
    gauge("process_resident_memory_bytes", &[], "Memory of this process that is in RAM.");
pub(super) const VIRTUAL: Metric = gauge("process_virtual_memory_bytes", &[], "Address space of this process.");
pub(super) const OPEN_FDS: Metric = gauge("process_open_fds", &[], "Open file descriptors, connections included.");
pub(super) const MAX_FDS: Metric = gauge("process_max_fds", &[], "How many file descriptors may be open.");
pub(super) const THREADS: Metric = gauge("process_threads", &[], "Threads of this process.");

/// All metrics.
pub const METRICS: [&Metric; 62] = [
    &REFRESHES,
    &REFRESH_TIME,
    &WAITING,
    &WAITED,
    &RENEWALS,
    &MASS_REFUSAL,
    &SUSPENDED,
    &LAST_SEEN,
    &LEGACY_REFRESHES,
    &LEGACY_AUTHIDS,
    &LEGACY_LAST_SEEN,
    &LEGACY_EXPORTS,
    &APP_LOGINS,
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
    &SECRET_EXPIRES,
    &CERTIFICATE_EXPIRES,
    &ACME_ORDERS,
    &ACME_NEXT,
    &CERTIFICATE_LOADED,
    &CERTIFICATE_FAILED,
    &PASSWORD_LOADED,
    &PASSWORD_FAILED,
    &CONFIGURATION_LOADED,
    &CONFIGURATION_FAILED,
    &RELOADS,
    &LAST_LOOK,
    &LOG_DROPPED,
    &STORE_FAILING,
    &STORE_READING_FAILS,
    &STORE_WRITING_FAILS,
    &STORE_REQUESTS,
    &STORE_FAILURES,
    &STORE_UNACKNOWLEDGED,
    &BEHIND,
    &UNSENT,
    &RECEIVED,
    &REFUSED,
    &ROTATIONS,
    &UNWRITTEN,
    &DRAINING,
    &BUILD,
    &STARTED,
    &CPU,
    &RESIDENT,
    &VIRTUAL,
    &OPEN_FDS,
    &MAX_FDS,
    &THREADS,
];
