//! Who the emulator pretends to be: each built-in provider as data. What a provider accepts is listed, everything else
//! is refused, also where the real one would look away: a request that passes here has nothing in it that could hurt.

use super::refusal::Dialect;

/// One provider.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Profile {
    /// Its id in authseal's configuration.
    pub(crate) provider: &'static str,
    /// A service of it, for tests that need one.
    pub(crate) service: &'static str,
    /// Paths; a part in braces matches any one segment. An empty one is not there.
    pub(crate) authorize: &'static str,
    pub(crate) token: &'static str,
    pub(crate) revoke: &'static str,
    pub(crate) revocation: Revocation,
    /// The client that is registered, and what its calls may be signed with.
    pub(crate) client_id: &'static str,
    pub(crate) secret: Option<&'static str>,
    pub(crate) basic: bool,
    /// The one tenant or none: what `{tenant}` in a path must be.
    pub(crate) tenant: Option<&'static str>,
    /// Scopes that this client may ask for. None: there is no scope parameter.
    pub(crate) scopes: &'static [&'static str],
    /// Parameters that are accepted.
    pub(crate) authorize_params: &'static [&'static str],
    pub(crate) code_params: &'static [&'static str],
    pub(crate) refresh_params: &'static [&'static str],
    /// What an authorization request must say, all of it, to get a refresh token.
    pub(crate) offline: &'static [(&'static str, &'static str)],
    /// Longest `state`, in bytes.
    pub(crate) state_limit: usize,
    /// Whether the redirect URI of the authorization request is asked for again with the code.
    pub(crate) redirect_uri_with_code: bool,
    /// Whether a code that was asked for with PKCE can be redeemed with the secret beside the verifier.
    pub(crate) secret_beside_pkce: bool,
    /// What becomes of a refresh token when it is used.
    pub(crate) renewal: Renewal,
    /// Seconds that a code, an access token and a refresh token live; None: for ever.
    pub(crate) code_life: u64,
    pub(crate) access_life: Option<u64>,
    pub(crate) refresh_life: Option<u64>,
    /// How many refresh tokens one person can have here; the oldest dies silently.
    pub(crate) most_grants: usize,
    /// How its codes, access tokens and refresh tokens begin: with characters that must survive every encoding.
    pub(crate) prefixes: [&'static str; 3],
    /// How it words its answers.
    pub(crate) dialect: Dialect,
}

/// What becomes of a refresh token when it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// It stays, and none comes with the answer.
    Static,
    /// A new one comes; the old one lives on until its own end.
    Rolling,
    /// A new one comes; the old one dies with the first use of what it brought, and brings the same until then.
    SoftSingleUse,
    /// A new one comes; the old one is dead at once, and using it again kills the newest too.
    StrictSingleUse,
    /// There are no refresh tokens.
    None,
}

/// What the revocation endpoint wants, and how much dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revocation {
    /// There is none.
    None,
    /// Form `token` and nothing else; all grants of the person to this client die.
    TokenOnlyKillsAll,
    /// Form `token` with the client's credentials; the login dies.
    Rfc7009,
    /// The access token as bearer, no body; the login dies.
    Bearer,
}

const DAY: u64 = 86_400;

/// What the registered redirect URI is until a test registers another one.
pub(crate) const REDIRECT_URI: &str = "https://authseal.test/logged-in";

const CODE_WITH_PKCE: &[&str] = &["grant_type", "code", "redirect_uri", "client_id", "client_secret", "code_verifier"];
const REFRESH: &[&str] = &["grant_type", "refresh_token", "client_id", "client_secret"];

/// Where the others differ from.
const BASE: Profile = Profile {
    provider: "",
    service: "",
    authorize: "",
    token: "",
    revoke: "",
    revocation: Revocation::None,
    client_id: "",
    secret: None,
    basic: false,
    tenant: None,
    scopes: &[],
    authorize_params: &[],
    code_params: CODE_WITH_PKCE,
    refresh_params: REFRESH,
    offline: &[],
    state_limit: 4096,
    redirect_uri_with_code: true,
    secret_beside_pkce: true,
    renewal: Renewal::Static,
    code_life: 600,
    access_life: Some(3600),
    refresh_life: None,
    most_grants: usize::MAX,
    prefixes: ["", "", ""],
    dialect: Dialect::Plain,
};

impl Profile {
    pub(crate) fn google() -> Self {
        Self {
            provider: "google",
            service: "googledrive",
            authorize: "/o/oauth2/v2/auth",
            token: "/token",
            revoke: "/revoke",
            revocation: Revocation::TokenOnlyKillsAll,
            client_id: "1234567890-emulated.apps.googleusercontent.com",
            secret: Some("GOCSPX-CANARY-secret_of-google"),
            scopes: &[
                "https://www.googleapis.com/auth/drive.file",
                "https://www.googleapis.com/auth/drive",
                "https://www.googleapis.com/auth/devstorage.read_write",
            ],
            authorize_params: &[
                "client_id",
                "redirect_uri",
                "response_type",
                "scope",
                "state",
                "access_type",
                "prompt",
                "approval_prompt",
                "code_challenge",
                "code_challenge_method",
            ],
            offline: &[("access_type", "offline"), ("prompt", "consent")],
            refresh_life: Some(183 * DAY), // from its last use
            most_grants: 100,
            prefixes: ["4/0A", "ya29.a0", "1//0g"],
            dialect: Dialect::Google,
            ..BASE
        }
    }

    pub(crate) fn microsoft() -> Self {
        Self {
            provider: "microsoft",
            service: "onedrivev2",
            authorize: "/{tenant}/oauth2/v2.0/authorize",
            token: "/{tenant}/oauth2/v2.0/token",
            client_id: "00001111-aaaa-2222-bbbb-3333cccc4444",
            secret: Some("CANARY~secret.of~microsoft-+/="),
            tenant: Some("common"),
            scopes: &["offline_access", "Files.ReadWrite", "Files.ReadWrite.All", "Group.Read.All"],
            authorize_params: &[
                "client_id",
                "response_type",
                "redirect_uri",
                "scope",
                "state",
                "response_mode",
                "prompt",
                "code_challenge",
                "code_challenge_method",
            ],
            code_params: &[
                "grant_type",
                "code",
                "redirect_uri",
                "client_id",
                "client_secret",
                "code_verifier",
                "scope",
            ],
            refresh_params: &["grant_type", "refresh_token", "client_id", "client_secret", "scope"],
            offline: &[("scope", "offline_access")],
            renewal: Renewal::Rolling,
            access_life: Some(3599),
            refresh_life: Some(90 * DAY), // from its own issue
            prefixes: ["M.C1_BAY.2.U.", "EwB%2bA8l6+/", "M.C1_BAY.0.U.-*!$"],
            dialect: Dialect::Microsoft,
            ..BASE
        }
    }

    pub(crate) fn box_com() -> Self {
        Self {
            provider: "box",
            service: "box.com",
            authorize: "/api/oauth2/authorize",
            token: "/oauth2/token",
            revoke: "/oauth2/revoke",
            revocation: Revocation::Rfc7009,
            client_id: "boxemulatedclientid0123456789abc",
            secret: Some("CANARYsecretofbox"),
            scopes: &["root_readwrite"],
            authorize_params: &["client_id", "redirect_uri", "response_type", "scope", "state"],
            code_params: &["grant_type", "code", "client_id", "client_secret", "redirect_uri"],
            redirect_uri_with_code: false,
            renewal: Renewal::SoftSingleUse,
            code_life: 30,
            refresh_life: Some(60 * DAY),
            prefixes: ["", "1!", ""],
            dialect: Dialect::Box,
            ..BASE
        }
    }

    pub(crate) fn dropbox() -> Self {
        Self {
            provider: "dropbox",
            service: "dropbox",
            authorize: "/oauth2/authorize",
            token: "/oauth2/token",
            revoke: "/2/auth/token/revoke",
            revocation: Revocation::Bearer,
            client_id: "123456789012345", // all digits: a configuration must not make a number of it
            secret: Some("CANARYsecretofdropbox"),
            scopes: &["files.content.write", "files.content.read", "files.metadata.read", "files.metadata.write"],
            authorize_params: &[
                "client_id",
                "redirect_uri",
                "response_type",
                "scope",
                "state",
                "token_access_type",
                "force_reapprove",
                "code_challenge",
                "code_challenge_method",
            ],
            offline: &[("token_access_type", "offline")],
            state_limit: 500,
            secret_beside_pkce: false, // documented as alternatives; nobody has shown both together to work
            access_life: Some(14_400),
            prefixes: ["", "sl.u.", ""],
            dialect: Dialect::Dropbox,
            ..BASE
        }
    }

    pub(crate) fn jottacloud() -> Self {
        Self {
            provider: "jottacloud",
            service: "jottacloud",
            token: "/auth/realms/jottacloud/protocol/openid-connect/token",
            client_id: "jottacli",
            scopes: &["openid", "offline_access"],
            code_params: &["grant_type", "client_id", "scope", "username", "password"],
            refresh_params: &["grant_type", "client_id", "refresh_token"],
            renewal: Renewal::StrictSingleUse,
            prefixes: ["", "eyJhbGciOiJSUzI1NiJ9.", "eyJhbGciOiJIUzUxMiJ9."],
            dialect: Dialect::Keycloak,
            ..BASE
        }
    }

    pub(crate) fn pcloud() -> Self {
        Self {
            provider: "pcloud",
            service: "pcloud",
            authorize: "/oauth2/authorize",
            token: "/{host}/oauth2_token",
            client_id: "pCloudEmul8",
            secret: Some("CANARYsecretofpcloud"),
            authorize_params: &[
                "client_id",
                "response_type",
                "redirect_uri",
                "state",
                "force_reapprove",
                "permissions",
            ],
            // `grant_type` is not in its documentation and does no harm there: every OAuth library sends it.
            code_params: &["grant_type", "client_id", "client_secret", "code"],
            refresh_params: &[],
            redirect_uri_with_code: false,
            renewal: Renewal::None,
            access_life: None,
            prefixes: ["", "q", ""],
            dialect: Dialect::Pcloud,
            ..BASE
        }
    }

    /// A provider that an operator adds by its issuer alone.
    pub(crate) fn oidc() -> Self {
        Self {
            provider: "example",
            service: "exampledrive",
            authorize: "/authorize",
            token: "/token",
            revoke: "/revoke",
            revocation: Revocation::Rfc7009,
            client_id: "example client: with a colon",
            secret: Some("CANARY secret%20of+example&=\u{e9}"),
            basic: true,
            scopes: &["openid", "offline_access", "files.write"],
            authorize_params: &[
                "client_id",
                "response_type",
                "redirect_uri",
                "scope",
                "state",
                "nonce",
                "prompt",
                "code_challenge",
                "code_challenge_method",
            ],
            refresh_params: &["grant_type", "refresh_token", "client_id", "client_secret", "scope"],
            offline: &[("scope", "offline_access")],
            ..BASE
        }
    }

    /// Everyone who has an authorization page.
    pub(crate) fn with_code_flow() -> [Self; 6] {
        [Self::google(), Self::microsoft(), Self::box_com(), Self::dropbox(), Self::pcloud(), Self::oidc()]
    }
}
