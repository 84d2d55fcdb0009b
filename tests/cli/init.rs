//! `authseal init` with flags: what it makes, what it leaves alone, and what it refuses. The questions that it asks on a
//! terminal are tried by tests/cli/test_init.py.

use crate::{Done, authseal, done, run};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

const URL: [&str; 2] = ["--public-url", "https://oauth.example.com"];

fn init(at: &Path, more: &[&str]) -> Done {
    run(at, &[&["init", "--dir", "etc"], more].concat())
}

fn read(at: &Path, name: &str) -> String {
    fs::read_to_string(at.join("etc").join(name)).unwrap()
}

fn mode(at: &Path, name: &str) -> u32 {
    fs::metadata(at.join("etc").join(name)).unwrap().permissions().mode() & 0o777
}

fn with_secret(at: &Path) {
    fs::create_dir(at.join("etc")).unwrap();
    fs::write(at.join("etc/google-secret"), "hush\n").unwrap();
    fs::set_permissions(at.join("etc/google-secret"), fs::Permissions::from_mode(0o600)).unwrap();
}

const GOOGLE: [&str; 4] = ["--client-id", "google=1234.apps", "--client-secret-file", "google=etc/google-secret"];

#[test]
fn from_nothing_to_a_server_that_starts() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    with_secret(at);
    let box_too = ["--provider", "google", "--provider", "box", "--provider", "jottacloud", "--store", "dir:state"];
    let done = init(at, &[URL.as_slice(), &GOOGLE, &box_too].concat());
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
    for words in [
        "made etc/authseal.toml\nmade etc/keys.toml\nmade etc/denylist\n",
        "to the letter: https://oauth.example.com/logged-in\n",
        "  Google: https://console.cloud.google.com/auth/clients  (details: docs/providers/google.md)\n",
        "  Box: https://app.box.com/developers/console",
        "then put the client id into [clients.box] of etc/authseal.toml",
        "  Jottacloud: nothing is registered there",
        "    Make a client of type \"Web application\", and press \"Publish app\"",
        "add the option `oauth-url` with https://oauth.example.com/refresh\n",
        "--oauth-url=https://oauth.example.com/refresh\n",
        "DUPLICATI_OAUTH_SERVICE=https://oauth.example.com/refresh\n",
        "authseal check --online --config etc/authseal.toml",
        "authseal serve --config etc/authseal.toml",
    ] {
        assert!(done.out.contains(words), "{words}: {}", done.out);
    }
    let modes = ["authseal.toml", "keys.toml", "denylist"].map(|name| mode(at, name) & 0o007);
    assert_eq!((modes, mode(at, "keys.toml")), ([0; 3], 0o600));
    assert!(read(at, "authseal.toml").contains("\nsecret_file = \"google-secret\"\n"), "named from its own folder");
    let check = run(at, &["check", "--config", "etc/authseal.toml"]);
    assert_eq!(check.code, 0, "{check:?}");
    assert!(check.out.contains("\noffered: gcs, googledrive, googledocs, jottacloud\n"), "{check:?}");
    // Who is not root has a configuration that he can rewrite.
    let own = |line: &str| line.contains("can write to") && !rustix::process::geteuid().is_root();
    // What is tried here is made up.
    let made_up =
        |line: &str| line.contains("reserved for examples") || line.contains("does not look like a client id");
    let unexpected = |line: &str| line.starts_with("warning") && !own(line) && !made_up(line);
    assert!(!check.out.lines().any(unexpected), "{check:?}");
}

#[test]
fn a_public_url_on_this_machine_is_listened_at() {
    for (url, at) in [
        ("http://localhost:27000", "127.0.0.1:27000"),
        ("http://127.0.0.1:8091", "127.0.0.1:8091"),
        ("http://[::1]:8092/", "[::1]:8092"),
        ("http://localhost", "127.0.0.1:80"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let done = init(folder.path(), &["--public-url", url]);
        assert_eq!(done.code, 0, "{done:?}");
        let written = read(folder.path(), "authseal.toml");
        assert!(written.contains(&format!("\nlisten = [\"{at}\"]\n")), "{url}: {written}");
        assert!(!written.contains("trusted_proxies"), "{url}: {written}");
    }
}

#[test]
fn what_is_there_stays_and_what_would_differ_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    with_secret(at);
    let asked = [URL.as_slice(), &GOOGLE].concat();
    assert_eq!(init(at, &asked).code, 0);
    let names = ["authseal.toml", "keys.toml", "denylist"];
    let before = names.map(|name| read(at, name));
    let again = init(at, &asked);
    assert!(again.code == 0 && again.out.matches("is there already and stays as it is\n").count() == 3, "{again:?}");
    let store = ["--client-id", "google=1234.apps", "--store", "dir:state"];
    let other = init(at, &[["--public-url", "https://other.example.com"].as_slice(), &store].concat());
    assert_eq!(other.code, 1, "{other:?}");
    for line in [
        "  - state.store = \"memory\"\n  + state.store = \"dir:state\"\n",
        "  - public_url = \"https://oauth.example.com\"\n  + public_url = \"https://other.example.com\"\n",
    ] {
        assert!(other.out.contains(line), "{line}: {other:?}");
    }
    assert!(!other.out.contains("1234.apps"), "what is the same is not told: {other:?}");
    assert_eq!(names.map(|name| read(at, name)), before);
    // What is missing is made, also without being told what the configuration says.
    fs::remove_file(at.join("etc/denylist")).unwrap();
    let rest = init(at, &[]);
    assert!(rest.code == 0 && rest.out.contains("made etc/denylist\n"), "{rest:?}");
    assert_eq!(names.map(|name| read(at, name)), before);
}

#[test]
fn what_is_wrong_is_said_at_once_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let done = init(at, &["--provider", "gogle", "--client-id", "live=1", "--store", "redis://:hush@localhost"]);
    assert!(done.code == 2 && !at.join("etc").exists(), "{done:?}");
    for words in [
        "no provider is called `gogle`; there are box, dropbox, google, jottacloud, microsoft, pcloud\n",
        "no provider is called `live`",
        "say what browsers see with `--public-url https://…`",
        "a password does not belong on a command line",
    ] {
        assert!(done.err.contains(words), "{words}: {done:?}");
    }
    assert!(!done.err.contains("hush"), "{done:?}");
    let done = init(at, &[URL.as_slice(), &GOOGLE].concat());
    let missing = format!("there is no file {} with the secret of google", at.join("etc/google-secret").display());
    assert!(done.code == 2 && done.err.contains(&missing) && !at.join("etc").exists(), "{done:?}");
    with_secret(at);
    let wrong = ["--public-url", "http://oauth.example.com/path", "--store", "postgres"];
    let done = init(at, &[wrong.as_slice(), &GOOGLE].concat());
    assert!(done.code == 2 && done.err.contains("nothing is written"), "{done:?}");
    let told = ["public_url", "state.store"].map(|key| done.err.contains(key));
    assert_eq!(told, [true; 2], "{done:?}");
    assert_eq!(fs::read_dir(at.join("etc")).unwrap().count(), 1, "the secret alone: {done:?}");
    for odd in ["google", "google=", "=1"] {
        assert_eq!(init(at, &[URL.as_slice(), &["--client-id", odd]].concat()).code, 2, "{odd}");
    }
}

#[test]
fn what_the_operator_added_is_no_difference() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    with_secret(at);
    let asked = [URL.as_slice(), &GOOGLE].concat();
    assert_eq!(init(at, &asked).code, 0);
    let file = at.join("etc/authseal.toml");
    let text = read(at, "authseal.toml").replace("listen = [\"127.0.0.1:8080\"]", "listen = [\"127.0.0.1:8081\"]");
    let text = text.replace("store = \"memory\"", "store = \"dir:state\"")
        + "tenant = \"common\"\n[clients.dropbox]\nid = \"2\"\n";
    fs::write(&file, text.replace("tenant = \"common\"\n", "secret_expires = \"2999-01-01\"\n")).unwrap();
    fs::write(&file, fs::read_to_string(&file).unwrap() + "secret = \"s\"\n").unwrap();
    for asked in [&URL.to_vec(), &asked, &[asked.as_slice(), &["--provider", "dropbox"]].concat()] {
        let again = init(at, asked);
        assert!(again.code == 0 && !again.out.contains("What was asked for"), "{again:?}");
    }
    let other = init(at, &[asked.as_slice(), &["--client-id", "google=other"]].concat());
    let lines = "would be:\n  - clients.google.id = \"1234.apps\"\n  + clients.google.id = \"other\"\n";
    assert!(other.code == 1 && other.out.contains(lines), "{other:?}");
}

#[test]
fn the_store_that_the_providers_need_is_chosen_and_the_reason_told() {
    for (flags, store, reason) in [
        (&["--provider", "google"][..], "memory", None),
        (&["--provider", "box", "--provider", "jottacloud"], "dir:state", Some("Box and Jottacloud replace ")),
        (&["--provider", "microsoft"], "dir:state", Some("Microsoft replaces the refresh token")),
        (&["--provider", "microsoft", "--store", "memory"], "memory", None),
        (&["--provider", "box", "--denylist", "var/denylist"], "dir:var/state", Some("Box replaces ")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let done = init(folder.path(), &[URL.as_slice(), flags].concat());
        let store = store.replace("dir:var", &format!("dir:{}", folder.path().join("var").display()));
        let text = read(folder.path(), "authseal.toml");
        assert!(done.code == 0 && text.contains(&format!("\nstore = \"{store}\"\n")), "{flags:?}: {text} {done:?}");
        assert_eq!(done.out.contains("state.store is dir:"), reason.is_some(), "{done:?}");
        assert!(reason.is_none_or(|reason| done.out.contains(reason)), "{done:?}");
        assert!(text.contains("listen = [\"127.0.0.1:9464\"]"), "the port of Prometheus itself is not taken: {text}");
    }
}

#[test]
fn a_dry_run_makes_nothing_and_shows_the_text() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let done = init(at, &[URL.as_slice(), &["--provider", "google", "--dry-run"]].concat());
    assert!(done.code == 0 && done.out.contains("public_url = \"https://oauth.example.com\"\n"), "{done:?}");
    assert!(done.out.contains("#id = \"…\"\n") && done.out.contains("would make etc/keys.toml\n"), "{done:?}");
    assert!(!at.join("etc").exists());
    // It tells what is wrong and what differs as well as the run that it replaces.
    let wrong = init(at, &["--public-url", "https://oauth.example.com/path", "--store", "postgres", "--dry-run"]);
    assert!(wrong.code == 2 && wrong.err.matches(" (in authseal.toml, line ").count() == 2, "{wrong:?}");
    assert_eq!(init(at, &URL).code, 0);
    let other = init(at, &[URL.as_slice(), &["--store", "dir:state", "--dry-run"]].concat());
    assert!(other.code == 1 && other.out.contains("  + state.store = \"dir:state\"\n"), "{other:?}");
}

#[test]
fn a_run_that_was_broken_off_is_completed_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    with_secret(at);
    assert_eq!(run(at, &["keys", "new", "etc/keys.toml"]).code, 0);
    let keyring = read(at, "keys.toml");
    // The secret that was typed then is there, and is used.
    let done = init(at, &[URL.as_slice(), &["--client-id", "google=1234.apps"]].concat());
    assert!(done.code == 0 && done.out.contains("made etc/authseal.toml\n"), "{done:?}");
    assert_eq!((read(at, "keys.toml"), read(at, "google-secret")), (keyring, "hush\n".to_owned()));
    assert!(run(at, &["check", "--config", "etc/authseal.toml"]).out.contains("\noffered: gcs, googledrive"));
}

#[test]
fn the_file_of_a_secret_elsewhere_is_named_by_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    with_secret(at);
    let other = ["init", "--dir", "other", "--public-url", "https://oauth.example.com"];
    assert_eq!(run(at, &[other.as_slice(), &GOOGLE].concat()).code, 0);
    let text = fs::read_to_string(at.join("other/authseal.toml")).unwrap();
    let path = at.join("etc/google-secret");
    assert!(text.contains(&format!("\nsecret_file = \"{}\"\n", path.display())), "{text}");
    assert_eq!(run(at, &["check", "--config", "other/authseal.toml"]).code, 0);
}

#[test]
fn a_reader_that_has_had_enough_is_no_defect() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = authseal(folder.path(), &["config", "show", "--all"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(done(child).err, "");
}

#[test]
fn flags_are_not_dropped_beside_a_configuration_and_a_bad_keyring_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    assert_eq!(init(at, &["--public-url", "https://oauth.example.com/"]).code, 0);
    assert_eq!(init(at, &URL).code, 0, "a slash at the end is nothing");
    for flags in [["--client-id", "google=1234"], ["--store", "dir:elsewhere"]] {
        let done = init(at, &flags);
        assert!(done.code == 2 && done.err.contains("give `--public-url`, too"), "{done:?}");
    }
    fs::write(at.join("etc/denylist"), "nothing\n").unwrap();
    let done = init(at, &URL);
    assert!(done.code == 2 && done.err.contains("has faults") && !done.out.contains("Next:"), "{done:?}");
    fs::write(at.join("etc/keys.toml"), "nothing\n").unwrap();
    let done = init(at, &URL);
    assert!(done.code != 0 && done.err.contains("in the keyring file"), "{done:?}");
}
