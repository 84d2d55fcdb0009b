//! What is said of a configuration that is no good, and of none at all: where it was looked for, and for each fault its key,
//! its file and its line, for people and for programs.

use crate::{Done, GOOD, authseal, done, folder, ready, run, shell};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// The faults that `check --json` tells.
fn told(folder: &Path) -> Vec<Value> {
    let done = run(folder, &["check", "--json"]);
    assert_eq!((done.code, done.out.lines().count()), (2, 1), "{done:?}");
    let told: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(told["good"], false);
    told["faults"].as_array().unwrap().clone()
}

#[test]
fn without_a_configuration_it_is_said_where_it_was_looked_for_and_what_writes_one() {
    let folder = tempfile::tempdir().unwrap();
    for verb in ["serve", "check"] {
        let done = run(folder.path(), &[verb]);
        let here = folder.path().join("authseal.toml");
        let said = format!("no configuration file was found at {} or /etc/authseal/authseal.toml", here.display());
        assert!(done.code == 2 && done.err.contains(&said) && done.err.contains("`authseal init`"), "{done:?}");
        let named = run(folder.path(), &[verb, "--config", "other/x.toml"]);
        let said = format!("does not exist; `authseal init --dir {}`", folder.path().join("other").display());
        assert!(named.code == 2 && named.err.contains(&said), "{named:?}");
    }
}

#[test]
fn a_variable_names_the_configuration_where_the_command_line_does_not() {
    let (ready, elsewhere) = (ready(GOOD), folder("public_url = 7\n"));
    let file = ready.path().join("authseal.toml");
    let check = |variable: &Path, arguments: &[&str]| {
        done(authseal(elsewhere.path(), arguments).env("AUTHSEAL_CONFIG", variable).spawn().unwrap())
    };
    for arguments in [&["check"][..], &["providers"], &["keys", "list"], &["denylist", "check"]] {
        let done = check(&file, arguments);
        assert_eq!(done.code, 0, "{arguments:?}: {done:?}");
    }
    assert_eq!(check(&file, &["check", "--config", "authseal.toml"]).code, 2, "the command line is stronger");
    assert_eq!(check(Path::new(""), &["check"]).code, 2, "an empty one is none");
    let missing = check(Path::new("/nowhere/a.toml"), &["check"]);
    assert!(missing.err.contains("/nowhere/a.toml (in AUTHSEAL_CONFIG) does not exist"), "{missing:?}");
}

#[test]
fn each_fault_tells_its_key_its_file_and_its_line() {
    let text = "public_url = \"https://oauth.example.com\"\nlisten = [\n  \"127.0.0.1:1\",\n  \"x\",\n]\n\
                [clients.dropbox]\nid = \"1\"\n[providers.acme]\nrotation = \"none\"\nauthorize_url = \"https://a.example\"\n\
                token_url = \"http://a.example\"\n[services.\"a.b\"]\nprovider = \"acmee\"\n[services.c]\nscope = 1\n";
    let folder = folder(text);
    let origin = format!("in {}", folder.path().join("authseal.toml").display());
    let expected = [
        ("services.c.scope", 15),
        ("listen, entry 2", 4),
        ("clients.dropbox.secret", 6),
        ("providers.acme.token_url", 11),
        ("services.a.b.provider", 13),
    ];
    let faults = told(folder.path());
    for (key, line) in expected {
        let fault = faults.iter().find(|fault| fault["key"] == key);
        let fault = fault.unwrap_or_else(|| panic!("{key}: {faults:?}"));
        assert_eq!((&fault["origin"], &fault["line"]), (&json!(origin), &json!(line)), "{fault}");
        let says = fault["says"].as_str().unwrap();
        let done = run(folder.path(), &["check"]);
        assert!(done.err.contains(&format!("\n  {key} ({origin}, line {line}) {says}\n")), "{done:?}");
    }
    assert_eq!(faults.len(), expected.len(), "{faults:?}");
    // What is not in a file has no line.
    let done = done(authseal(folder.path(), &["check", "--json"]).env("AUTHSEAL_LISTEN", "x").spawn().unwrap());
    assert!(
        done.out.contains("\"key\":\"listen, entry 1\",\"line\":null,\"origin\":\"in AUTHSEAL_LISTEN\""),
        "{done:?}"
    );
}

#[test]
fn a_table_or_a_key_that_is_there_twice_is_named_with_both_lines() {
    for (text, said) in [
        (
            "[clients.dropbox]\nid = \"1\"\n\n[clients.dropbox]\nsecret = \"hush\"\n",
            "(line 4) has the table `[clients.dropbox]` a second time, after line 1",
        ),
        (
            "[clients.google]\nid = \"1\"\nsecret = \"a\"\nid = \"hush\"\n",
            "(line 4) sets `clients.google.id` a second time, after line 2",
        ),
        ("listen = []\nlisten = [\"hush\"]\n", "(line 2) sets `listen` a second time, after line 1"),
    ] {
        let folder = folder(text);
        let done = run(folder.path(), &["check"]);
        assert!(done.code == 2 && done.err.contains(said) && !done.err.contains("hush"), "{done:?}");
        assert!(told(folder.path())[0]["line"].is_u64());
    }
}

#[test]
fn one_text_for_a_list_is_shown_as_the_line_that_it_should_be() {
    for (key, text, shown) in [
        ("listen", "127.0.0.1:8080", "listen = [\"127.0.0.1:8080\"]"),
        ("server.trusted_proxies", "10.0.0.0/8", "trusted_proxies = [\"10.0.0.0/8\"]"),
        ("delivery.trusted_origins", "https://u:hush@nas.lan", "trusted_origins = [\"…\"]"),
    ] {
        let done = run(folder(&format!("{key} = \"{text}\"\n")).path(), &["check"]);
        assert!(done.code == 2 && done.err.contains(&format!("write it as {shown}")), "{done:?}");
        assert!(!done.err.contains("hush"), "{done:?}");
    }
}

#[test]
fn the_advice_fits_how_many_faults_there_are_and_who_asked() {
    let last = |done: Done| done.err.lines().last().unwrap().to_owned();
    let (one, two) = (folder("public_url = 7\n"), folder("public_url = 7\nlisten = 7\n"));
    assert!(last(run(one.path(), &["serve"])).starts_with("Fix it, then run `authseal check`. "));
    assert!(last(run(two.path(), &["serve"])).starts_with("Fix them, then run `authseal check`. "));
    assert!(last(run(one.path(), &["check"])).starts_with("Fix it. "));
    assert!(last(run(two.path(), &["check"])).starts_with("Fix them. "));
}

#[test]
fn the_end_of_a_secret_is_warned_of_beside_faults() {
    let text = "public_url = 7\n[clients.google]\nid = \"1\"\nsecret = \"s\"\nsecret_expires = \"2001-01-01\"\n";
    let folder = folder(text);
    let done = run(folder.path(), &["check"]);
    assert!(done.code == 2 && done.out.contains("warning: clients.google.secret_expires (in "), "{done:?}");
    assert!(done.out.contains("authseal.toml, line 5) is past"), "{done:?}");
    let json: Value = serde_json::from_str(&run(folder.path(), &["check", "--json"]).out).unwrap();
    assert!(json["warnings"].as_array().unwrap().iter().any(|it| it.as_str().unwrap().contains("is past")), "{json}");
}

#[test]
fn programs_get_one_line_of_json_everywhere() {
    let folder = ready(GOOD);
    let (authid, grant) = crate::sealed(folder.path(), "gcs");
    run(folder.path(), &["denylist", "add", "epoch", "1", "service", "gcs"]);
    run(folder.path(), &["denylist", "add", "login", "00112233445566778899aabbccddeeff"]);
    for arguments in [
        &["check"][..],
        &["providers"],
        &["providers", "google"],
        &["config", "show"],
        &["keys", "list"],
        &["keys", "stage", "--dry-run"],
        &["keys", "new", "other.toml", "--dry-run"],
        &["denylist", "list"],
        &["denylist", "check"],
        &["denylist", "add", "--dry-run", "epoch", "1"],
        &["authid", "inspect"],
        &["authid", "revoke"],
    ] {
        let arguments = [arguments, &["--json"]].concat();
        let done = crate::run_with_input(folder.path(), &arguments, &authid);
        assert_eq!((done.code, done.out.lines().count()), (0, 1), "{arguments:?}: {done:?}");
        let told: Value = serde_json::from_str(&done.out).unwrap_or_else(|_| panic!("{done:?}"));
        if arguments[0] == "authid" {
            assert_eq!((&told["login"], &told["grant"]), (&json!(grant.to_string()), &json!(grant.to_string())));
        }
        if arguments[..2] == ["denylist", "list"] {
            assert_eq!((told[1]["login"].as_str(), &told[1]["kind"]), (told[1]["grant"].as_str(), &json!("grant")));
        }
    }
}

#[test]
fn an_admin_listener_that_cannot_be_had_is_named_by_its_key() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = ready(&format!("{GOOD}admin.listen = [\"{address}\"]\n"));
    let done = run(folder.path(), &["serve"]);
    assert!(done.code == 1 && done.err.contains("choose another address in `admin.listen`"), "{done:?}");
    fs::write(folder.path().join("authseal.toml"), GOOD).unwrap();
    let done = run(folder.path(), &["serve", "--listen", &address.to_string()]);
    assert!(done.code == 1 && done.err.contains("choose another address with --listen"), "{done:?}");
}

#[test]
fn a_keyring_that_the_disk_has_no_room_for_stays_as_it_was() {
    let folder = ready(GOOD);
    let before = fs::read_to_string(folder.path().join("keys.toml")).unwrap();
    // A limit on files' lengths instead of a full disk.
    for (verb, said) in [("stage", "cannot be replaced: "), ("new other.toml", "other.toml cannot be made: ")] {
        let script = format!("trap '' XFSZ; ulimit -f 0; exec \"$0\" keys {verb}");
        let done = done(shell(folder.path(), &script).spawn().unwrap());
        assert!(done.code == 1 && done.err.contains(said) && done.err.contains("(os error "), "{done:?}");
    }
    assert_eq!(fs::read_to_string(folder.path().join("keys.toml")).unwrap(), before);
    assert!(!folder.path().join("other.toml").exists(), "nothing half is left behind");
}
