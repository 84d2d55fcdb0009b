//! How calls to providers leave this machine: `[outbound]`, the authorities that a provider has of its own, and the
//! variables that tell other programs such things, which are not gone by here.

use super::check::Checker;
use super::raw;
use super::sources::Sources;
use crate::provider::{Outbound, ProviderSettings};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Variables with which other programs are told of proxies and authorities, and the key that does it here.
const NOT_READ: [(&str, &str); 6] = [
    ("ALL_PROXY", "proxy"),
    ("HTTPS_PROXY", "proxy"),
    ("HTTP_PROXY", "proxy"),
    ("SSL_CERT_DIR", "ca_file"),
    ("SSL_CERT_FILE", "ca_file"),
    ("REQUESTS_CA_BUNDLE", "ca_file"),
];

impl Checker<'_> {
    /// `[outbound]`, and the files with authorities of single providers, whose paths are made whole.
    pub(super) fn outbound(
        &mut self,
        outbound: raw::Outbound,
        providers: &mut BTreeMap<String, ProviderSettings>,
    ) -> (Outbound, Vec<PathBuf>) {
        let proxy = self.parse_key(&["outbound", "proxy"], outbound.proxy, Outbound::check_proxy);
        let ca_file = self.path(&["outbound", "ca_file"], outbound.ca_file);
        for (id, provider) in &mut *providers {
            let file = provider.ca_file.take().map(|file| file.display().to_string());
            provider.ca_file = self.path(&["providers", id, "ca_file"], file);
        }
        let own = providers.values().filter_map(|provider| provider.ca_file.clone()).collect();
        (Outbound { proxy, ca_file }, own)
    }
}

/// A warning for each variable that somebody may think is gone by. Nothing is said where our own key is set.
pub(super) fn unread(sources: &Sources, outbound: &Outbound) -> BTreeSet<String> {
    let is_set = |key: &str| match key {
        "proxy" => outbound.proxy.is_some(),
        _ => outbound.ca_file.is_some(),
    };
    let unread = sources.env.iter().filter(|(_, value)| !value.is_empty()).filter_map(|(name, _)| {
        let (_, key) = NOT_READ.iter().find(|(known, _)| name.eq_ignore_ascii_case(known))?;
        (!is_set(key))
            .then(|| format!("{name} is set, but calls to providers do not go by it; set outbound.{key} if they shall"))
    });
    unread.collect()
}
