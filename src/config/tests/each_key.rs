//! Each key does something: for every one there is a row that sets it, and something else than what `config show` prints
//! is different then, in what was built or in what a provider gets to see on a tour from consent to revocation.

use super::{known_keys, sources};
use crate::clock::Clock;
use crate::config::{Config, KeyringSource, Sources};
use crate::meter::Meter;
use crate::provider::{ProviderClient, TokenResponse};
use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use secrecy::ExposeSecret;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use url::Url;

/// What every row begins with; `AT` is the provider's URL.
const BASE: &[(&str, &str)] = &[
    ("public_url", "'https://oauth.example.com'"),
    ("providers.p.authorize_url", "'AT/authorize'"),
    ("providers.p.token_url", "'AT/token'"),
    ("providers.p.rotation", "'none'"),
    ("providers.other", "{ issuer = 'AT', rotation = 'none' }"),
    ("services.s.provider", "'p'"),
    ("services.s.scopes", "['files']"),
    ("clients.p.id", "'client'"),
    ("clients.p.secret", "'se-cret'"),
    ("clients.other", "{ id = 'client', secret = 'se-cret' }"),
];

/// A key (`p` and `s` are ids), a value, what else has to be set before (nothing: taken out), and what is seen then on a
/// line that was not there without the key.
type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static str);

const TLS: &[(&str, &str)] = &[("tls.cert_file", "'c'"), ("tls.key_file", "'k'")];
const ACME: &[(&str, &str)] = &[("acme.contact", "'admin@example.com'")];
const SECOND: (&str, &str) = ("clients.p.other.s.id", "'second'");
const NO_SECRET: (&str, &str) = ("clients.p.secret", "");
const HOSTS: &[(&str, &str)] = &[
    ("providers.p.token_url", "'AT/{host}'"),
    ("providers.p.raw_token", "true"),
    ("providers.p.token_host_from", "['region']"),
    ("providers.p.token_hosts", "{ eu = 'eu.example' }"),
];

const ROWS: &[Row] = &[
    ("public_url", "'https://b.example'", &[], "public_url: Some(\"https://b.example/\")"),
    ("listen", "['127.0.0.1:1']", &[], "listen: [127.0.0.1:1]"),
    ("tls.cert_file", "'cert.pem'", &[("tls.key_file", "'k'")], "/cert.pem\""),
    ("tls.key_file", "'key.pem'", &[("tls.cert_file", "'c'")], "/key.pem\""),
    ("tls.redirect_listen", "['127.0.0.1:2']", TLS, "redirect_listen: [127.0.0.1:2]"),
    ("acme.contact", "'admin@example.org'", &[], "contact: \"admin@example.org\""),
    ("acme.domains", "['OAUTH.example.com', 'b.example']", ACME, "domains: [\"oauth.example.com\", \"b.example\"]"),
    ("acme.directory", "'letsencrypt-staging'", ACME, "https://acme-staging-v02.api.letsencrypt.org/directory"),
    ("acme.cache", "'issued'", ACME, "/issued\""),
    ("acme.ca_file", "'ca.pem'", ACME, "/ca.pem\""),
    ("server.trusted_proxies", "['10.1.2.0/24']", &[], "trusted_proxies: [10.1.2.0/24]"),
    ("server.drain_seconds", "7", &[], "drain: 7s"),
    ("server.max_connections", "500", &[], "max_connections: Some(500)"),
    ("admin.listen", "['127.0.0.1:3']", &[], "admin_listen: [127.0.0.1:3]"),
    ("admin.names", "['METRICS.example']", &[], "admin_names: [\"metrics.example\"]"),
    ("keyring.file", "'k.toml'", &[], "keyring: File(\"/"),
    ("keyring.text", "'keys'", &[], "keyring: Text, keys"),
    ("denylist.file", "'refused'", &[], "/refused\""),
    ("denylist.create", "true", &[], "create_denylist: true"),
    ("denylist.replicate", "false", &[("state.store", "'redis://r:1'")], "shared: false"),
    ("denylist.follow", "['http://10.0.0.5:9464/denylist']", &[], "follow: [\"http://10.0.0.5:9464/denylist\"]"),
    ("state.store", "'dir:kept'", &[], "/kept\")"),
    ("state.store_file", "'store'", &[], "/of-a-file\")"),
    ("state.ca_file", "'ca.pem'", &[("state.store", "'rediss://r:1'")], "/ca.pem\")"),
    ("state.redis_wait", "2", &[("state.store", "'redis://r:1'")], "wait: 2"),
    ("outbound.proxy", "'http://proxy:1'", &[], "outbound: Some(\"http://proxy:1\"), None"),
    ("outbound.proxy_file", "'proxy'", &[], "outbound: Some(\"http://of-a-file\"), None"),
    ("outbound.ca_file", "'ca.pem'", &[], "outbound: None, Some(\"/"),
    ("access.password_file", "'hash'", &[], "/hash\")"),
    ("delivery.trusted_origins", "['https://nas.lan:8200']", &[], "[\"https://nas.lan:8200\"]"),
    ("delivery.loopback", "false", &[], "loopback: false"),
    ("legacy.v2", "true", &[], "v2: true"),
    ("legacy.v1_dir", "'folder'", &[], "v1_dir: Some(\"/"),
    (
        "legacy.export_url",
        "'https://h.example/export'",
        &[("legacy.export_key", "'0123456789'"), ("state.store", "'dir:kept'")],
        "path: \"/export\"",
    ),
    (
        "legacy.export_key",
        "'0123456789'",
        &[("legacy.export_url", "'https://h.example/export'"), ("state.store", "'dir:kept'")],
        "export key: Some(\"0123456789\")",
    ),
    (
        "legacy.export_key_file",
        "'apikey'",
        &[("legacy.export_url", "'https://h.example/export'"), ("state.store", "'dir:kept'")],
        "export key: Some(\"key-of-a-file\")",
    ),
    ("limits.invalid_authids", "7", &[], "invalid_authids: 7"),
    ("limits.provider_calls", "7", &[], "provider_calls: 7"),
    ("limits.provider_calls_in_all", "7", &[], "provider_calls_in_all: 7"),
    ("refresh.wait_seconds", "7", &[], "wait: 7s"),
    ("refresh.max_waiting", "7", &[], "most: Some(7)"),
    ("refresh.brake_logins", "7", &[], "logins: 7"),
    ("refresh.brake_refused", "7", &[], "refused: 7"),
    ("refresh.allow_query_authid", "true", &[], "allow_query_authid: true"),
    ("site.name", "'Example Oy'", &[], "\"name\":\"Example Oy\""),
    ("site.contact", "'help@b.example'", &[], "mailto:help@b.example"),
    ("site.imprint_url", "'https://b.example/imprint'", &[], "https://b.example/imprint"),
    ("privacy.url", "'https://b.example/privacy'", &[], "https://b.example/privacy"),
    ("log.level", "'debug'", &[], "level: \"debug\""),
    ("log.format", "'json'", &[], "format: Json"),
    ("acme_challenge_dir", "'folder'", &[], "acme_challenge_dir: Some(\"/"),
    ("templates_dir", "'folder'", &[], "templates_dir: Some(\"/"),
    ("clients.p.id", "'another'", &[], "client_id=another"),
    ("clients.p.secret", "'hush'", &[], "client_secret=hush"),
    ("clients.p.secret_file", "'secret'", &[NO_SECRET], "client_secret=of-a-file"),
    ("clients.p.secret_expires", "'2001-01-01'", &[], "warning: clients.p.secret_expires"),
    ("clients.p.tenant", "'mine'", &[("providers.p.authorize_url", "'AT/{tenant}/'")], "/mine/?"),
    ("clients.p.refresh_token_days", "7", &[], "days: Some(7)"),
    ("clients.p.enabled", "false", &[], "availability: SwitchedOff"),
    ("clients.p.secrets", "['hush', 'se-cret']", &[NO_SECRET], "client_secret=hush"),
    ("clients.p.accept_logins", "false", &[], "availability: Closed"),
    ("clients.p.other.s.id", "'second'", &[], "client_id=second"),
    ("clients.p.other.s.secret", "'hush'", &[SECOND], "client_secret=hush"),
    ("clients.p.other.s.secret_file", "'secret'", &[SECOND], "client_secret=of-a-file"),
    ("clients.p.other.s.secrets", "['hush', 'se-cret']", &[SECOND], "client_secret=hush"),
    ("clients.p.other.s.secret_expires", "'2001-01-01'", &[SECOND], "warning: clients.p.other.s.secret_expires"),
    ("services.s.provider", "'other'", &[], "provider: other"),
    ("services.s.name", "'Drive'", &[], "service: Drive"),
    ("services.s.scopes", "['all']", &[], "scope=all"),
    ("services.s.aliases", "['ess']", &[], "found: true"),
    ("services.s.hidden", "true", &[], "hidden: true"),
    ("services.s.duplicati", "true", &[], "duplicati: true"),
    ("services.s.client_id", "'own'", &[], "client_id=own"),
    ("services.s.client_secret", "'own'", &[("services.s.client_id", "'own'")], "client_secret=own"),
    ("services.s.client_secret_file", "'secret'", &[("services.s.client_id", "'own'")], "client_secret=of-a-file"),
    ("providers.p.name", "'Pea'", &[], "name: Pea"),
    ("providers.p.flow", "'paste'", &[], "flow: LoginToken"),
    ("providers.p.issuer", "'AT'", &[("providers.p.token_url", "")], "POST /discovered/token"),
    ("providers.p.authorize_url", "'AT/elsewhere'", &[], "/elsewhere?"),
    ("providers.p.token_url", "'AT/elsewhere'", &[], "POST /elsewhere"),
    ("providers.p.default_tenant", "'all'", &[("providers.p.authorize_url", "'AT/{tenant}/'")], "/all/?"),
    (
        "providers.p.allow_private_addresses",
        "true",
        &[("providers.p.authorize_url", "'https://10.0.0.1/'")],
        "https://10.0.0.1/?",
    ),
    ("providers.p.authorize_params", "{ prompt = 'consent' }", &[], "&prompt=consent"),
    ("providers.p.send_scope", "false", &[], "state=st\")"),
    ("providers.p.scope_separator", "','", &[("services.s.scopes", "['a', 'b']")], "&scope=a%2Cb"),
    ("providers.p.scope_prefix", "'https://api.example/'", &[], "missing scopes: Some(\"\")"),
    ("providers.p.send_redirect_uri", "false", &[], "code=c&client_id="),
    ("providers.p.pkce", "false", &[], "pkce: false"),
    ("providers.p.secret_required", "true", &[NO_SECRET], "is missing; providers.p wants a client with a secret"),
    ("providers.p.client_auth", "'basic'", &[], "Basic Y2xpZW50OnNlLWNyZXQ="), // client:se-cret
    ("providers.p.client_id_pattern", "'^[0-9]+$'", &[], "warning: clients.p.id"),
    (
        "providers.p.public_client_id",
        "'everybody'",
        &[NO_SECRET, ("clients.p.id", ""), ("clients.p.enabled", "true")],
        "client_id=everybody",
    ),
    ("providers.p.rotation", "'single_use'", &[], "availability: NeedsStore"),
    ("providers.p.par_url", "'AT/par'", &[], "POST /par"),
    ("providers.p.par", "true", &[], "needs `par_url`, or `issuer`"),
    ("providers.p.ca_file", "'ca.pem'", &[], "own authorities: [\"/"),
    ("providers.p.default_expires_in", "7", &[], "access token for Some(7s)"),
    ("providers.p.refresh_token_days", "90", &[], "days: Some(90)"),
    ("providers.p.refresh_life_field", "'life'", &[], "refresh token for Some(86400s)"),
    ("providers.p.token_hosts", "{ eu = 'eu.example' }", HOSTS, "POST /eu.example"),
    ("providers.p.token_host_from", "['region']", HOSTS, "POST /eu.example"),
    ("providers.p.show_callback", "{ region = 'Region' }", &[], "(\"Region\", \"eu\")"),
    (
        "providers.p.show_as",
        "{ eu = 'Europe' }",
        &[("providers.p.show_callback", "{ region = 'Region' }")],
        "(\"Region\", \"Europe\")",
    ),
    ("providers.p.state_optional", "true", &[], "state_optional: true"),
    ("providers.p.raw_token", "true", &[], "raw_token: true"),
    ("providers.p.paste_url", "'https://p.example/paste'", &[], "https://p.example/paste"),
    ("providers.p.withdraw_url", "'https://p.example/apps'", &[], "https://p.example/apps"),
    ("providers.p.revoke_url", "'AT/revoke'", &[], "POST /revoke"),
    (
        "providers.p.revoke_style",
        "'token_only'",
        &[("providers.p.revoke_url", "'AT/revoke'")],
        "POST /revoke, none, token=r",
    ),
    (
        "providers.p.revoke_ends_all_logins",
        "true",
        &[("providers.p.revoke_url", "'AT/revoke'")],
        "revoke_ends_all_logins: true",
    ),
    ("providers.p.console_url", "'https://p.example/console'", &[], "https://p.example/console"),
    ("providers.p.console_hint", "'Mind the gap.'", &[], "Mind the gap."),
    ("providers.p.result_field", "'result'", &[], "redeemed: Err("),
    (
        "providers.p.error_codes_field",
        "'codes'",
        &[("providers.p.errors", "{ 50173 = 'consent' }")],
        "Refused(Consent)",
    ),
    ("providers.p.errors", "{ odd_error = 'expired' }", &[], "refreshed: Refused(Expired)"),
    ("providers.p.gone.reason", "'It ended.'", &[], "availability: Gone { reason: \"It ended.\""),
    ("providers.p.gone.successor", "'gcs'", &[("providers.p.gone.reason", "'It ended.'")], "successor: Some(\"gcs\")"),
];

#[tokio::test]
async fn each_key_does_something() {
    let provider = Provider::start();
    let mut idle = Vec::new();
    for (key, value, given, seen) in ROWS {
        let mut keys: BTreeMap<&str, &str> = BASE.iter().chain(*given).copied().collect();
        if !BASE.iter().any(|(base, _)| base == key) {
            keys.remove(key);
        }
        let without = provider.tour(&keys).await;
        keys.insert(key, value);
        let with = provider.tour(&keys).await;
        if !with.iter().any(|line| line.contains(seen) && !without.contains(line)) {
            let new: Vec<_> = with.iter().filter(|line| !without.contains(line)).collect();
            idle.push(format!("{key}: no `{seen}` in what is new: {new:#?}"));
        }
    }
    assert!(idle.is_empty(), "{}", idle.join("\n"));
    provider.server.stop(false).await;
}

#[test]
fn each_key_has_its_row() {
    let rows: Vec<_> = ROWS
        .iter()
        .map(|(key, ..)| match key.split('.').collect::<Vec<_>>().as_slice() {
            ["clients", _, "other", _, rest @ ..] => format!("clients.<id>.other.<id>.{}", rest.join(".")),
            [table @ ("providers" | "services" | "clients"), _, rest @ ..] => {
                format!("{table}.<id>.{}", rest.join("."))
            }
            _ => (*key).to_owned(),
        })
        .collect();
    let (rows, known): (BTreeSet<_>, BTreeSet<_>) = (rows.into_iter().collect(), known_keys().into_iter().collect());
    assert_eq!(known.difference(&rows).collect::<Vec<_>>(), Vec::<&String>::new(), "keys without a row");
    assert_eq!(rows.difference(&known).collect::<Vec<_>>(), Vec::<&String>::new(), "rows without a key");
}

/// A provider that answers each path always the same, and remembers what it was asked.
struct Provider {
    at: String,
    authority: String,
    seen: Arc<Mutex<Vec<String>>>,
    server: ServerHandle,
}

impl Provider {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let (issuer, asked) = (at.clone(), seen.clone());
        let server = HttpServer::new(move || {
            let (issuer, asked) = (issuer.clone(), asked.clone());
            App::new().default_service(web::to(move |request: HttpRequest, body: String| {
                let auth = request.headers().get("authorization").map_or("none", |value| value.to_str().unwrap());
                asked.lock().unwrap().push(format!("{} {}, {auth}, {body}", request.method(), request.path()));
                let answer = answer(&issuer, request.path(), &body);
                async move { answer }
            }))
        });
        let running = server.workers(1).disable_signals().listen(listener).unwrap().run();
        let server = running.handle();
        tokio::spawn(running);
        let authority = rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert.pem();
        Self { at, authority, seen, server }
    }

    /// What is seen of a server with these keys: a line for each thing, and for each request that the provider got.
    async fn tour(&self, keys: &BTreeMap<&str, &str>) -> Vec<String> {
        let (folder, sources) = sources(None);
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("folder")).unwrap();
        let lines = keys.iter().filter(|(_, value)| !value.is_empty());
        let lines: String = lines.map(|(key, value)| format!("{key} = {value}\n").replace("AT", &self.at)).collect();
        for (name, text) in [
            ("authseal.toml", &*lines),
            ("secret", "of-a-file"),
            ("store", "dir:of-a-file"),
            ("proxy", "http://of-a-file"),
            ("apikey", "key-of-a-file"),
            ("ca.pem", &self.authority),
        ] {
            fs::write(at(name), text).unwrap();
            fs::set_permissions(at(name), Permissions::from_mode(0o600)).unwrap();
        }
        let sources = Sources { now: Clock::system().now(), ..sources };
        let config = match Config::load_to_serve(&sources) {
            Ok((config, _)) => config,
            Err(faults) => return faults.all().iter().map(|fault| format!("fault: {fault}")).collect(),
        };
        let mut lines = built(&config);
        self.seen.lock().unwrap().clear();
        lines.extend(travelled(config).await);
        lines.append(&mut self.seen.lock().unwrap());
        lines
    }
}

fn answer(issuer: &str, path: &str, body: &str) -> HttpResponse {
    let endpoint = |name: &str| format!("{issuer}/discovered/{name}");
    match path {
        "/.well-known/openid-configuration" => HttpResponse::Ok().json(json!({
            "issuer": issuer, "authorization_endpoint": endpoint("authorize"), "token_endpoint": endpoint("token"),
        })),
        _ if body.contains("grant_type=refresh_token") => {
            HttpResponse::build(StatusCode::BAD_REQUEST).json(json!({ "error": "odd_error", "codes": [50173] }))
        }
        _ => HttpResponse::Ok().json(json!({
            "access_token": "a", "refresh_token": "r", "life": 86_400, "result": 2000,
            "scope": "https://api.example/files",
        })),
    }
}

/// What was built.
fn built(config: &Config) -> Vec<String> {
    let mut lines = vec![
        format!("public_url: {:?}", config.public_url.as_ref().map(ToString::to_string)),
        format!("listen: {:?}", config.listeners.public),
        format!("tls: {:?}", config.tls),
        format!("acme: {:?}", config.acme),
        format!("redirect_listen: {:?}", config.listeners.redirect),
        format!("admin_listen: {:?}", config.listeners.admin),
        format!("admin_names: {:?}", config.listeners.admin_names),
        format!("drain: {:?}", config.listeners.drain),
        format!("max_connections: {:?}", config.listeners.max_connections),
        format!("trusted_proxies: {:?}", config.http.trusted_proxies),
        match &config.keyring {
            KeyringSource::File(file) => format!("keyring: File({file:?})"),
            KeyringSource::Text(text) => format!("keyring: Text, {}", text.expose_secret()),
        },
        format!("denylist: {:?}", config.denylist),
        format!("create_denylist: {:?}", config.create_denylist),
        format!("shared: {:?}", config.replicas.shared),
        format!("follow: {:?}", config.replicas.follow.iter().map(Url::as_str).collect::<Vec<_>>()),
        format!("access_password_file: {:?}", config.access_password_file),
        format!("store: {:?}", config.store),
        format!(
            "outbound: {:?}, {:?}",
            config.outbound.proxy.as_ref().map(ExposeSecret::expose_secret),
            config.outbound.ca_file
        ),
        format!("own authorities: {:?}", config.own_authorities),
        format!("delivery: {:?}", config.delivery),
        format!("{:?} {:?}", config.patience, config.brake),
        format!("allow_query_authid: {}", config.http.allow_query_authid),
        format!("{:?}", config.rates),
        serde_json::to_string(&config.site).unwrap(),
        format!("log: {:?}", config.log),
        format!("{:?}", config.legacy),
        format!("export key: {:?}", config.legacy.export.as_ref().map(|export| export.key.expose_secret())),
        format!("acme_challenge_dir: {:?}", config.http.acme_challenge_dir),
        format!("templates_dir: {:?}", config.templates_dir),
    ];
    // The folder is another one for each tour.
    if let Some(folder) = config.file.as_ref().and_then(|file| file.parent()) {
        lines.iter_mut().for_each(|line| *line = line.replace(&folder.display().to_string(), "/"));
    }
    lines.extend(config.warnings.iter().chain(&config.doubts).map(|warning| format!("warning: {warning}")));
    lines
}

/// What became of a login at the service `s`, from consent to revocation.
async fn travelled(config: Config) -> Vec<String> {
    let providers = ProviderClient::new(config.catalogue, &config.outbound, Clock::system(), Meter::default()).unwrap();
    let service = providers.catalogue().find("s").unwrap();
    let provider = &service.provider;
    let callback = [("region".to_owned(), "eu".to_owned())];
    let mut lines = vec![
        format!("service: {}", service.name),
        format!("found: {}", providers.catalogue().find("ess").is_some()),
        format!("hidden: {}", service.hidden),
        format!("duplicati: {}", service.duplicati),
        format!("availability: {:?}", service.availability()),
        format!("days: {:?}", service.refresh_token_days()),
        format!("provider: {}", provider.id()),
        format!("name: {}", provider.name()),
        format!("flow: {:?}", provider.flow()),
        format!("pkce: {}", provider.pkce()),
        format!("raw_token: {}", provider.raw_token()),
        format!("shown: {:?}", provider.shown(&callback)),
        format!("state_optional: {}", provider.state_optional()),
        format!("paste: {:?}", provider.paste_url()),
        format!("withdraw: {:?}", provider.withdraw_url()),
        format!("revoke_ends_all_logins: {}", provider.revoke_ends_all_logins()),
        format!("console: {:?}, {:?}", provider.console_url(), provider.console_hint()),
    ];
    let authorize = providers.authorize_url(service, "https://x.example/", "st", None).await;
    lines.push(format!("authorize: {:?}", authorize.map(String::from)));
    let redeemed = providers.redeem(service, &"c".into(), "https://x.example/", None, &callback).await;
    let life = |tokens: &TokenResponse| {
        let TokenResponse { expires_in, refresh_token_expires_in, .. } = tokens;
        format!("access token for {expires_in:?}, refresh token for {refresh_token_expires_in:?}")
    };
    lines.push(format!("redeemed: {:?}", redeemed.as_ref().map(life)));
    let refreshed = providers.refresh(service, None, &"r".into(), Duration::from_secs(20)).await;
    lines.push(format!("missing scopes: {:?}", redeemed.ok().map(|tokens| tokens.missing_scopes(service).join(" "))));
    lines.push(format!("refreshed: {:?}", refreshed.err().unwrap().failure));
    lines.push(format!("revoked: {:?}", providers.revoke(service, None, &"r".into()).await));
    lines
}
