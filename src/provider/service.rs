//! A service and the provider behind it, checked: what the rest of the program sees of the settings.

use super::error_code::CallbackError;
use super::places::Places;
use super::printable::printable;
use super::{Flow, ProviderSettings, RefreshTokenPolicy};
use crate::authid::{AppId, ServiceId};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use url::Url;

/// A provider: whoever runs the token endpoint.
pub struct Provider {
    pub(super) id: String,
    pub(super) settings: ProviderSettings,
    pub(super) issuer: Option<String>,
    /// `None`: to be discovered, or the flow has none.
    pub(super) authorize: Option<Url>,
    /// `None`: to be discovered.
    pub(super) token: Option<TokenUrl>,
    pub(super) revoke: Option<Url>,
    /// Where authorization requests are pushed to (RFC 9126).
    pub(super) pushed: Option<Url>,
    /// Calls that may be under way at a time: a provider that hangs must not take descriptors and memory from the
    /// others. Made when it is first asked for, or [taken over](Self::take_places_of).
    pub(super) places: OnceLock<Arc<Places>>,
}

/// Where tokens come from.
pub(super) enum TokenUrl {
    /// Always the same place.
    One(Url),
    /// By the callback value that names it.
    Chosen(BTreeMap<String, Url>),
}

impl Provider {
    /// A provider without endpoints.
    pub(super) fn unchecked(id: &str, settings: ProviderSettings) -> Self {
        Self {
            id: id.to_owned(),
            settings,
            issuer: None,
            authorize: None,
            token: None,
            revoke: None,
            pushed: None,
            places: OnceLock::new(),
        }
    }

    /// Who may call it now.
    pub(super) fn places(&self) -> &Arc<Places> {
        self.places.get_or_init(|| Arc::new(Places::new()))
    }

    /// Counts its calls together with those of `before`, the same provider in the configuration before: those that hang
    /// are not gone with that. Of no effect once it was called.
    pub(super) fn take_places_of(&self, before: &Self) {
        let _ = self.places.set(before.places().clone());
    }

    /// A place for a call that nobody waits for; `None` while those who wait may need it.
    pub fn place_ahead(&self) -> Option<OwnedSemaphorePermit> {
        self.places().ahead()
    }

    /// Whether a refresh would come too late for who has this time `left`, and take somebody else's place for nothing.
    pub fn is_too_crowded_for(&self, left: Duration) -> bool {
        self.places().are_too_few_for(left)
    }

    /// Ends the wait for a place of refreshes: by now it is known that the provider is not to be asked.
    pub fn turn_away(&self) {
        self.places().turn_away();
    }

    /// Its key in the configuration.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its id, and the file with authorities that it has of its own, if it has one.
    pub(super) fn own_authorities(&self) -> Option<(&str, &Path)> {
        Some((&self.id, self.settings.ca_file.as_deref()?))
    }

    /// Whether another configuration has the same of it.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.settings == other.settings && self.issuer == other.issuer
    }

    /// Its settings, as they are in the configuration.
    pub fn settings(&self) -> &ProviderSettings {
        &self.settings
    }

    /// What users call it.
    pub fn name(&self) -> &str {
        self.settings.name.as_deref().unwrap_or(&self.id)
    }

    /// How a login is made.
    pub fn flow(&self) -> Flow {
        self.settings.flow
    }

    /// Its issuer, as it is written in the configuration.
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    /// Whether `text`, which `iss` in a callback (RFC 9207) or a discovery document says, may be its issuer. A slash at
    /// the end makes no difference: it names the same place, and providers are not at one with themselves in it.
    pub fn is_issuer(&self, text: &str) -> bool {
        let bare = |issuer: &str| issuer.strip_suffix('/').unwrap_or(issuer).to_owned();
        self.issuer().is_none_or(|issuer| bare(issuer) == bare(text))
    }

    /// Whether logins carry a PKCE challenge.
    pub fn pkce(&self) -> bool {
        self.settings.pkce.unwrap_or(true)
    }

    /// What becomes of a refresh token when it is used.
    pub fn rotation(&self) -> RefreshTokenPolicy {
        // `validate` lets only a provider that has ended be without one.
        self.settings.rotation.unwrap_or(RefreshTokenPolicy::Static)
    }

    /// Whether the access token itself is what the user keeps.
    pub fn raw_token(&self) -> bool {
        self.settings.raw_token
    }

    /// Which of `token_hosts` a callback names, by the value that names it: the first parameter that is allowed to name
    /// one and does.
    pub(super) fn names_host<'c>(&self, callback: &'c [(String, String)]) -> Option<&'c str> {
        let parameters = self.settings.token_host_from.iter();
        let values = parameters.filter_map(|wanted| callback.iter().find(|(name, _)| name == wanted));
        values.map(|(_, value)| value.as_str()).find(|value| self.settings.token_hosts.contains_key(*value))
    }

    /// What the user needs to see of a callback: labels and values, each pair once. Of the parameters that may name the
    /// token host, only those that name the one the code went to: nobody checked the others.
    pub fn shown(&self, callback: &[(String, String)]) -> Vec<(String, String)> {
        let host = |value: &str| self.settings.token_hosts.get(value);
        let used = self.names_host(callback).and_then(host);
        let checked = |name: &String, value: &String| {
            !self.settings.token_host_from.contains(name) || used.is_some() && host(value) == used
        };
        let mut shown = Vec::new();
        for (name, value) in callback.iter().filter(|(name, value)| checked(name, value)) {
            let Some(label) = self.settings.show_callback.get(name) else { continue };
            let row = (label.clone(), self.settings.show_as.get(value).unwrap_or(value).clone());
            if !shown.contains(&row) {
                shown.push(row);
            }
        }
        shown
    }

    /// What an error in a callback means. Its description is logged, at debug level.
    pub fn callback_error(&self, callback: &[(String, String)]) -> CallbackError {
        if let Some((_, text)) = callback.iter().find(|(name, _)| name == "error_description") {
            let description =
                printable(text, |word| callback.iter().any(|(name, value)| name == "state" && value == word));
            tracing::debug!(provider = self.id, description, "the provider describes its error");
        }
        CallbackError::read(&self.settings, callback)
    }

    /// Whether it gives a refresh token only at a user's first consent: so Google and those who took over its
    /// `access_type`.
    pub fn gives_refresh_token_once(&self) -> bool {
        self.settings.authorize_params.get("access_type").is_some_and(|kind| kind == "offline")
    }

    /// Whether the provider may drop `state` on the way back.
    pub fn state_optional(&self) -> bool {
        self.settings.state_optional
    }

    /// Where a user makes the token to paste.
    pub fn paste_url(&self) -> Option<&str> {
        self.settings.paste_url.as_deref()
    }

    /// Where a user withdraws this app's access.
    pub fn withdraw_url(&self) -> Option<&str> {
        self.settings.withdraw_url.as_deref()
    }

    /// Whether a revocation at the provider ends every login of that user at this app.
    pub fn revoke_ends_all_logins(&self) -> bool {
        self.settings.revoke_ends_all_logins
    }

    /// Where an operator registers the app.
    pub fn console_url(&self) -> Option<&str> {
        self.settings.console_url.as_deref()
    }

    /// Whether a server needs a client id of its own here.
    pub fn needs_registration(&self) -> bool {
        self.settings.public_client_id.is_none()
    }

    /// What is easily missed there: whole sentences for the operator.
    pub fn console_hint(&self) -> Option<&str> {
        self.settings.console_hint.as_deref()
    }

    /// Whether endpoints have to be asked for at the issuer; the rest of what it says is of use, but not needed.
    pub(super) fn discovers(&self) -> bool {
        let known = self.token.is_some() && (self.authorize.is_some() || self.flow() == Flow::LoginToken);
        self.issuer.is_some() && !known
    }
}

/// A registration of this server at a provider.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) id: String,
    /// What its logins carry. Made once: each request asks for it.
    pub(super) app: AppId,
    pub(super) secret: Option<SecretString>,
    /// Further secrets, to be tried when the provider refuses that one.
    pub(super) more_secrets: Vec<SecretString>,
}

/// A service: one kind of login at a provider.
#[derive(Clone)]
pub struct Service {
    /// Its key in the configuration, and in AuthIDs.
    pub id: ServiceId,
    /// What users call it.
    pub name: String,
    /// Other ids that mean it; they may have capital letters.
    pub aliases: Vec<ServiceId>,
    /// Left out of the list; reached by its id.
    pub hidden: bool,
    /// Whether Duplicati has a backend for it.
    pub duplicati: bool,
    /// Scopes asked for.
    pub scopes: Vec<String>,
    /// The provider behind it.
    pub provider: Arc<Provider>,
    /// What logins are made with.
    pub(super) client: Option<Client>,
    /// Further registrations, which serve the logins that they made.
    pub(super) others: Vec<Client>,
    pub(super) accepts_logins: bool,
    /// Whether the operator said that it is not to be offered.
    pub(super) switched_off: bool,
    pub(super) needs_store: bool,
    /// Whether a new refresh token is remembered in a store that outlives the process.
    pub(super) renewed: bool,
    /// How many days a refresh token lives from its own issue.
    pub(super) refresh_token_days: Option<u32>,
}

impl Service {
    /// The scopes asked for, in one text.
    pub(super) fn joined_scopes(&self) -> String {
        self.scopes.join(self.provider.settings.scope_separator.unwrap_or(' ').encode_utf8(&mut [0; 4]))
    }

    /// How many days a refresh token lives from its own issue, where that is known.
    pub fn refresh_token_days(&self) -> Option<u32> {
        self.refresh_token_days
    }
}

impl fmt::Debug for Service {
    /// The id says it all.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Service({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::built_in;
    use super::super::{CallbackError, ErrorClass};
    use super::Provider;

    fn provider(id: &str) -> Provider {
        Provider::unchecked(id, built_in().0.remove(id).unwrap())
    }

    #[test]
    fn of_a_callback_only_what_was_checked_is_shown() {
        let shown = |callback: &[(&str, &str)]| {
            let callback: Vec<_> = callback.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            provider("pcloud").shown(&callback).into_iter().map(|(_, value)| value).collect::<Vec<_>>()
        };
        let code = ("code", "c");
        let global = "pCloud Global (api.pcloud.com)";
        let europe = "pCloud Europe (eapi.pcloud.com)";
        assert_eq!(shown(&[code, ("locationid", "2"), ("hostname", "eapi.pcloud.com")]), [europe], "once");
        assert_eq!(shown(&[("hostname", "evil.example"), code, ("locationid", "2")]), [europe]);
        let twice = [("hostname", "api.pcloud.com"), ("hostname", "evil.example"), ("locationid", "2")];
        assert_eq!(shown(&twice), [global]);
        assert!(shown(&[("hostname", "evil.example"), code]).is_empty());
        let mut other = provider("dropbox");
        other.settings.show_callback = [("uid".to_owned(), "Account".to_owned())].into();
        let callback = [("uid".to_owned(), "7".to_owned())];
        assert_eq!(other.shown(&callback), [("Account".to_owned(), "7".to_owned())]);
    }

    #[test]
    fn an_error_in_a_callback_is_looked_up_like_any_other() {
        let error = |id: &str, callback: &[(&str, &str)]| {
            let callback: Vec<_> = callback.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
            let CallbackError { meaning, code, declined } = provider(id).callback_error(&callback);
            (meaning, code, declined)
        };
        let told = |meaning, code: &str, declined| (meaning, code.to_owned(), declined);
        let cases = [
            ("google", "invalid_scope", "", told(Some(ErrorClass::Unclear), "invalid_scope", false)),
            (
                "google",
                "admin_policy_enforced",
                "",
                told(Some(ErrorClass::AdminConsent), "admin_policy_enforced", false),
            ),
            ("google", "org_internal", "", told(Some(ErrorClass::Operator), "org_internal", false)),
            ("dropbox", "org_internal", "", told(None, "org_internal", false)),
            ("google", "temporarily_unavailable", "", told(Some(ErrorClass::Later), "temporarily_unavailable", false)),
            ("google", "no\ncode", "", told(None, "without a code", false)),
            ("google", "consent_required", "", told(Some(ErrorClass::Consent), "consent_required", false)),
            ("box", "access_denied", "", told(None, "access_denied", true)),
            ("dropbox", "Access_Denied: the user said no", "", told(None, "access_denied", true)),
            ("microsoft", "access_denied", "AADSTS65004: declined", told(None, "65004", true)),
            ("microsoft", "access_denied", "AADSTS90094: Admin", told(Some(ErrorClass::AdminConsent), "90094", true)),
            ("microsoft", "invalid_client", "AADSTS650052: x", told(Some(ErrorClass::Operator), "650052", false)),
        ];
        for (id, code, description, expected) in cases {
            let seen = error(id, &[("state", "s"), ("error", code), ("error_description", description)]);
            assert_eq!(seen, expected, "{id} {code} {description}");
        }
        assert_eq!(
            error("microsoft", &[("error", "x"), ("suberror", "consent_required")]).0,
            Some(ErrorClass::Consent)
        );
    }
}
