//! `authseal reload` and SIGHUP against the built server: the verdict, the exit code, the log, and that nobody who asks
//! meanwhile notices.

use crate::keyring_file::key;
use crate::port::free_port;
use crate::reload::{authid, refresh, under_load, with_provider_of};
use crate::{GOOD, Served, authseal, ready, run};
use rustix::process::Signal;
use serde_json::json;
use std::cell::Cell;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A server that can be asked at the address that its configuration names.
fn served() -> (TempDir, Served) {
    let port = free_port();
    let folder = ready(&format!("{GOOD}[admin]\nlisten = [\"127.0.0.1:{port}\"]\n"));
    let served = Served::start(folder.path(), &[]);
    served.logged("listening for operators");
    (folder, served)
}

fn write(folder: &Path, text: &str) {
    fs::write(folder.join("aside"), text).unwrap();
    fs::rename(folder.join("aside"), folder.join("authseal.toml")).unwrap();
}

#[test]
fn the_verdict_is_told_and_the_exit_code_says_which() {
    let (folder, served) = served();
    let good = fs::read_to_string(folder.path().join("authseal.toml")).unwrap();
    let reload = |more: &[&str]| run(folder.path(), &[&["reload"], more].concat());
    let done = reload(&[]);
    assert!(done.code == 0 && done.out.starts_with("reloaded: no key has changed"), "{done:?}");
    write(
        folder.path(),
        &format!("{good}[clients.google]\nid = \"1.apps.googleusercontent.com\"\nsecret = \"s-e-c-r-e-t\"\n"),
    );
    let done = reload(&[]);
    // Before it is a warning: everybody may read that file.
    assert!(done.out.ends_with("reloaded; changed:\n  clients.google.id\n  clients.google.secret\n"), "{done:?}");
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    served.logged("configuration reloaded");

    write(folder.path(), &good.replace("drain_seconds = 0", "drain_seconds = 1"));
    let done = reload(&[]);
    assert!(done.code == 3 && done.err.ends_with("Needs a restart:\n  server.drain_seconds\n"), "{done:?}");
    write(folder.path(), &format!("{good}[limits]\nprovider_calls = 0\n"));
    let done = reload(&[]);
    assert!(done.code == 2 && done.err.contains("limits.provider_calls (in "), "{done:?}");
    let line = served.logged("configuration not reloaded; the one loaded before stays in force");
    assert_eq!(line["level"], "ERROR");
    // What cannot be parsed names no listener. The server says the same where it can be found.
    write(folder.path(), &format!("{good}[admin\n"));
    let done = reload(&[]);
    assert!(done.code == 2 && done.err.contains("authseal.toml"), "{done:?}");
    let url = good.split('"').rev().nth(1).unwrap();
    let done = reload(&["--url", &format!("http://{url}"), "--json"]);
    let verdict: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    assert!(done.code == 2 && verdict["outcome"] == "refused", "{done:?}");
    assert!(verdict["faults"][0].as_str().unwrap().contains("authseal.toml"), "{verdict}");
}

#[test]
fn who_cannot_be_asked_is_told_what_to_do_instead() {
    let folder = ready(GOOD);
    let done = run(folder.path(), &["reload"]);
    assert!(done.code == 2 && done.err.contains("admin.listen is not set") && done.err.contains("SIGHUP"), "{done:?}");
    let done = run(folder.path(), &["reload", "--url", "http://127.0.0.1:9"]);
    assert!(done.code == 1 && done.err.contains("does not answer"), "{done:?}");
}

#[test]
fn sighup_takes_up_the_file_and_not_another_one_and_the_server_ends_as_before() {
    let (folder, mut served) = served();
    let good = fs::read_to_string(folder.path().join("authseal.toml")).unwrap();
    write(folder.path(), &format!("{good}[site]\nname = \"Backup Club\"\n"));
    served.signal(Signal::HUP);
    let line = served.logged("configuration reloaded");
    assert_eq!(line["changed"], json!(["site.name"]));
    write(folder.path(), "public_url = 1\n");
    served.signal(Signal::HUP);
    served.logged("configuration not reloaded; the one loaded before stays in force");
    write(folder.path(), &good.replacen("127.0.0.1:0", "127.0.0.1:1", 1));
    served.signal(Signal::HUP);
    let line = served.logged(
        "configuration not reloaded, since something in it needs a restart; the one loaded before stays in force",
    );
    assert_eq!(line["needs_restart"], json!(["listen"]));
    served.signal(Signal::TERM);
    assert_eq!(served.end(), Some(0));
}

#[test]
fn variables_are_those_of_the_start_and_the_files_that_they_name_are_read_again() {
    let folder = ready(GOOD);
    let secret = folder.path().join("secret");
    fs::write(&secret, "s-e-c-r-e-t").unwrap();
    let served = Served::start(
        folder.path(),
        &[
            ("AUTHSEAL_CLIENTS__GOOGLE__ID", "1.apps.googleusercontent.com"),
            ("AUTHSEAL_CLIENTS__GOOGLE__SECRET_FILE", secret.to_str().unwrap()),
        ],
    );
    fs::write(&secret, "a-n-o-t-h-e-r").unwrap();
    served.signal(Signal::HUP);
    assert_eq!(served.logged("configuration reloaded")["changed"], json!(["clients.google.secret"]));
    fs::remove_file(&secret).unwrap();
    served.signal(Signal::HUP);
    let line = served.logged("configuration not reloaded; the one loaded before stays in force");
    let faults = line["faults"].to_string();
    assert!(faults.contains("clients.google.secret_file (in AUTHSEAL_CLIENTS__GOOGLE__SECRET_FILE)"), "{faults}");
}

#[test]
fn the_settings_of_an_oauth_server_are_read_again_too() {
    let folder = tempfile::tempdir().unwrap();
    let (secrets, keys) = (folder.path().join("secrets.json"), folder.path().join("keys.toml"));
    assert_eq!(run(folder.path(), &["keys", "new", "keys.toml"]).code, 0);
    let write = |id: &str, secret: &str| {
        let text = json!({ "BOX_CLIENT_ID": id, "BOX_CLIENT_SECRET": secret }).to_string();
        fs::write(&secrets, text).unwrap();
    };
    write("boxid", "first");
    let its = ["run", "--hostname", "oauth.example.com", "--listen-urls", "http://127.0.0.1:0", "--services", "box"];
    let words = [&["serve", "--oauth-server-env", "--"], its.as_slice()].concat();
    let served = Served::by(authseal(folder.path(), &words).env("Secrets", &secrets));
    write("boxid", "second");
    served.signal(Signal::HUP);
    assert_eq!(served.logged("configuration reloaded")["changed"], json!(["clients.box.secret"]));
    fs::write(&secrets, "{").unwrap();
    served.signal(Signal::HUP);
    let line = served.logged("configuration not reloaded; the one loaded before stays in force");
    assert!(line["faults"].to_string().contains("SECRETS: line 1, column 1"), "{line}");
    write("boxid", "second");
    fs::remove_file(keys).unwrap();
    served.signal(Signal::HUP);
    let line = served.logged("configuration not reloaded; the one loaded before stays in force");
    assert!(line["faults"].to_string().contains("there is no keyring"), "{line}");
}

#[test]
fn good_and_bad_configurations_come_and_go_and_no_request_fails() {
    let folder = with_provider_of(&format!("primary = 1\n{}", key(1)), 1);
    let first = fs::read_to_string(folder.path().join("authseal.toml")).unwrap();
    let second = "[services.second]\nprovider = \"example\"\nname = \"Second\"\nscopes = [\"files\"]\n";
    let good = [
        first.replace("id = \"1234\"", "id = \"1234\"\nsecret = \"s-e-c-r-e-t\""),
        format!("{}{second}", first.replace("id = \"1234\"", "id = \"1234\"\nsecret = \"a-n-o-t-h-e-r\"")),
        format!("{first}[clients.example.other.second]\nid = \"5678\"\n[limits]\nprovider_calls = 20\n"),
    ];
    let bad = [
        format!("{first}[limits\n"),
        format!("{first}[limits]\nprovider_calls = 0\n"),
        first.replace("id = \"1234\"", "id = \"1234\"\nsecret_file = \"gone\""),
        format!("{first}[services.second]\nprovider = \"nobody\"\nname = \"Second\"\n"),
        first.replacen("127.0.0.1:0", "127.0.0.1:1", 1),
    ];
    let served = Served::start(folder.path(), &[]);
    assert!(refresh(&served.address, &authid(folder.path(), 1)).starts_with("HTTP/1.1 200"));
    let asked: Vec<_> = (0..20).map(|_| (authid(folder.path(), 1), "HTTP/1.1 200")).collect();
    let turns = Cell::new(0);
    under_load(&served, &asked, |turn| {
        write(folder.path(), &bad[turn % bad.len()]);
        served.signal(Signal::HUP);
        match turn % bad.len() {
            4 => served.logged(
                "configuration not reloaded, since something in it needs a restart; the one loaded before stays in force",
            ),
            _ => served.logged("configuration not reloaded; the one loaded before stays in force"),
        };
        write(folder.path(), &good[turn % good.len()]);
        served.signal(Signal::HUP);
        served.logged("configuration reloaded");
        turns.set(turn + 1);
    });
    eprintln!("{} good and as many bad reloads", turns.get());
}
