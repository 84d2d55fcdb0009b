//! The settings about providers and services as they are written in `config/providers.toml` and in an operator's
//! configuration, field by field. Every difference between providers is a field here; nothing in the program asks which
//! provider it is talking to.

use secrecy::SecretString;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `[providers.<id>]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProviderSettings {
    /// What users call it: "Google".
    pub name: Option<String>,
    /// How a login is made.
    pub flow: Flow,
    /// OpenID Connect issuer, compared with `iss` in callbacks (RFC 9207). When an endpoint that the flow needs is not
    /// given, the endpoints are discovered there (OpenID Connect Discovery 1.0); what is given goes before what is
    /// discovered.
    pub issuer: Option<String>,
    /// Authorization endpoint (RFC 6749 section 3.1). `{tenant}` is replaced by the client's tenant.
    pub authorize_url: Option<String>,
    /// Token endpoint (RFC 6749 section 3.2). `{tenant}` as above, `{host}` as `token_hosts` says.
    pub token_url: Option<String>,
    /// What `{tenant}` stands for when the client names no tenant.
    pub default_tenant: Option<String>,
    /// Pushed authorization request endpoint (RFC 9126).
    pub par_url: Option<String>,
    /// Whether authorization requests are pushed there. Default: when `par_url` is given, or the discovery document
    /// requires it.
    pub par: Option<bool>,
    /// A PEM file with authorities that its certificate may come from, beside those that all may come from.
    pub ca_file: Option<PathBuf>,
    /// Whether its addresses may be private ones; otherwise only public ones are connected to, and loopback where a URL
    /// names it.
    pub allow_private_addresses: bool,
    /// Further parameters of the authorization request. An empty value takes a parameter out again.
    pub authorize_params: BTreeMap<String, String>,
    /// Whether the authorization request names its scopes. Default: yes.
    pub send_scope: Option<bool>,
    /// What stands between scopes, in requests and answers. Default: a space (RFC 6749 section 3.3).
    pub scope_separator: Option<char>,
    /// What answers may put before a scope that was asked for without it.
    pub scope_prefix: Option<String>,
    /// Whether the code is redeemed with `redirect_uri` (RFC 6749 section 4.1.3). Default: yes.
    pub send_redirect_uri: Option<bool>,
    /// Whether PKCE with S256 is used (RFC 7636). Default: yes; a provider that does not know it ignores it.
    pub pkce: Option<bool>,
    /// Whether a client must have a secret. Default: when there is no PKCE to stand in for it.
    pub secret_required: Option<bool>,
    /// How the client authenticates at the token endpoint (RFC 6749 section 2.3.1). Default: found out, see
    /// `client_auth::ClientAuths`.
    pub client_auth: Option<ClientAuth>,
    /// A regular expression that every client id of this provider matches. One that does not is warned of.
    pub client_id_pattern: Option<String>,
    /// A client id that everybody uses, for providers where nothing is registered.
    pub public_client_id: Option<String>,
    /// What becomes of a refresh token when it is used. No default: the wrong one costs logins.
    pub rotation: Option<RefreshTokenPolicy>,
    /// How many seconds an access token is taken to live when the response does not say. Default: half an hour.
    pub default_expires_in: Option<u32>,
    /// How many days a refresh token lives from its own issue, however often it is used.
    pub refresh_token_days: Option<u32>,
    /// The member of a response with tokens that says how many seconds the refresh token lives; 0 there says nothing.
    pub refresh_life_field: Option<String>,
    /// What `{host}` in `token_url` may stand for, by the callback value that names it. The only hosts ever called.
    pub token_hosts: BTreeMap<String, String>,
    /// The callback parameters that may name the token host; the first with a value in `token_hosts` wins.
    pub token_host_from: Vec<String>,
    /// Callback parameters that the user needs to see: parameter to label. See
    /// [`Provider::shown`](super::Provider::shown).
    pub show_callback: BTreeMap<String, String>,
    /// What values of `show_callback` are called where the user has to choose one: value to name.
    pub show_as: BTreeMap<String, String>,
    /// Whether the provider may drop `state` on the way back; a copy kept in the browser then stands in for it.
    pub state_optional: bool,
    /// Whether the AuthID handed out is the raw access token, which does not expire: there is never a refresh.
    pub raw_token: bool,
    /// Where a user makes the token to paste.
    pub paste_url: Option<String>,
    /// Where a user withdraws this app's access.
    pub withdraw_url: Option<String>,
    /// Revocation endpoint.
    pub revoke_url: Option<String>,
    /// What the revocation endpoint wants.
    pub revoke_style: RevokeStyle,
    /// Whether a revocation there ends every login of that user at this app, so that it takes the user's word.
    pub revoke_ends_all_logins: bool,
    /// Where an operator registers the app.
    pub console_url: Option<String>,
    /// What is easily missed there, in whole sentences.
    pub console_hint: Option<String>,
    /// The member of a response that holds a number, 0 for success: the HTTP status says nothing there.
    pub result_field: Option<String>,
    /// The member of an error response that holds further, more precise codes: a list, a string or a number.
    pub error_codes_field: Option<String>,
    /// What error codes mean, by code, before the standard meanings; `4xxx` stands for all of four digits that begin
    /// with 4, `http-400` for a response with that status and without a code.
    pub errors: BTreeMap<String, ErrorClass>,
    /// For a provider that ended: what to say, and the service to use instead.
    pub gone: Option<Gone>,
}

/// How a login is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flow {
    /// Authorization code (RFC 6749 section 4.1).
    #[default]
    Code,
    /// The user pastes a token made at the provider, which is exchanged once (RFC 6749 section 4.3: no other way
    /// there).
    #[serde(rename = "paste")]
    LoginToken,
}

/// How the client authenticates at the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// `client_id` and `client_secret` in the body.
    Body,
    /// HTTP Basic, id and secret form-encoded first (RFC 6749 section 2.3.1).
    Basic,
    /// HTTP Basic with id and secret as they are, for servers that do not decode them.
    BasicRaw,
}

/// What becomes of a refresh token when it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefreshTokenPolicy {
    /// It stays.
    #[serde(rename = "none")]
    Static,
    /// A new one comes, the old one lives on for a time.
    Rolling,
    /// A new one comes, the old one dies.
    SingleUse,
}

/// What a revocation endpoint wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevokeStyle {
    /// Form `token` with the refresh token and the client's credentials (RFC 7009).
    #[default]
    Rfc7009,
    /// Form `token` with the refresh token, nothing else.
    TokenOnly,
    /// An access token as bearer, no body: it has to be fetched first.
    Bearer,
}

/// What an error of a provider means for those concerned: user, administrator, operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// The login is dead; its owner must log in again.
    LoginAgain,
    /// The login is dead from not being used or from age.
    Expired,
    /// The login needs the user's consent again.
    Consent,
    /// A rule of the user's organisation wants a sign-in step that a backup cannot take, or forbids the access.
    Policy,
    /// The account is locked, blocked or gone.
    Locked,
    /// An administrator of the user's organisation has to allow this app.
    AdminConsent,
    /// The request was not accepted: some providers say so of a dead login, others of a wrong configuration.
    Unclear,
    /// This server's registration at the provider is at fault; the login is fine.
    Operator,
    /// The provider is busy or disturbed; the login is fine.
    Later,
    /// The login is dead, probably since a response with a new refresh token was lost. No code says so.
    #[serde(skip)]
    AnswerLost,
}

/// For a provider that ended.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gone {
    /// One sentence for users, at most 200 printable ASCII characters.
    pub reason: String,
    /// The service to use instead.
    pub successor: Option<String>,
}

/// `[services.<id>]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServiceSettings {
    /// The provider's id.
    pub provider: Option<String>,
    /// What users call it: "Google Drive (full access)".
    pub name: Option<String>,
    /// Scopes asked for.
    pub scopes: Vec<String>,
    /// Other ids that mean this service.
    pub aliases: Vec<String>,
    /// Left out of the list; reached by its id.
    pub hidden: bool,
    /// Whether Duplicati has a backend for it, so that pages say where in Duplicati the AuthID goes.
    pub duplicati: bool,
    /// A client of this service's own.
    pub client_id: Option<String>,
    /// Its secret.
    pub client_secret: Option<SecretString>,
}

/// `[clients.<provider>]`: this server's registration at a provider.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientRegistration {
    /// Client id.
    pub id: Option<String>,
    /// Client secret.
    pub secret: Option<SecretString>,
    /// In its place several, which are tried in this order.
    pub secrets: Vec<SecretString>,
    /// Which tenant the URLs name, where they name one.
    pub tenant: Option<String>,
    /// How many days a refresh token of this client lives from its own issue, where the operator knows better than the
    /// provider's settings.
    pub refresh_token_days: Option<u32>,
    /// The day on which the secret ends, like `2027-05-01`. Providers do not tell; the operator writes it down.
    pub secret_expires: Option<String>,
    /// For providers where nothing is registered: whether to offer them.
    pub enabled: Option<bool>,
    /// Whether logins are made with it; without, it serves those that were. Default: yes.
    pub accept_logins: Option<bool>,
    /// Further registrations there, by a name of the operator's: they serve the logins that they made, and make none.
    pub other: BTreeMap<String, OtherRegistration>,
}

/// `[clients.<provider>.other.<name>]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OtherRegistration {
    /// Client id.
    pub id: Option<String>,
    /// Client secret.
    pub secret: Option<SecretString>,
    /// In its place several, which are tried in this order.
    pub secrets: Vec<SecretString>,
    /// The day on which the secret ends.
    pub secret_expires: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::super::testing::BUILT_IN;
    use super::*;
    use figment::Figment;
    use figment::providers::{Format, Toml};

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Layers {
        providers: BTreeMap<String, ProviderSettings>,
        services: BTreeMap<String, ServiceSettings>,
    }

    #[test]
    fn an_operator_overrides_single_fields() {
        let own = r#"
            [providers.dropbox]
            pkce = true
            authorize_params = { force_reapprove = "" }
            [services."box.com"]
            hidden = true
        "#;
        let layers = Figment::from(Toml::string(BUILT_IN)).merge(Toml::string(own));
        let Layers { providers, services } = layers.extract().unwrap();
        let dropbox = &providers["dropbox"];
        assert_eq!((dropbox.pkce, dropbox.revoke_style), (Some(true), RevokeStyle::Bearer));
        assert_eq!(dropbox.authorize_params["token_access_type"], "offline");
        assert_eq!(dropbox.authorize_params["force_reapprove"], "");
        assert!(services["box.com"].hidden && services["box.com"].aliases == ["box"]);
        assert_eq!(providers["pcloud"].token_hosts["eapi.pcloud.com"], "eapi.pcloud.com");
        assert_eq!(providers["microsoft"].errors["50196"], ErrorClass::Later);
    }
}
