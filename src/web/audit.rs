//! The audit trail: what users did, one line each under the target `authseal::audit`, counted as well. Every line has
//! `event`, `client` (an address, a /64 of IPv6, or `unknown`) and `peer` (who opened the connection), and names login
//! and epoch where they are known. No secret ever is in one. docs/monitoring.md lists the events.
//!
//! What happens to keyring and denylist is logged where it happens, under the same target.

use crate::app::App;
use crate::authid::{Envelope, GrantId};
use crate::denylist::Denied;
use crate::login::{LoggedIn, LoginError, Opener};
use crate::net::{Client, ClientNet, Origin};
use crate::seal::Epoch;
use crate::tokens::{Opened, Revocation};
use crate::web::client;
use actix_web::HttpRequest;
use secrecy::{ExposeSecret, SecretString};
use tracing::field;

/// A login ended with an AuthID; where Duplicati's page is trusted, it waits for that page already.
pub(in crate::web) fn login(logged_in: &LoggedIn, request: &HttpRequest, app: &App) {
    let (client, peer) = client_and_peer(request, app);
    let LoggedIn { service, grant, authid, opener, .. } = logged_in;
    let opener = match opener {
        Opener::Trusted(origin) | Opener::Unknown(origin) => Some(origin),
        Opener::None(_) => None,
    };
    app.meter().login(Some(service.id.as_str()), "done");
    let epoch = ids_of(authid).map(|(_, epoch)| epoch);
    if let Some(epoch) = epoch {
        app.meter().saw_epoch(epoch.number());
    }
    tracing::info!(
        target: "authseal::audit", event = "login", client, %peer, service = %service.id,
        grant = grant.map(field::display), epoch = epoch.map(Epoch::number), opener = opener.map(Origin::as_str),
        "a login ended with an AuthID"
    );
    if logged_in.waits {
        delivered("waiting", authid, opener, request, app);
    }
}

/// A login did not begin, or did not end well.
pub(in crate::web) fn login_refused(error: &LoginError, is_fault: bool, request: &HttpRequest, app: &App) {
    let (client, peer) = client_and_peer(request, app);
    let service = error.service().map(|service| service.id.as_str());
    app.meter().login(service, error.label());
    if !app.limits().log.admits("a login was refused", format!("{} {}", service.unwrap_or("none"), error.label())) {
        return;
    }
    if is_fault {
        tracing::error!(
            target: "authseal::audit", event = "login_refused", client, %peer, service, why = %error,
            "a login was refused"
        );
    } else {
        tracing::info!(
            target: "authseal::audit", event = "login_refused", client, %peer, service, why = %error,
            "a login was refused"
        );
    }
}

/// An AuthID got on its way to a page: see [`Meter::delivered`](crate::meter::Meter::delivered) for `way`.
pub(in crate::web) fn delivered(
    way: &'static str,
    authid: &SecretString,
    to: Option<&Origin>,
    request: &HttpRequest,
    app: &App,
) {
    let (client, peer) = client_and_peer(request, app);
    let (grant, epoch) = ids_of(authid).unzip();
    app.meter().delivered(way);
    tracing::info!(
        target: "authseal::audit", event = "delivered", client, %peer, way,
        to = to.map(Origin::as_str), grant = grant.map(field::display), epoch = epoch.map(Epoch::number),
        "an AuthID is on its way"
    );
}

/// Somebody used an AuthID that is on the denylist.
pub(in crate::web) fn denied(opened: &Opened, by: Denied, request: &HttpRequest, app: &App) {
    if !app.limits().log.admits("an AuthID on the denylist was used", by.to_string()) {
        return;
    }
    let (client, peer) = client_and_peer(request, app);
    tracing::info!(
        target: "authseal::audit", event = "denied", client, %peer, service = %opened.login.service,
        grant = %opened.login.id, epoch = opened.epoch().map(Epoch::number), rule = %by,
        "an AuthID on the denylist was used"
    );
}

/// A login was revoked, by its AuthID or its revoke code; `durably` tells whether that was written down.
pub(in crate::web) fn revoked(done: &Revocation, request: &HttpRequest, app: &App) {
    let (client, peer) = client_and_peer(request, app);
    let Revocation { service, grant, epoch, here, at_provider, .. } = done;
    let durably = here.is_ok();
    app.meter().revoked(durably);
    if done.already && !app.limits().log.admits("a login was revoked", "again".to_owned()) {
        return;
    }
    tracing::info!(
        target: "authseal::audit", event = "revoked", client, %peer, %service, %grant,
        epoch = epoch.map(Epoch::number), durably, at_provider = at_provider.label(),
        "a login was revoked"
    );
}

/// A login was sealed again under `epoch`.
pub(in crate::web) fn made_anew(opened: &Opened, epoch: Epoch, request: &HttpRequest, app: &App) {
    let (client, peer) = client_and_peer(request, app);
    tracing::info!(
        target: "authseal::audit", event = "made_anew", client, %peer, service = %opened.login.service,
        grant = %opened.login.id, epoch = epoch.number(), before = opened.epoch().map(Epoch::number),
        "an AuthID was sealed again"
    );
}

/// Where a request comes from, as far as that is known, and who opened the connection.
pub(in crate::web) fn client_and_peer(request: &HttpRequest, app: &App) -> (String, ClientNet) {
    let Client { address, peer } = client::of(request, app);
    (address.map_or_else(|| "unknown".to_owned(), |address| address.to_string()), peer)
}

/// Login and epoch of an AuthID; none of a provider's token that is handed out as it is.
fn ids_of(authid: &SecretString) -> Option<(GrantId, Epoch)> {
    Envelope::parse(authid.expose_secret()).ok().map(|envelope| (envelope.grant, envelope.epoch))
}

#[cfg(test)]
mod tests {
    use crate::meter::{METRICS, Values};
    use crate::texts::{FILES, Text, Texts};
    use std::collections::BTreeSet;

    #[test]
    fn what_is_counted_under_a_word_is_on_the_list_and_in_the_documentation() {
        let failure = include_str!("../provider/error.rs");
        let (login, tokens) = (include_str!("../login/error.rs"), include_str!("../tokens/granted.rs"));
        let steps = include_str!("../tokens/rotation/state_machine.rs");
        let page = include_str!("../../docs/monitoring.md");
        for (metric, sources, others) in [
            ("authseal_provider_call_seconds", &[failure][..], &["ok"][..]),
            ("authseal_refresh_seconds", &[include_str!("../tokens/error.rs"), failure, tokens], &[]),
            ("authseal_logins_total", &[login, failure], &["done"]),
            ("authseal_rotations_total", &[steps], &[]),
            ("authseal_connections_ended_total", &[include_str!("../socket/conn.rs")], &[]),
        ] {
            let found = METRICS.into_iter().find(|listed| listed.name == metric).unwrap();
            let Values::Words(listed) = found.labels[0].values else { panic!("{metric}") };
            // A callback is part of a login alone.
            let words = sources
                .iter()
                .flat_map(|source| words(source))
                .filter(|word| metric != "authseal_refresh_seconds" || *word != "bad_callback");
            let words: BTreeSet<_> = words.chain(others.iter().copied()).collect();
            assert_eq!(words, listed.iter().copied().collect(), "{metric}");
            words.iter().for_each(|word| assert!(page.contains(&format!("`{word}`")), "{word}"));
        }
    }

    /// What `fn label` may return.
    fn words(source: &'static str) -> Vec<&'static str> {
        let (_, words) = source.split_once("fn label(").unwrap();
        let (words, _) = words.split_once("\n    }\n").unwrap();
        words.split("=> \"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
    }

    #[test]
    fn the_privacy_policy_names_whatever_the_trail_holds() {
        let told = |field: &str| match field {
            "event" => "kind",
            "client" | "peer" => "the address that the request came from",
            "service" => "the service",
            "grant" | "rule" => "the login id", // a rule of the denylist names no more than the login
            "epoch" | "before" => "the number of the key that sealed the AuthID",
            "opener" | "to" => "the address of the page that asked for it",
            "why" | "way" | "durably" | "at_provider" => "outcome",
            other => panic!("the privacy policy has to say that the log holds `{other}`"),
        };
        let (code, _) = include_str!("audit.rs").split_once("#[cfg(test)]").unwrap();
        let lines = code.split("target: \"authseal::audit\",").skip(1).map(|rest| rest.split(");").next().unwrap());
        let fields: Vec<_> = lines
            .flat_map(|line| line.split(','))
            .map(str::trim)
            .filter(|field| !field.is_empty() && !field.starts_with('"'))
            .collect();
        assert!(fields.len() > 30, "{fields:?}");
        let log = Texts::built_in().unwrap().say(FILES[0].0, &Text::new("privacy.kept_log")).unwrap();
        for field in &fields {
            let name = field.split([' ', '=']).next().unwrap().trim_start_matches('%');
            assert!(log.contains(told(name)), "{name}");
        }
        assert!(log.contains("How long the log is kept is up to whoever runs this server."));
        // Whoever else has an address in the log: a room that begins to has to be told of.
        let sources = [
            (include_str!("exchange.rs"), "when one gives no access"),
            (include_str!("client.rs"), "a wrong setting of a proxy is told once"),
            (include_str!("../socket/opening.rs"), "a wrong setting of a proxy is told once"),
        ];
        for (code, told) in sources {
            assert!(code.contains("peer") && log.contains(told), "{told}");
        }
    }

    #[test]
    fn the_documentation_lists_every_event_and_no_other() {
        let sources = [
            include_str!("audit.rs"),
            include_str!("../keyring_file/mod.rs"),
            include_str!("../denylist/live.rs"),
            include_str!("../replication/mod.rs"),
        ];
        let code = sources.map(|source| source.split("#[cfg(test)]").next().unwrap_or_default()).concat();
        let events = code.split("event = \"").skip(1).map(|rest| rest.split('"').next().unwrap());
        let mut events: Vec<_> = events.map(|event| format!("| `{event}` |")).collect();
        events.dedup(); // one event is told at two levels
        let page = include_str!("../../docs/monitoring.md");
        let (_, table) = page.split_once("| `event` |").unwrap();
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        let rows: Vec<_> = rows.map(|row| format!("|{}|", row.split('|').nth(1).unwrap())).collect();
        assert_eq!(rows, events);
    }
}
