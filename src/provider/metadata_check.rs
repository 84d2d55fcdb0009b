//! What in a discovery document says that logins or backups will not work with what is configured. Nothing here is
//! known for certain: documents leave things out, or list what a client is not allowed. So most is a warning.

use super::metadata::Metadata;
use super::service::Service;
use super::{ClientAuth, Flow};
use std::sync::Arc;

/// Each shortcoming as the end of a sentence that begins with the issuer, and whether nothing works with it.
pub(super) fn shortcomings(services: &[&Arc<Service>], metadata: &Metadata) -> Vec<(bool, String)> {
    let Some(provider) = services.first().map(|service| &service.provider) else { return Vec::new() };
    let mut found = Vec::new();
    let lists = |list: &Option<Vec<String>>, wanted: &str| {
        list.as_ref().is_none_or(|list| list.iter().any(|listed| listed == wanted))
    };
    let mut note = |fatal: bool, text: &str| found.push((fatal, text.to_owned()));
    let settings = &provider.settings;
    if provider.flow() == Flow::Code {
        if provider.authorize.is_none() && metadata.authorize.is_none() {
            note(true, "names no authorization_endpoint in its discovery document; give authorize_url");
        }
        let pushed = provider.pushed.is_some() || metadata.pushed.is_some();
        if metadata.par_required && settings.par == Some(false) {
            note(true, "requires pushed authorization requests; leave `par = false` out");
        } else if (metadata.par_required || settings.par == Some(true)) && !pushed {
            note(true, "names no place for pushed authorization requests, which are wanted; give par_url");
        }
        if !lists(&metadata.response_types, "code") {
            note(true, "does not list the response type `code`, so it has no logins of this kind");
        }
        if !lists(&metadata.response_modes, "query") {
            note(false, "does not list the response mode `query`; others, like form_post, are not supported");
        }
        if provider.pkce() && !lists(&metadata.challenge_methods, "S256") {
            note(false, "does not list the PKCE method S256; if logins fail, set pkce = false");
        }
        if !lists(&metadata.grant_types, "authorization_code") {
            note(false, "does not list the grant authorization_code");
        }
    }
    if !settings.raw_token && !lists(&metadata.grant_types, "refresh_token") {
        note(false, "does not list the grant refresh_token: a login may bring no lasting access");
    }
    let secret = services.iter().any(|service| service.client.as_ref().is_some_and(|client| client.secret.is_some()));
    let takes = |method| lists(&metadata.auth_methods, method);
    let method = match settings.client_auth {
        Some(ClientAuth::Body) => takes("client_secret_post"),
        Some(ClientAuth::Basic | ClientAuth::BasicRaw) => takes("client_secret_basic"),
        None => takes("client_secret_post") || takes("client_secret_basic"),
    };
    if secret && !method {
        let listed = metadata.auth_methods.as_ref().map(|methods| methods.join(", ")).unwrap_or_default();
        let listed: String = listed.chars().filter(|c| (' '..='~').contains(c)).take(200).collect();
        let known = takes("client_secret_post") || takes("client_secret_basic");
        let advice =
            if known { "leave client_auth out" } else { "signed assertions and certificates are not supported" };
        note(!known, &format!("does not take the client's secret as it would be sent: it lists {listed}; {advice}"));
    } else if !secret && !takes("none") {
        note(false, "does not list clients without a secret, and none is configured");
    }
    let wanted = services.iter().flat_map(|service| service.scopes.iter().map(move |scope| (service, scope)));
    for (service, scope) in wanted.filter(|(_, scope)| !lists(&metadata.scopes, scope)) {
        note(false, &format!("does not list the scope `{scope}`, which the service {} asks for", service.id));
    }
    found
}
