//! The first start, and what must not pass for one: a keyring or a denylist that was there and is lost.

use crate::keyring::key;
use crate::{Done, GOOD, Served, authseal, done, ready, run};
use std::fs;
use std::path::Path;

fn refused(done: &Done, words: &[&str]) {
    assert_eq!(done.code, 2, "{done:?}");
    words.iter().for_each(|words| assert!(done.err.contains(words), "{words}: {done:?}"));
}

/// `folder` with its keyring lost.
fn lost(folder: &Path) {
    fs::remove_file(folder.join("keys.toml")).unwrap();
}

#[test]
fn a_missing_keyring_is_told_as_a_missing_denylist() {
    let folder = ready(GOOD);
    lost(folder.path());
    let words = "there is no keyring file ";
    for verb in ["serve", "check"] {
        let or = "or if there was one, put it back: without it, every AuthID is worthless";
        refused(&run(folder.path(), &[verb]), &[words, "make one with `authseal keys new ", or]);
    }
}

#[test]
fn no_keyring_is_made_where_the_denylist_shows_that_there_was_one() {
    let folder = ready(GOOD);
    let denylist = folder.path().join("denylist");
    fs::write(&denylist, "authseal-denylist 1\nepoch 1\ngrant 00112233445566778899aabbccddeeff through 7\n").unwrap();
    lost(folder.path());
    let named = folder.path().join("keys.toml").display().to_string();
    for arguments in [
        &["keys", "new"][..],
        &["keys", "new", &named],
        &["keys", "new", "--dry-run"],
        &["init", "--public-url", "https://oauth.example.com", "--yes"],
    ] {
        let words = ["has rules, so there was a keyring", "put it back", "`authseal keys new --epoch 8`"];
        refused(&run(folder.path(), arguments), &words);
        assert!(!folder.path().join("keys.toml").exists());
    }
    let done = run(folder.path(), &["keys", "new", "--epoch", "8"]);
    assert!(done.code == 0 && done.out.contains("with epoch 8 as primary"), "{done:?}");
    // One for another server is nobody's loss.
    fs::create_dir(folder.path().join("other")).unwrap();
    assert_eq!(run(folder.path(), &["keys", "new", "other/keys.toml"]).code, 0);
}

#[test]
fn no_keyring_is_made_where_the_state_folder_shows_that_there_was_one() {
    let folder = ready(&format!("{GOOD}state.store = \"dir:state\"\n"));
    drop(Served::start(folder.path(), &[]));
    assert!(fs::read_dir(folder.path().join("state")).unwrap().next().is_some());
    lost(folder.path());
    refused(&run(folder.path(), &["keys", "new"]), &["the state folder ", " is in use, so there was a keyring"]);
    assert_eq!(run(folder.path(), &["keys", "new", "--epoch", "2"]).code, 0);
}

/// All that a container needs, as variables.
fn variables(denylist: &Path) -> Vec<(String, String)> {
    let keyring = format!("primary = 1\n{}", key(1));
    [
        ("AUTHSEAL_PUBLIC_URL", "https://oauth.example.com"),
        ("AUTHSEAL_LISTEN", "127.0.0.1:0"),
        ("AUTHSEAL_KEYRING__TEXT", &keyring),
        ("AUTHSEAL_CLIENTS__DROPBOX__ID", "1"),
        ("AUTHSEAL_CLIENTS__DROPBOX__SECRET", "s"),
        ("AUTHSEAL_DENYLIST__FILE", denylist.to_str().unwrap()),
        ("AUTHSEAL_DENYLIST__CREATE", "true"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

#[test]
fn a_container_starts_from_variables_alone_and_keeps_its_denylist() {
    let (folder, volume) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir(volume.path().join("lost+found")).unwrap();
    // A new volume, and a folder that is not there yet.
    for denylist in [volume.path().join("denylist"), volume.path().join("lost+found/authseal/denylist")] {
        let variables = variables(&denylist);
        let run = |arguments: &[&str]| {
            done(authseal(folder.path(), arguments).envs(variables.iter().cloned()).spawn().unwrap())
        };
        let check = run(&["check"]);
        let said = format!("denylist {}: not there, the server will make it\n", denylist.display());
        assert!(
            check.code == 0 && check.out.contains(&said) && check.out.contains("\noffered: dropbox\n"),
            "{check:?}"
        );
        assert!(!denylist.exists(), "`check` makes nothing");
        let served = Served::by(authseal(folder.path(), &["serve"]).envs(variables.iter().cloned()));
        assert!(served.ask("/readyz").starts_with("HTTP/1.1 200"));
        assert_eq!(run(&["denylist", "add", "epoch", "1"]).code, 0);
        drop(served);
        drop(Served::by(authseal(folder.path(), &["serve"]).envs(variables.iter().cloned())));
        assert!(fs::read_to_string(&denylist).unwrap().contains("\nepoch 1\n"), "the next start leaves it alone");
        assert!(!run(&["check"]).out.contains("will make it"));
    }
}

#[test]
fn no_denylist_is_made_where_there_may_have_been_one() {
    let (folder, volume) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let denylist = volume.path().join("denylist");
    fs::write(volume.path().join("denylist.lock"), "").unwrap();
    for verb in ["serve", "check"] {
        let done = done(authseal(folder.path(), &[verb]).envs(variables(&denylist)).spawn().unwrap());
        refused(&done, &["there is no denylist ", "makes one in an empty folder alone", "put it back"]);
        assert!(!denylist.exists());
    }
    // Nobody asked for one.
    let mut variables = variables(&denylist);
    variables.pop();
    let done = done(authseal(folder.path(), &["serve"]).envs(variables).spawn().unwrap());
    refused(&done, &["there is no denylist ", "make one with `authseal denylist init`"]);
}
