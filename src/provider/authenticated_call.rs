//! A form sent with the client's credentials (RFC 6749 section 2.3), in the way that [`ClientAuths`] chooses, and once
//! more in the next way where the provider refuses the client and a repeat does no harm.
//!
//! [`ClientAuths`]: super::client_auth::ClientAuths

use super::ProviderClient;
use super::call::{Call, Payload, Response};
use super::client_auth::{Form, Repeatable, refuses_client};
use super::error::{AttemptError, ProviderError};
use super::service::Provider;
use std::sync::OnceLock;

impl ProviderClient {
    /// Sends a form with the client's credentials, and once more in the next way if the client is refused and
    /// `repeatable` allows it.
    pub(super) async fn authenticated<T>(
        &self,
        form: Form<'_>,
        read: fn(&Provider, &Response) -> Result<T, AttemptError>,
    ) -> Result<T, AttemptError> {
        let Form { provider, client, metadata, deadline, repeatable, .. } = form;
        let mut first = true;
        loop {
            let choice = self.client_auths().choose(provider, client, metadata);
            let may_repeat = |plain: bool| {
                let allowed = repeatable == Repeatable::Yes || (repeatable == Repeatable::Unspent && plain);
                first && choice.next.is_some() && allowed
            };
            let refused = OnceLock::new();
            let payload = Payload::Form(form.fields.clone(), Some((client, choice)));
            let call = Call { provider, service: Some(form.service), name: form.name, url: form.url.clone(), payload };
            let outcome = self.http().send(&call, deadline, repeatable == Repeatable::Yes, |provider, answer| {
                match refuses_client(provider, answer) {
                    // Not an error yet, and so not reported as one.
                    Some(plain) if may_repeat(*refused.get_or_init(|| plain)) => Ok(None),
                    Some(plain) => {
                        refused.get_or_init(|| plain);
                        read(provider, answer).map(Some)
                    }
                    None => read(provider, answer).map(Some),
                }
            });
            let outcome = outcome.await.transpose();
            match &outcome {
                _ if client.secret.is_none() => {}
                _ if refused.get().is_some() => self.client_auths().refused(provider, client, choice),
                _ if provider.settings.client_auth.is_some() => {}
                Some(Ok(_)) => self.client_auths().worked(provider, client, choice.auth),
                // Some servers do not call it by its name when the secret is not where they look for it.
                Some(Err(fault))
                    if matches!(fault.failure, ProviderError::Misconfigured | ProviderError::Unclear { .. }) =>
                {
                    self.client_auths().pass_over(provider, client, choice);
                }
                _ => {}
            }
            if let Some(outcome) = outcome {
                return outcome;
            }
            first = false;
        }
    }
}
