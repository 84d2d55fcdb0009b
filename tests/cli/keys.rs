//! `authseal keys …`: each step, what it says, and what it refuses because it would lock people out.

use crate::keyring_file::key;
use crate::port::free_port;
use crate::replica::{Manner, Replica};
use crate::{Done, GOOD, Served, folder, ready, run, run_with_input};
use authseal::seal::Keyring;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// A keyring of epochs up to `newest`; all are secrets but those retired.
fn keyring(primary: i64, newest: i64, retired: &[i64]) -> String {
    let key = |number: i64| match retired.contains(&number) {
        true => format!("[[key]]\nepoch = {number}\nretired = 2026-11-23T10:00:00Z\n"),
        false => key(number),
    };
    (1..=newest).fold(format!("# the keys\nprimary = {primary}\n"), |text, number| text + &key(number))
}

/// A folder that is ready but for this keyring.
fn with_keyring(text: &str) -> tempfile::TempDir {
    let folder = folder(GOOD);
    write(folder.path(), text);
    folder
}

fn write(folder: &Path, text: &str) {
    let path = folder.join("keys.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn read(folder: &Path) -> String {
    fs::read_to_string(folder.join("keys.toml")).unwrap()
}

fn keys(folder: &Path, arguments: &[&str]) -> Done {
    let done = run(folder, &[&["keys"], arguments].concat());
    let secrets = ["authseal-key:1", "authseal-key:2", "authseal-key:3"];
    let printed = arguments.contains(&"--print");
    assert!(printed || secrets.iter().all(|secret| !done.out.contains(secret)), "{done:?}");
    assert!(secrets.iter().all(|secret| !done.err.contains(secret)), "{done:?}");
    done
}

/// [`keys`], which is to succeed.
fn good(folder: &Path, arguments: &[&str]) -> Done {
    let done = keys(folder, arguments);
    assert_eq!(done.code, 0, "{done:?}");
    done
}

/// [`keys`], which is to be refused with these words and to change nothing.
fn refused(folder: &Path, arguments: &[&str], words: &str) {
    let before = read(folder);
    let done = keys(folder, arguments);
    assert!(done.code == 1 && done.err.contains(words), "{words}: {done:?}");
    assert_eq!(read(folder), before);
}

fn json(done: &Done) -> Value {
    serde_json::from_str(&done.out).unwrap_or_else(|error| panic!("{error}: {done:?}"))
}

fn states(folder: &Path) -> Vec<(u32, String)> {
    let keyring = Keyring::parse(&read(folder)).unwrap();
    keyring.entries().map(|(epoch, state, _)| (epoch.number(), state.to_string())).collect()
}

#[test]
fn keys_are_changed_in_two_steps_and_given_up_in_a_third() {
    let folder = ready(GOOD);
    let path = folder.path().join("keys.toml");
    let first = read(folder.path());
    let done = good(folder.path(), &["stage"]);
    assert!(done.out.starts_with(&format!("changed {}:\nepoch 2 is staged: ", path.display())), "{done:?}");
    assert!(done.out.contains("keys promote 2 --against"), "{done:?}");
    assert!(read(folder.path()).starts_with(&first), "only something is added");
    let done = good(folder.path(), &["promote", "--alone"]);
    assert!(done.out.contains("epoch 2 is the primary: it seals from now on, and 1 only opens"), "{done:?}");
    let done = good(folder.path(), &["retire", "1", "--force"]);
    assert!(done.out.contains("epoch 1 is retired: no AuthID that was sealed under it works any more"), "{done:?}");
    assert_eq!(states(folder.path()), [(1, "retired".to_owned()), (2, "primary".to_owned())]);
    let text = read(folder.path());
    assert!(text.starts_with("# The keys that") && text.matches("authseal-key:").count() == 1, "{text}");
    let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    for (again, says) in
        [(&["promote", "2"][..], "epoch 2 is the primary already"), (&["retire", "1"], "epoch 1 is retired already")]
    {
        assert_eq!(good(folder.path(), again).out, format!("{says}\n"));
        assert_eq!(read(folder.path()), text);
    }
}

#[test]
fn a_step_says_what_it_did_as_json_too() {
    let folder = ready(GOOD);
    let digest = |text: &str| Keyring::parse(text).unwrap().digest();
    let before = digest(&read(folder.path()));
    let report = json(&good(folder.path(), &["stage", "--dry-run", "--json"]));
    assert_eq!((&report["changed"], &report["dry_run"]), (&false.into(), &true.into()));
    assert_eq!((&report["epoch"], &report["digest"]), (&2.into(), &before.into()));
    let report = json(&good(folder.path(), &["stage", "--json"]));
    let path = folder.path().join("keys.toml");
    assert_eq!(report["keyring"], path.to_str().unwrap());
    assert_eq!((&report["changed"], &report["error"]), (&true.into(), &Value::Null));
    assert_eq!(report["digest"], digest(&read(folder.path())));
    assert!(!report["next"].as_array().unwrap().is_empty());
    let done = keys(folder.path(), &["promote", "--json"]);
    let report = json(&done);
    assert_eq!((done.code, &report["changed"], &report["epoch"]), (1, &false.into(), &2.into()));
    let error = report["error"].as_str().unwrap();
    assert_eq!(done.err, format!("authseal: {error}\n"));
    let made = crate::folder(GOOD);
    let report = json(&good(made.path(), &["new", "--json"]));
    assert_eq!((&report["epoch"], &report["changed"]), (&1.into(), &true.into()));
    assert!(made.path().join("keys.toml").exists());
}

#[test]
fn a_dry_run_changes_nothing() {
    let text = keyring(2, 3, &[]);
    let folder = with_keyring(&text);
    for (arguments, says) in [
        (&["stage"][..], "epoch 4 is staged"),
        (&["promote", "--alone"], "epoch 3 is the primary"),
        (&["retire", "1", "--force"], "epoch 1 is retired"),
    ] {
        let done = good(folder.path(), &[arguments, &["--dry-run"]].concat());
        assert!(
            done.out.starts_with("nothing is changed; this would be so in ") && done.out.contains(says),
            "{done:?}"
        );
        assert_eq!(read(folder.path()), text);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "not even a lock is left");
    let empty = crate::folder(GOOD);
    let done = good(empty.path(), &["new", "--dry-run"]);
    assert!(done.out.starts_with("would make ") && !empty.path().join("keys.toml").exists(), "{done:?}");
}

#[test]
fn a_keyring_can_be_changed_on_its_way_through_a_pipe() {
    let folder = folder("");
    let made = good(folder.path(), &["new", "--print"]).out;
    let through = |arguments: &[&str], text: &str| {
        let arguments = [&["keys"], arguments, &["--keyring", "-", "--print"]].concat();
        let done = run_with_input(folder.path(), &arguments, text);
        assert!(
            done.code == 0 && done.err.contains("standard output") && !done.err.contains("authseal-key"),
            "{done:?}"
        );
        done.out
    };
    let through_unchanged = |arguments: &[&str], text: &str| {
        run_with_input(folder.path(), &[&["keys"], arguments, &["--keyring", "-", "--print"]].concat(), text).out
    };
    let staged = through(&["stage"], &made);
    let promoted = through(&["promote", "--alone"], &staged);
    let retired = through(&["retire", "1", "--force"], &promoted);
    assert_eq!(through_unchanged(&["promote", "2"], &retired), retired);
    let keyring = Keyring::parse(&retired).unwrap();
    assert_eq!((keyring.primary().epoch().number(), keyring.entries().count()), (2, 2));
    let done = run_with_input(folder.path(), &["keys", "list", "--keyring", "-"], &retired);
    assert!(done.code == 0 && done.out.contains("1           retired"), "{done:?}");
    let done = run_with_input(folder.path(), &["keys", "stage", "--keyring", "-"], &made);
    let sentence = "the keyring on standard input cannot be changed from here; with `--print` the new text goes to";
    assert!(done.code == 1 && done.err.contains(sentence) && done.out.is_empty(), "{done:?}");
    let done = run_with_input(folder.path(), &["keys", "stage", "--keyring", "-", "--print"], "primary = 1\n");
    assert!(done.code == 1 && done.err.contains("in the keyring given as text: `primary = 1`"), "{done:?}");
}

#[test]
fn a_keyring_given_as_text_is_printed_and_not_changed() {
    let text = keyring(1, 1, &[]);
    let folder = folder(&format!("{GOOD}[keyring]\ntext = '''\n{text}'''\n"));
    let done = keys(folder.path(), &["stage"]);
    assert!(
        done.code == 1 && done.err.contains("given as text cannot be changed from here; with `--print`"),
        "{done:?}"
    );
    let done = good(folder.path(), &["stage", "--print"]);
    assert!(done.out.starts_with(&text), "{done:?}");
    assert_eq!(Keyring::parse(&done.out).unwrap().newest().number(), 2);
    let done = keys(folder.path(), &["new"]);
    assert!(done.code == 2 && done.err.contains("given as text; name a file to make, or take `--print`"), "{done:?}");
}

#[test]
fn a_symlink_is_followed_and_stays() {
    let folder = folder(GOOD);
    let elsewhere = with_keyring(&keyring(1, 1, &[]));
    let target = elsewhere.path().join("keys.toml");
    symlink(&target, folder.path().join("keys.toml")).unwrap();
    good(folder.path(), &["stage"]);
    assert_eq!(fs::read_link(folder.path().join("keys.toml")).unwrap(), target);
    assert_eq!(states(elsewhere.path()).len(), 2);
}

#[test]
fn where_nothing_can_be_written_it_says_to_change_the_original() {
    let folder = with_keyring(&keyring(1, 1, &[]));
    // Root may write everywhere; somebody else may not.
    let nobody = 65_534;
    let mut command = crate::authseal(folder.path(), &["keys", "stage"]);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(folder.path().join("keys.toml"), Some(nobody), Some(nobody)).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        command.uid(nobody).gid(nobody);
    } else {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    }
    let before = read(folder.path());
    let done = crate::done(command.spawn().unwrap());
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(done.code == 1 && done.err.contains("cannot be replaced: "), "{done:?}");
    assert!(done.err.contains("keys.toml.lock: Permission denied"), "{done:?}");
    assert!(done.err.contains("a Kubernetes secret") && done.err.contains("with `--print`"), "{done:?}");
    assert_eq!(read(folder.path()), before);
}

#[test]
fn verify_says_of_each_replica_how_its_keyring_differs() {
    let text = keyring(2, 3, &[1]);
    let folder = with_keyring(&text);
    let (same, behind) = (Replica::holding(&text), Replica::holding(&text[..text.find("[[key]]\nepoch = 3").unwrap()]));
    let other = Replica::holding(&format!("min_epoch = 2\n{}", keyring(3, 4, &[])));
    let gone = format!("http://127.0.0.1:{}", free_port());
    let (lost, odd) = (
        Replica::new(Manner::Says("404 Not Found", String::new())),
        Replica::new(Manner::Says("200 OK", "{}".to_owned())),
    );
    let all = ["verify", "--against", &same.url, &behind.url, &other.url, &gone, &lost.url, &odd.url];
    let done = keys(folder.path(), &all);
    assert!(done.code == 1 && done.err.contains("5 of 6 replicas do not hold "), "{done:?}");
    let lines = [
        format!("{} holds this keyring", same.url),
        format!("{} lacks epoch 3", behind.url),
        format!(
            "{} has epoch 1 as below min_epoch, which is retired here, has another secret for epoch 2, has epoch 2 as open, \
             which is primary here, has another secret for epoch 3, has epoch 3 as primary, which is staged here, has epoch 4, \
             which is not here, has min_epoch 2; here it is no min_epoch",
            other.url
        ),
        format!("{gone} does not answer (Connection refused (os error 111))"),
        format!("{} answers 404 Not Found; is that the admin listener of an authseal?", lost.url),
        format!("{} answers with something else than a keyring; is that its admin listener?", odd.url),
    ];
    for line in lines {
        assert!(done.out.lines().any(|said| said == line), "{line}\n{done:?}");
    }
    let report = json(&keys(folder.path(), &[&all[..], &["--json"]].concat()));
    assert_eq!(report["same"], false);
    let of =
        |url: &str| report["replicas"].as_array().unwrap().iter().find(|entry| entry["url"] == url).unwrap().clone();
    assert_eq!((&of(&same.url)["verdict"], &of(&same.url)["digest"]), (&"same".into(), &report["digest"]));
    let difference = &of(&behind.url)["differences"][0];
    assert_eq!((&difference["epoch"], &difference["what"]), (&3.into(), &"missing".into()));
    assert_eq!((&of(&gone)["verdict"], &of(&gone)["digest"]), (&"no_answer".into(), &Value::Null));
}

#[test]
fn verify_is_content_when_all_hold_the_same_in_whatever_order_it_is_written() {
    let text = keyring(2, 2, &[]);
    let folder = with_keyring(&text);
    let at = text.find("[[key]]\nepoch = 2").unwrap();
    let turned = format!("primary = 2\n{}{}", &text[at..], &text[text.find("[[key]]").unwrap()..at]);
    let (one, other) = (Replica::holding(&text), Replica::holding(&turned));
    let done = good(folder.path(), &["verify", "--against", &one.url, "--against", &other.url]);
    assert!(done.out.contains("all hold this keyring, ") && done.err.is_empty(), "{done:?}");
    assert_eq!(json(&good(folder.path(), &["verify", "--json", "--against", &one.url]))["same"], true);
    write(folder.path(), &keyring(1, 1, &[]));
    let done = keys(folder.path(), &["verify", "--against", &one.url, &other.url]);
    assert!(
        done.code == 1 && done.err.contains("all 2 replicas hold one and the same keyring, but another than "),
        "{done:?}"
    );
}

#[test]
fn a_replica_that_hangs_is_named_and_does_not_hold_up_the_others() {
    let text = keyring(1, 1, &[]);
    let folder = with_keyring(&text);
    let (slow, slower, fine) = (Replica::new(Manner::Hangs), Replica::new(Manner::Hangs), Replica::holding(&text));
    let began = Instant::now();
    let done = keys(folder.path(), &["verify", "--against", &slow.url, &fine.url, &slower.url]);
    assert!(began.elapsed() < Duration::from_secs(9), "they are asked at the same time");
    assert!(done.out.contains(&format!("{} holds this keyring\n", fine.url)), "{done:?}");
    for url in [&slow.url, &slower.url] {
        assert!(done.err.contains(&format!("{url} has not answered yet; 3 seconds more\n")), "{done:?}");
        assert!(done.out.contains(&format!("{url} does not answer within 5 seconds\n")), "{done:?}");
    }
}

#[test]
fn an_epoch_is_promoted_only_when_every_replica_could_open_it() {
    let staged = keyring(1, 2, &[]);
    let folder = with_keyring(&staged);
    let good_one = Replica::holding(&staged);
    let before = Replica::holding(&staged[..staged.find("[[key]]\nepoch = 2").unwrap()]);
    let another = Replica::holding(&keyring(1, 2, &[]));
    let given_up = Replica::holding(&keyring(3, 3, &[2]));
    let gone = format!("http://127.0.0.1:{}", free_port());
    for (url, why) in [
        (&before.url, "lacks epoch 2"),
        (&another.url, "has another secret for epoch 2"),
        (&given_up.url, "has epoch 2 as retired"),
        (&gone, "does not answer"),
    ] {
        refused(
            folder.path(),
            &["promote", "2", "--against", &good_one.url, url],
            &format!("epoch 2 stays staged, since not every replica could open what it seals: {url} {why}"),
        );
    }
    refused(folder.path(), &["promote"], "name them with `--against URL…`, or say `--alone`");
    // That a replica still lacks something else is no hindrance.
    let floor = Replica::holding(&format!("min_epoch = 1\n{staged}"));
    let report = json(&good(folder.path(), &["promote", "--json", "--against", &good_one.url, &floor.url]));
    assert_eq!((&report["epoch"], &report["changed"]), (&2.into(), &true.into()));
    assert_eq!(report["replicas"].as_array().unwrap().len(), 2);
    assert_eq!(read(folder.path()), staged.replace("primary = 1", "primary = 2"));
}

#[test]
fn what_cannot_be_promoted_is_refused_before_anybody_is_asked() {
    let folder = with_keyring(&keyring(3, 3, &[1]));
    refused(folder.path(), &["promote", "--alone"], "no epoch is staged; make one with `authseal keys stage`");
    refused(folder.path(), &["promote", "2", "--alone"], "promoting goes upwards only");
    refused(folder.path(), &["promote", "4"], "the keyring has no epoch 4; `authseal keys list` shows");
    write(folder.path(), &keyring(1, 4, &[2]));
    refused(folder.path(), &["promote"], "epochs 3, 4 are staged; name the one to promote");
    refused(folder.path(), &["promote", "2"], "epoch 2 is retired: its secret is gone");
    for (arguments, words) in [
        (&["promote", "0"][..], "is no epoch; those are numbers from 1"),
        (&["promote", "--against", "127.0.0.1:9464"], "must be like http://10.0.0.5:9464"),
        (&["promote", "--against", "http://me:secret@127.0.0.1:9464"], "must be like http://10.0.0.5:9464"),
        (&["promote", "--alone", "--against", "http://127.0.0.1:1"], "cannot be used with"),
        (&["stage", "--print", "--json"], "cannot be used with"),
        (&["retire"], "<EPOCH>"),
        (&["verify"], "nobody was asked; name the replicas' admin listeners"),
    ] {
        let done = keys(folder.path(), arguments);
        assert!(done.code == 2 && done.err.contains(words), "{words}: {done:?}");
    }
}

#[test]
fn an_epoch_that_may_be_in_use_is_retired_by_force_only() {
    let text = keyring(3, 4, &[]);
    let folder = with_keyring(&text);
    refused(folder.path(), &["retire", "3", "--force"], "epoch 3 is the primary, which everything is sealed with");
    refused(folder.path(), &["retire", "9", "--force"], "the keyring has no epoch 9");
    refused(folder.path(), &["retire", "1"], "epoch 1 stays: it may be in use: no replica was asked");
    let minutes_ago = |minutes: i64| authseal::clock::rfc3339(authseal::clock::Clock::system().now() - minutes * 60);
    let used = Replica::seeing(&text, "2020-01-01T00:00:00Z", &[(1, &minutes_ago(125))]);
    let unused = Replica::seeing(&text, "2020-01-01T00:00:00Z", &[(2, "2020-02-01T00:00:00Z")]);
    let young = Replica::seeing(&text, &minutes_ago(3 * 24 * 60 + 1), &[]);
    let lagging = Replica::holding(&text.replace("primary = 3", "primary = 2"));
    refused(
        folder.path(),
        &["retire", "1", "--against", &unused.url, &used.url],
        "epoch 1 stays: it was in use 2 h ago",
    );
    refused(
        folder.path(),
        &["retire", "1", "--against", &unused.url, &young.url],
        "have watched for 3 days only, not for the 90 days that are asked for",
    );
    refused(
        folder.path(),
        &["retire", "1", "--against", &unused.url, "http://127.0.0.1:1"],
        "not every replica says that it is not",
    );
    refused(
        folder.path(),
        &["retire", "2", "--against", &lagging.url, &unused.url],
        &format!("{} still seals with it", lagging.url),
    );
    good(folder.path(), &["retire", "1", "--against", &unused.url]);
    good(folder.path(), &["retire", "2", "--unused-for", "3", "--against", &young.url]);
    good(folder.path(), &["retire", "4", "--force"]);
    let left: Vec<_> = states(folder.path()).into_iter().map(|(_, state)| state).collect();
    assert_eq!(left, ["retired", "retired", "primary", "retired"]);
}

#[test]
fn an_epoch_below_the_floor_is_used_by_nobody_and_is_retired_without_asking() {
    let folder = with_keyring(&format!("min_epoch = 2\n{}", keyring(2, 2, &[])));
    good(folder.path(), &["retire", "1"]);
    assert_eq!(read(folder.path()).matches("authseal-key:").count(), 1);
}

#[test]
fn retiring_names_how_many_records_of_the_state_store_need_the_epoch() {
    let folder = with_keyring(&keyring(3, 3, &[]));
    let path = folder.path().join("authseal.toml");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{config}\n[state]\nstore = \"dir:state\"\n")).unwrap();
    // A record begins with the end of its life, its version and its epoch.
    let shelf = folder.path().join("state/records/00");
    fs::create_dir_all(&shelf).unwrap();
    for (name, epoch) in [("a", 1u32), ("b", 1), ("c", 2)] {
        let head = [i64::MAX.to_be_bytes().as_slice(), &[1], &epoch.to_be_bytes(), b"sealed"].concat();
        fs::write(shelf.join(name), head).unwrap();
    }
    for (epoch, records) in [("1", 2), ("2", 1)] {
        let done = good(folder.path(), &["retire", epoch, "--force", "--dry-run"]);
        assert!(done.out.contains(&format!("records in the state store that need it: {records};")), "{}", done.out);
    }
}

#[test]
fn the_list_tells_which_epochs_are_in_use() {
    let text = keyring(3, 4, &[1]);
    let folder = with_keyring(&text);
    let now = authseal::clock::Clock::system().now();
    let ago = |hours: i64| authseal::clock::rfc3339(now - hours * 3600 - 60);
    let one = Replica::seeing(&text, &ago(24 * 100), &[(2, &ago(24 * 40)), (3, &ago(2))]);
    let other = Replica::seeing(&text, &ago(24 * 50), &[(2, &ago(24 * 60)), (3, &ago(30))]);
    let done = good(folder.path(), &["list", "--against", &one.url, &other.url]);
    let fingerprint = Keyring::parse(&text).unwrap().primary().fingerprint();
    let expected = [
        "1           retired          -                     -                 no longer opens".to_owned(),
        format!("3           primary          2026-11-23T10:00:00Z  {fingerprint}  in use 2 h ago"),
    ];
    for line in expected {
        assert!(done.out.lines().any(|said| said == line), "{line}\n{}", done.out);
    }
    assert!(
        done.out.contains("  not seen for 40 days\n") && done.out.contains("  not seen in 50 days of watching\n"),
        "{done:?}"
    );
    let young = Replica::seeing(&keyring(1, 1, &[]), &ago(3), &[]);
    let done = good(folder.path(), &["list", "--json", "--against", &one.url, &young.url]);
    assert!(done.err.contains(&format!("{} has epoch 1 as primary, which is retired here", young.url)), "{done:?}");
    let list = json(&done);
    assert_eq!(
        (&list["primary"], &list["min_epoch"], &list["watched_since"]),
        (&3.into(), &Value::Null, &ago(3).into())
    );
    let epoch = &list["epochs"][1];
    assert_eq!(
        (&epoch["epoch"], &epoch["state"], &epoch["last_seen"]),
        (&2.into(), &"open".into(), &ago(24 * 40).into())
    );
    assert_eq!(epoch["usage"], "unknown (seen 40 days ago, watched for 3 h only)");
    assert_eq!(list["epochs"][0]["retired"], "2026-11-23T10:00:00Z");
    assert_eq!(
        (&list["replicas"][0]["verdict"], &list["digest"]),
        (&"same".into(), &Keyring::parse(&text).unwrap().digest().into())
    );
    let done = good(folder.path(), &["list"]);
    assert!(done.out.contains("  unknown\n") && done.out.contains("ask them with --against URL…"), "{done:?}");
}

#[test]
fn what_cannot_be_read_as_a_keyring_is_not_touched() {
    let folder = with_keyring("primary = 1\n");
    refused(folder.path(), &["stage"], "`primary = 1` names an epoch that the keyring holds no secret for");
    fs::remove_file(folder.path().join("keys.toml")).unwrap();
    let done = keys(folder.path(), &["stage"]);
    assert!(done.code == 1 && done.err.contains("make one with `authseal keys new "), "{done:?}");
}

#[test]
fn the_server_of_this_machine_is_asked_when_no_other_is_named() {
    let text = keyring(1, 2, &[]);
    let folder = with_keyring(&text);
    let listens_at = |url: &str| {
        let admin = format!("{GOOD}[admin]\nlisten = [\"{}\"]\n", url.trim_start_matches("http://"));
        fs::write(folder.path().join("authseal.toml"), admin).unwrap();
    };
    let gone = format!("http://127.0.0.1:{}", free_port());
    listens_at(&gone);
    refused(folder.path(), &["promote"], &format!("the server of this machine was not asked: {gone} does not answer"));
    refused(folder.path(), &["promote"], "or say `--alone`");
    assert_eq!(keys(folder.path(), &["verify"]).code, 2, "nobody answers and nobody was named");
    let behind = Replica::holding(&text[..text.find("[[key]]\nepoch = 2").unwrap()]);
    listens_at(&behind.url);
    refused(folder.path(), &["promote"], &format!("{} lacks epoch 2", behind.url));
    let same = Replica::holding(&text);
    listens_at(&same.url);
    assert!(good(folder.path(), &["verify"]).out.contains("all hold this keyring"));
    assert!(good(folder.path(), &["list"]).out.contains("  not seen in "));
    let done = good(folder.path(), &["promote"]);
    assert!(done.err.contains(&format!("asked {}, the server of this machine; name others with --against", same.url)));
    // It runs with the configured keyring, and with no other.
    write(folder.path(), &text);
    refused(folder.path(), &["promote", "--keyring", "keys.toml"], "or say `--alone`");
}

#[test]
fn no_new_keyring_takes_the_place_of_one_that_the_server_still_has() {
    let admin = format!("{GOOD}[admin]\nlisten = [\"127.0.0.1:{}\"]\n", free_port());
    let folder = ready(&admin);
    let path = folder.path().join("keys.toml");
    write(folder.path(), &keyring(2, 3, &[]));
    let served = Served::start(folder.path(), &[]);
    served.logged("listening for operators");
    fs::remove_file(&path).unwrap();
    let said = served.logged("keyring not loaded; the one loaded before stays in force");
    let said = said["error"].as_str().unwrap();
    assert!(said.ends_with("keys.toml is gone; put it back, and make no new one"), "{said}");
    for verb in [&["keys", "new"][..], &["init", "--public-url", "https://oauth.example.com"]] {
        let done = run(folder.path(), verb);
        assert!(done.code == 2 && done.err.contains("runs with a keyring and would take up a new one"), "{done:?}");
        assert!(done.err.contains("`authseal keys new --epoch 4` makes one") && !path.exists(), "{done:?}");
    }
    // Another server's keyring is not for this one to judge.
    let other = ready(&admin);
    fs::remove_file(other.path().join("keys.toml")).unwrap();
    good(other.path(), &["new"]);
    // And who says the number has been told.
    good(folder.path(), &["new", "--epoch", "4"]);
    let lost = served.logged("the keyring lacks keys of the one before; their AuthIDs do not open any more");
    assert_eq!((&lost["level"], &lost["epochs"]), (&"WARN".into(), &serde_json::json!(["1", "2", "3"])));
}
