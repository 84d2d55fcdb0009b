//! `authseal denylist …`: what each verb does to the file, what it says, and what it does beside a running server.

use crate::keyring_file::key;
use crate::port::free_port;
use crate::{Done, GOOD, Served, authseal, done, ready, run, run_with_input};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Stdio;

const GRANT: &str = "00112233445566778899aabbccddeeff";

fn deny(folder: &Path, arguments: &[&str]) -> Done {
    run(folder, &[&["denylist"], arguments].concat())
}

/// [`deny`], which is to succeed; what it printed.
fn good(folder: &Path, arguments: &[&str]) -> String {
    let done = deny(folder, arguments);
    assert!(done.code == 0 && (done.err.is_empty() || arguments[0] == "list"), "{done:?}");
    done.out
}

/// [`deny`], which is to change nothing; the code and the words with which it does.
fn refused(folder: &Path, arguments: &[&str], code: i32, words: &str) {
    let before = read(folder);
    let done = deny(folder, arguments);
    assert!(done.code == code && done.err.contains(words), "{words}: {done:?}");
    assert_eq!(read(folder), before);
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&good(folder, &[arguments, &["--json"]].concat())).unwrap()
}

fn read(folder: &Path) -> String {
    fs::read_to_string(folder.join("denylist")).unwrap()
}

/// The rules' lines.
fn rules(folder: &Path) -> Vec<String> {
    read(folder).lines().skip(1).filter(|line| !line.starts_with('#') && !line.is_empty()).map(str::to_owned).collect()
}

/// A folder whose keyring has these epochs; those retired have no secret.
pub(crate) fn with_epochs(primary: i64, epochs: &[(i64, bool)]) -> tempfile::TempDir {
    let folder = ready(GOOD);
    let table = |(number, opens): &(i64, bool)| match opens {
        true => key(*number),
        false => format!("[[key]]\nepoch = {number}\nretired = 2026-11-24T10:00:00Z\n"),
    };
    let text: String = epochs.iter().map(table).collect();
    fs::write(folder.path().join("keys.toml"), format!("primary = {primary}\n{text}")).unwrap();
    folder
}

#[test]
fn a_rule_of_each_kind_is_added_and_taken_out_again() {
    let folder = with_epochs(4, &[(3, true), (4, true), (5, true)]);
    let at = folder.path();
    for rule in ["epoch 3", "epoch 3 service dropbox", "epoch 4 login-before 2026-11-01T00:00:00Z"] {
        let words: Vec<_> = rule.split(' ').collect();
        let out = good(at, &[&["add"], words.as_slice()].concat());
        assert_eq!(out, format!("added, and in force within two seconds wherever this file is seen:\n  {rule}\n"));
        assert_eq!(rules(at), [rule]);
        assert_eq!(good(at, &[&["add"], words.as_slice()].concat()), "nothing to add: it is all there already\n");
        let out = good(at, &[&["remove"], words.as_slice()].concat());
        assert!(out.starts_with("removed `") && out.contains("(1 line): what no other rule refuses works"), "{out}");
        assert!(rules(at).is_empty());
        refused(at, &[&["remove"], words.as_slice()].concat(), 1, "has no line for `");
    }
}

#[test]
fn the_line_of_a_login_tells_until_when_it_is_needed() {
    let folder = with_epochs(4, &[(3, true), (4, true), (5, true)]);
    let at = folder.path();
    good(at, &["add", "login", GRANT, "--note", "laptop stolen"]);
    let line = rules(at).remove(0);
    let (rule, note) = line.split_once("  # ").unwrap();
    assert!(rule.starts_with(&format!("grant {GRANT} through 5 at 20")) && note == "laptop stolen", "{line}");
    assert!(good(at, &["list"]).ends_with(&format!("  {line}\n")));
    let row = &json(at, &["list"])[0];
    assert_eq!((row["grant"].as_str(), row["through"].as_u64()), (Some(GRANT), Some(5)));
    assert_eq!((row["note"].as_str(), row["epoch"].as_u64()), (Some("laptop stolen"), None));
    good(at, &["remove", "login", GRANT]);
    // What it says of an earlier time is not believed: until now the login may have been sealed again.
    good(at, &["add", "grant", GRANT, "through", "2", "at", "2026-10-01T00:00:00Z"]);
    assert!(rules(at)[0].contains(" through 5 at 20") && !rules(at)[0].contains("2026-10-01"), "{:?}", rules(at));
    good(at, &["remove", "grant", GRANT, "through", "9"]);
    // Without the keyring it is denied all the same.
    let alone = ["add", "grant", GRANT, "--denylist", "denylist"];
    let out = good(at, &alone);
    assert!(out.starts_with("warning: `compact` will never drop this, since the newest epoch is not known"), "{out}");
    assert_eq!(rules(at), [format!("grant {GRANT}")]);
}

#[test]
fn lines_are_merged_from_standard_input_all_or_none() {
    let folder = with_epochs(1, &[(1, true)]);
    let at = folder.path();
    good(at, &["add", "epoch", "1", "service", "dropbox"]);
    let backup =
        format!("authseal-denylist 1\n# a copy\nepoch 1 service dropbox\n\ngrant {GRANT} # lost\nepoch 1 service gd\n");
    let done = run_with_input(at, &["denylist", "add", "-", "--json"], &backup);
    let told: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((told["added"].as_array().unwrap().len(), told["known"].as_u64()), (2, Some(1)), "{told}");
    assert_eq!(rules(at).len(), 3);
    assert!(rules(at)[1].ends_with("  # lost"), "{:?}", rules(at));
    let before = read(at);
    for (input, words) in [
        ("epoch 9\nepoch nine\n", "line 2: `epoch` needs a number"),
        ("authseal-denylist 1\nepoch nine\n", "line 2: `epoch` needs a number"),
        ("epoch 9\nepoch 12", "the last line has no end; was it cut short?"),
        ("authseal-denylist 1\nepoch 12", "the last line has no end"),
        ("", "there is no rule in it"),
    ] {
        let done = run_with_input(at, &["denylist", "add", "-"], input);
        assert!(done.code == 2 && done.err.contains(words), "{input}: {done:?}");
        assert_eq!(read(at), before);
    }
    let odd = format!("\u{feff}authseal-denylist 1\nepoch 1 service onedrivev2 # \u{1b}[31m{}\n", "x".repeat(60_000));
    assert_eq!(run_with_input(at, &["denylist", "add", "-"], &odd).code, 0);
    assert!(read(at).lines().all(|line| line.len() < 1_000) && !read(at).contains('\u{1b}'));
    assert!(good(at, &["check"]).contains("good; 4 rules"));
}

#[test]
fn what_is_no_rule_is_refused_and_an_authid_is_not_repeated() {
    let folder = ready(GOOD);
    let at = folder.path();
    refused(at, &["add", "grant", "0011"], 2, "`grant` needs the login's 32 hex digits");
    refused(at, &["add", "epochs", "3"], 2, "a rule begins with `epoch` or `grant`");
    refused(at, &["add", "epoch", "3", "--note", "two\nlines"], 2, "a note is one line");
    refused(at, &["add", "epoch", "3", "# why"], 2, "a note is given with --note");
    for secret in ["v3:dropbox:1:c2VjcmV0", "v2:dropbox:abc"] {
        refused(at, &["add", secret], 2, "does not belong on a command line");
        assert!(!deny(at, &["add", "grant", secret]).err.contains(secret));
    }
}

#[test]
fn doubtful_rules_are_added_with_a_warning() {
    let folder = with_epochs(4, &[(2, false), (4, true)]);
    let at = folder.path();
    for (rule, doubt) in [
        ("epoch 4", "epoch 4 is the primary, so every new login is refused, too"),
        ("epoch 9", "epoch 9 is newer than all in the keyring"),
        ("epoch 2", "epoch 2 is retired and opens nothing anyway"),
        ("epoch 4 service dropbux", "no service is called `dropbux`"),
        ("epoch 4 login-before 2999-01-01T00:00:00Z", "the time is to come"),
    ] {
        let words: Vec<_> = rule.split(' ').collect();
        if rule.ends_with("dropbux") {
            // A slip must not pass for a revocation; a list from elsewhere may know more services.
            refused(at, &[&["add"], words.as_slice()].concat(), 2, "nothing is added");
            let merged = run_with_input(at, &["denylist", "add", "-", "--dry-run"], &format!("{rule}\n"));
            assert!(merged.code == 0 && merged.out.contains(&format!("warning: {rule}: {doubt}")), "{merged:?}");
        }
        let out = good(at, &[&["add", "--force"], words.as_slice()].concat());
        assert!(out.contains(&format!("warning: {rule}: {doubt}")), "{out}");
    }
    let out = good(at, &["check"]);
    assert_eq!(out.matches("warning: line ").count(), 5, "{out}");
    assert!(
        out.ends_with("denylist: good; 5 rules: 3 of epochs, 1 of services, 1 of older logins, 0 of single logins\n"),
        "{out}"
    );
}

#[test]
fn a_file_with_faults_is_judged_before_servers_see_it() {
    let folder = ready(GOOD);
    let at = folder.path();
    fs::write(at.join("copy"), "authseal-denylist 1\nepoch three\nepoch 3\ngrand 0\n").unwrap();
    let done = deny(at, &["check", "--denylist", "copy"]);
    assert_eq!((done.code, done.out.as_str()), (2, ""), "{done:?}");
    assert!(done.err.contains("line 2: `epoch` needs") && done.err.contains("line 4: a rule begins"), "{done:?}");
    let done = deny(at, &["check", "--denylist", "copy", "--json"]);
    let told: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!((told["good"].as_bool(), told["faults"][1]["line"].as_u64()), (Some(false), Some(4)), "{told}");
    for verb in [["add", "epoch", "5"].as_slice(), &["remove", "epoch", "3"]] {
        let done = deny(at, &[verb, &["--denylist", "copy"]].concat());
        assert!(done.code == 2 && done.err.contains("the denylist copy has faults"), "{done:?}");
    }
    refused(at, &["check", "--denylist", "none"], 1, "`authseal denylist init`");
}

#[test]
fn a_last_line_that_is_cut_short_is_told_by_each_look_at_the_file() {
    let folder = with_epochs(2, &[(1, true), (2, true)]);
    let warning = "the last line is cut short and counts for nothing";
    for (text, warns) in [("epoch 1\nepoch 2 serv", true), ("epoch 1\n", false)] {
        fs::write(folder.path().join("denylist"), format!("authseal-denylist 1\n{text}")).unwrap();
        for command in [&["denylist", "check"][..], &["check"]] {
            let done = run(folder.path(), command);
            assert_eq!((done.code, done.out.contains(warning)), (0, warns), "{command:?}: {done:?}");
        }
    }
}

#[test]
fn compacting_drops_what_is_about_retired_epochs_alone_and_says_what_must_stay() {
    let folder = with_epochs(3, &[(1, false), (2, false), (3, true)]); // epoch 3 is of 2026-11-23T10:00:00Z
    let at = folder.path();
    let grant = |number: u8| format!("{number:032x}");
    let old = format!("grant {} through 2 at 2026-11-22T10:00:00Z", grant(1));
    let newer = format!("grant {} through 3 at 2026-11-23T11:00:00Z # ours", grant(2));
    let undated = format!("grant {}", grant(3));
    let text = format!("authseal-denylist 1\n# notes\n{old}\nepoch 2\n{newer}\n{undated}\nepoch 3 service gd\n");
    fs::write(at.join("denylist"), &text).unwrap();
    let told = json(at, &["compact", "--dry-run"]);
    assert_eq!((told["dropped"].as_u64(), told["changed"].as_bool(), &read(at)), (Some(2), Some(false), &text));
    refused(at, &["compact"], 1, "nobody said whether every server has retired these epochs");
    let out = good(at, &["compact", "--alone"]);
    assert!(
        out.starts_with("dropped 2 lines, all about retired epochs\n2 lines must stay: epoch 3 is not retired\n"),
        "{out}"
    );
    assert!(out.contains("1 line must stay: the line has no `through` and `at`"), "{out}");
    assert_eq!(read(at), format!("authseal-denylist 1\n# notes\n{newer}\n{undated}\nepoch 3 service gd\n"));
    assert!(good(at, &["compact", "--alone"]).starts_with("nothing to drop: every rule is needed\n"));
    refused(at, &["compact", "--denylist", "denylist"], 1, "name it with --keyring FILE");
    good(at, &["compact", "--denylist", "denylist", "--keyring", "keys.toml", "--alone"]);
}

#[test]
fn a_dry_run_adds_and_takes_out_nothing() {
    let folder = with_epochs(1, &[(1, true)]);
    let at = folder.path();
    let before = read(at);
    assert!(
        good(at, &["add", "epoch", "1", "service", "gcs", "--dry-run"])
            .contains("this would be added:\n  epoch 1 service gcs\n")
    );
    assert_eq!(read(at), before);
    good(at, &["add", "epoch", "1", "service", "gcs"]);
    let before = read(at);
    assert!(good(at, &["remove", "epoch", "1", "service", "gcs", "--dry-run"]).contains("would go (1 line)"));
    assert_eq!(read(at), before);
}

#[test]
fn a_list_that_nobody_reads_to_its_end_is_no_failure() {
    let folder = ready(GOOD);
    let lines: String = (0..20_000).map(|number| format!("grant {number:032x}\n")).collect();
    fs::write(folder.path().join("denylist"), format!("authseal-denylist 1\n{lines}")).unwrap();
    let mut child = authseal(folder.path(), &["denylist", "list"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let done = done(child);
    assert_eq!((done.code, done.err.contains("panic")), (0, false), "{done:?}");
}

#[test]
fn who_makes_a_new_list_is_told_that_a_server_still_had_the_rules_of_the_old_one() {
    let folder = ready(&format!("{GOOD}[admin]\nlisten = [\"127.0.0.1:{}\"]\n", free_port()));
    let (at, path) = (folder.path(), folder.path().join("denylist"));
    let made_again = || {
        fs::remove_file(&path).unwrap();
        run(at, &["denylist", "init"]).out.contains("warning: the server at http://127.0.0.1:")
    };
    assert!(!made_again(), "none runs");
    let served = Served::start(at, &[]);
    served.logged("listening for operators");
    assert!(!made_again(), "it has no rules");
    good(at, &["add", "login", GRANT]);
    while served.logged("denylist loaded")["rules"] != 1 {}
    let refused = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let said = served.logged("denylist not loaded; the rules loaded before stay in force");
    let said = said["error"].as_str().unwrap();
    assert!(said.ends_with("denylist is gone; put it back, and make no new one"), "{said}");
    fs::write(&path, refused).unwrap();
    assert!(made_again());
}
