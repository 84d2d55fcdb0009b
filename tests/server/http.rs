//! The HTTP client of the tests: no redirects, no proxies, no waiting for ever.

use std::sync::Arc;
use std::time::Duration;

/// A client for loopback; it trusts no certificate at all. It keeps no connections: a clock that is moved by an hour ends
/// those that wait, and one of them could be used at that very moment.
pub(crate) fn builder() -> reqwest::ClientBuilder {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(30))
        .no_proxy()
        .pool_max_idle_per_host(0)
}

/// [`builder`], built.
pub(crate) fn client() -> reqwest::Client {
    builder().build().unwrap()
}
