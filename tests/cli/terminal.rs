//! What others wrote cannot steer the terminal of whoever reads what the command line prints of it.

use crate::keyring_file::key;
use crate::replica::{Manner, Replica};
use crate::{Done, GOOD, done, ready, run, shell};
use serde_json::{Value, json};
use std::fs;

/// Clears the line, goes back to its start, and says what is not so; by 7-bit and by 8-bit controls.
const EVIL: &str = "\u{1b}[2K\r\u{9b}2K\u{202e}http://replica holds this keyring\u{7f}";

fn harmless(done: &Done) {
    for text in [&done.out, &done.err] {
        assert!(!text.chars().any(|c| c.is_control() && c != '\n' || c == '\u{202e}'), "{text:?}");
    }
}

#[test]
fn a_replica_is_quoted_only_in_words_of_this_version() {
    let folder = ready(GOOD);
    let keyring = format!("primary = 1\n{}", key(1));
    fs::write(folder.path().join("keys.toml"), &keyring).unwrap();
    let verify = |body: Value| {
        let replica = Replica::new(Manner::Says("200 OK", body.to_string()));
        let verbs = [vec!["verify"], vec!["verify", "--json"], vec!["list"], vec!["stage", "--print"]];
        verbs.map(|verb| {
            let done = run(folder.path(), &[&["keys"], verb.as_slice(), &["--against", &replica.url]].concat());
            harmless(&done);
            done
        })
    };
    let with = |state: &str, fingerprint: &str, digest: &str| {
        let epoch = json!({ "epoch": 1, "state": state, "fingerprint": fingerprint, "last_seen": null });
        json!({ "digest": digest, "min_epoch": null, "watching_since": "2026-01-01T00:00:00Z", "epochs": [epoch] })
    };
    let [done, ..] = verify(with(EVIL, "00", "00"));
    assert!(
        done.out.contains("has epoch 1 in a state that this version does not know, which is primary here"),
        "{done:?}"
    );
    for [done, ..] in [verify(with("primary", EVIL, "00")), verify(with("primary", "00", EVIL))] {
        assert!(done.code == 1 && done.out.contains("answers with something else than a keyring"), "{done:?}");
    }
    verify(json!(EVIL));
    let replica = Replica::new(Manner::Says("500 \u{1b}[2K", EVIL.to_owned()));
    harmless(&run(folder.path(), &["keys", "verify", "--against", &replica.url]));
}

#[test]
fn notes_in_a_denylist_are_shown_without_what_steers() {
    let folder = ready(GOOD);
    let list = format!("authseal-denylist 1\nepoch 1 # {EVIL}\n");
    fs::write(folder.path().join("denylist"), &list).unwrap();
    let done = run(folder.path(), &["denylist", "list"]);
    harmless(&done);
    assert!(done.out.contains("epoch 1 # \\u001b[2K\\u000d\\u009b2K\\u202ehttp://replica holds"), "{done:?}");
    let done = run(folder.path(), &["denylist", "list", "--json"]);
    harmless(&done);
    let rules: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(rules[0]["note"], EVIL, "for programs it is what it was");
    harmless(&run(folder.path(), &["denylist", "check"]));
    fs::write(folder.path().join("denylist"), format!("{list}{EVIL}\n")).unwrap();
    harmless(&run(folder.path(), &["denylist", "check"]));
    harmless(&run(folder.path(), &["denylist", "check", "--json"]));
}

#[test]
fn a_configuration_is_shown_and_judged_without_what_steers() {
    let name = "[clients.p]\nid = \"1\"\n[providers.p]\nname = \"P\\u001b[2K\"\nrotation = \"none\"\nauthorize_url = \"http://127.0.0.1:9/a\"\ntoken_url = \"http://127.0.0.1:9/t\"\n[services.example]\nprovider = \"p\"\nname = \"\\u001b[2KDrive\\u009b\"\nscopes = [\"files\"]\n";
    let folder = ready(&format!("{GOOD}{name}"));
    for arguments in
        [&["providers"][..], &["providers", "--json"], &["check"], &["config", "show"], &["config", "list"]]
    {
        harmless(&run(folder.path(), arguments));
    }
    let faulty = crate::folder("public_url = \"\\u001b[2Khttps\"\n\"\\u001b[2K\" = 1\n");
    harmless(&run(faulty.path(), &["check"]));
    harmless(&run(faulty.path(), &["serve"]));
}

#[test]
fn an_output_that_cannot_be_written_is_told_in_words_and_is_no_defect() {
    let folder = ready(GOOD);
    for command in ["check", "keys list", "config show", "support-bundle", "keys new --print", "keys stage --print"] {
        let done = done(shell(folder.path(), &format!("exec \"$0\" {command} > /dev/full")).spawn().unwrap());
        assert!(done.code == 1 && done.err.contains("standard output cannot be written: No space left"), "{done:?}");
        assert!(!done.err.contains("defect"), "{done:?}");
    }
    // What is said beside the output is no reason to end.
    let done = done(shell(folder.path(), "exec \"$0\" keys stage --print 2> /dev/full").spawn().unwrap());
    assert!(done.code == 0 && done.out.contains("epoch = 2"), "{done:?}");
}
