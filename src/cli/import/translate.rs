//! From the services of a duplicati/oauth-server to tables here. A service of a kind that is known is a service of the
//! provider here, whose facts are better than what that server knew; one with addresses of its own gets a provider of
//! its own. What cannot be is named with its reason.

mod registrations;

use super::own;
use super::report::{Became, Report, shown};
use super::services::OldService;
use super::site::Site;
use super::tables::{Secrets, Tables};
use crate::authid::ServiceId;
use crate::provider::{Catalogue, Provider, RefreshTokenPolicy, Service};
use registrations::Registration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is to be written, and which old services each table is for.
pub(super) struct Made {
    pub(super) tables: Tables,
    /// By `providers.x`, `clients.x` and `services.x`: ids of old services.
    pub(super) origins: BTreeMap<String, BTreeSet<String>>,
}

/// A provider of an operator's own.
#[derive(PartialEq)]
struct Own<'a> {
    base: Option<&'a str>,
    authorize_url: &'a str,
    token_url: &'a str,
    params: &'a str,
    client_id: &'a str,
}

struct Work<'a> {
    catalogue: &'a Catalogue,
    site: &'a Site,
    report: &'a mut Report,
    made: Made,
    registrations: BTreeMap<String, Registration>,
    own: Vec<(String, Own<'a>)>,
    /// Ids of services here that there are now.
    taken: BTreeSet<String>,
    rotates: bool,
}

/// Makes the tables. Services in `impossible` are left out for the reason that is there.
pub(super) fn translate(
    site: &Site,
    services: &[OldService],
    impossible: &BTreeMap<String, String>,
    catalogue: &Catalogue,
    how: Secrets,
    report: &mut Report,
) -> Made {
    let made = Made { tables: Tables::new(how), origins: BTreeMap::new() };
    let (registrations, own, taken) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
    let mut work = Work { catalogue, site, report, made, registrations, own, taken, rotates: false };
    work.site();
    for service in services {
        let reason = impossible.get(&service.id).cloned();
        if let Err(reason) = reason.map_or_else(|| work.service(service), Err) {
            work.report.add(Became::Left, format!("service {}: {reason}", shown(&service.id)));
        }
    }
    work.registrations();
    let store = if work.rotates { "dir:state" } else { "memory" };
    work.made.tables.set(&["state", "store"], store);
    work.made.tables.set_legacy(site.v1_dir.as_deref());
    work.made
}

impl<'a> Work<'a> {
    fn site(&mut self) {
        let Self { site, made: Made { tables, .. }, .. } = self;
        tables.set(&["public_url"], site.public_url.as_str());
        let listen: Vec<_> = site.listen.iter().map(ToString::to_string).collect();
        tables.set_list(&["listen"], listen.iter().map(String::as_str));
        match site.listen.iter().all(|address| address.ip().is_loopback()) {
            true => tables.set_list(&["server", "trusted_proxies"], ["127.0.0.1"]),
            false => self.report.add(
                Became::ToDo,
                "name the proxy that ends TLS in server.trusted_proxies: without it all clients seem to be that proxy",
            ),
        }
        tables.set_list(&["admin", "listen"], ["127.0.0.1:9464"]);
        if let Some(name) = &site.name {
            tables.set(&["site", "name"], name.as_str());
        }
        if let Some(url) = &site.privacy_url {
            tables.set(&["privacy", "url"], url.as_str());
        }
    }

    fn service(&mut self, old: &'a OldService) -> Result<(), String> {
        let lower = old.id.to_ascii_lowercase();
        if ServiceId::parse(&lower).is_none() {
            return Err("ids here are 1 to 32 of a-z, 0-9, `.`, `_` and `-`; its users log in again".to_owned());
        }
        let ours = self.catalogue.find(&lower).cloned();
        let id = ours.as_ref().map_or(lower.as_str(), |ours| ours.id.as_str()).to_owned();
        if self.taken.contains(&id) {
            return Err(format!("here it is another name of {id}, and its AuthIDs work as those of {id}"));
        }
        let base = old.kind.as_ref().and_then(|kind| provider(self.catalogue, &kind.provider));
        if let Some(gone) = base.as_ref().and_then(|base| base.settings().gone.as_ref()) {
            self.notice(&id, old);
            return Err(gone.reason.clone());
        }
        let provider_id = match base.as_ref().and_then(|base| Some((base, self.tenant(old, base)?))) {
            Some((base, tenant)) => {
                let base = Arc::clone(base);
                self.register(&id, old, &base, tenant)
            }
            None => self.own_provider(old, base.as_deref())?,
        };
        self.rotates |= match &base {
            Some(base) => base.rotation() != RefreshTokenPolicy::Static,
            None => !old.raw_token,
        };
        self.service_table(&id, old, ours.as_deref(), &provider_id);
        if lower != old.id {
            let ours = ours.iter().flat_map(|ours| &ours.aliases).map(ServiceId::as_str);
            let aliases: Vec<_> = ours.chain([old.id.as_str()]).collect();
            self.made.tables.set_list(&["services", &id, "aliases"], aliases);
            let line = format!(
                "service {}: ids here are in lower case: its old AuthIDs work as those of {id}",
                shown(&old.id)
            );
            self.report.add(Became::Differs, line);
        }
        self.callback(&id, old);
        self.origin(&format!("services.{id}"), old);
        self.origin(&format!("providers.{provider_id}"), old);
        self.origin(&format!("clients.{provider_id}"), old);
        let line = format!("service {}: at {provider_id}, with its registration", shown(&old.id));
        self.report.add(Became::Taken, line);
        self.notice(&id, old);
        self.taken.insert(id);
        Ok(())
    }

    /// The tenant that a service names, if it is one of this provider's but for that: `None` where it has other addresses.
    #[allow(clippy::option_option, reason = "no tenant at all is the usual case")]
    fn tenant(&self, old: &OldService, base: &Provider) -> Option<Option<String>> {
        let kind = old.kind.as_ref()?;
        let facts = base.settings();
        let fills = |url: &str, usual: &str, template: &Option<String>| {
            let template = template.as_deref().unwrap_or_default();
            if [usual, template].contains(&url) {
                return Some(None);
            }
            let (before, after) = template.split_once("{tenant}")?;
            let tenant = url.strip_prefix(before)?.strip_suffix(after)?;
            Some(Some(tenant.to_owned()).filter(|tenant| Some(tenant) != facts.default_tenant.as_ref()))
        };
        let login = fills(&old.authorize_url, &kind.authorize_url, &facts.authorize_url)?;
        let token = fills(&old.token_url, &kind.token_url, &facts.token_url)?;
        (login == token && old.params == kind.params).then_some(login)
    }

    /// A provider with the addresses of this service; the same for all that have the same.
    fn own_provider(&mut self, old: &'a OldService, base: Option<&Provider>) -> Result<String, String> {
        if old.pasted {
            return Err("its logins are pasted tokens, of which each provider has its own kind; docs/providers/other.md tells what can be".to_owned());
        }
        if old.by_host {
            return Err("its token address comes through the browser; here the possible ones are listed: set providers.<id>.token_hosts by hand".to_owned());
        }
        let own = Own {
            base: old.kind.as_ref().map(|kind| kind.provider.as_str()),
            authorize_url: &old.authorize_url,
            token_url: &old.token_url,
            params: &old.params,
            client_id: &old.client_id,
        };
        if let Some((id, _)) = self.own.iter().find(|(_, other)| *other == own) {
            return Ok(id.clone());
        }
        let wish = own.base.map_or_else(|| old.id.clone(), |base| format!("{base}-own"));
        // What is known here has facts and clients of its own.
        let is_free =
            |id: &String| provider(self.catalogue, id).is_none() && !self.own.iter().any(|(own, _)| own == id);
        let numbered = (2..).map(|number| format!("{wish}-{number}"));
        let id = std::iter::once(wish.clone()).chain(numbered).find(is_free).unwrap_or_default();
        own::tables(&id, old, base, &mut self.made.tables, self.report);
        self.own.push((id.clone(), own));
        Ok(id)
    }

    fn service_table(&mut self, id: &str, old: &OldService, ours: Option<&Service>, provider: &str) {
        let tables = &mut self.made.tables;
        let path = |key| ["services", id, key];
        if ours.is_none_or(|ours| ours.provider.id() != provider) {
            tables.set(&path("provider"), provider);
        }
        if let Some(name) = old.name.as_deref().or(ours.is_none().then_some(id)) {
            tables.set(&path("name"), name);
        }
        let scopes: Vec<_> = old.scope.split_whitespace().collect();
        let set: BTreeSet<_> = scopes.iter().copied().collect();
        if ours.is_none_or(|ours| ours.scopes.iter().map(String::as_str).collect::<BTreeSet<_>>() != set)
            && !set.is_empty()
        {
            tables.set_list(&path("scopes"), scopes);
        }
        if ours.map_or(old.hidden, |ours| ours.hidden != old.hidden) {
            tables.set(&path("hidden"), old.hidden);
        }
    }

    fn callback(&mut self, id: &str, old: &OldService) {
        let usual = format!("https://{}/logged-in", self.site.hostname);
        let ours = format!("{}/logged-in", self.site.public_url);
        let was = old.redirect_url.as_deref().unwrap_or(&usual);
        if was != ours {
            let line = format!("service {}: its callback is {ours} here; register that at its provider", shown(id));
            self.report.add(Became::Differs, line);
        }
    }

    fn notice(&mut self, id: &str, old: &OldService) {
        let unknown = match old.raw_token {
            true => "nothing: their backups hold the provider's own token and ask no server",
            false => "nothing, if its rotation is set right",
        };
        let users = old.kind.as_ref().map_or(unknown, |kind| kind.users.as_str());
        self.report.add(Became::Noticed, format!("{id}: {users}"));
    }

    fn origin(&mut self, table: &str, old: &OldService) {
        self.made.origins.entry(table.to_owned()).or_default().insert(old.id.clone());
    }
}

fn provider(catalogue: &Catalogue, id: &str) -> Option<Arc<Provider>> {
    let provider = |service: &Arc<Service>| Arc::clone(&service.provider);
    catalogue.all().map(provider).find(|provider| provider.id() == id)
}
