//! How a provider says no: what was wrong, and each provider's words for it. Status, codes and texts are the documented
//! or reported ones; where none is known the nearest code of RFC 6749 section 5.2 takes its place.

use serde_json::{Value, json};

/// What was wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The body is not `application/x-www-form-urlencoded`.
    NotAForm,
    /// A parameter is there twice.
    Repeated(String),
    /// A parameter that has no business there.
    Unexpected(String),
    /// One that is needed is not there.
    Missing(&'static str),
    /// A value that is not accepted.
    Invalid(&'static str),
    GrantType,
    Tenant,
    /// Scopes that are unknown, not granted or badly separated.
    Scope,
    ClientUnknown,
    SecretMissing,
    SecretWrong,
    CodeUnknown,
    CodeSpent,
    CodeExpired,
    RedirectUri,
    VerifierMissing,
    VerifierWrong,
    /// A refresh token that was never issued.
    RefreshUnknown,
    /// Withdrawn by its owner, or pushed out by newer ones.
    RefreshRevoked,
    RefreshExpired,
    /// Used before.
    RefreshSpent,
    /// Killed because an older one of its line was used again.
    FamilyDead,
    /// The pasted login token is wrong or used.
    LoginToken,
    /// What was to be revoked is unknown.
    TokenUnknown,
}

/// Whose words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Google,
    Microsoft,
    Box,
    Dropbox,
    Keycloak,
    Pcloud,
    Plain,
}

impl Refusal {
    /// HTTP status and body.
    pub(crate) fn answer(&self, dialect: Dialect) -> (u16, Value) {
        match dialect {
            Dialect::Google => self.google(),
            Dialect::Microsoft => self.microsoft(),
            Dialect::Box => self.box_com(),
            Dialect::Dropbox => self.dropbox(),
            Dialect::Keycloak => self.keycloak(),
            Dialect::Pcloud => self.pcloud(),
            Dialect::Plain => self.plain(),
        }
    }

    /// The code of RFC 6749 section 5.2.
    fn code(&self) -> &'static str {
        match self {
            Self::NotAForm | Self::Repeated(_) | Self::Unexpected(_) | Self::Missing(_) | Self::Invalid(_) => {
                "invalid_request"
            }
            Self::Tenant => "invalid_request",
            Self::GrantType => "unsupported_grant_type",
            Self::Scope => "invalid_scope",
            Self::ClientUnknown | Self::SecretMissing | Self::SecretWrong => "invalid_client",
            Self::TokenUnknown => "invalid_token",
            _ => "invalid_grant",
        }
    }

    /// What it says of the request, where no provider has a text of its own.
    fn text(&self) -> String {
        match self {
            Self::Repeated(name) => format!("parameter {name} is given twice"),
            Self::Unexpected(name) => format!("unknown field \"{name}\""),
            Self::Missing(name) => format!("missing required parameter: {name}"),
            Self::Invalid(name) => format!("invalid value for {name}"),
            other => format!("{other:?}"),
        }
    }

    fn plain(&self) -> (u16, Value) {
        let status = if self.code() == "invalid_client" { 401 } else { 400 };
        (status, json!({"error": self.code(), "error_description": self.text()}))
    }

    fn google(&self) -> (u16, Value) {
        let (status, code, text) = match self {
            Self::Unexpected(name) => {
                (400, "invalid_request", format!("Parameter not allowed for this message type: {name}"))
            }
            Self::ClientUnknown => (401, "invalid_client", "The OAuth client was not found.".into()),
            Self::SecretMissing => (400, "invalid_request", "client_secret is missing.".into()),
            Self::SecretWrong => (401, "invalid_client", "Unauthorized".into()),
            Self::CodeUnknown => (400, "invalid_grant", "Malformed auth code.".into()),
            Self::CodeSpent | Self::CodeExpired | Self::RefreshUnknown => (400, "invalid_grant", "Bad Request".into()),
            Self::RedirectUri => (400, "redirect_uri_mismatch", "Bad Request".into()),
            Self::VerifierMissing => (400, "invalid_grant", "Missing code verifier.".into()),
            Self::VerifierWrong => (400, "invalid_grant", "Invalid code verifier.".into()),
            Self::RefreshRevoked | Self::RefreshExpired => {
                (400, "invalid_grant", "Token has been expired or revoked.".into())
            }
            Self::TokenUnknown => (400, "invalid_token", "Token expired or revoked".into()),
            _ => return self.plain(),
        };
        (status, json!({"error": code, "error_description": text}))
    }

    fn microsoft(&self) -> (u16, Value) {
        let (status, error, code, text) = match self {
            Self::Tenant => (400, "invalid_request", 90002, "Tenant not found."),
            Self::GrantType => (400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type."),
            Self::Scope => {
                (400, "invalid_scope", 70011, "The provided value for the input parameter 'scope' is not valid.")
            }
            Self::ClientUnknown => (400, "unauthorized_client", 700_016, "Application was not found in the directory."),
            Self::SecretMissing => (401, "invalid_client", 7_000_218, "The request body must contain 'client_secret'."),
            Self::SecretWrong => (401, "invalid_client", 7_000_215, "Invalid client secret provided."),
            Self::CodeUnknown => (400, "invalid_grant", 70000, "Provided grant is invalid or malformed."),
            Self::CodeSpent => (400, "invalid_grant", 54005, "OAuth2 Authorization code was already redeemed."),
            Self::CodeExpired => (400, "invalid_grant", 70008, "The provided authorization code has expired."),
            Self::RedirectUri => (400, "invalid_grant", 500_112, "The reply address does not match."),
            Self::VerifierMissing => (400, "invalid_grant", 50148, "The code_verifier is missing."),
            Self::VerifierWrong => {
                (400, "invalid_grant", 501_481, "The Code_Verifier does not match the code_challenge.")
            }
            Self::RefreshUnknown => (400, "invalid_grant", 9_002_313, "Request is malformed or invalid."),
            Self::RefreshRevoked => {
                (400, "invalid_grant", 50173, "The provided grant has expired due to it being revoked.")
            }
            Self::RefreshExpired => (400, "invalid_grant", 700_082, "The refresh token was inactive for 90.00:00:00."),
            other => return microsoft_body(400, other.code(), 900_144, &other.text()),
        };
        microsoft_body(status, error, code, text)
    }

    fn box_com(&self) -> (u16, Value) {
        let (code, text) = match self {
            Self::ClientUnknown | Self::SecretWrong | Self::SecretMissing => {
                ("invalid_client", "The client credentials are not valid")
            }
            Self::CodeUnknown | Self::CodeSpent => {
                ("invalid_grant", "Auth code doesn't exist or is invalid for the client")
            }
            Self::CodeExpired => ("invalid_grant", "The authorization code has expired"),
            Self::RedirectUri => ("redirect_uri_mismatch", "The redirect_uri does not match"),
            Self::RefreshSpent | Self::RefreshExpired => ("invalid_grant", "Refresh token has expired"),
            Self::RefreshUnknown | Self::RefreshRevoked => ("invalid_grant", "Invalid refresh token"),
            _ => return self.plain(),
        };
        (400, json!({"error": code, "error_description": text}))
    }

    fn dropbox(&self) -> (u16, Value) {
        let text = match self {
            Self::CodeUnknown | Self::CodeSpent | Self::CodeExpired => "code doesn't exist or has expired".into(),
            Self::RedirectUri => "redirect_uri mismatch".into(),
            Self::VerifierMissing | Self::VerifierWrong => "invalid code verifier".into(),
            Self::RefreshUnknown => "refresh token is malformed".into(),
            Self::RefreshRevoked => "refresh token is invalid or revoked".into(),
            Self::ClientUnknown | Self::SecretWrong => "Invalid client_id or client_secret".into(),
            Self::TokenUnknown => {
                return (
                    401,
                    json!({"error_summary": "invalid_access_token/...", "error": {".tag": "invalid_access_token"}}),
                );
            }
            other => other.text(),
        };
        (400, json!({"error": self.code(), "error_description": text}))
    }

    fn keycloak(&self) -> (u16, Value) {
        let (status, code, text) = match self {
            Self::ClientUnknown => (401, "invalid_client", "Invalid client or Invalid client credentials"),
            Self::LoginToken => (401, "invalid_grant", "Invalid user credentials"),
            Self::RefreshSpent => (400, "invalid_grant", "Stale token"),
            Self::FamilyDead => (400, "invalid_grant", "Session doesn't have required client"),
            Self::RefreshUnknown => (400, "invalid_grant", "Invalid refresh token"),
            Self::RefreshRevoked => (400, "invalid_grant", "Session not active"),
            _ => return self.plain(),
        };
        (status, json!({"error": code, "error_description": text}))
    }

    /// Always 200. The numbers keep to the documented families: 1xxx the caller's fault, 2xxx account or permission.
    fn pcloud(&self) -> (u16, Value) {
        let (result, text) = match self {
            Self::CodeUnknown | Self::CodeSpent | Self::CodeExpired => (2012, "Invalid 'code' provided.".to_owned()),
            Self::ClientUnknown | Self::SecretWrong => (2013, "Invalid client credentials provided.".to_owned()),
            other => (1004, other.text()),
        };
        (200, json!({"result": result, "error": text}))
    }
}

/// The shape of Microsoft's errors.
pub(crate) fn microsoft_body(status: u16, error: &str, code: u32, text: &str) -> (u16, Value) {
    let id = "11112222-bbbb-3333-cccc-4444dddd5555";
    let description =
        format!("AADSTS{code}: {text} Trace ID: {id} Correlation ID: {id} Timestamp: 2026-11-23 10:00:00Z");
    let body = json!({
        "error": error,
        "error_description": description,
        "error_codes": [code],
        "timestamp": "2026-11-23 10:00:00Z",
        "trace_id": id,
        "correlation_id": id,
        "error_uri": format!("https://login.microsoftonline.com/error?code={code}"),
    });
    (status, body)
}
