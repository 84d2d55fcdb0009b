//! Why a call to a provider brought nothing, in one line of the log for its operator: what came back, from which call, and
//! what to look at. What was sent is left out, and so is the rest of what came.

use super::error::ProviderError;
use super::error_code::Told;
use super::http::{Call, Payload};
use super::token_response::Answer;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName};
use secrecy::ExposeSecret;
use url::Url;

/// How much of a value is logged, in bytes.
const LONGEST: usize = 200;
/// A word that is longer may be a token.
const LONGEST_WORD: usize = 30;

/// What an answer's headers tell of its kind.
#[derive(Default)]
pub(super) struct Head {
    content_type: Option<String>,
    encoding: Option<String>,
    /// Where a redirect leads: scheme, host and path, as a query may hold secrets.
    redirect: Option<String>,
}

impl Head {
    pub(super) fn read(headers: &HeaderMap, location: Option<&Url>) -> Self {
        let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"/+.-_, ".contains(&b);
        let kind = |text: &str| {
            let kind = text.split(';').next().unwrap_or_default().trim();
            (1..=100).contains(&kind.len()).then(|| kind.bytes().filter(|b| plain(*b)).map(char::from).collect())
        };
        Self {
            content_type: text(CONTENT_TYPE).and_then(kind),
            encoding: text(CONTENT_ENCODING).and_then(kind),
            redirect: location.map(place),
        }
    }
}

/// Host and path of an address, cut.
fn place(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Both fail only for a URL that has no host, and so no user.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.as_str().chars().take(LONGEST).collect()
}

/// Says that there was no answer, or only a part of one. `cause` is the system's or the TLS library's sentence, never a
/// part of the request or the answer.
pub(super) fn broken(call: &Call<'_>, cause: &str) {
    tracing::warn!(
        provider = call.provider.id,
        service = call.service,
        call = call.name,
        address = place(&call.url),
        ?cause,
        "the connection to a provider failed"
    );
}

/// Says it: loudest what this server's operator has to change.
pub(super) fn report(call: &Call<'_>, answer: &Answer, failure: ProviderError) {
    let provider = call.provider;
    let told = Told::by_body(&provider.settings, &answer.body);
    let codes: Vec<_> = told.codes.iter().map(ToString::to_string).filter(|code| !call.sends(code)).collect();
    let codes = (!codes.is_empty()).then_some(codes);
    let Head { content_type, encoding, redirect } = &answer.head;
    let auth = match &call.payload {
        Payload::Form(_, Some((_, choice))) => Some(choice),
        _ => None,
    };
    macro_rules! tell {
        ($level:ident, $message:literal) => {
            tracing::$level!(
                provider = provider.id,
                service = call.service,
                call = call.name,
                address = place(&call.url),
                status = answer.status,
                content_type,
                codes = codes.as_ref().map(tracing::field::debug),
                retry_after = answer.retry_after.map(|time| time.as_secs()),
                redirect,
                encoding,
                client_auth = auth.map(|choice| choice.auth.name()),
                because = auth.map(|choice| choice.why),
                hint = hint(answer, failure, auth.is_some_and(|choice| choice.next.is_some())),
                $message
            )
        };
    }
    match failure {
        ProviderError::Misconfigured => tell!(error, "the provider does not accept this server's client; check it"),
        ProviderError::Refused(_) => tell!(info, "the provider does not accept the login"),
        _ => tell!(warn, "the provider's answer is of no use"),
    }
    if let Some(description) = told.description {
        let description = printable(&description, |word| call.sends(word));
        tracing::debug!(
            provider = provider.id,
            service = call.service,
            description,
            "the provider describes its error"
        );
    }
}

/// What to look at first. `guessed`: there is another way to send the client's secret than the one that was taken.
fn hint(answer: &Answer, failure: ProviderError, guessed: bool) -> Option<&'static str> {
    let page = answer.head.content_type.as_deref().is_some_and(|kind| kind.contains("html"));
    match answer.status {
        300..400 => {
            Some("the address is redirected: a slash at its end is missing or one too many, or it is http for https")
        }
        404 | 405 => Some("the address is probably wrong"),
        _ if failure == ProviderError::Misconfigured && guessed => {
            Some("id or secret is wrong or has ended, or the provider wants the secret sent otherwise: client_auth")
        }
        200..500 if page => Some("a page in place of JSON: a wrong address, or a firewall or login page on the way"),
        _ => None,
    }
}

/// A text of the provider's, cut, without what no log can bear and without words that are secret or may be.
pub(super) fn printable(text: &str, is_secret: impl Fn(&str) -> bool) -> String {
    let clean: String = text.chars().map(|c| if c.is_ascii_graphic() { c } else { ' ' }).take(4 * LONGEST).collect();
    let shown = |word| if str::len(word) > LONGEST_WORD || is_secret(word) { "(left out)" } else { word };
    let words: Vec<_> = clean.split_ascii_whitespace().map(shown).collect();
    words.join(" ").chars().take(LONGEST).collect()
}

impl Call<'_> {
    /// Whether a word is, or holds, a part of what is sent that may be secret.
    fn sends(&self, word: &str) -> bool {
        let holds =
            |secret: &str| secret.len() >= 4 && word.to_ascii_lowercase().contains(&secret.to_ascii_lowercase());
        match &self.payload {
            Payload::Nothing => false,
            Payload::Bearer(token) => holds(token.expose_secret()),
            Payload::Form(fields, client) => {
                let secret = client.and_then(|(client, _)| client.secret.as_ref());
                fields.iter().any(|(name, value)| *name != "grant_type" && *name != "scope" && holds(value))
                    || secret.is_some_and(|secret| holds(secret.expose_secret()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_told_by_host_and_path_and_a_description_without_what_may_be_secret() {
        let url = Url::parse("https://p.example/token").unwrap();
        for (location, shown) in [
            ("/token/?code=s3cret#x", "https://p.example/token/"),
            ("https://u:pw@q.example:8443/login?next=a", "https://q.example:8443/login"),
        ] {
            let location = url.join(location).unwrap();
            assert_eq!(Head::read(&HeaderMap::new(), Some(&location)).redirect.as_deref(), Some(shown));
        }
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, "text/html; charset=x".parse().unwrap())]);
        assert_eq!(Head::read(&headers, None).content_type.as_deref(), Some("text/html"));
        let text = format!("Token s3cret,\u{1b}[1m é\n{} is bad", "x".repeat(31));
        assert_eq!(printable(&text, |word| word.contains("s3cret")), "Token (left out) [1m (left out) is bad");
        assert_eq!(printable(&"word ".repeat(99), |_| false).len(), LONGEST);
    }
}
