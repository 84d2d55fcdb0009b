//! Every way to break a keyring file that we could think of: what `check` and `serve` say of it, and that neither says a
//! secret.

use crate::keyring::{self, secret};
use crate::{Done, GOOD, authseal, done, folder};
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// A keyring's table for one epoch, with the time when it was made.
pub(crate) fn key(number: i64) -> String {
    keyring::key(number).replacen("secret", "created = 2026-11-23T10:00:00Z\nsecret", 1)
}

/// Texts that are no keyring, each with what is said of it.
pub(crate) fn faulty_texts() -> Vec<(String, &'static str)> {
    let (one, two) = (key(1), key(2));
    let good = format!("primary = 2\n{one}{two}");
    let text = secret(2);
    let with_secret = |secret: &str| format!("primary = 2\n{one}[[key]]\nepoch = 2\nsecret = \"{secret}\"\n");
    let body = text.split(':').nth(2).unwrap();
    let without = |line: &str| good.replacen(line, "", 1);
    let changed = |from: &str, to: &str| good.replacen(from, to, 1);
    let form = "is not valid TOML of the expected form (near line";
    vec![
        (String::new(), "is not valid TOML of the expected form"),
        (good[..good.len() - 20].to_owned(), form), // cut short, as by a full disk
        (
            good[..good.find("\n[[key]]\nepoch = 2").unwrap() + 1].to_owned(),
            "`primary = 2` names an epoch that the keyring holds no secret for",
        ),
        (without("primary = 2\n"), form),
        (changed("primary = 2", "primary = 3"), "`primary = 3` names an epoch that the keyring holds no secret for"),
        (changed("primary = 2", "primary = 0"), form),
        (changed("primary = 2", "primary = \"2\""), form),
        (changed("primary = 2", "primary = 2\nprimary = 1"), form),
        (changed("primary = 2", "primary = 2\nmin_epoch = 3"), "`min_epoch = 3` is above `primary = 2`"),
        (changed("primary = 2", "primary = 2\nminimum = 1"), form),
        (changed("[[key]]", "[key]"), form),
        (changed("[[key]]", "[[keys]]"), form),
        (changed("epoch = 2", "epoch = -2"), form),
        (changed("epoch = 2", "epoch = 4294967296"), form),
        (changed("epoch = 2\n", ""), form),
        (changed("epoch = 2", "epoch = 3"), "the entry for epoch 3 holds the secret of epoch 2"),
        (format!("{good}[[key]]\nepoch = 1\nretired = 2026-11-24T10:00:00Z\n"), "epoch 1 appears twice"),
        (format!("{good}{two}"), "epoch 2 appears twice"),
        (format!("{good}retired = 2026-11-24T10:00:00Z\n"), "epoch 2 needs either `secret` or `retired`, and not both"),
        (format!("{good}[[key]]\nepoch = 3\n"), "epoch 3 needs either `secret` or `retired`, and not both"),
        (format!("{good}[[key]]\nepoch = 3\nretired = \"last week\"\n"), "epoch 3: `retired` is not a time like"),
        (changed("2026-11-23T10:00:00Z", "\"yesterday\""), "epoch 1: `created` is not a time like"),
        (changed("2026-11-23T10:00:00Z", "yesterday"), form),
        (changed("secret", "sceret"), form),
        (with_secret("correct horse battery staple"), "a passphrase is never accepted"),
        (with_secret(""), "the secret of epoch 2 is not of the form `authseal-key:"),
        (with_secret(body), "the secret of epoch 2 is not of the form `authseal-key:"),
        (with_secret(&text[..text.len() - 1]), "the secret of epoch 2 does not match its checksum"),
        (with_secret(&text.replacen(body, &body[1..], 1)), "the secret of epoch 2 does not match its checksum"),
        (with_secret(&text.replace(":2:", ":3:")), "the secret of epoch 2 does not match its checksum"),
        (with_secret(&text.replace(":2:", ":02:")), "the secret of epoch 2 names no epoch"),
        (with_secret(&text.to_uppercase()), "the secret of epoch 2 is not of the form `authseal-key:"),
        (with_secret(&text.replacen(':', ": ", 1)), "the secret of epoch 2 names no epoch"),
        (with_secret(&secret(1)), "the entry for epoch 2 holds the secret of epoch 1"),
        (good.replacen('"', "“", 2), form), // as a word processor quotes
        (good.replace('\n', "\r"), form),
        (format!("{good}\0"), form),
        ("-----BEGIN PRIVATE KEY-----\n".to_owned(), form),
        ("{\"primary\": 2}\n".to_owned(), form),
    ]
}

/// What both commands say of the keyring in `folder`; they agree.
fn judged(folder: &Path) -> Done {
    let run = |verb| done(authseal(folder, &[verb]).spawn().unwrap());
    let (check, serve) = (run("check"), run("serve"));
    assert_eq!((check.code, serve.code, &check.err), (2, 2, &serve.err), "{check:?}");
    check
}

#[test]
fn a_keyring_that_is_none_ends_the_start_with_its_fault_and_without_its_secrets() {
    let folder = folder(GOOD);
    let path = folder.path().join("keys.toml");
    for (text, sentence) in faulty_texts() {
        fs::write(&path, &text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let said = judged(folder.path()).err;
        assert!(said.contains(&format!("in the keyring file {}: ", path.display())), "{said}\n{text}");
        assert!(said.contains(sentence), "it should say {sentence:?}: {said}\n{text}");
        let secrets = text.split(':').filter(|part| part.len() > 40 && !part.contains(' '));
        for secret in secrets {
            assert!(!said.contains(&secret[4..30]), "{said}");
        }
    }
}

#[test]
fn what_is_no_file_of_its_owner_ends_the_start_too() {
    let folder = folder(GOOD);
    let path = folder.path().join("keys.toml");
    let says = |sentence: &str| {
        let said = judged(folder.path()).err;
        assert!(said.contains(sentence) && said.contains(&path.display().to_string()), "{sentence}: {said}");
    };
    says("there is no keyring file ");
    fs::create_dir(&path).unwrap();
    says("is no regular file");
    fs::remove_dir(&path).unwrap();
    symlink("nowhere", &path).unwrap();
    says("there is no keyring file ");
    fs::remove_file(&path).unwrap();
    symlink("/dev/zero", &path).unwrap();
    says("is no regular file");
    fs::remove_file(&path).unwrap();
    fs::write(&path, format!("primary = 1\n{}", key(1))).unwrap();
    for mode in [0o604, 0o602, 0o644, 0o666] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        says(&format!("lets every user of this machine in (mode {mode:04o}); run `chmod o-rwx` "));
    }
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, b"primary = 1 # \xff\n").unwrap();
    says("is not UTF-8 text");
    fs::write(&path, format!("{}primary = 1\n{}", "#\n".repeat(600_000), key(1))).unwrap();
    says("is longer than 1048576 bytes");
}
