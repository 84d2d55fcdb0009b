//! Parses token responses (RFC 6749 section 5.1) and tells error responses (section 5.2) from them. With a successful
//! status and an access token the response is good, whatever else is in it: at a provider whose refresh tokens work
//! once it holds the only one there is. The content type is ignored, as providers get it wrong; what an error means is
//! told by `error_code`.

use super::call::Response;
use super::error::{AttemptError, Retry};
use super::error_code::Told;
use super::json::Members;
use super::service::{Provider, Service};
use super::{ErrorClass, ProviderError};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;

/// The longest access token, in bytes. With a refresh token beside it, it fits into a record of the state store.
const MAX_ACCESS_TOKEN: usize = 16 * 1024;
/// The longest refresh token, in bytes.
const MAX_REFRESH_TOKEN: usize = 8 * 1024;
/// How long an access token is taken to live when the response does not say.
const DEFAULT_LIFE: Duration = Duration::from_secs(1800);
/// The longest that an access token is taken to live.
const MAX_LIFE: Duration = Duration::from_secs(86_400);
/// The longest life that is believed, in seconds: a hundred years.
const ABSURD_LIFE: f64 = 100.0 * 365.0 * 86_400.0;

/// Standard scopes that many providers leave out of their responses although they granted them: they ask for a kind of
/// token, not for access to anything. Their absence means nothing.
const NOT_ECHOED: &[&str] = &["offline_access", "openid"];

/// What a token endpoint gave (RFC 6749 section 5.1).
pub struct TokenResponse {
    /// The access token, never empty.
    pub access_token: SecretString,
    /// How long it lives from now, 1 second to a day. `None`: it does not expire.
    pub expires_in: Option<Duration>,
    /// The refresh token, if one came; never empty.
    pub refresh_token: Option<SecretString>,
    /// How long the refresh token lives from now, as far as the provider says: at least a second. `None`: it did not
    /// say, or said 0, which some use for no fixed end.
    pub refresh_token_expires_in: Option<Duration>,
    /// The scopes granted, if the response names them.
    pub scopes: Option<Vec<String>>,
}

impl TokenResponse {
    /// Which of the scopes that a service asked for were not granted. Empty when the response names no scopes: then all
    /// were (RFC 6749 section 5.1). Compared as sets, without regard to case, the provider's prefix and scopes that are
    /// not echoed; some part them by commas, but a comma may also belong to a scope.
    pub fn missing_scopes<'s>(&self, service: &'s Service) -> Vec<&'s str> {
        let Some(granted) = &self.scopes else { return Vec::new() };
        let prefix = service.provider.settings.scope_prefix.as_deref().unwrap_or_default();
        let bare = |scope: &str| scope.strip_prefix(prefix).unwrap_or(scope).to_ascii_lowercase();
        let granted = granted.iter().flat_map(|scope| std::iter::once(scope.as_str()).chain(scope.split(',')));
        let granted: Vec<_> = granted.map(bare).collect();
        let missing = |scope: &&str| !NOT_ECHOED.contains(scope) && !granted.contains(&bare(scope));
        service.scopes.iter().map(String::as_str).filter(missing).collect()
    }
}

/// Reads the response of a token endpoint.
pub(super) fn tokens(provider: &Provider, answer: &Response) -> Result<TokenResponse, AttemptError> {
    if !(200..300).contains(&answer.status) {
        return Err(error(provider, answer));
    }
    let members = Members::read(&answer.body).ok_or_else(|| error(provider, answer))?;
    let refused = result_code(provider, &members).is_some_and(|code| code != "0");
    let access_token = token(provider, &members, "access_token", MAX_ACCESS_TOKEN).filter(|_| !refused);
    let access_token = access_token.ok_or_else(|| error(provider, answer))?;
    let refresh_token = token(provider, &members, "refresh_token", MAX_REFRESH_TOKEN);
    if !members.whole && refresh_token.is_none() {
        // It may have been in the part that did not come.
        return Err(AttemptError::bad_answer());
    }
    let expires_in = match lifetime(&members, "expires_in") {
        _ if provider.raw_token() => None,
        None if provider.settings.default_expires_in.is_some() => {
            provider.settings.default_expires_in.map(|seconds| Duration::from_secs(seconds.into()))
        }
        None => {
            tracing::warn!(
                provider = provider.id,
                "the answer does not say how long the access token lives; half an hour assumed"
            );
            Some(DEFAULT_LIFE)
        }
        Some(life) => Some(life.min(MAX_LIFE)),
    };
    let refresh_life = provider.settings.refresh_life_field.as_ref();
    let between = |character: char| character.is_whitespace() || Some(character) == provider.settings.scope_separator;
    let scopes = members.string("scope").map(|text| vec![text]).or_else(|| members.list("scope"));
    let parts = |scopes: Vec<String>| {
        let parts = scopes.iter().flat_map(|text| text.split(between)).filter(|scope| !scope.is_empty());
        parts.map(str::to_owned).collect()
    };
    Ok(TokenResponse {
        access_token,
        expires_in,
        refresh_token,
        refresh_token_expires_in: refresh_life.and_then(|field| lifetime(&members, field)),
        scopes: scopes.map(parts),
    })
}

/// A token that can be kept.
fn token(provider: &Provider, members: &Members, name: &str, longest: usize) -> Option<SecretString> {
    // An access token goes into a header of the client's, which is undone by anything else (RFC 6749 appendix A.12).
    let is_fit = |token: &SecretString| {
        let token = token.expose_secret();
        !token.is_empty() && token.bytes().all(|b| (b' '..=b'~').contains(&b))
    };
    let trimmed = |token: SecretString| match token.expose_secret().trim_matches(['\r', '\n', '\t']) {
        bare if bare.len() < token.expose_secret().len() => bare.into(),
        _ => token,
    };
    let token = members.token(name, longest);
    let token = if name == "access_token" { token.map(trimmed).filter(is_fit) } else { token };
    if token.is_none() && members.has(name) {
        tracing::warn!(provider = provider.id, member = name, "the answer has a token that cannot be kept");
    }
    token
}

/// Reads the response of a revocation endpoint, of which only the status counts (RFC 7009 section 2.2).
pub(super) fn revoked(provider: &Provider, answer: &Response) -> Result<(), AttemptError> {
    if (200..300).contains(&answer.status) { Ok(()) } else { Err(error(provider, answer)) }
}

/// What a response without success means, or one with success and without what was asked for.
pub(super) fn error(provider: &Provider, answer: &Response) -> AttemptError {
    let status = answer.status;
    // Whoever says when to come back has looked at nothing (RFC 9110 section 15.6.4). Without that, who knows.
    if status == 429 || status == 503 && answer.retry_after.is_some() {
        return AttemptError::later(answer.retry_after);
    }
    let told = Told::by_body(&provider.settings, &answer.body);
    let by_status =
        || provider.settings.errors.get(&format!("http-{status}")).copied().filter(|_| told.codes.is_empty());
    match (told.meaning.filter(|_| status < 500).or_else(by_status), status) {
        (Some(ErrorClass::Operator), _) => ProviderError::Misconfigured.into(),
        (Some(ErrorClass::Later), _) => AttemptError::later(answer.retry_after),
        (Some(ErrorClass::Unclear), _) => ProviderError::Unclear { status }.into(),
        (Some(meaning), _) => ProviderError::Refused(meaning).into(),
        (None, 500) => AttemptError::new(ProviderError::Unclear { status }, Retry::IfIdempotent),
        (None, 408 | 501..) => AttemptError::new(ProviderError::Disturbed, Retry::IfIdempotent),
        (None, 400..500) => ProviderError::Unclear { status }.into(),
        (None, 200..300) if !told.codes.is_empty() => ProviderError::Unclear { status }.into(),
        // Redirects are not followed: one could carry the secret elsewhere.
        (None, _) => AttemptError::bad_answer(),
    }
}

/// The number that stands in for an HTTP status, where a provider has one.
fn result_code(provider: &Provider, members: &Members) -> Option<String> {
    members.text(provider.settings.result_field.as_ref()?)
}

/// A life in seconds, as a number or, from some, as a string; what is less than a second or absurd was not said.
fn lifetime(members: &Members, name: &str) -> Option<Duration> {
    let seconds: f64 = members.text(name)?.trim().parse().ok()?;
    (1.0..ABSURD_LIFE).contains(&seconds).then(|| Duration::from_secs_f64(seconds.floor()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{built_in, clients};
    use super::super::{Catalogue, ProviderSettings};
    use super::*;
    use hyper::HeaderMap;

    fn read(provider: &str, status: u16, body: &str) -> Result<TokenResponse, ProviderError> {
        let settings = built_in().0.remove(provider).unwrap();
        read_as(settings, status, body, None).map_err(|fault| fault.failure)
    }

    fn read_as(
        settings: ProviderSettings,
        status: u16,
        body: &str,
        retry_after: Option<u64>,
    ) -> Result<TokenResponse, AttemptError> {
        let provider = Provider::unchecked("p", settings);
        let retry_after = retry_after.map(Duration::from_secs);
        tokens(
            &provider,
            &Response {
                status,
                retry_after,
                location: None,
                headers: HeaderMap::new(),
                body: body.to_owned().into(),
                cut: None,
            },
        )
    }

    #[test]
    fn tokens_are_read_from_what_providers_send() {
        let body = r#"{"access_token":"at","expires_in":3599,"refresh_token":"rt","scope":"a b","token_type":"Bearer","x":{}}"#;
        let tokens = read("google", 200, body).unwrap();
        assert_eq!(tokens.access_token.expose_secret(), "at");
        assert_eq!(tokens.expires_in, Some(Duration::from_secs(3599)));
        assert_eq!(tokens.refresh_token.unwrap().expose_secret(), "rt");
        assert_eq!(tokens.scopes.unwrap(), ["a", "b"]);
        let bare = read("google", 200, r#"{"access_token":"at","refresh_token":"","scope":null}"#).unwrap();
        assert!(bare.refresh_token.is_none() && bare.scopes.is_none());
        let list = read("google", 200, r#"{"access_token":"at","scope":["a b","c"]}"#).unwrap();
        assert_eq!(list.scopes.unwrap(), ["a", "b", "c"]);
        let nothing = read("google", 200, r#"{"access_token":"at","scope":""}"#).unwrap();
        assert!(nothing.scopes.unwrap().is_empty(), "an empty scope is a scope: nothing was granted");
        let raw = read("pcloud", 200, r#"{"result":0,"access_token":"at","token_type":"bearer","uid":1}"#).unwrap();
        assert_eq!(raw.expires_in, None);
    }

    #[test]
    fn an_access_token_that_no_header_can_carry_is_none() {
        for token in ["a\\nb", "\\r\\n", "a\\u0000", "a\\u007f", "caf\u{e9}", "\u{1f600}", "\\u200ba"] {
            let body = format!(r#"{{"access_token":"{token}","refresh_token":"r","expires_in":60}}"#);
            assert_eq!(read("google", 200, &body).err(), Some(ProviderError::BadAnswer), "{token}");
        }
        let body = r#"{"access_token":"\t~!/+= \"\\a\r\n","refresh_token":"caf\u00e9","expires_in":60}"#;
        let tokens = read("google", 200, body).unwrap();
        assert_eq!(tokens.access_token.expose_secret(), "~!/+= \"\\a");
        assert_eq!(tokens.refresh_token.unwrap().expose_secret(), "caf\u{e9}", "it goes into forms alone");
    }

    #[test]
    fn a_life_is_a_number_between_a_second_and_a_day_or_was_not_said() {
        let cases = [
            ("3600", 3600),
            ("\"3600\"", 3600),
            ("3599.9", 3599),
            ("\" 3600\\n\"", 3600),
            ("1", 1),
            ("86401", 86_400),
            ("2592000", 86_400),
        ];
        let unsaid = "0 -0 0.5 -5 -1e300 1e300 1e999 99999999999999999999 NaN -Infinity \"NaN\" \"inf\" \"soon\" \"\" \"1h\" \
            true null [3600] {\"s\":1} 0x10 \"\\ud800\"";
        let cases = cases.into_iter().chain(unsaid.split_whitespace().map(|life| (life, 1800)));
        for (life, seconds) in cases {
            let tokens = read("box", 200, &format!(r#"{{"access_token":"at","expires_in":{life}}}"#)).unwrap();
            assert_eq!(tokens.expires_in, Some(Duration::from_secs(seconds)), "{life}");
        }
    }

    #[test]
    fn how_long_a_refresh_token_lives_is_read_where_the_provider_says_it() {
        let life = |provider: &str, member: &str| {
            let tokens = read(provider, 200, &format!(r#"{{"access_token":"at","expires_in":1,{member}}}"#)).unwrap();
            tokens.refresh_token_expires_in.map(|life| life.as_secs())
        };
        assert_eq!(life("google", r#""refresh_token_expires_in":604799"#), Some(604_799));
        assert_eq!(life("google", r#""refresh_token_expires_in":"604799.9""#), Some(604_799));
        assert_eq!(life("jottacloud", r#""refresh_expires_in":7"#), Some(7));
        // What cannot be read is no reason to lose the tokens beside it.
        for unknown in ["1e300", "NaN", "0", "-1", "0.5", "null", "true", "[]", "\"soon\"", "\"NaN\""] {
            assert_eq!(life("google", &format!(r#""refresh_token_expires_in":{unknown}"#)), None, "{unknown}");
        }
        assert_eq!(life("google", r#""refresh_expires_in":7"#), None);
        assert_eq!(life("dropbox", r#""refresh_token_expires_in":7"#), None);
    }

    #[test]
    fn nothing_beside_the_tokens_makes_a_good_answer_bad() {
        let fat = format!("\"{}\"", "x".repeat(100_000));
        let values = [
            "1",
            "0",
            "-1",
            "NaN",
            "Infinity",
            "null",
            "true",
            "\"\"",
            "\"3600 \"",
            "[]",
            "{}",
            "[1,[2]]",
            "[[[[\"}\"]]]]",
            "{\"access_token\":\"no\",\"refresh_token\":\"no\"}",
            "\"\u{fffd}\"",
            "\"a\tb\"",
            "\"\\ud800\"",
            "'x'",
            "",
            &fat,
        ];
        let names = ["expires_in", "scope", "id_token", "token_type", "error", "refresh_expires_in", "x", ""];
        for (name, value) in names.iter().flat_map(|name| values.iter().map(move |value| (name, value))) {
            for body in [
                format!(r#"{{"access_token":"at","refresh_token":"rt","{name}":{value}}}"#),
                format!(
                    "\u{feff}{{\"{name}\":{value},\"{name}\":{value},\"refresh_token\":\"rt\",\"access_token\":\"at\"}}\r\n"
                ),
            ] {
                let tokens = read("jottacloud", 200, &body).unwrap_or_else(|failure| panic!("{failure}: {body:.300}"));
                assert_eq!(tokens.access_token.expose_secret(), "at", "{body:.300}");
                assert_eq!(tokens.refresh_token.unwrap().expose_secret(), "rt", "{body:.300}");
                assert!(tokens.expires_in.is_some_and(|life| !life.is_zero()));
            }
        }
        for scope in ["7", "true", "{}", "NaN", "\"\\ud800\""] {
            let tokens = read("google", 200, &format!(r#"{{"access_token":"at","scope":{scope}}}"#)).unwrap();
            assert_eq!(tokens.scopes, None, "{scope}");
        }
        // A refresh token that cannot be kept is no reason to lose the access token.
        for token in ["7", "{}", "[]", "true", &format!("\"{}\"", "r".repeat(MAX_REFRESH_TOKEN + 1))] {
            let tokens = read("box", 201, &format!(r#"{{"access_token":"at","refresh_token":{token}}}"#)).unwrap();
            assert!(tokens.refresh_token.is_none(), "{token:.20}");
        }
        let long = format!(r#"{{"access_token":"{}"}}"#, "a".repeat(MAX_ACCESS_TOKEN));
        assert!(read("box", 200, &long).is_ok());
    }

    #[test]
    fn of_an_answer_that_was_cut_off_both_tokens_are_kept_or_none() {
        let read = |body: &str| {
            let answer = Response {
                status: 200,
                retry_after: None,
                location: None,
                headers: HeaderMap::new(),
                body: body.to_owned().into(),
                cut: Some(AttemptError::bad_answer()),
            };
            tokens(&Provider::unchecked("p", ProviderSettings::default()), &answer)
        };
        let whole = r#"{"access_token":"at","refresh_token":"rt","expires_in":3600,"x":"y"}"#;
        for cut in 1..whole.len() {
            let read = read(&whole[..cut]).ok().map(|tokens| {
                (
                    tokens.access_token.expose_secret().to_owned(),
                    tokens.refresh_token.unwrap().expose_secret().to_owned(),
                )
            });
            let in_it = cut >= whole.find("\"rt\"").unwrap() + "\"rt\"".len();
            assert_eq!(read, in_it.then(|| ("at".to_owned(), "rt".to_owned())), "{cut}");
        }
        assert!(read(r#"{"access_token":"at","expires_in":3600,"#).is_err());
        assert!(read(r#"{"access_token":"at","expires_in":3600}"#).is_ok(), "nothing can have been after this");
    }

    #[test]
    fn an_answer_that_makes_no_sense_is_a_bad_one() {
        let long_token = format!(r#"{{"access_token":"{}"}}"#, "a".repeat(MAX_ACCESS_TOKEN + 1));
        let bad = [
            "",
            "<html>",
            "[]",
            "{}",
            "null",
            r#"{"access_token":""}"#,
            r#"{"access_token":1}"#,
            r#"{"access_token":null}"#,
            r#"{"access_token":"a"#,
            r#"{"data":{"access_token":"a"}}"#,
            "access_token=a&refresh_token=b",
            "{\"access_token\":\"a\u{fffd}\"}",
            &long_token,
        ];
        for body in bad {
            assert_eq!(read("google", 200, body).err(), Some(ProviderError::BadAnswer), "{body}");
        }
        for status in [101, 301, 302, 307, 308] {
            assert_eq!(
                read("google", status, r#"{"access_token":"a"}"#).err(),
                Some(ProviderError::BadAnswer),
                "{status}"
            );
        }
        for status in [408, 501, 502, 503, 504, 599] {
            assert_eq!(
                read("google", status, r#"{"access_token":"a"}"#).err(),
                Some(ProviderError::Disturbed),
                "{status}"
            );
        }
    }

    #[test]
    fn an_error_without_a_known_code_is_told_by_its_status() {
        let bodies = ["", "<html>error=invalid_grant</html>", "{}", r#"{"access_token":"a"}"#, r#"{"error":"teapot"}"#];
        for (status, body) in [400, 401, 403, 404, 405, 418, 499, 500].into_iter().flat_map(|s| bodies.map(|b| (s, b)))
        {
            assert_eq!(read("google", status, body).err(), Some(ProviderError::Unclear { status }), "{status} {body}");
        }
        assert_eq!(
            read("google", 500, r#"{"error":"invalid_grant"}"#).err(),
            Some(ProviderError::Unclear { status: 500 })
        );
        assert_eq!(read("google", 200, r#"{"error":"teapot"}"#).err(), Some(ProviderError::Unclear { status: 200 }));
    }

    #[test]
    fn a_status_without_a_code_means_what_the_configuration_says() {
        let settings = |errors: &str| toml::from_str::<ProviderSettings>(&format!("errors = {errors}")).unwrap();
        let read =
            |errors: &str, status, body: &str| read_as(settings(errors), status, body, None).err().unwrap().failure;
        let dead = ProviderError::Refused(ErrorClass::LoginAgain);
        let errors = "{ http-400 = 'login_again', http-500 = 'expired', http-302 = 'operator', http-403 = 'later' }";
        assert_eq!(read(errors, 400, ""), dead);
        assert_eq!(read(errors, 400, "<html>"), dead);
        assert_eq!(read(errors, 400, r#"{"error":"teapot"}"#), ProviderError::Unclear { status: 400 });
        assert_eq!(read(errors, 400, r#"{"error":"invalid_client"}"#), ProviderError::Misconfigured);
        assert_eq!(read(errors, 401, ""), ProviderError::Unclear { status: 401 });
        assert_eq!(read(errors, 500, "<html>"), ProviderError::Refused(ErrorClass::Expired));
        assert_eq!(read(errors, 302, ""), ProviderError::Misconfigured);
        assert_eq!(read(errors, 403, ""), ProviderError::Busy { retry_after: None });
    }

    #[test]
    fn codes_tell_a_dead_login_from_an_operators_fault_and_a_bad_moment() {
        use ErrorClass::*;
        let refused = ProviderError::Refused;
        let later = ProviderError::Busy { retry_after: None };
        let cases = [
            ("google", 400, r#"{"error":"invalid_grant","error_description":"Bad Request"}"#, refused(LoginAgain)),
            ("google", 400, r#"{"error":"Invalid_Grant","error_description":"x"}"#, refused(LoginAgain)),
            ("google", 401, r#"{"error":"deleted_client"}"#, ProviderError::Misconfigured),
            ("google", 401, r#"{"error":"invalid_client"}"#, ProviderError::Misconfigured),
            ("google", 400, r#"{"error":"unauthorized_client"}"#, ProviderError::Misconfigured),
            ("google", 403, r#"{"error":"forbidden"}"#, ProviderError::Unclear { status: 403 }),
            ("google", 400, r#"{"error":{"code":400}}"#, ProviderError::Unclear { status: 400 }),
            ("google", 429, "busy", later),
            ("google", 429, r#"{"error":"invalid_grant"}"#, later),
            ("google", 503, "", ProviderError::Disturbed),
            ("microsoft", 400, r#"{"error":"invalid_grant","error_codes":[700082]}"#, refused(Expired)),
            ("microsoft", 400, r#"{"error":"invalid_grant","error_codes":[50076]}"#, refused(Policy)),
            ("microsoft", 400, r#"{"error":"invalid_client","error_codes":[65005]}"#, refused(Consent)),
            ("microsoft", 400, r#"{"error":"invalid_grant","error_codes":[50173]}"#, refused(LoginAgain)),
            ("microsoft", 400, r#"{"error":"invalid_grant","error_codes":[50196]}"#, later),
            ("microsoft", 400, r#"{"error":"invalid_grant","error_codes":[1,2]}"#, refused(LoginAgain)),
            ("microsoft", 401, r#"{"error":"invalid_client","error_codes":[7000222]}"#, ProviderError::Misconfigured),
            ("box", 400, r#"{"error":"access_denied"}"#, refused(LoginAgain)),
            ("dropbox", 400, r#"{"error":"access_denied"}"#, refused(Locked)),
            ("pcloud", 200, r#"{"result":2094,"error":"Invalid 'access_token' provided."}"#, refused(LoginAgain)),
            ("pcloud", 200, r#"{"result":4000,"error":"slow"}"#, later),
            ("pcloud", 200, r#"{"result":5000}"#, later),
            ("pcloud", 200, r#"{"result":1000,"access_token":"a"}"#, ProviderError::Misconfigured),
            ("pcloud", 200, r#"{"result":7}"#, ProviderError::Unclear { status: 200 }),
        ];
        for (provider, status, body, failure) in cases {
            assert_eq!(read(provider, status, body).err(), Some(failure), "{provider} {status} {body}");
        }
    }

    #[test]
    fn a_time_to_come_back_is_kept() {
        for status in [429, 503] {
            let fault = read_as(ProviderSettings::default(), status, "", Some(60)).err().unwrap();
            assert_eq!(fault, AttemptError::later(Some(Duration::from_secs(60))), "{status}");
        }
        let fault = read_as(ProviderSettings::default(), 502, "", Some(60)).err().unwrap();
        assert_eq!(fault.failure, ProviderError::Disturbed);
    }

    #[test]
    fn scopes_that_were_not_granted_are_named() {
        let (providers, services) = built_in();
        let catalogue = Catalogue::build(providers, services, clients([]), true).unwrap();
        let missing = |service: &str, granted: Option<&str>| {
            let scopes = granted.map(|scopes| scopes.split(' ').map(str::to_owned).collect());
            let tokens = TokenResponse {
                access_token: "t".into(),
                expires_in: None,
                refresh_token: None,
                refresh_token_expires_in: None,
                scopes,
            };
            tokens.missing_scopes(catalogue.find(service).unwrap()).join(" ")
        };
        assert_eq!(missing("msgroup", None), "");
        assert_eq!(
            missing("msgroup", Some("profile https://graph.microsoft.com/Files.ReadWrite.All group.read.all")),
            ""
        );
        assert_eq!(missing("msgroup", Some("Files.ReadWrite Group.Read.All")), "Files.ReadWrite.All");
        assert_eq!(missing("msgroup", Some("Files.ReadWrite.All,Group.Read.All")), "", "parted by commas");
        assert_eq!(missing("msgroup", Some("Files.ReadWrite.All, Group.Read.All,profile")), "");
        assert_eq!(missing("msgroup", Some("Files.ReadWrite,Group.Read.All")), "Files.ReadWrite.All");
        assert_eq!(missing("googledrive", Some("openid")), "https://www.googleapis.com/auth/drive.file");
    }
}
