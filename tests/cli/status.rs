//! `authseal status` and `authseal support-bundle`: what they say of a running server, and what they never say.

use crate::port::free_port;
use crate::reload::replace;
use crate::replica::{Manner, Replica};
use crate::{GOOD, Served, authseal, done, ready, run};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const GOOGLE: &str = "[clients.google]\nid = \"1234\"\nsecret = \"hunter2-inline\"\nsecret_expires = \"2099-05-01\"\n";

/// A server with an admin listener, and where that is.
fn served(folder: &Path) -> (Served, String) {
    let served = Served::start(folder, &[]);
    let admin = served.logged("listening for operators")["admin_address"].as_str().unwrap().to_owned();
    (served, format!("http://{admin}"))
}

#[test]
fn a_running_server_says_on_one_screen_how_it_does() {
    let folder = ready(&format!("{GOOD}{GOOGLE}[admin]\nlisten = [\"127.0.0.1:0\"]\n[state]\nstore = \"dir:state\"\n"));
    let (served, admin) = served(folder.path());
    replace(folder.path(), "primary = 7\n");
    served.logged("keyring not loaded; the one loaded before stays in force");
    let done = run(folder.path(), &["status", "--against", &admin]);
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
    for line in [
        &format!("{admin}\n  version       {} (", env!("CARGO_PKG_VERSION")),
        "\n  started       less than a minute ago\n",
        "\n  ready         yes\n",
        "\n  public URL    https://oauth.example.com/\n",
        &format!("\n  configuration {}/authseal.toml; read less than a minute ago\n", folder.path().display()),
        "\n  services      gcs, googledrive, googledocs\n",
        "\n  keyring       epoch 1 seals, of 1; read less than a minute ago; CANNOT BE READ since less than a minute ago\n",
        "\n  denylist      0 rules; read less than a minute ago\n",
        "\n  store         a folder\n",
        "\n  secret        google: ends in ",
        "\n  log           ERROR keyring not loaded; the one loaded before stays in force (less than a minute ago)\n",
    ] {
        assert!(done.out.contains(line), "{line:?} is not in {}", done.out);
    }
    let done = run(folder.path(), &["status", "--json", "--against", &admin]);
    let said: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(said[0]["url"], json!(admin));
    assert_eq!(said[0]["status"]["readiness"]["keyring"]["last_load_failed"], json!(true));
    assert_eq!(said[0]["status"]["secrets_end"], json!({ "google": "2099-05-01T00:00:00Z" }));
    assert!(!done.out.contains("hunter2"), "{}", done.out);
}

#[test]
fn who_does_not_say_how_it_does_is_named_and_nobody_asked_is_an_error() {
    let folder = ready(GOOD);
    let done = run(folder.path(), &["status"]);
    assert!(done.code == 2 && done.err.contains("nobody was asked"), "{done:?}");
    let other = Replica::new(Manner::Says("200 OK", "{}".to_owned()));
    let done = run(folder.path(), &["status", "--against", &other.url]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.out.contains(&format!("{} answers 404", other.url)), "{done:?}");
    assert!(done.err.contains("1 of 1 server did not say how they do"), "{done:?}");
}

#[test]
fn a_support_bundle_has_what_helps_and_no_secret_of_any_kind() {
    let folder = ready("");
    let at = |name: &str| folder.path().join(name);
    let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let write = |name: &str, text: &str| {
        fs::write(at(name), text).unwrap();
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("box-secret", "hunter2-file\n");
    let hash = crate::run_with_input(folder.path(), &["access", "hash"], "hunter2-password\n").out;
    assert!(hash.starts_with("$argon2"), "{hash}");
    write("password", &hash);
    let rest = format!(
        "{GOOGLE}[clients.box]\nid = \"5678\"\nsecret_file = \"box-secret\"\n[clients.dropbox]\nid = \"9\"\n\
         [access]\npassword_file = \"password\"\n[outbound]\nproxy = \"http://me:hunter2-proxy@127.0.0.1:1\"\n\
         [admin]\nlisten = [\"{admin}\"]\n"
    );
    let keyring = fs::read_to_string(at("keys.toml")).unwrap();
    let key = keyring.lines().find_map(|line| line.strip_prefix("secret = \"")).unwrap().trim_end_matches('"');
    let key = key.split(':').nth(2).unwrap();
    let (authid, _) = crate::sealed(folder.path(), "googledrive");
    let secrets = ["hunter2", hash.trim().rsplit('$').next().unwrap(), key, &key[4..24], &authid[20..60]];
    let bundle = |variables: &[(&str, &str)]| {
        let mut command = authseal(folder.path(), &["support-bundle"]);
        let done = done(command.envs(variables.iter().copied()).spawn().unwrap());
        assert_eq!(done.code, 0, "{done:?}");
        for secret in secrets {
            assert!(!done.out.contains(secret) && !done.err.contains(secret), "{secret}: {done:?}");
        }
        done.out
    };
    let variables = [("AUTHSEAL_CLIENTS__DROPBOX__SECRET", "hunter2-variable")];

    fs::write(at("authseal.toml"), format!("{GOOD}{rest}")).unwrap();
    let served = Served::start(folder.path(), &variables);
    // An AuthID that it opens, one that it does not, and a fault that is logged.
    let query = format!("/refresh?authid={authid}");
    served.ask(&query);
    served.ask(&query.replace("googledrive:1", "googledrive:2"));
    let whole = bundle(&variables);
    for line in [
        "== machine\nkernel: ",
        "clients.google.id = \"1234\"",
        "clients.google.secret = \"********\"",
        "clients.box.secret_file = ",
        "clients.dropbox.secret = \"********\"",
        "outbound.proxy = \"http://me:********@127.0.0.1:1/\"",
        "/keys.toml: mode 600, owner ",
        "/box-secret: mode 600, owner ",
        "/password: mode 600, owner ",
        &format!("== server\nhttp://{admin}\n{{"),
        "\"version\": ",
    ] {
        assert!(whole.contains(line), "{line:?} is not in {whole}");
    }
    drop(served);
    assert!(bundle(&variables).contains(&format!("== server\nhttp://{admin} does not answer")));

    // The whole keyring in the configuration, and a store whose URL has a password.
    let text =
        format!("[keyring]\ntext = '''\n{keyring}'''\n[state]\nstore = \"redis://me:hunter2-redis@127.0.0.1:1\"\n");
    fs::write(at("authseal.toml"), format!("{GOOD}{rest}{text}")).unwrap();
    assert!(bundle(&variables).contains("state.store = \"redis://me:********@127.0.0.1:1\""));
    // A key that is misspelled, a value of the wrong type, and no TOML at all.
    for fault in
        ["[clients.pcloud]\nsecert = \"hunter2-key\"\n", "log.level = \"hunter2-level\"\n", "secret = hunter2\n"]
    {
        fs::write(at("authseal.toml"), format!("{GOOD}{fault}")).unwrap();
        assert!(bundle(&[]).contains("== configuration\n"));
    }
}
