//! The denylist below servers that run: every way to break it that we could think of, what reaches several servers, and
//! disks and processes that fail while it is written to.

use crate::denylist::with_epochs;
use crate::keyring::key;
use crate::reload::{authid, refresh, with_provider, within_two_seconds};
use crate::{Done, GOOD, Served, authseal, done, ready, run, shell};
use authseal::denylist::parse;
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// Texts that are no denylist, each with what is said of it.
pub(crate) fn faulty_lists() -> Vec<(Vec<u8>, &'static str)> {
    let header = "line 1: the file does not begin with `authseal-denylist 1`";
    let no_rule = "line 2: a rule begins with `epoch` or `grant`";
    let (grant, epoch) = ("line 2: `grant` needs the login's 32 hex digits", "line 2: `epoch` needs a number");
    let tail = "line 2: a grant can be followed by `through` an epoch and `at` a time, in this order";
    let before = "line 2: `login-before` needs a time with its zone";
    let hex = "00112233445566778899aabbccddeeff";
    let line = |text: &str| format!("authseal-denylist 1\n{text}\n").into_bytes();
    vec![
        (Vec::new(), header), // emptied, as by a full disk
        (b"\n".to_vec(), header),
        (b"authseal-denylist".to_vec(), header),
        (b"authseal-denylist 2\n".to_vec(), header),
        (b"Authseal-Denylist 1\n".to_vec(), header),
        (b"# authseal-denylist 1\n".to_vec(), header),
        (b"epoch 3\n".to_vec(), header),
        (b"\nauthseal-denylist 1\n".to_vec(), header),
        (vec![0; 4096], header), // what some file systems leave after a power cut
        (
            "authseal-denylist 1\n".encode_utf16().flat_map(u16::to_le_bytes).collect(),
            "line 1: the file is text in UTF-16",
        ),
        (b"\x1f\x8b\x08\x00".to_vec(), header), // compressed
        (b"-----BEGIN PRIVATE KEY-----\n".to_vec(), header),
        (b"<<<<<<< ours\nauthseal-denylist 1\n=======\n".to_vec(), header),
        (line("<<<<<<< ours"), no_rule),
        (line("deny epoch 3"), no_rule),
        (line("EPOCH 3"), no_rule),
        (line("- epoch 3"), no_rule),
        (line("// epoch 3"), no_rule),
        (line("v3:gd:1:c2VjcmV0c2VjcmV0"), no_rule),
        (line("\0\0\0\0"), no_rule),
        (line("epoch"), epoch),
        (line("epoch three"), epoch),
        (line("epoch 03"), epoch),
        (line("epoch -3"), epoch),
        (line("epoch 3,4"), epoch),
        (line("epoch 0"), epoch),
        (line("epoch 4294967296"), epoch),
        (line("epoch 3 4"), "line 2: an epoch can be followed by one service or one time"),
        (line("epoch 3 service"), "line 2: `service` needs a service's id"),
        (line("epoch 3 service Google Drive"), "line 2: `service` needs a service's id"),
        (line("epoch 3 login-before yesterday"), before),
        (line("epoch 3 login-before 2026-11-01"), before),
        (line("epoch 3 login-before 2026-13-01T00:00:00Z"), before),
        (line("grant"), grant),
        (line(&format!("grant {}", hex.to_uppercase())), grant),
        (line(&format!("grant {hex}00")), grant),
        (line(&format!("grant 0x{hex}")), grant),
        (line(&format!("grant {hex} {hex}")), tail),
        (line(&format!("grant {hex} at 2026-11-01T00:00:00Z through 4")), tail),
        (line(&format!("grant {hex} through four")), "line 2: `through` needs an epoch's number"),
        (line(&format!("grant {hex} at noon")), "line 2: `at` needs a time with its zone"),
        (line(&"x".repeat(70_000)), "line 2: the line is longer than 65536 bytes"),
        (line("epoch 3\rgrant 1").iter().map(|byte| if *byte == b'\n' { b'\r' } else { *byte }).collect(), header),
    ]
}

#[test]
fn a_denylist_that_is_none_ends_the_start_with_its_fault_and_without_what_was_pasted() {
    let folder = ready(GOOD);
    let path = folder.path().join("denylist");
    for (text, sentence) in faulty_lists() {
        fs::write(&path, &text).unwrap();
        let said = judged(folder.path()).err;
        assert!(
            said.contains(&format!("the denylist {} has faults:\n{sentence}", path.display())),
            "{sentence}: {said}"
        );
        assert!(!said.contains("c2VjcmV0"), "{said}");
    }
}

#[test]
fn what_is_no_file_ends_the_start_too() {
    let folder = ready(GOOD);
    let path = folder.path().join("denylist");
    let says = |sentence: &str| {
        let said = judged(folder.path()).err;
        assert!(said.contains(sentence) && said.contains(&path.display().to_string()), "{sentence}: {said}");
        if fs::symlink_metadata(&path).is_ok_and(|there| !there.is_dir()) {
            fs::remove_file(&path).unwrap();
        }
    };
    fs::remove_file(&path).unwrap();
    says("there is no denylist ");
    fs::create_dir(&path).unwrap();
    says("is no regular file");
    fs::remove_dir(&path).unwrap();
    symlink("nowhere", &path).unwrap();
    says("there is no denylist ");
    symlink("/dev/zero", &path).unwrap();
    says("is no regular file");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    says("is no regular file");
}

/// What both commands say of the denylist in `folder`; they agree.
fn judged(folder: &Path) -> Done {
    let run = |verb| done(authseal(folder, &[verb]).spawn().unwrap());
    let (check, serve) = (run("check"), run("serve"));
    assert_eq!((check.code, serve.code, &check.err), (2, 2, &serve.err), "{check:?}");
    check
}

/// What a revocation by its AuthID answers: the whole of it.
fn revoke(served: &Served, authid: &str) -> String {
    let mut stream = TcpStream::connect(&served.address).unwrap();
    let head = "host: localhost\r\ncontent-length: 0\r\nconnection: close";
    write!(stream, "POST /revoked HTTP/1.1\r\n{head}\r\nx-authid: {authid}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn grant_of(folder: &Path, authid: &str) -> String {
    let told = crate::run_with_input(folder, &["authid", "inspect", "--json"], authid).out;
    serde_json::from_str::<serde_json::Value>(&told).unwrap()["grant"].as_str().unwrap().to_owned()
}

#[test]
fn what_one_server_or_the_command_line_revokes_every_server_refuses_within_two_seconds() {
    let folder = with_provider(&format!("primary = 1\n{}", key(1)));
    let servers: Vec<_> = (0..3).map(|_| Served::start(folder.path(), &[])).collect();
    let authids: Vec<_> = (0..4).map(|_| authid(folder.path(), 1)).collect();
    for authid in &authids {
        servers.iter().for_each(|server| assert!(refresh(&server.address, authid).starts_with("HTTP/1.1 200")));
    }
    assert!(revoke(&servers[0], &authids[0]).starts_with("HTTP/1.1 200"));
    assert!(refresh(&servers[0].address, &authids[0]).starts_with("HTTP/1.1 401"), "at once where it was revoked");
    let grant = grant_of(folder.path(), &authids[1]);
    assert_eq!(run(folder.path(), &["denylist", "add", "grant", &grant]).code, 0);
    for server in &servers {
        authids[..2].iter().for_each(|authid| within_two_seconds(&server.address, authid, "HTTP/1.1 401"));
        authids[2..].iter().for_each(|authid| assert!(refresh(&server.address, authid).starts_with("HTTP/1.1 200")));
    }
    assert_eq!(run(folder.path(), &["denylist", "remove", "grant", &grant]).code, 0);
    servers.iter().for_each(|server| within_two_seconds(&server.address, &authids[1], "HTTP/1.1 200"));
}

#[test]
fn a_full_disk_is_told_and_what_could_not_be_written_is_refused_until_it_can() {
    let folder = with_provider(&format!("primary = 1\n{}", key(1)));
    let (path, padding) = (folder.path().join("denylist"), "#".repeat(4096));
    // A limit on files' lengths instead of a full disk, since both cut a line short: 20 bytes of it still fit.
    let head = "authseal-denylist 1\n";
    let full = format!("{head}{}\n", &padding[..4096 - head.len() - 21]);
    fs::write(&path, &full).unwrap();
    let served = Served::by(&mut shell(folder.path(), "trap '' XFSZ; ulimit -f 8; exec \"$0\" serve")); // of 512 bytes
    let (one, two) = (authid(folder.path(), 1), authid(folder.path(), 1));
    let answer = revoke(&served, &one);
    assert!(answer.starts_with("HTTP/1.1 500") && answer.contains("not durably revoked"), "{answer}");
    assert_eq!(
        served.logged("a revocation could not be written down; it holds until this process ends")["level"],
        "ERROR"
    );
    assert!(refresh(&served.address, &one).starts_with("HTTP/1.1 401"));
    assert!(refresh(&served.address, &two).starts_with("HTTP/1.1 200"));
    assert_eq!(fs::read_to_string(&path).unwrap(), full, "no beginning of a rule is left behind");
    // A server that starts now knows nothing of the revocation.
    let other = Served::start(folder.path(), &[]);
    assert!(refresh(&other.address, &one).starts_with("HTTP/1.1 200"));
    fs::write(&path, full.replace('#', "")).unwrap(); // somebody makes room
    assert!(revoke(&served, &one).starts_with("HTTP/1.1 200"));
    within_two_seconds(&other.address, &one, "HTTP/1.1 401");
    assert_eq!(run(folder.path(), &["denylist", "check"]).code, 0);
}

#[test]
fn what_a_server_still_opens_is_not_compacted_away() {
    let folder = with_provider(&format!("primary = 2\n{}{}", key(1), key(2)));
    let at = folder.path();
    let served = Served::start(at, &[]);
    let admin = format!("http://{}", served.logged("listening for operators")["admin_address"].as_str().unwrap());
    let leaked = authid(at, 1);
    assert_eq!(run(at, &["denylist", "add", "epoch", "1"]).code, 0);
    within_two_seconds(&served.address, &leaked, "HTTP/1.1 401");
    // As where the server has a copy of the keyring, which is changed later.
    fs::copy(at.join("keys.toml"), at.join("original.toml")).unwrap();
    assert_eq!(run(at, &["keys", "retire", "1", "--force", "--keyring", "original.toml"]).code, 0);
    let compact = ["denylist", "compact", "--keyring", "original.toml", "--against", &admin];
    let done = run(at, &compact);
    assert!(done.code == 1 && done.err.contains("has epoch 1 as open, which is retired here"), "{done:?}");
    assert!(refresh(&served.address, &leaked).starts_with("HTTP/1.1 401"));
    fs::rename(at.join("original.toml"), at.join("keys.toml")).unwrap();
    served.logged("keyring loaded");
    let done = run(at, &["denylist", "compact", "--against", &admin]);
    assert!(done.code == 0 && done.out.contains("dropped 1 line, all about retired epochs"), "{done:?}");
    assert!(refresh(&served.address, &leaked).starts_with("HTTP/1.1 401"));
}

#[test]
fn where_nothing_can_be_written_the_command_line_says_so_and_a_server_refuses_in_memory() {
    let folder = with_provider(&format!("primary = 1\n{}", key(1)));
    let at = folder.path();
    // Root may write to what is read-only, so the lock is made impossible instead.
    fs::create_dir(at.join("denylist.lock")).unwrap();
    let before = fs::read_to_string(at.join("denylist")).unwrap();
    let done = run(at, &["denylist", "add", "epoch", "1"]);
    assert!(
        done.code == 1 && done.err.contains("denylist.lock: ") && done.err.contains("change the original"),
        "{done:?}"
    );
    let served = Served::start(at, &[]);
    let authid = authid(at, 1);
    assert!(revoke(&served, &authid).starts_with("HTTP/1.1 500"));
    assert!(refresh(&served.address, &authid).starts_with("HTTP/1.1 401"));
    assert_eq!(fs::read_to_string(at.join("denylist")).unwrap(), before);
    fs::remove_dir(at.join("denylist.lock")).unwrap();
    assert!(revoke(&served, &authid).starts_with("HTTP/1.1 200"));
}

/// Several writers, killed at any moment: what one of them said it had done is done, and the file always parses.
#[test]
fn whoever_is_killed_while_writing_leaves_a_whole_list_with_all_that_was_acknowledged() {
    let cycles = if std::env::var_os("TESTS_FULL").is_some() { 10_000 } else { 60 };
    let folder = with_epochs(1, &[(1, true)]);
    let (at, list) = (folder.path(), folder.path().join("denylist"));
    let named = ["--denylist", "denylist", "--keyring", "keys.toml"];
    let mut acknowledged = BTreeSet::new();
    for cycle in 0..cycles {
        let grants = [0, 1].map(|writer| format!("{:032x}", cycle * 2 + writer));
        let other = if cycle % 2 == 0 { "add" } else { "remove" };
        let verbs = [["add", "grant", &grants[0]], ["add", "grant", &grants[1]], [other, "epoch", "7"]];
        let mut children =
            verbs.map(|verb| authseal(at, &[&["denylist"], verb.as_slice(), &named].concat()).spawn().unwrap());
        // Moments that differ, within and beyond the time that they take.
        thread::sleep(Duration::from_micros(cycle * 7919 % 12_000));
        children.iter_mut().for_each(|child| child.kill().unwrap());
        let said = children.map(|child| String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap());
        let done =
            grants.into_iter().zip(said).filter(|(grant, said)| said.contains(&format!("  grant {grant} through ")));
        acknowledged.extend(done.map(|(grant, _)| grant));
        parse(fs::read(&list).unwrap().as_slice()).unwrap().unwrap();
    }
    let (most, survived) = (2 * cycles, acknowledged.len() as u64);
    assert!(survived > 0 && survived < most, "{survived} of {most} were not killed in time");
    let text = fs::read_to_string(&list).unwrap();
    let lost: Vec<_> = acknowledged.iter().filter(|grant| !text.contains(grant.as_str())).collect();
    assert!(lost.is_empty(), "{lost:?}");
}
