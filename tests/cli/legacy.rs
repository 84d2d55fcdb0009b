//! `authseal legacy`, and what the other commands do with AuthIDs of duplicati/oauth-server.

use crate::replica::{Manner, Replica};
use crate::{GOOD, ready, run, run_with_input};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const GOOGLE: &str = "[clients.google]\nid = \"client\"\nsecret = \"se-cret\"\n";
const OLD: &str = "v2:googledrive:1//hunter2-refresh";
/// As `printf %s "$OLD" | sha256sum` says.
const HASH: &str = "f00fa167c7dc15febac20e1a8dae6042b661af299c1afbe2706693ed3bdd0982";

fn denylist(folder: &Path) -> String {
    fs::read_to_string(folder.join("denylist")).unwrap()
}

#[test]
fn the_commands_for_authids_take_old_ones_where_the_configuration_does() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oauth-server");
    let expected: Value = serde_json::from_slice(&fs::read(fixture.join("expected.json")).unwrap()).unwrap();
    let v1 = expected[0]["authid"].as_str().unwrap();
    let tables = format!("[legacy]\nv2 = true\nv1_dir = {:?}\n", fixture.join("tokens"));
    let (on, off) = (ready(&format!("{GOOD}{GOOGLE}{tables}")), ready(&format!("{GOOD}{GOOGLE}")));
    for (authid, version, key) in [(OLD, "v2", "`legacy.v2 = true`"), (v1, "v1", "`legacy.v1_dir`")] {
        for verb in ["inspect", "reseal", "revoke"] {
            let done = run_with_input(off.path(), &["authid", verb], authid);
            assert_eq!(done.code, 1, "{done:?}");
            assert!(done.err.contains(key) && !done.err.contains("hunter2"), "{done:?}");
        }
        let told = run_with_input(on.path(), &["authid", "inspect", "--json"], authid);
        let told: Value = serde_json::from_str(&told.out).unwrap_or_else(|_| panic!("{told:?}"));
        let told = |key: &str| told[key].clone();
        assert_eq!(
            [told("version"), told("service"), told("epoch")],
            [json!(version), json!("googledrive"), json!(null)]
        );
        assert_eq!([told("login_at"), told("sealed_at"), told("denied_by")], [json!(null), json!(null), json!(null)]);
        let grant = told("grant").as_str().unwrap().to_owned();
        assert!(grant.starts_with("01d0"), "{grant}");
        let shown = run_with_input(on.path(), &["authid", "inspect"], &format!("\"{authid}\"\n")).out;
        assert!(shown.contains("none: it is not sealed") && shown.contains(&grant), "{shown}");

        let resealed = run_with_input(on.path(), &["authid", "reseal"], authid);
        assert!(resealed.out.starts_with("v3:googledrive:1:"), "{resealed:?}");
        let sealed = run_with_input(on.path(), &["authid", "inspect", "--json"], &resealed.out);
        assert!(sealed.out.contains(&grant) && !sealed.out.contains("version"), "{sealed:?}");

        assert_eq!(run_with_input(on.path(), &["authid", "revoke"], authid).code, 0);
        for authid in [authid, &resealed.out] {
            let told = run_with_input(on.path(), &["authid", "inspect"], authid).out;
            assert!(told.contains("yes, by a rule for its login"), "{told}");
            assert_eq!(run_with_input(on.path(), &["authid", "reseal"], authid).code, 1);
        }
        assert_eq!(denylist(on.path()).matches(&format!("\ngrant {grant} through 1 at 2")).count(), 1);
    }
}

#[test]
fn a_line_about_an_old_authid_is_added_by_its_hash_and_never_dropped() {
    let folder = ready(&format!("{GOOD}{GOOGLE}[legacy]\nv2 = true\n"));
    for wrong in [&HASH[1..], &HASH.to_uppercase(), "v2", ""] {
        let done = run(folder.path(), &["denylist", "add", "legacy", wrong]);
        assert_eq!(done.code, 2, "{done:?}");
        assert!(done.err.contains("64 hex digits in lower case"), "{done:?}");
    }
    assert_eq!(run(folder.path(), &["denylist", "add", "legacy", HASH, "through", "1"]).code, 2);
    let add = || run(folder.path(), &["denylist", "add", "legacy", HASH, "--note", "leaked"]);
    assert!(add().out.starts_with("added, "));
    assert!(add().out.starts_with("nothing to add"));
    assert!(denylist(folder.path()).contains(&format!("\nlegacy {HASH}  # leaked\n")));
    let told = run_with_input(folder.path(), &["authid", "inspect"], OLD).out;
    assert!(told.contains("yes, by a rule for its login"), "{told}");
    let listed: Value = serde_json::from_str(&run(folder.path(), &["denylist", "list", "--json"]).out).unwrap();
    assert_eq!([&listed[0]["kind"], &listed[0]["legacy"]], [&json!("legacy"), &json!(HASH)]);
    assert!(told.contains(listed[0]["grant"].as_str().unwrap()), "{told}");
    let checked = run(folder.path(), &["denylist", "check"]).out;
    assert!(checked.contains("1 rule: 0 of epochs") && checked.contains(", 1 of old AuthIDs"), "{checked}");
    let compacted = run(folder.path(), &["denylist", "compact", "--alone"]).out;
    assert!(compacted.contains("1 line must stay: an old AuthID needs no key"), "{compacted}");
    assert_eq!(run(folder.path(), &["denylist", "remove", "legacy", HASH]).code, 0);
    let told = run_with_input(folder.path(), &["authid", "inspect"], OLD).out;
    assert!(told.lines().any(|line| line.split_whitespace().eq(["revoked", "no"])), "{told}");
}

fn replica(seen: &Value) -> Replica {
    let body = json!({ "v1": false, "v2": true, "watching_since": "2026-01-01T00:00:00Z", "seen": seen });
    Replica::new(Manner::Says("200 OK", body.to_string()))
}

#[test]
fn what_several_servers_have_seen_is_put_together() {
    let row = |service: &str, version: &str, authids, last| json!({ "service": service, "version": version, "authids": authids, "last_seen": last });
    let one = replica(&json!([
        row("googledrive", "v2", 3, "2026-02-01T00:00:00Z"),
        row("box.com", "v1", 1, "2026-01-05T00:00:00Z")
    ]));
    let two = replica(&json!([row("googledrive", "v2", 5, "2026-01-02T00:00:00Z")]));
    let elsewhere = tempfile::tempdir().unwrap();
    let done = run(elsewhere.path(), &["legacy", "--json", "--against", &one.url, &two.url]);
    let told: Value = serde_json::from_str(&done.out).unwrap_or_else(|_| panic!("{done:?}"));
    let line = |service: &str, version: &str, at_least, at_most, last| json!({ "service": service, "version": version, "at_least": at_least, "at_most": at_most, "last_seen": last });
    assert_eq!(
        told["seen"],
        json!([
            line("box.com", "v1", 1, 1, "2026-01-05T00:00:00Z"),
            line("googledrive", "v2", 5, 8, "2026-02-01T00:00:00Z")
        ])
    );
    assert_eq!((&told["taken"], &told["errors"]), (&json!({ "v1": false, "v2": true }), &json!([])));
    let done = run(elsewhere.path(), &["legacy", "--against", &one.url, &two.url]);
    assert!(done.out.contains("old AuthIDs of v2: taken\n") && done.out.contains("googledrive         v2       5-8  "));
    assert_eq!(done.code, 0);

    let none = replica(&json!([]));
    let done = run(elsewhere.path(), &["legacy", "--against", &none.url]);
    assert!(done.out.contains("none came within "), "{done:?}");
    for (status, body) in [("200 OK", "{}"), ("404 Not Found", ""), ("200 OK", "\u{1b}[2J")] {
        let odd = Replica::new(Manner::Says(status, body.to_owned()));
        let done = run(elsewhere.path(), &["legacy", "--against", &odd.url, &one.url]);
        assert_eq!(done.code, 1, "{done:?}");
        assert!(done.err.contains("1 of 2 replicas did not say") && done.out.contains(&odd.url), "{done:?}");
    }
    assert_eq!(run(elsewhere.path(), &["legacy"]).code, 2, "nobody was asked");
}

#[test]
fn operators_are_told_when_the_old_server_may_be_switched_off() {
    let replica = |export: Value| {
        let seen =
            json!([{ "service": "box.com", "version": "v1", "authids": 2, "last_seen": "2026-01-02T00:00:00Z" }]);
        let body = json!({
            "v1": true, "v2": false, "watching_since": "2026-01-01T00:00:00Z", "seen": seen, "export": export,
        });
        Replica::new(Manner::Says("200 OK", body.to_string()))
    };
    let (one, two) = (
        replica(json!({ "taken_over": 3, "last": "2026-01-02T00:00:00Z" })),
        replica(json!({ "taken_over": 0, "last": null })),
    );
    let ask = |more: &[&str]| {
        let folder = ready(GOOD);
        run(folder.path(), &[&["legacy", "--against", one.url.as_str(), two.url.as_str()], more].concat()).out
    };
    let told = ask(&[]);
    assert!(told.contains("3 were taken over from the handler of legacy.export_url, the last one "), "{told}");
    assert!(told.contains("the handler may be switched off; legacy.export_url stays"), "{told}");
    assert!(told.contains("what serves them may go: legacy.v1_dir, legacy.export_url"), "{told}");
    assert!(!told.contains("legacy.v2 may go"), "{told}");
    let json: Value = serde_json::from_str(&ask(&["--json"])).unwrap();
    assert_eq!(json["taken_over"], json!({ "authids": 3, "last": "2026-01-02T00:00:00Z" }));
}
