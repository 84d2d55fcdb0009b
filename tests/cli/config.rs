//! `config show`, `check`, `providers` and `completions`: what an operator asks before anything runs.

use super::{GOOD, authseal, done, folder, ready, run};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn json(folder: &Path, arguments: &[&str]) -> Value {
    let done = run(folder, arguments);
    serde_json::from_str(&done.out).unwrap_or_else(|_| panic!("{done:?}"))
}

#[test]
fn config_show_names_the_layer_of_each_value() {
    let folder = folder("public_url = \"https://a.example\"\n[services.\"box.com\"]\nhidden = true\n");
    let show = ["config", "show", "--origin"];
    let done = done(authseal(folder.path(), &show).env("AUTHSEAL_DELIVERY__LOOPBACK", "false").spawn().unwrap());
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
    let file = folder.path().join("authseal.toml");
    for line in [
        &*format!("public_url = \"https://a.example\"  # in {}", file.display()),
        &*format!("services.\"box.com\".hidden = true  # in {}", file.display()),
        &*format!("keyring.file = \"{}\"  # built in", folder.path().join("keys.toml").display()),
        "delivery.loopback = false  # in AUTHSEAL_DELIVERY__LOOPBACK",
        "state.store = \"memory\"  # built in",
        "listen = [\"127.0.0.1:8080\"]  # built in",
    ] {
        assert!(done.out.lines().any(|shown| shown == line), "{line}\n{}", done.out);
    }
    assert!(done.out.lines().is_sorted() && !done.out.contains("token_url"), "{}", done.out);
    assert!(run(folder.path(), &["config", "show", "--all"]).out.contains("providers.google.token_url = "));
    // What is printed is TOML that means the same.
    let again = super::folder(&run(folder.path(), &["config", "show"]).out);
    assert_eq!(run(again.path(), &["config", "show"]).out, run(folder.path(), &["config", "show"]).out);
}

#[test]
fn config_show_shows_no_secret() {
    let folder = folder(
        "[clients.google]\nid = \"1\"\nsecret = \"hunter2\"\n[clients.dropbox]\nid = \"2\"\nsecret_file = \"s\"\n\
         [services.gcs]\nclient_id = \"3\"\nclient_secret = \"hunter2\"\n\
         [state]\nstore = \"redis://:hunter2@localhost\"\n",
    );
    fs::write(folder.path().join("s"), "hunter2").unwrap();
    for format in [&["config", "show", "--all", "--origin"][..], &["config", "show", "--json"]] {
        let mut command = authseal(folder.path(), format);
        let done = done(command.env("AUTHSEAL_KEYRING__TEXT", "hunter2").spawn().unwrap());
        assert!(done.code == 0 && !done.out.contains("hunter2"), "{done:?}");
        assert!(!done.out.contains("  # \n"), "everything comes from somewhere: {done:?}");
        assert!(
            done.out.matches("********").count() == 4 && done.out.contains("clients.dropbox.secret_file"),
            "{done:?}"
        );
    }
    // As long as there are faults nothing is in force; neither do they tell.
    fs::remove_file(folder.path().join("s")).unwrap();
    let done = run(folder.path(), &["config", "show"]);
    assert!(done.code == 2 && done.out.is_empty() && !done.err.contains("hunter2"), "{done:?}");
}

#[test]
fn check_warns_of_a_secret_that_ends() {
    for (day, said) in [("2001-01-01", Some("is past: if the secret has ended")), ("2999-01-01", None)] {
        let text = format!("{GOOD}[clients.google]\nid = \"1\"\nsecret = \"s\"\nsecret_expires = \"{day}\"\n");
        let folder = ready(&text);
        fs::set_permissions(folder.path().join("authseal.toml"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        let done = run(folder.path(), &["check"]);
        assert_eq!(
            (done.code, done.out.contains("warning: clients.google.secret_expires ")),
            (0, said.is_some()),
            "{done:?}"
        );
        assert!(said.is_none_or(|said| done.out.contains(said)), "{done:?}");
    }
    let folder = folder("[clients.google]\nsecret_expires = \"soon\"\n");
    let done = run(folder.path(), &["check"]);
    assert!(
        done.code == 2 && done.err.contains("secret_expires (in ") && done.err.contains("is not a day"),
        "{done:?}"
    );
}

#[test]
fn check_speaks_of_each_registration() {
    let other = "[clients.google.other.2024]\nid = \"2\"\nsecrets = [\"s\", \"t\"]\nsecret_expires = \"2001-01-01\"\n";
    for (accept, does) in [("", "makes logins"), ("accept_logins = false\n", "serves its logins")] {
        let folder = ready(&format!("{GOOD}[clients.google]\nid = \"1\"\nsecret = \"s\"\n{accept}{other}"));
        let done = run(folder.path(), &["check"]);
        assert!(done.code == 0 && done.out.contains("warning: clients.google.other.2024.secret_expires "), "{done:?}");
        assert!(done.out.contains(&format!("\nregistrations at google: 1 {does}, 2 serves its logins\n")), "{done:?}");
    }
}

#[test]
fn several_tables_of_one_provider_are_told_how_they_are_written() {
    let google = "id = \"hush\"\nsecret = \"hush\"\n";
    for text in [
        format!("[[clients.google]]\n{google}"),
        format!("[[clients.google]]\n{google}[[clients.google]]\n{google}"),
        format!("[clients.google]\n{google}[[clients.google]]\n{google}"),
        format!("[clients.google]\n{google}[clients.google]\n{google}"),
        format!("[clients.google]\n{google}[clients.google.other]\n{google}"),
        format!("[clients.google]\n{google}[[clients.google.other]]\n{google}"),
        format!("[clients.google]\n{google}[[clients.google.other.old]]\n{google}"),
    ] {
        let done = run(folder(&text).path(), &["check"]);
        assert!(done.code == 2 && done.err.contains("[clients.google.other.<name>]"), "{text}{done:?}");
        assert!(!done.err.contains("hush"), "{done:?}");
    }
    let done = run(folder("[[services.box]]\nname = \"hush\"\n").path(), &["check"]);
    assert!(
        done.err.contains("services.box (") && done.err.contains("a table's name is in [single brackets]"),
        "{done:?}"
    );
}

#[test]
fn check_says_what_is_offered_and_why_the_rest_is_not() {
    let none = run(ready(GOOD).path(), &["check"]);
    assert!(none.code == 0 && none.out.contains("warning: no service is offered"), "{none:?}");
    let folder =
        ready(&format!("{GOOD}[clients.jottacloud]\nenabled = true\n[clients.dropbox]\nid = \"1\"\nsecret = \"s\"\n"));
    let done = run(folder.path(), &["check"]);
    assert!(!done.out.contains("not offered") && done.out.lines().all(|line| line.len() < 200), "{done:?}");
    for said in [
        "warning: jottacloud is set up, but off: its refresh tokens can be used once",
        "\noffered: dropbox\n",
        "\n8 others are not set up: `authseal providers` lists them\n",
    ] {
        assert!(done.out.contains(said), "{said}\n{}", done.out);
    }
}

#[test]
fn providers_says_what_to_do_for_one_of_them() {
    let folder = ready(&format!("{GOOD}[clients.dropbox]\nid = \"1\"\nsecret = \"s\"\n"));
    let ask = |id: &str| run(folder.path(), &["providers", id]);
    assert_eq!(ask("google").out.matches(": no client id\n  set clients.google.id\n  register at https://").count(), 3);
    assert!(ask("jottacloud").out.contains(": not enabled\n  set clients.jottacloud.enabled = true"));
    let dropbox = ask("dropbox").out;
    assert!(dropbox.contains(": offered\n  app "), "{dropbox}");
    assert!(dropbox.contains(", client id 1: makes logins\n  register at https://"), "{dropbox}");
    assert!(ask("onedrive").out.contains(": ended\n  Microsoft shut down"));
    assert_eq!(ask("box").out, ask("box.com").out, "an alias, and the provider's own id");
    let none = ask("gogle");
    assert!(none.code == 2 && none.err.contains("`authseal providers` lists them"), "{none:?}");
}

#[test]
fn scripts_get_json() {
    let folder = ready(&format!("{GOOD}[clients.dropbox]\nid = \"1\"\nsecret = \"s\"\n"));
    let check = json(folder.path(), &["check", "--json"]);
    assert_eq!((&check["good"], &check["callback"]), (&true.into(), &"https://oauth.example.com/logged-in".into()));
    let providers = json(folder.path(), &["providers", "--json"]);
    assert_eq!(check["services"], providers);
    let state = |id: &str| {
        let found = providers.as_array().unwrap().iter().find(|service| service["service"] == id).unwrap();
        (found["state"].as_str().unwrap().to_owned(), found["advice"].is_string())
    };
    assert_eq!(state("dropbox"), ("offered".to_owned(), false));
    assert_eq!(state("gcs"), ("not_configured".to_owned(), true));
    assert_eq!(state("onedrive"), ("gone".to_owned(), true));

    fs::write(folder.path().join("authseal.toml"), "publik_url = 1\n").unwrap();
    let faulty = run(folder.path(), &["check", "--json"]);
    let told: Value = serde_json::from_str(&faulty.out).unwrap();
    assert_eq!((faulty.code, &told["good"]), (2, &false.into()));
    assert!(told["faults"][0]["says"].as_str().unwrap().contains("did you mean `public_url`?"), "{told}");
    fs::write(folder.path().join("authseal.toml"), GOOD).unwrap();
    fs::remove_file(folder.path().join("keys.toml")).unwrap();
    let unbuildable = run(folder.path(), &["check", "--json"]);
    let told: Value = serde_json::from_str(&unbuildable.out).unwrap();
    assert!(unbuildable.code == 2 && told["faults"][0]["says"].as_str().unwrap().contains("keys.toml"), "{told}");
}

#[test]
fn every_shell_gets_its_completions() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let done = run(folder.path(), &["completions", shell]);
        assert!(done.code == 0 && done.out.contains("healthcheck"), "{shell}: {done:?}");
    }
    assert_eq!(run(folder.path(), &["completions", "dos"]).code, 2);
}
