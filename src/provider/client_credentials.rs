//! A client's credentials in a request (RFC 6749 section 2.3.1): in the body, or as HTTP Basic. Which of these a
//! provider wants is found out in `client_auth`.

use super::ClientAuth;
use super::service::Client;
use reqwest::RequestBuilder;
use secrecy::ExposeSecret;
use url::form_urlencoded;
use zeroize::Zeroizing;

/// A way, and why it is taken.
#[derive(Clone, Copy)]
pub(super) struct Choice {
    pub(super) auth: ClientAuth,
    pub(super) why: &'static str,
    /// What to try after a refusal; `None` where the way is settled.
    pub(super) next: Option<ClientAuth>,
}

/// RFC 6749 section 2.3.1. A client without a secret only names itself.
pub(super) fn with_client(
    request: RequestBuilder,
    fields: &[(&str, &str)],
    client: &Client,
    auth: ClientAuth,
) -> RequestBuilder {
    let secret = client.secret.as_ref().map(ExposeSecret::expose_secret);
    match (auth, secret) {
        (ClientAuth::Basic, Some(secret)) => {
            request.basic_auth(encoded(&client.id).as_str(), Some(encoded(secret).as_str())).form(fields)
        }
        (ClientAuth::BasicRaw, Some(secret)) => request.basic_auth(&client.id, Some(secret)).form(fields),
        (_, secret) => {
            let mut fields = fields.to_vec();
            if !fields.iter().any(|(name, _)| *name == "client_id") {
                fields.push(("client_id", &client.id));
            }
            fields.extend(secret.map(|secret| ("client_secret", secret)));
            request.form(&fields)
        }
    }
}

/// As an id or a secret is joined to the other in HTTP Basic.
pub(super) fn encoded(text: &str) -> Zeroizing<String> {
    Zeroizing::new(form_urlencoded::byte_serialize(text.as_bytes()).collect())
}

impl ClientAuth {
    /// As the configuration writes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::Basic => "basic",
            Self::BasicRaw => "basic_raw",
        }
    }
}
