//! A client's credentials in a request (RFC 6749 section 2.3.1): in the body, or as HTTP Basic. Which of these a
//! provider wants is found out in `client_auth`.

use super::ClientAuth;
use super::service::Client;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::header::HeaderValue;
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

/// A form with the client in it, or beside it in a header (RFC 6749 section 2.3.1). A client without a secret only names
/// itself.
pub(super) fn with_client(
    fields: &[(&str, &str)],
    client: &Client,
    auth: ClientAuth,
) -> (Zeroizing<String>, Option<HeaderValue>) {
    let secret = client.secret.as_ref().map(ExposeSecret::expose_secret);
    match (auth, secret) {
        (ClientAuth::Basic, Some(secret)) => {
            (form(fields), Some(basic(encoded(&client.id).as_bytes(), encoded(secret).as_bytes())))
        }
        (ClientAuth::BasicRaw, Some(secret)) => (form(fields), Some(basic(client.id.as_bytes(), secret.as_bytes()))),
        (_, secret) => {
            let mut fields = fields.to_vec();
            if !fields.iter().any(|(name, _)| *name == "client_id") {
                fields.push(("client_id", &client.id));
            }
            fields.extend(secret.map(|secret| ("client_secret", secret)));
            (form(&fields), None)
        }
    }
}

/// A form as a request carries it.
pub(super) fn form(fields: &[(&str, &str)]) -> Zeroizing<String> {
    // Never grows, so no copy is left behind.
    let longest = fields.iter().map(|(name, value)| 3 * (name.len() + value.len()) + 2).sum();
    let mut text = form_urlencoded::Serializer::new(String::with_capacity(longest));
    Zeroizing::new(text.extend_pairs(fields).finish())
}

/// HTTP Basic (RFC 7617).
#[allow(clippy::expect_used, reason = "base64 is ASCII")]
pub(super) fn basic(user: &[u8], password: &[u8]) -> HeaderValue {
    let pair = Zeroizing::new([user, b":", password].concat());
    let text = format!("Basic {}", BASE64_STANDARD.encode(&*pair));
    let mut header = HeaderValue::try_from(text).expect("base64 is ASCII");
    header.set_sensitive(true);
    header
}

/// Whether it is [`encoded`] as it is.
pub(super) fn is_plain(text: &str) -> bool {
    // In pieces: the longest that stay as they are, and between them what does not.
    form_urlencoded::byte_serialize(text.as_bytes()).next().is_none_or(|piece| piece == text)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_plain_is_encoded_as_it_is() {
        for text in
            ["", "a", "A-z_0.9*", " ", "+", "a b", "a+", "/", "~", "ü", "plain-then%", "%plain", "1234567890.apps"]
        {
            assert_eq!(is_plain(text), encoded(text).as_str() == text, "{text}");
        }
    }
}
