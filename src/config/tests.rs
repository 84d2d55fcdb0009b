//! The room as a whole: layers, coercion, every fault with its sentence, and that the documents name every key.

mod each_key;
mod values;

use super::layers::Layers;
use super::raw::RawConfig;
use super::{Config, ConfigErrors, KeyringSource, LogFormat, Sources, extract};
use figment::error::Kind;
use figment::value::{Dict, Value};
use secrecy::ExposeSecret;
use serde::Deserialize;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

/// A canary: no fault may hold it.
const SECRET: &str = "hunter2-Zw3";
const GOOD: &str = "public_url = \"https://oauth.example.com\"\nkeyring.file = \"keys.toml\"\n";

/// A folder with an `authseal.toml` of this text, if any, and sources that see nothing else.
fn sources(toml: impl Into<Option<&'static str>>) -> (TempDir, Sources) {
    let folder = tempfile::tempdir().unwrap();
    if let Some(toml) = toml.into() {
        fs::write(folder.path().join("authseal.toml"), toml).unwrap();
    }
    let (working_dir, system_file) = (folder.path().to_owned(), folder.path().join("etc/authseal.toml"));
    (folder, Sources { working_dir, system_file, ..Sources::default() })
}

fn with(mut sources: Sources, env: &[(&str, &str)], flags: &[(&str, &str)]) -> Sources {
    let owned = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
    sources.env = owned(env);
    sources.flags = owned(flags);
    sources
}

/// The merged keys before providers, services and clients are checked together.
fn written(sources: &Sources) -> RawConfig {
    let mut layers = Layers::stack(sources).unwrap();
    let mut faults = ConfigErrors::default();
    super::values::clean(&mut layers, &mut faults);
    super::secrets::read_files(&mut layers, &mut faults);
    let written = extract::extract(&mut layers, &mut faults);
    assert!(faults.is_empty(), "{faults}");
    written
}

fn faults_of(sources: &Sources) -> String {
    Config::load(sources).err().unwrap().to_string()
}

fn load(toml: &'static str, env: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let (_folder, sources) = sources(toml);
    Config::load_to_serve(&with(sources, env, &[])).map(|(config, _)| config)
}

#[test]
fn a_configuration_of_two_keys_is_enough() {
    let (folder, sources) = sources(GOOD);
    let (config, public_url) = Config::load_to_serve(&sources).unwrap();
    assert_eq!(public_url.as_str(), "https://oauth.example.com/");
    assert_eq!(config.listeners.public, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!((config.listeners.admin.len(), config.listeners.drain.as_secs()), (0, 5));
    assert!(matches!(config.keyring, KeyringSource::File(file) if file == folder.path().join("keys.toml")));
    assert_eq!(config.denylist, folder.path().join("denylist"));
    assert_eq!(config.file, Some(folder.path().join("authseal.toml")));
    assert_eq!(config.access_password_file, None);
    assert!(config.delivery.loopback && config.delivery.trusted_origins.is_empty() && !config.http.allow_query_authid);
    assert_eq!((config.log.level.as_str(), config.log.format), ("info", LogFormat::Auto));
}

#[test]
fn no_file_is_needed() {
    let (folder, sources) = sources(None);
    let env = [("AUTHSEAL_PUBLIC_URL", "http://127.0.0.1:8080"), ("AUTHSEAL_KEYRING__TEXT", SECRET)];
    let config = Config::load(&with(sources, &env, &[])).unwrap();
    assert!(matches!(config.keyring, KeyringSource::Text(text) if text.expose_secret() == SECRET));
    assert_eq!((config.file, config.denylist), (None, folder.path().join("denylist")));
}

#[test]
fn a_later_layer_wins_key_by_key() {
    let toml = "listen = [\"127.0.0.1:1\"]\nkeyring.file = \"k\"\nlog.level = \"warn\"\nlog.format = \"json\"\n\
                [clients.google]\nid = \"of-file\"\nsecret = \"of-file\"\n";
    let env = [
        ("AUTHSEAL_LISTEN", "127.0.0.1:2"),
        ("AUTHSEAL_LOG__LEVEL", "debug"),
        ("AUTHSEAL_CLIENTS__GOOGLE__ID", "of-env"),
    ];
    let sources = sources(toml);
    let config = Config::load(&with(sources.1.clone(), &env, &[("listen", "127.0.0.1:3, [::1]:3")])).unwrap();
    assert_eq!(config.listeners.public, ["127.0.0.1:3".parse().unwrap(), "[::1]:3".parse().unwrap()]);
    let first = Config::load(&with(sources.1.clone(), &[("AUTHSEAL_LISTEN", "[::]:8080, 127.0.0.1:1")], &[])).unwrap();
    assert_eq!(first.listeners.public, ["[::]:8080".parse().unwrap(), "127.0.0.1:1".parse().unwrap()]);
    assert_eq!((config.log.level.as_str(), config.log.format), ("debug", LogFormat::Json));
    let clients = written(&with(sources.1.clone(), &env, &[])).clients;
    let google = &clients["google"];
    assert_eq!(google.id.as_deref(), Some("of-env"));
    assert_eq!(google.secret.as_ref().unwrap().expose_secret(), "of-file");
}

#[test]
fn single_fields_of_what_is_built_in_can_be_changed() {
    let toml = "keyring.file = \"k\"\n[services.gcs]\nscopes = [\"less\"]\n[providers.google.authorize_params]\nprompt = \"\"\n";
    let (_folder, sources) = sources(toml);
    let env = [("AUTHSEAL_SERVICES__BOX_COM__HIDDEN", "true")];
    let config = written(&with(sources, &env, &[]));
    assert_eq!(config.services["gcs"].scopes, ["less"]);
    assert_eq!(config.services["gcs"].provider.as_deref(), Some("google"));
    let params = &config.providers["google"].authorize_params;
    assert_eq!((params["prompt"].as_str(), params["access_type"].as_str()), ("", "offline"));
    assert!(config.services["box.com"].hidden && config.services["box.com"].name.is_some());
}

#[test]
fn the_named_file_goes_before_the_working_directory_and_that_before_the_system() {
    let (folder, mut sources) = sources(None);
    let level = |sources: &Sources| Config::load(sources).unwrap().log.level;
    let write = |name: &str, level: &str| {
        fs::create_dir_all(folder.path().join("etc")).unwrap();
        fs::write(folder.path().join(name), format!("keyring.file = \"k\"\nlog.level = \"{level}\"\n")).unwrap();
    };
    write("etc/authseal.toml", "error");
    assert_eq!(level(&sources), "error");
    write("authseal.toml", "warn");
    assert_eq!(level(&sources), "warn");
    write("other.toml", "trace");
    sources.file = Some("other.toml".into());
    assert_eq!(level(&sources), "trace");
    sources.file = Some("absent.toml".into());
    let faults = faults_of(&sources);
    assert!(faults.contains("absent.toml does not exist; `authseal init --dir "), "{faults}");
    sources.file = Some("etc".into());
    assert!(faults_of(&sources).contains("etc cannot be used: it is no regular file"));
}

#[test]
fn raw_text_takes_the_type_that_its_key_wants() {
    let env = [
        ("AUTHSEAL_CLIENTS__BOX__ID", "00123"),
        ("AUTHSEAL_CLIENTS__BOX__SECRET", "true"),
        ("AUTHSEAL_CLIENTS__BOX__ENABLED", " True "),
        ("AUTHSEAL_DELIVERY__LOOPBACK", "false"),
        ("AUTHSEAL_DELIVERY__TRUSTED_ORIGINS", "[\"https://nas.lan:8200\", \"http://b.lan\"]"),
        ("AUTHSEAL_PROVIDERS__EXAMPLE__REFRESH_TOKEN_DAYS", "90"),
        ("AUTHSEAL_PROVIDERS__EXAMPLE__ROTATION", "single_use"),
        ("AUTHSEAL_PROVIDERS__EXAMPLE__AUTHORIZE_PARAMS__ACCESS_TYPE", "offline"),
        ("AUTHSEAL_PROVIDERS__EXAMPLE__TOKEN_HOSTS", "{ us = \"a.example\" }"),
        ("AUTHSEAL_SERVICES__EXAMPLEDRIVE__SCOPES", "files.read, files.write,"),
        ("AUTHSEAL_SERVICES__EXAMPLEDRIVE__ALIASES", ""),
        ("AUTHSEAL_SERVICE_HOST", "10.0.0.1"),
        ("AUTHSEAL_SERVICE_PORT_HTTP", "80"),
        ("AUTHSEAL_PORT", "tcp://10.0.0.1:80"),
        ("AUTHSEAL_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("AUTHSEALED", "x"),
        ("PATH", "/bin"),
    ];
    let (_folder, sources) = sources(GOOD);
    let config = written(&with(sources, &env, &[]));
    let client = &config.clients["box"];
    assert_eq!((client.id.as_deref(), client.enabled), (Some("00123"), Some(true)));
    assert_eq!(client.secret.as_ref().unwrap().expose_secret(), "true");
    assert!(!config.delivery.loopback);
    assert_eq!(config.delivery.trusted_origins, ["https://nas.lan:8200", "http://b.lan"]);
    let provider = &config.providers["example"];
    assert_eq!(provider.refresh_token_days, Some(90));
    assert_eq!(provider.rotation, Some(crate::provider::RefreshTokenPolicy::SingleUse));
    assert_eq!(provider.authorize_params["access_type"], "offline");
    assert_eq!(provider.token_hosts["us"], "a.example");
    let service = &config.services["exampledrive"];
    assert_eq!(service.scopes, ["files.read", "files.write"]);
    assert!(service.aliases.is_empty());
}

#[test]
fn a_variable_reaches_a_known_id_with_a_dot_or_a_dash() {
    let toml =
        "keyring.file = \"k\"\n[services.\"box.com\"]\nprovider = \"my-cloud\"\n[providers.my-cloud]\nname = \"x\"\n";
    let env = [
        ("AUTHSEAL_SERVICES__BOX_COM__CLIENT_ID", "1"),
        ("AUTHSEAL_CLIENTS__MY_CLOUD__ID", "2"),
        ("AUTHSEAL_CLIENTS__OTHER_ONE__ID", "3"),
    ];
    let (_folder, sources) = sources(toml);
    let config = written(&with(sources, &env, &[]));
    assert_eq!(config.services["box.com"].client_id.as_deref(), Some("1"));
    assert_eq!(config.clients["my-cloud"].id.as_deref(), Some("2"));
    assert_eq!(config.clients["other_one"].id.as_deref(), Some("3"));
    assert!(!config.services.contains_key("box_com"));
}

#[test]
fn relative_paths_start_where_they_were_written() {
    let (folder, mut sources) = sources(None);
    let conf = folder.path().join("conf");
    fs::create_dir_all(conf.join("pages")).unwrap();
    fs::create_dir_all(folder.path().join("acme")).unwrap();
    fs::write(
        conf.join("a.toml"),
        "keyring.file = \"keys/k.toml\"\naccess.password_file = \"hash\"\ntemplates_dir = \"pages\"\n",
    )
    .unwrap();
    sources.file = Some("conf/a.toml".into());
    let env = [("AUTHSEAL_ACME_CHALLENGE_DIR", "acme")];
    let config = Config::load(&with(sources.clone(), &env, &[])).unwrap();
    assert!(matches!(config.keyring, KeyringSource::File(file) if file == conf.join("keys/k.toml")));
    assert_eq!(config.denylist, conf.join("denylist"));
    assert_eq!(config.access_password_file, Some(conf.join("hash")));
    assert_eq!(config.templates_dir, Some(conf.join("pages")));
    assert_eq!(config.http.acme_challenge_dir, Some(folder.path().join("acme")));
    let flags = [("denylist.file", "/var/lib/authseal/denylist"), ("keyring.file", "k")];
    let config = Config::load(&with(sources, &[], &flags)).unwrap();
    assert_eq!(config.denylist.to_str(), Some("/var/lib/authseal/denylist"));
    assert!(matches!(config.keyring, KeyringSource::File(file) if file == folder.path().join("k")));
}

#[test]
fn a_secret_can_lie_in_a_file() {
    let toml =
        "keyring.file = \"k\"\n[clients.google]\nsecret_file = \"google\"\n[services.x]\nclient_secret_file = \"x\"\n";
    let (folder, sources) = sources(toml);
    fs::write(folder.path().join("google"), format!("{SECRET}\n")).unwrap();
    fs::write(folder.path().join("x"), " two\r\n\r\n").unwrap();
    fs::write(folder.path().join("box"), "three").unwrap();
    let env = [("AUTHSEAL_CLIENTS__BOX__SECRET_FILE", "box")];
    let config = written(&with(sources, &env, &[]));
    let secret = |id: &str| config.clients[id].secret.as_ref().unwrap().expose_secret().to_owned();
    assert_eq!((secret("google"), secret("box")), (SECRET.to_owned(), "three".to_owned()));
    assert_eq!(config.services["x"].client_secret.as_ref().unwrap().expose_secret(), "two");
    assert!(!format!("{:?}{:?}", config.clients, config.services).contains(SECRET));
}

#[test]
fn a_file_with_a_secret_is_refused_if_others_can_write_to_it_and_warned_of_if_they_can_read_it() {
    let inline = "[clients.dropbox]\nid = \"i\"\nsecret = \"hunter2-Zw3\"\n";
    let of_file = "[clients.dropbox]\nid = \"i\"\nsecret_file = \"hunter2\"\n";
    let own = "[services.gcs]\nclient_id = \"i.apps.googleusercontent.com\"\nclient_secret = \"hunter2-Zw3\"\n";
    let of_file_key =
        "clients.dropbox.secret_file (in {dir}/authseal.toml, line 3) names a file that every user of this machine";
    let inline_key = "{dir}/authseal.toml holds a secret, and every user of this machine";
    let text = "keyring.text = \"hunter2-Zw3\"\n";
    let list = "[clients.dropbox]\nid = \"i\"\nsecrets = [\"hunter2-Zw3\", \"hunter2-Zw4\"]\n";
    for (toml, config_is_secret, said) in [
        (inline, true, inline_key),
        (list, true, inline_key),
        (own, true, inline_key),
        (text, true, inline_key),
        (of_file, false, of_file_key),
    ] {
        let (folder, sources) = sources(None);
        let dir = folder.path();
        fs::write(dir.join("authseal.toml"), toml).unwrap();
        fs::write(dir.join("hunter2"), SECRET).unwrap();
        let load = |mode| {
            let name = if config_is_secret { "authseal.toml" } else { "hunter2" };
            fs::set_permissions(dir.join(name), Permissions::from_mode(mode)).unwrap();
            Config::load(&sources).map(|config| config.warnings).map_err(|faults| faults.to_string())
        };
        let said = said.replace("{dir}", dir.to_str().unwrap());
        for mode in [0o600, 0o640, 0o660, 0o440] {
            assert_eq!(load(mode), Ok(Vec::new()), "{toml} {mode:o}");
        }
        for mode in [0o604, 0o644, 0o444] {
            let warnings = load(mode).unwrap();
            assert!(warnings.len() == 1 && warnings[0].starts_with(&format!("{said} can read")), "{warnings:?}");
            assert!(!warnings[0].contains("hunter2"), "{warnings:?}");
        }
        for mode in [0o602, 0o666] {
            let faults = load(mode).unwrap_err();
            let said = "every user of this machine can write to it (mode ";
            assert!(faults.starts_with("1 fault") && faults.contains(said), "{faults}");
            assert!(!faults.contains("hunter2"), "{faults}");
        }
    }
    // Without a secret in it, it may be anybody's to read, and a secret in a variable does not make it one.
    let (folder, sources) = sources(GOOD);
    fs::set_permissions(folder.path().join("authseal.toml"), Permissions::from_mode(0o644)).unwrap();
    let env = [
        ("AUTHSEAL_CLIENTS__DROPBOX__ID", "i"),
        ("AUTHSEAL_PUBLIC_URL", "https://oauth.authseal.org"),
        ("AUTHSEAL_CLIENTS__DROPBOX__SECRET", SECRET),
    ];
    assert!(Config::load(&with(sources, &env, &[])).unwrap().warnings.is_empty());
}

/// A file on top of [`GOOD`] (or alone, where it has those keys itself), and what its one fault says.
const BAD_FILES: &[(&str, &str)] = &[
    // Keys.
    ("pubic_url = 1", "pubic_url (in {dir}/authseal.toml) is not a known key; did you mean `public_url`?"),
    ("[servicse]", "servicse (in {dir}/authseal.toml) is not a known key; did you mean `services`?"),
    (
        "[log]\npublic_url = \"hunter2-Zw3\"",
        "log.public_url (in {dir}/authseal.toml) is not a known key here: `public_url` belongs at the top of the file",
    ),
    ("log_level = \"hunter2-Zw3\"", "log_level (in {dir}/authseal.toml) is not a known key; did you mean `log.level`?"),
    ("zzz = 1", "zzz (in {dir}/authseal.toml) is not a known key; known here are `public_url`, `listen`,"),
    ("\"a\\nb\" = 1", "  a\\nb (in {dir}/authseal.toml) is not a known key"),
    ("keyring.txt = \"hunter2-Zw3\"", "keyring.txt (in {dir}/authseal.toml) is not a known key; did you mean `text`?"),
    (
        "[clients.google]\nsceret = \"hunter2-Zw3\"",
        "clients.google.sceret (in {dir}/authseal.toml) is not a known key; did you mean `secret`?",
    ),
    ("[clients.google]\nsecretfile = \"hunter2-Zw3\"", "did you mean `secret_file`?"),
    ("[services.x]\nclient_secrets_file = \"hunter2-Zw3\"", "did you mean `client_secret_file`?"),
    (
        "[services.\"box.com\"]\nscope = []",
        "services.box.com.scope (in {dir}/authseal.toml) is not a known key; did you mean `scopes`?",
    ),
    (
        "[providers.x]\nauthorise_url = \"\"",
        "providers.x.authorise_url (in {dir}/authseal.toml) is not a known key; did you mean `authorize_url`?",
    ),
    // Types; the value is never repeated.
    ("listen = \"hunter2-Zw3\"", "listen (in {dir}/authseal.toml) must be a list; write it as listen = [\"…\"]"),
    ("listen = [\"127.0.0.1:1\", 8080]", "listen, entry 2 (in {dir}/authseal.toml) must be text in quotes"),
    ("keyring.text = 123454321", "keyring.text (in {dir}/authseal.toml) must be text in quotes"),
    ("log = \"hunter2-Zw3\"", "log (in {dir}/authseal.toml) must be a table of keys"),
    ("clients = true", "clients (in {dir}/authseal.toml) must be a table of keys"),
    ("clients.google = \"hunter2-Zw3\"", "clients.google (in {dir}/authseal.toml) must be a table of keys"),
    ("[clients.google]\nid = 1234", "clients.google.id (in {dir}/authseal.toml) must be text in quotes"),
    (
        "[clients.google]\nsecret = [\"hunter2-Zw3\"]",
        "clients.google.secret (in {dir}/authseal.toml) must be text in quotes",
    ),
    ("[clients.google]\nsecret = 2026-11-23", "clients.google.secret (in {dir}/authseal.toml) must be text in quotes"),
    (
        "delivery.loopback = \"true\"",
        "delivery.loopback (in {dir}/authseal.toml) must be true or false, without quotes",
    ),
    (
        "providers.x.refresh_token_days = \"90\"",
        "providers.x.refresh_token_days (in {dir}/authseal.toml) must be a whole number",
    ),
    ("providers.x.refresh_token_days = -1", "providers.x.refresh_token_days (in {dir}/authseal.toml) is out of range"),
    ("providers.x.rotation = \"hunter2-Zw3\"", "must be one of \"none\", \"rolling\", \"single_use\""),
    ("providers.x.rotation = true", "providers.x.rotation (in {dir}/authseal.toml) must be text in quotes"),
    ("providers.x.rotation = 1", "providers.x.rotation (in {dir}/authseal.toml) must be text in quotes"),
    ("providers.x.errors.invalid_grant = 0", "providers.x.errors.invalid_grant (in {dir}/authseal.toml) must be text"),
    ("log.format = 2", "log.format (in {dir}/authseal.toml) must be text in quotes"),
    ("providers.x.gone.successor = \"y\"", "providers.x.gone (in {dir}/authseal.toml) needs the key `reason`"),
    (
        "providers.x.errors.invalid_grant = \"dead\"",
        "providers.x.errors.invalid_grant (in {dir}/authseal.toml) must be one of \"login_again\"",
    ),
    ("log.format = \"xml\"", "log.format (in {dir}/authseal.toml) must be one of \"auto\", \"pretty\", \"json\""),
    // Placeholders.
    ("[clients.google]\nid = \"…\"", "clients.google.id (in {dir}/authseal.toml) still holds a placeholder"),
    (
        "[clients.google]\nsecret = \"change-me\"",
        "clients.google.secret (in {dir}/authseal.toml) still holds a placeholder",
    ),
    ("[clients.google]\nid = \"<your id>\"", "clients.google.id (in {dir}/authseal.toml) still holds a placeholder"),
    (
        "delivery.trusted_origins = [\"https://<nas>:8200\"]",
        "delivery.trusted_origins, entry 1 (in {dir}/authseal.toml) still holds a placeholder",
    ),
    // Secrets in files.
    (
        "[clients.google]\nsecret_file = \"hunter2-Zw3\"",
        "clients.google.secret_file (in {dir}/authseal.toml) names a file that does not exist; a relative path starts at {dir}",
    ),
    (
        "[clients.google]\nsecret_file = \"empty\"",
        "clients.google.secret_file (in {dir}/authseal.toml) names a file that is empty",
    ),
    ("[clients.google]\nsecret_file = \"big\"", "names a file that cannot be used: it is longer than 16384 bytes"),
    ("[clients.google]\nsecret_file = \".\"", "names a file that cannot be used: it is no regular file"),
    ("[clients.google]\nsecret_file = \"\"", "clients.google.secret_file (in {dir}/authseal.toml) is empty"),
    ("[clients.google]\nsecret_file = 5", "clients.google.secret_file (in {dir}/authseal.toml) must be text: the path"),
    (
        "[clients.google]\nsecret_file = \"placeholder\"",
        "clients.google.secret (in {dir}/authseal.toml) still holds a placeholder",
    ),
    (
        "[services.x]\nclient_secret = \"hunter2-Zw3\"\nclient_secret_file = \"big\"",
        "services.x.client_secret_file (in {dir}/authseal.toml) is given, and `client_secret` in {dir}/authseal.toml too; keep one",
    ),
    ("[clients.google]\nsecret = \" \"", "clients.google.secret (in {dir}/authseal.toml) is empty"),
    ("[services.x]\nclient_id = \"\"", "services.x.client_id (in {dir}/authseal.toml) is empty"),
    // Meaning.
    ("keyring.text = \"hunter2-Zw3\"", "keyring (in {dir}/authseal.toml) has both `file` and `text`; keep one"),
    ("listen = []", "listen is missing; name at least one address"),
    ("listen = [\"localhost:8080\"]", "listen, entry 1 (in {dir}/authseal.toml) is not an IP address with a port"),
    ("listen = [\"[::1]:1\", \"[0::1]:1\"]", "listen, entry 2 (in {dir}/authseal.toml) repeats an earlier address"),
    (
        "listen = [\"127.0.0.1:1\", \"0.0.0.0:1\"]",
        "listen, entry 2 (in {dir}/authseal.toml) is not free beside an earlier",
    ),
    ("listen = [\"[::]:1\", \"[::1]:1\"]", "listen, entry 2 (in {dir}/authseal.toml) is not free beside an earlier"),
    (
        "listen = [\"[::1]:1\", \"0.0.0.0:1\", \"0.0.0.0:0\", \"127.0.0.1:0\"]\nadmin.listen = [\"10.0.0.1:1\"]",
        "admin.listen, entry 1 (in {dir}/authseal.toml) is listened on already for something else",
    ),
    (
        "listen = [\"[::1]:1\"]\nadmin.listen = [\"[::1]:2\", \"[0::1]:1\"]",
        "admin.listen, entry 2 (in {dir}/authseal.toml) is listened on already for something else",
    ),
    (
        "listen = [\"[::1]:1\"]\ntls = { cert_file = \"a\", key_file = \"b\", redirect_listen = [\"[::1]:1\"] }",
        "tls.redirect_listen, entry 1 (in {dir}/authseal.toml) is listened on already for something else",
    ),
    (
        "admin.listen = [\"[::1]:1\"]\ntls = { cert_file = \"a\", key_file = \"b\", redirect_listen = [\"[::1]:1\"] }",
        "admin.listen, entry 1 (in {dir}/authseal.toml) is listened on already for something else",
    ),
    (
        "tls.redirect_listen = [\"[::1]:1\"]",
        "tls.redirect_listen (in {dir}/authseal.toml) is of use only together with `tls.cert_file` and `tls.key_file`",
    ),
    (
        "tls.cert_file = \"hunter2-Zw3\"",
        "tls.cert_file (in {dir}/authseal.toml) is of use only together with `tls.key_file`",
    ),
    (
        "tls.key_file = \"hunter2-Zw3\"",
        "tls.key_file (in {dir}/authseal.toml) is of use only together with `tls.cert_file`",
    ),
    (
        "admin.names = [\"authseal\", \"http://hunter2-Zw3\"]",
        "admin.names, entry 2 (in {dir}/authseal.toml) is not a name alone, like authseal or metrics.example.com",
    ),
    ("admin.names = [\"10.0.0.5\"]", "admin.names, entry 1 (in {dir}/authseal.toml) is an address"),
    (
        "admin.listen = [\"hunter2-Zw3\"]",
        "admin.listen, entry 1 (in {dir}/authseal.toml) is not an IP address with a port",
    ),
    ("server.max_connections = 15", "server.max_connections (in {dir}/authseal.toml) must be at least 16"),
    ("server.drain_seconds = 61", "server.drain_seconds (in {dir}/authseal.toml) must be at most 60"),
    ("refresh.wait_seconds = 23", "refresh.wait_seconds (in {dir}/authseal.toml) must be at most 22"),
    (
        "refresh.brake_logins = 1000001",
        "refresh.brake_logins (in {dir}/authseal.toml) must be a number of logins from 0 to 1000000",
    ),
    (
        "refresh.brake_refused = 0",
        "refresh.brake_refused (in {dir}/authseal.toml) must be a number of logins from 1 to 1000000",
    ),
    ("refresh.max_waiting = 0", "refresh.max_waiting (in {dir}/authseal.toml) must be at least 1"),
    (
        "limits.invalid_authids = 0",
        "limits.invalid_authids (in {dir}/authseal.toml) must be a number from 1 to 1000000",
    ),
    (
        "limits.provider_calls_in_all = 1000001",
        "limits.provider_calls_in_all (in {dir}/authseal.toml) must be a number",
    ),
    ("clients.google.refresh_token_days = 0", "clients.google.refresh_token_days must be at least 1"),
    ("access.password_file = \"\"", "access.password_file (in {dir}/authseal.toml) is empty"),
    ("access.password = \"hunter2-Zw3\"", "did you mean `password_file`?"),
    ("denylist.file = 'C:\\lists\\denylist'", "denylist.file (in {dir}/authseal.toml) has `\\` in it"),
    ("templates_dir = \"D:\\\\pages\"", "templates_dir (in {dir}/authseal.toml) has `\\` in it"),
    ("denylist.file = \"\"", "denylist.file (in {dir}/authseal.toml) is empty"),
    ("state.store = \"redis://:hunter2-Zw3@\"", "state.store (in {dir}/authseal.toml) is not a URL like"),
    (
        "state.store = \"redis://hunter2-Zw3@r\"",
        "state.store (in {dir}/authseal.toml) has a text before the `@` and no",
    ),
    ("state.store = \"rediss://hunter2-Zw3@r:6380/0\"", "a password alone follows a colon"),
    ("state.store = \"dir: \"", "state.store (in {dir}/authseal.toml) must be \"memory\", \"dir:\" and a folder"),
    ("state.store = \"http://hunter2-Zw3\"", "state.store (in {dir}/authseal.toml) must be \"memory\""),
    ("state = { store = \"redis://r\", redis_wait = 10 }", "must be at most 9 replicas"),
    ("state = { store = \"dir:x\", redis_wait = 1 }", "is no Redis, so `state.redis_wait`"),
    ("state = { store = \"redis://r\", ca_file = \"ca.pem\" }", "does not begin with `rediss://`"),
    ("state.store = \"disk\"", "state.store (in {dir}/authseal.toml) must be \"memory\""),
    (
        "delivery.trusted_origins = [\"https://a.lan\", \"*\"]",
        "delivery.trusted_origins, entry 2 (in {dir}/authseal.toml) is not of the form `https://nas.lan:8200`",
    ),
    ("delivery.trusted_origins = [\"https://*.lan\"]", "must name one host"),
    ("delivery.trusted_origins = [\"https://nas.lan/ui\"]", "must end after host and port"),
    ("delivery.trusted_origins = [\"https://nas.lan.\"]", "must not end its host with a dot"),
    ("delivery.trusted_origins = [\"ftp://nas.lan\"]", "is not of the form"),
    ("delivery.trusted_origins = [\"null\"]", "is not of the form"),
    ("delivery.trusted_origins = [\"https://u:hunter2-Zw3@nas.lan\"]", "must not hold a user name or a password"),
    ("site.name = \" \"", "site.name (in {dir}/authseal.toml) must have 1 to 60 characters"),
    ("site.name = \"A\\nB\"", "site.name (in {dir}/authseal.toml) must be one line"),
    ("site.name = \"A\\u202EB\"", "site.name (in {dir}/authseal.toml) must be one line"),
    (
        "site.contact = \"help\"",
        "site.contact (in {dir}/authseal.toml) is neither a mail address, like help@example.com",
    ),
    ("site.contact = \"a b@example.com\"", "is neither a mail address"),
    ("site.contact = \"help@example.com?subject=x\"", "is neither a mail address"),
    ("site.contact = \"@example.com\"", "is neither a mail address"),
    ("site.contact = \"help@example..com\"", "is neither a mail address"),
    ("site.contact = \"help@example.com/x\"", "is neither a mail address"),
    ("site.contact = \"help@[127.0.0.1]\"", "is neither a mail address"),
    ("site.contact = \"javascript:alert(1)@example.com\"", "is neither a mail address"),
    ("site.imprint_url = \"/imprint\"", "site.imprint_url (in {dir}/authseal.toml) is not a URL that begins with"),
    (
        "privacy.url = \"javascript:alert(1)\"",
        "privacy.url (in {dir}/authseal.toml) is not a URL that begins with `https://` or `http://`",
    ),
    ("log.level = \"loud\"", "log.level (in {dir}/authseal.toml) must be error, warn, info"),
    ("log.level = \"authseal=loud\"", "log.level (in {dir}/authseal.toml) must be error, warn, info"),
    ("templates_dir = \"absent\"", "templates_dir (in {dir}/authseal.toml) names no folder that exists"),
    ("acme_challenge_dir = \"empty\"", "acme_challenge_dir (in {dir}/authseal.toml) names no folder that exists"),
    // What is told of providers, services and clients, with a secret where it does not belong.
    (
        "providers.x = { authorize_url = \"hunter2-Zw3\", token_url = \"https://a.lan\", rotation = \"none\" }",
        "x.authorize_url must be a URL",
    ),
    ("providers.x = { rotation = \"none\", issuer = \"data:hunter2-Zw3\" }", "providers.x.issuer must name a host"),
    (
        "providers.x = { rotation = \"none\", issuer = \"http://hunter2-Zw3\" }",
        "providers.x.issuer must begin with https://",
    ),
    (
        "providers.x = { rotation = \"none\", issuer = \"https://10.0.0.1/hunter2-Zw3\" }",
        "providers.x.issuer names a private address",
    ),
    (
        "providers.x = { rotation = \"none\", issuer = \"https://a.lan/{hunter2-Zw3}\" }",
        "providers.x.issuer has an unknown placeholder",
    ),
    (
        "providers.x = { issuer = \"https://a.lan/{tenant}\", default_tenant = \"hunter2 Zw3\", rotation = \"none\" }",
        "providers.x.default_tenant or the client's `tenant` must be an id or a domain",
    ),
    (
        "providers.x = { token_url = \"https://a.lan\", authorize_url = \"https://hunter2-Zw3\" }",
        "providers.x.rotation is missing; write \"none\" if",
    ),
    (
        "providers.x.gone = { reason = \"x\", successor = \"hunter2-Zw3\" }",
        "x.gone.successor is not the id of a service",
    ),
    ("services.x.provider = \"hunter2-Zw3\"", "services.x.provider names no provider; add a table of [providers]"),
    ("services.gcs.scopes = [\"a\", \"hunter2 Zw3\"]", "services.gcs.scopes has no scope as its entry 2"),
    ("services.gcs.aliases = [\"HUNTER2 hunter2\"]", "services.gcs.aliases has an id that is not 1 to 32 of"),
    (
        "services.gcs.aliases = [\"hunter2-zw3\"]\nservices.dropbox.aliases = [\"hunter2-zw3\"]",
        "services.gcs and services.dropbox share an id or an alias",
    ),
    (
        "providers.box.name = \"hunter2-Zw3\"\nclients.box.id = \"1\"",
        "clients.box.secret is missing; providers.box wants a client with a secret",
    ),
    (
        "clients.google.other.old = { id = \"x\", secret = \"hunter2-Zw3\" }",
        "clients.google.other has registrations, and none makes logins; give clients.google.id",
    ),
    (
        "clients.google = { id = \"1\", secret = \"x\", other.old.secret = \"hunter2-Zw3\" }",
        "clients.google.other.old.id is missing; give the client id of this registration",
    ),
    (
        "clients.google = { id = \"hunter2-Zw3\", secret = \"x\", other.old = { id = \"hunter2-Zw3\", secret = \"x\" } }",
        "clients.google.other.old.id is the client id of another registration there",
    ),
    (
        "clients.google = { id = \"1\", secret = \"x\", other = { a = { id = \"hunter2-Zw3\", secret = \"x\" }, b = { id = \"hunter2-Zw3\", secret = \"x\" } } }",
        "clients.google.other.b.id is the client id of another registration there",
    ),
    (
        "clients.box = { id = \"1\", secret = \"x\", other.old.id = \"hunter2-Zw3\" }",
        "clients.box.other.old.secret is missing; providers.box wants a client with a secret",
    ),
    (
        "clients.google = { id = \"1\", secret = \"x\", secrets = [\"hunter2-Zw3\"] }",
        "clients.google.secrets is given beside `secret`; keep one of them",
    ),
    (
        "clients.google = { id = \"1\", secrets = [\"hunter2-Zw3\", \"hunter2-Zw3\"] }",
        "clients.google.secrets has the same secret twice; keep one",
    ),
    (
        "clients.google = { id = \"1\", secrets = [\"hunter2-1\", \"hunter2-2\", \"hunter2-3\", \"hunter2-4\", \"hunter2-5\"] }",
        "clients.google.secrets has more than 4 entries",
    ),
    ("clients.google = { id = \"1\", secrets = [\"\", \"hunter2-Zw3\"] }", "clients.google.secrets"),
    ("clients.google.secrets = [\"hunter2-Zw3\"]", "clients.google.secret stands alone; give clients.google.id too"),
    (
        "clients.google.other = [\"hunter2-Zw3\"]",
        "clients.google.other (in {dir}/authseal.toml) must be tables with a name each: [clients.google] makes",
    ),
    (
        "clients.google.other.old.sceret = \"hunter2-Zw3\"",
        "clients.google.other.old.sceret (in {dir}/authseal.toml) is not a known key; did you mean `secret`?",
    ),
    (
        "providers.box.name = \"hunter2-Zw3\"\nclients.box.tenant = \"1\"",
        "clients.box.tenant is of no use, since no URL of providers.box has `{tenant}`",
    ),
    (
        "server.trusted_proxies = [\"127.0.0.1\", \"hunter2-Zw3\"]",
        "server.trusted_proxies, entry 2 (in {dir}/authseal.toml) is not an address like 127.0.0.1",
    ),
    ("server.trusted_proxies = [\"::/0\"]", "entry 1 (in {dir}/authseal.toml) names every address there is"),
    // The whole.
    ("keyring.file = \"hunter2-Zw3\"", "(line 3) sets `keyring.file` a second time, after line 2; keep one of the two"),
    ("[clients.google]\nsecret = hunter2-Zw3", "(line 4) is not valid TOML; text is in \"quotes\""),
    ("[clients.google]\nsecret = \"hunter2-Zw3\nid = \"x\"", "(line 4) is not valid TOML"),
    ("[log]\nlevel = \"warn\"\n[log]\nformat = \"json\"", "a second time"),
    ("[clients.a]\n[clients.b]\n[clients.a]", "a second time"),
    ("[log]\nlevel = \"warn\"\nlevel = \"info\"", "a second time"),
    ("log.level = \"warn\"\n[log]\nformat = \"json\"", "a second time"),
    ("log = { level = \"warn\" }\n[log]\nformat = \"json\"", "a second time"),
    ("log = { level = \"warn\" }\nlog.format = \"json\"", "a second time"),
    ("log.level = \"warn\"\nlog = { format = \"json\" }", "a second time"),
    ("[log]\nlevel = \"warn\"\n[[log]]\nformat = \"json\"", "a second time"),
    ("[[log]]\nlevel = \"warn\"\n[log]\nformat = \"json\"", "a second time"),
    ("[clients.a]\nid = \"x\"\n[clients]\na.id = \"y\"", "a second time"),
    ("log = { level = \"warn\", level = \"info\" }", "a second time"),
    ("keyring.text.a = 1\nkeyring.text = \"hunter2-Zw3\"", "a second time"),
    ("templates_dir = \"C:\\pages\"", "has a backslash in \"quotes\", where it begins an escape"),
    ("templates_dir = \"D:\\Users\\x\"", "has a backslash in \"quotes\""),
    ("denylist.file = \"\\\\nas\\lists\\x\"", "has a backslash in \"quotes\""),
];

/// The faults without the numbers of lines, which tests/cli/faults.rs looks at.
fn without_lines(faults: &ConfigErrors) -> String {
    (1..20).fold(faults.to_string(), |text, line| text.replace(&format!(", line {line})"), ")"))
}

#[test]
fn every_fault_of_a_file_is_named_alone_and_tells_no_secret() {
    for (line, expected) in BAD_FILES {
        let (folder, sources) = sources(None);
        let dir = folder.path();
        fs::write(dir.join("authseal.toml"), format!("{GOOD}{line}\n")).unwrap();
        fs::write(dir.join("empty"), "\n").unwrap();
        fs::write(dir.join("big"), "x".repeat(20_000)).unwrap();
        fs::write(dir.join("placeholder"), "CHANGE_ME\n").unwrap();
        let Err(faults) = Config::load_to_serve(&sources) else { panic!("{line} was accepted") };
        let text = without_lines(&faults);
        // Of what is wrong among tables some rows leave out where it is.
        let file = format!(" (in {}/authseal.toml)", dir.display());
        let expected = expected.replace("{dir}", dir.to_str().unwrap());
        assert!(text.contains(&expected) || text.replace(&file, "").contains(&expected), "{line}: {text}");
        assert_eq!((faults.all().len(), text.lines().count()), (1, 2), "{line}: {text}");
        assert!(!text.contains("hunter2") && !format!("{faults:?}").contains("hunter2"), "{line}: {text}");
    }
}

#[test]
fn every_fault_of_a_variable_is_named_alone_and_tells_no_secret() {
    let cases = [
        (
            "AUTHSEAL_PUBLIC_URLL",
            "x",
            "public_urll (in AUTHSEAL_PUBLIC_URLL) is not a known key; did you mean `public_url`?",
        ),
        ("AUTHSEAL_LOG_LEVEL", "debug", "log_level (in AUTHSEAL_LOG_LEVEL) is not a known key"),
        ("AUTHSEAL_REDIS_SERVICE_HOST", "10.0.0.1", "`enableServiceLinks: false`"),
        (
            "AUTHSEAL_CLIENTS__GOOGLE__SECRT",
            SECRET,
            "clients.google.secrt (in AUTHSEAL_CLIENTS__GOOGLE__SECRT) is not a known key; did you mean `secret`?",
        ),
        ("AUTHSEAL_CLIENTS__GOOGLE", SECRET, "clients.google (in AUTHSEAL_CLIENTS__GOOGLE) must be a table of keys"),
        (
            "AUTHSEAL_DELIVERY__LOOPBACK",
            SECRET,
            "delivery.loopback (in AUTHSEAL_DELIVERY__LOOPBACK) must be true or false",
        ),
        ("AUTHSEAL_DELIVERY__LOOPBACK", "1", "must be true or false"),
        ("AUTHSEAL_PROVIDERS__X__REFRESH_TOKEN_DAYS", SECRET, "must be a whole number"),
        ("AUTHSEAL_PROVIDERS__X__REFRESH_TOKEN_DAYS", "5000000000", "is out of range"),
        ("AUTHSEAL_LISTEN", "[\"127.0.0.1:1\"", "must be a list"),
        ("AUTHSEAL_LISTEN", "127.0.0.1:1,hunter2-Zw3", "listen, entry 2 (in AUTHSEAL_LISTEN) is not an IP address"),
        ("AUTHSEAL_LISTEN", "", "listen is missing"),
        (
            "AUTHSEAL_CLIENTS__GOOGLE__SECRET",
            "",
            "clients.google.secret (in AUTHSEAL_CLIENTS__GOOGLE__SECRET) is empty",
        ),
        ("AUTHSEAL_CLIENTS__GOOGLE__SECRET", "\u{fffd}x", "is not UTF-8 text"),
        (
            "AUTHSEAL_CLIENTS__GOOGLE__SECRET_FILE",
            SECRET,
            "(in AUTHSEAL_CLIENTS__GOOGLE__SECRET_FILE) names a file that does not exist",
        ),
        ("AUTHSEAL_KEYRING__TEXT", SECRET, "keyring (in {dir}/authseal.toml and in AUTHSEAL_KEYRING__TEXT) has both"),
        (
            "AUTHSEAL_PUBLIC_URL",
            "",
            "public_url (in AUTHSEAL_PUBLIC_URL) is not of the form `https://oauth.example.com`",
        ),
        ("AUTHSEAL_PUBLIC_URL", "oauth.example.com", "is not of the form"),
        ("AUTHSEAL_PUBLIC_URL", "http://oauth.example.com", "must begin with `https://`"),
        ("AUTHSEAL_PUBLIC_URL", "http://127.0.0.1.example.com", "must begin with `https://`"),
        ("AUTHSEAL_PUBLIC_URL", "https://oauth.example.com/oauth", "no path"),
        ("AUTHSEAL_PUBLIC_URL", "https://oauth.example.com/?hunter2-Zw3", "no path, no query"),
        ("AUTHSEAL_PUBLIC_URL", "https://oauth.example.com/#", "no path, no query"),
        ("AUTHSEAL_PUBLIC_URL", "https://u:hunter2-Zw3@oauth.example.com", "a user name or a password"),
        ("AUTHSEAL_PUBLIC_URL", "https://<host>", "still holds a placeholder"),
        ("AUTHSEAL_", "x", "  (in AUTHSEAL_) is not a known key"),
    ];
    for (name, value, expected) in cases {
        let (folder, sources) = sources(GOOD);
        let Err(faults) = Config::load_to_serve(&with(sources, &[(name, value)], &[])) else {
            panic!("{name}={value}")
        };
        let text = faults.to_string();
        let expected = expected.replace("{dir}", folder.path().to_str().unwrap());
        assert!(text.contains(&expected) && faults.all().len() == 1, "{name}={value}: {text}");
        assert!(!text.contains("hunter2"), "{name}={value}: {text}");
    }
    let faults = load("", &[]).err().unwrap().to_string();
    assert!(faults.contains("public_url is missing; set it"), "{faults}");
    let (_folder, sources) = sources(GOOD);
    let faults = faults_of(&with(sources, &[], &[("listne", "x")]));
    assert!(faults.contains("listne (on the command line) is not a known key; did you mean `listen`?"), "{faults}");
}

#[test]
fn all_faults_are_told_at_once() {
    let toml = "public_url = \"http://oauth.example.com\"\nlisten = [1, \"127.0.0.1:1\", \"x\", \"127.0.0.1:2\", 5]\nkeyrng.file = \"k\"\n\
                [delivery]\nloopback = 1\n[log]\nlevel = \"loud\"\nformat = \"xml\"\n[clients.google]\nid = \"…\"\nsceret = \"x\"\n";
    let faults = load(toml, &[("AUTHSEAL_STATE__STORE", "disk"), ("AUTHSEAL_PRIVACY", "x")]).err().unwrap();
    let text = faults.to_string();
    for key in [
        "public_url",
        "listen, entry 1",
        "listen, entry 3",
        "listen, entry 5",
        "keyrng",
        "delivery.loopback",
        "log.level",
        "log.format",
    ] {
        assert!(text.contains(&format!("\n  {key} ")), "{key}: {text}");
    }
    for key in ["clients.google.id", "clients.google.sceret", "state.store", "privacy"] {
        assert!(text.contains(&format!("\n  {key} ")), "{key}: {text}");
    }
    assert!(text.starts_with("12 faults in the configuration:\n"), "{text}");
    assert_eq!(text.lines().count(), 13, "{text}");
}

#[test]
fn origins_are_given_in_their_one_spelling() {
    let spelled = |text| super::check_origin(text).unwrap();
    assert_eq!(spelled("https://NAS.lan:443/"), "https://nas.lan");
    assert_eq!(spelled("http://192.168.1.5:8200"), "http://192.168.1.5:8200");
    assert_eq!(spelled("https://bücher.example"), "https://xn--bcher-kva.example");
    assert_eq!(spelled("https://[::1]:8200"), "https://[::1]:8200");
}

#[test]
fn an_origin_that_no_login_could_remember_is_refused() {
    let origin = |length: usize| format!("https://{}.{}", "a".repeat(60), "b".repeat(length - 69));
    assert!(super::check_origin(&format!("{}/", origin(128))).is_ok());
    let sentence = super::check_origin(&origin(129)).unwrap_err();
    assert!(sentence.contains("may have 128 characters together"), "{sentence}");
    assert!(load(GOOD, &[("AUTHSEAL_PUBLIC_URL", &origin(128))]).is_ok());
    let faults = load(GOOD, &[("AUTHSEAL_PUBLIC_URL", &origin(129))]).err().unwrap().to_string();
    assert!(faults.contains("public_url (in AUTHSEAL_PUBLIC_URL) is too long"), "{faults}");
}

#[test]
fn a_server_that_speaks_tls_is_seen_under_https() {
    let tls = [("AUTHSEAL_TLS__CERT_FILE", "a.pem"), ("AUTHSEAL_TLS__KEY_FILE", "b.pem")];
    let load = |url| load(GOOD, &[tls[0], tls[1], ("AUTHSEAL_PUBLIC_URL", url)]);
    let config = load("https://localhost:8443").unwrap();
    let files = config.tls.unwrap();
    assert!(files.cert.ends_with("a.pem") && files.key.ends_with("b.pem"), "{files:?}");
    let faults = load("http://localhost:8443").err().unwrap().to_string();
    assert!(faults.contains("so `public_url` must begin with `https://`"), "{faults}");
}

#[test]
fn plain_http_is_for_loopback() {
    for good in ["http://localhost:8080", "http://127.9.9.9", "http://[::1]:1/", "https://10.0.0.1"] {
        assert!(load(GOOD, &[("AUTHSEAL_PUBLIC_URL", good)]).is_ok(), "{good}");
    }
    for bad in ["http://10.0.0.1", "http://[::2]", "http://a.localhost", "http://localhost.", "https://", "https:/x"] {
        assert!(load(GOOD, &[("AUTHSEAL_PUBLIC_URL", bad)]).is_err() || bad == "https:/x", "{bad}");
    }
}

#[test]
fn whatever_may_be_in_a_file_of_its_own_is_a_secret_and_masked() {
    let keys = known_keys();
    let mut secrets: Vec<_> = keys.iter().filter(|key| keys.contains(&format!("{key}_file"))).collect();
    // An address is shown, without its password.
    secrets.retain(|key| !["outbound.proxy", "state.store"].contains(&key.as_str()));
    assert!(secrets.len() >= 4, "{secrets:?}");
    for key in secrets.into_iter().chain([&"keyring.text".to_owned(), &"clients.<id>.secrets".to_owned()]) {
        let path: Vec<_> = key.split('.').map(str::to_owned).collect();
        assert!(super::secrets::is_secret(&path), "{key}");
    }
}

/// Every key there is, with `<id>` for the ids of providers, services and clients: found by asking for an unknown
/// key in every table, since the answer lists the known ones.
pub(super) fn known_keys() -> Vec<String> {
    let mut keys = Vec::new();
    collect_keys(&mut Vec::new(), &mut keys);
    for (table, key) in
        [("clients", "secret_file"), ("clients", "other.<id>.secret_file"), ("services", "client_secret_file")]
    {
        keys.push(format!("{table}.<id>.{key}"));
    }
    keys.extend(["legacy.export_key_file", "outbound.proxy_file", "state.store_file"].map(str::to_owned));
    keys
}

fn collect_keys(table: &mut Vec<String>, keys: &mut Vec<String>) {
    for key in known_in(table).unwrap_or_default() {
        table.push((*key).to_owned());
        let in_ids = || [table.as_slice(), &["<id>".to_owned()]].concat();
        if known_in(table).is_some() {
            collect_keys(table, keys);
        } else if known_in(&in_ids()).is_some() {
            collect_keys(&mut in_ids(), keys);
        } else {
            keys.push(table.join("."));
        }
        table.pop();
    }
}

fn known_in(table: &[String]) -> Option<&'static [&'static str]> {
    let probe = Value::from(Dict::from([("?".to_owned(), Value::from(0))]));
    let tree = table.iter().rev().fold(probe, |inner, key| Value::from(Dict::from([(key.clone(), inner)])));
    match RawConfig::deserialize(&tree).err()?.kind {
        Kind::UnknownField(_, known) => Some(known),
        _ => None,
    }
}

const EXAMPLE: &str = include_str!("../../config/authseal.toml");

/// The example with every key switched on: `#key = value` and `#[table]` without the `#`; prose has a space after it.
fn example_switched_on() -> String {
    let on =
        |line: &str| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_owned() + "\n";
    EXAMPLE.lines().map(on).collect()
}

/// Every path that is there and has some id where `path` has `<id>`.
fn spelled(layers: &Layers, path: &[&str]) -> Vec<Vec<String>> {
    let mut paths = vec![Vec::new()];
    for key in path {
        let ids = |above: &Vec<String>| match layers.at(above) {
            Some(Value::Dict(_, ids)) if *key == "<id>" => ids.keys().cloned().collect(),
            _ => vec![(*key).to_owned()],
        };
        paths = paths.iter().flat_map(|above| ids(above).into_iter().map(|id| [&above[..], &[id]].concat())).collect();
    }
    paths
}

#[test]
fn the_example_file_works_and_shows_every_key_there_is() {
    let (folder, mut sources) = sources(None);
    let path = folder.path().join("example.toml");
    sources.file = Some(path.clone());
    fs::write(&path, EXAMPLE).unwrap();
    Config::load_to_serve(&sources).unwrap();

    fs::write(&path, example_switched_on()).unwrap();
    let mut layers = Layers::stack(&sources).unwrap();
    for key in known_keys() {
        let path: Vec<&str> = key.split('.').collect();
        let named = path.contains(&"<id>");
        let shown = spelled(&layers, &path)
            .into_iter()
            .any(|path| layers.at(&path).is_some_and(|_| !named || !layers.place(&path).origin.contains("built in")));
        assert!(shown, "config/authseal.toml does not show `{key}`");
    }
    super::secrets::read_files(&mut layers, &mut ConfigErrors::default());
    let mut faults = ConfigErrors::default();
    extract::extract(&mut layers, &mut faults);
    assert!(faults.is_empty(), "{faults}");
}

#[test]
fn the_documentation_and_the_example_name_every_key_and_variable() {
    let page = include_str!("../../docs/configuration.md");
    for key in known_keys() {
        let variable = format!("AUTHSEAL_{}", key.to_uppercase().replace('.', "__"));
        assert!(page.contains(&format!("`{key}`")), "docs/configuration.md does not explain `{key}`");
        assert!(page.contains(&format!("`{variable}`")), "docs/configuration.md does not name `{variable}`");
    }
}

#[test]
fn another_handler_is_named_with_its_key_over_https_and_with_a_store_for_what_it_tells() {
    let key = ("AUTHSEAL_LEGACY__EXPORT_KEY", "0123456789");
    let store = ("AUTHSEAL_STATE__STORE", "dir:state");
    let url = |url| ("AUTHSEAL_LEGACY__EXPORT_URL", url);
    for good in ["https://h.example/export", "http://127.0.0.1:8080/export", "http://localhost/a/export"] {
        assert!(load(GOOD, &[url(good), key, store]).unwrap().legacy.export.is_some(), "{good}");
    }
    let good = url("https://h.example/export");
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[good, store], "legacy.export_url (in AUTHSEAL_LEGACY__EXPORT_URL) needs the API key too"),
        (&[key, store], "legacy.export_key (in AUTHSEAL_LEGACY__EXPORT_KEY) is of no use without legacy.export_url"),
        (&[good, key], "needs a state.store that outlives a restart"),
        (&[good, key, ("AUTHSEAL_STATE__STORE", "memory")], "needs a state.store that outlives a restart"),
        (&[url("http://h.example/export"), key, store], "must begin with `https://`"),
        (&[url("ftp://h.example/export"), key, store], "must begin with `https://`"),
        (&[url("h.example/export"), key, store], "is not of the form `https://handler.example.com/export`"),
        (&[url("https://u:hunter2@h.example/export"), key, store], "must not hold a user name or a password"),
        (&[url("https://h.example/export?x=hunter2"), key, store], "must end with its path"),
        (&[url("https://h.example"), key, store], "needs the path too"),
        (&[good, ("AUTHSEAL_LEGACY__EXPORT_KEY", "hunter2"), store], "is shorter than the 10 characters"),
        (&[good, ("AUTHSEAL_LEGACY__EXPORT_KEY", "hunter2 hunter2"), store], "has a character that is no letter"),
    ];
    for (variables, sentence) in cases {
        let faults = load(GOOD, variables).err().unwrap().to_string();
        assert!(faults.contains(sentence) && !faults.contains("hunter2"), "{sentence}: {faults}");
    }
}
