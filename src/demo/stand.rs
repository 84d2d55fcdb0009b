//! A provider that the demo takes the place of: what its clients are told, and how its tokens behave.

use crate::provider::{Flow, Provider, ProviderSettings, RefreshTokenPolicy};
use std::fmt::Write;
use std::net::SocketAddr;

/// One pretend provider among several at the same address.
pub(super) struct Stand {
    /// Its key in the configuration, and the first part of its paths.
    pub(super) id: String,
    /// What people call it; `None` for the demo's own.
    pub(super) name: Option<String>,
    pub(super) flow: Flow,
    pub(super) rotation: RefreshTokenPolicy,
    /// A client that has no secret.
    pub(super) public_client_id: Option<String>,
    /// What comes back beside the code: the parameter that names a token host, and one that there is.
    pub(super) token_host: Option<(String, String)>,
    revokes: bool,
}

impl Stand {
    /// The demo's own provider.
    pub(super) fn own() -> Self {
        Self {
            id: "demo".to_owned(),
            name: None,
            flow: Flow::Code,
            rotation: RefreshTokenPolicy::Static,
            public_client_id: None,
            token_host: None,
            revokes: true,
        }
    }

    /// In the place of a real one.
    pub(super) fn for_real(provider: &Provider) -> Self {
        let ProviderSettings { token_hosts, token_host_from, public_client_id, revoke_url, .. } = provider.settings();
        let host = token_host_from.first().zip(token_hosts.keys().next_back());
        Self {
            id: provider.id().to_owned(),
            name: Some(provider.name().to_owned()),
            flow: provider.flow(),
            rotation: provider.rotation(),
            public_client_id: public_client_id.clone(),
            token_host: host.map(|(parameter, host)| (parameter.clone(), host.clone())),
            revokes: revoke_url.is_some(),
        }
    }

    /// The tables that lead a server here instead of to the real one.
    pub(super) fn configuration(&self, at: SocketAddr, client_id: &str, secret: &str) -> String {
        let id = &self.id;
        let host = if self.token_host.is_some() { "/{host}" } else { "" };
        let mut text = format!("[providers.{id}]\ntoken_url = \"http://{at}/{id}{host}/token\"\n");
        let ways = match self.flow {
            Flow::Code => ["authorize", "authorize_url"],
            Flow::LoginToken => ["login-token", "paste_url"],
        };
        let mut add = |[path, key]: [&str; 2]| {
            let _ = writeln!(text, "{key} = \"http://{at}/{id}/{path}\""); // to a String: cannot fail
        };
        add(ways);
        add(["access", "withdraw_url"]);
        if self.revokes {
            add(["revoke", "revoke_url"]);
        }
        if self.name.is_none() {
            text.push_str("name = \"the demo provider\"\nrotation = \"none\"\npkce = true\n");
        }
        let client = match self.public_client_id {
            Some(_) => "enabled = true".to_owned(),
            None => format!("id = \"{client_id}\"\nsecret = \"{secret}\""),
        };
        let _ = writeln!(text, "[clients.{id}]\n{client}");
        if self.name.is_none() {
            text.push_str(
                "[services.demodrive]\nprovider = \"demo\"\nname = \"Demo Drive\"\nscopes = [\"files.write\"]\n",
            );
        }
        text
    }
}
