//! A form sent with the client's credentials (RFC 6749 section 2.3), in the way that [`ClientAuths`] chooses. Where the
//! provider refuses the client and a repeat does no harm, with each of its other secrets, and then in the next way.
//!
//! [`ClientAuths`]: super::client_auth::ClientAuths

use super::ProviderClient;
use super::call::{Call, Payload, Response};
use super::client_auth::{Form, Repeatable, refuses_client};
use super::error::{AttemptError, ProviderError, Retry};
use super::service::Provider;
use std::sync::OnceLock;

impl ProviderClient {
    /// Sends a form with the client's credentials. If the client is refused and `repeatable` allows it, once more with each
    /// of its other secrets, and then in the next way.
    pub(super) async fn authenticated<T>(
        &self,
        form: Form<'_>,
        read: fn(&Provider, &Response) -> Result<T, AttemptError>,
    ) -> Result<T, AttemptError> {
        let Form { provider, client: registered, metadata, deadline, repeatable, .. } = form;
        let count = registered.secrets();
        let mut attempts = 1;
        loop {
            let at = if count > 1 { self.client_auths().secret(registered) } else { 0 };
            let one_of_several;
            let client = if count > 1 {
                one_of_several = registered.with_secret(at);
                &one_of_several
            } else {
                registered
            };
            let choice = self.client_auths().choose(provider, client, metadata);
            let may_repeat = |plain: bool| {
                let allowed = repeatable == Repeatable::Yes || (repeatable == Repeatable::Unspent && plain);
                (attempts < count || attempts < 2 * count && choice.next.is_some()) && allowed
            };
            let refused = OnceLock::new();
            let payload = Payload::Form(form.fields, Some((client, choice)));
            let call = Call { provider, service: Some(form.service), name: form.name, url: form.url, payload };
            let read = |provider: &Provider, answer: &Response| match refuses_client(provider, answer) {
                Some(plain) if may_repeat(*refused.get_or_init(|| plain)) => {
                    Err(AttemptError::new(ProviderError::Misconfigured, Retry::Otherwise))
                }
                Some(plain) => {
                    refused.get_or_init(|| plain);
                    read(provider, answer)
                }
                None => read(provider, answer),
            };
            let outcome = self.http().send(&call, deadline, repeatable == Repeatable::Yes, read).await;
            if count > 1 && outcome.is_ok() {
                self.client_auths().secret_worked(provider, registered, at);
            }
            match &outcome {
                _ if client.secret.is_none() => {}
                _ if count > 1
                    && refused.get().is_some()
                    && !self.client_auths().secret_refused(provider, registered, at) => {}
                _ if refused.get().is_some() => self.client_auths().refused(provider, client, choice),
                _ if provider.settings.client_auth.is_some() => {}
                Ok(_) => self.client_auths().worked(provider, client, choice.auth),
                // Some servers do not call it by its name when the secret is not where they look for it.
                Err(fault) if matches!(fault.failure, ProviderError::Misconfigured | ProviderError::Unclear { .. }) => {
                    self.client_auths().pass_over(client, choice);
                }
                _ => {}
            }
            match outcome {
                Err(AttemptError { retry: Retry::Otherwise, .. }) => attempts += 1,
                outcome => return outcome,
            }
        }
    }
}
