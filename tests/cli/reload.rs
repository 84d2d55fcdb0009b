//! A running server and the keyring and denylist below it: it takes up what is good, keeps what it has when a file is bad, and
//! nobody who asks meanwhile notices.

use crate::denylist_file::faulty_lists;
use crate::keyring_file::{faulty_texts, key};
use crate::token_endpoint;
use crate::{Served, folder, sealed_with};
use authseal::seal::{Epoch, Keyring};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) const SERVICE: &str = "exampledrive";

/// A folder for a server with one service, whose provider always answers with an access token.
pub(crate) fn with_provider(keyring: &str) -> TempDir {
    with_provider_of(keyring, 3600)
}

/// The same with access tokens of another life, in seconds.
pub(crate) fn with_provider_of(keyring: &str, life: u32) -> TempDir {
    let at = token_endpoint::start(life);
    let folder = folder(&format!(
        "public_url = \"https://oauth.example.com\"\nlisten = [\"127.0.0.1:0\"]\n[clients.example]\nid = \"1234\"\n\
         [providers.example]\nauthorize_url = \"http://{at}/authorize\"\ntoken_url = \"http://{at}/token\"\nrotation = \"none\"\n\
         [admin]\nlisten = [\"127.0.0.1:0\"]\n[services.{SERVICE}]\nprovider = \"example\"\nname = \"Example Drive\"\nscopes = [\"files\"]\n"
    ));
    assert_eq!(crate::run(folder.path(), &["denylist", "init"]).code, 0);
    replace(folder.path(), keyring);
    folder
}

/// Puts a keyring into place as `authseal keys` and all who know better do: whole.
pub(crate) fn replace(folder: &Path, text: &str) {
    let aside = folder.join("aside");
    fs::write(&aside, text).unwrap();
    fs::set_permissions(&aside, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(aside, folder.join("keys.toml")).unwrap();
}

/// An AuthID under `epoch` of the keyring in the folder.
pub(crate) fn authid(folder: &Path, epoch: i64) -> String {
    let keyring = Keyring::parse(&fs::read_to_string(folder.join("keys.toml")).unwrap()).unwrap();
    sealed_with(keyring.keys(Epoch::try_from(epoch).unwrap()).unwrap(), SERVICE).0
}

/// What `/refresh` answers: the whole of it.
pub(crate) fn refresh(address: &str, authid: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET /refresh HTTP/1.1\r\nhost: localhost\r\nx-authid: {authid}\r\nconnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Asks until the answer has these words; within the time that operators are promised.
pub(crate) fn within_two_seconds(address: &str, authid: &str, words: &str) {
    let end = Instant::now() + Duration::from_secs(2);
    loop {
        let answer = refresh(address, authid);
        if answer.contains(words) {
            return;
        }
        assert!(Instant::now() < end, "no {words:?} within two seconds: {answer}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_running_server_takes_up_each_step_within_two_seconds() {
    let folder = with_provider(&format!("primary = 1\n{}", key(1)));
    let served = Served::start(folder.path(), &[]);
    let keys = |arguments: &[&str]| {
        let done = crate::run(folder.path(), &[&["keys"], arguments].concat());
        assert_eq!(done.code, 0, "{done:?}");
    };
    let old = authid(folder.path(), 1);
    assert!(refresh(&served.address, &old).starts_with("HTTP/1.1 200"), "{}", refresh(&served.address, &old));
    keys(&["stage"]);
    let new = authid(folder.path(), 2);
    within_two_seconds(&served.address, &new, "HTTP/1.1 200");
    assert!(!refresh(&served.address, &old).contains("v2_authid"), "a staged epoch does not seal");
    keys(&["promote", "--alone"]);
    // By another login each time: an answer from memory carries no AuthID.
    let (end, renewed) = (Instant::now() + Duration::from_secs(2), format!("\"v2_authid\":\"v3:{SERVICE}:2:"));
    while !refresh(&served.address, &authid(folder.path(), 1)).contains(&renewed) {
        assert!(Instant::now() < end, "no {renewed:?} within two seconds");
    }
    keys(&["retire", "1", "--force"]);
    within_two_seconds(&served.address, &old, "HTTP/1.1 401");
    assert!(refresh(&served.address, &new).starts_with("HTTP/1.1 200"));
}

#[test]
fn a_running_server_tells_the_verbs_what_it_holds_and_what_is_in_use() {
    let folder = with_provider(&format!("primary = 1\n{}", key(1)));
    let served = Served::start(folder.path(), &[]);
    let admin = format!("http://{}", served.logged("listening for operators")["admin_address"].as_str().unwrap());
    let keys = |verb: &str, more: &[&str]| {
        crate::run(folder.path(), &[&["keys", verb], more, &["--against", &admin]].concat())
    };
    let done = keys("verify", &[]);
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
    assert!(keys("list", &[]).out.contains("  unknown (watched for less than a minute only)\n"));
    assert_eq!(crate::run(folder.path(), &["keys", "stage"]).code, 0);
    served.logged("keyring loaded");
    refresh(&served.address, &authid(folder.path(), 1));
    assert_eq!(keys("promote", &[]).code, 0);
    served.logged("keyring loaded");
    let done = keys("list", &[]);
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
    assert!(done.out.contains("  in use less than a minute ago\n"), "{done:?}");
    let done = keys("retire", &["1"]);
    assert!(done.code == 1 && done.err.contains("epoch 1 stays: it was in use less than a minute ago"), "{done:?}");
    assert_eq!(keys("verify", &[]).code, 0);
}

#[test]
fn good_and_bad_keyrings_come_and_go_and_no_request_fails() {
    let (one, two, three) = (key(1), key(2), key(3));
    let good = [
        format!("primary = 2\n{one}{two}"),
        format!("# staged\nprimary = 2\n{one}{two}{three}"),
        format!("primary = 3\n{one}{two}{three}"),
    ];
    let bad: Vec<_> = faulty_texts().into_iter().map(|(text, _)| text).collect();
    let folder = with_provider(&good[0]);
    let served = Served::start(folder.path(), &[]);
    let asked: Vec<_> = (0..20).map(|at| (authid(folder.path(), 1 + at % 2), "HTTP/1.1 200")).collect();
    under_load(&served, &asked, |turn| {
        replace(folder.path(), &bad[turn % bad.len()]);
        served.logged("keyring not loaded; the one loaded before stays in force");
        replace(folder.path(), &good[(turn + 1) % good.len()]);
        served.logged("keyring loaded");
    });
}

#[test]
fn good_and_bad_denylists_come_and_go_and_nothing_else_is_refused_at_any_moment() {
    let folder = with_provider(&format!("primary = 1\n{}{}", key(1), key(2)));
    let denied = authid(folder.path(), 2);
    let head = "authseal-denylist 1\nepoch 2\n";
    let grants: String = (0..5_000).map(|number| format!("grant {number:032x}\n")).collect();
    let good = [head.to_owned(), format!("{head}{grants}"), format!("{head}epoch 1 service gd\n# longer\n")];
    let bad: Vec<_> = faulty_lists().into_iter().map(|(text, _)| text).collect();
    let put = |text: &[u8]| {
        fs::write(folder.path().join("aside"), text).unwrap();
        fs::rename(folder.path().join("aside"), folder.path().join("denylist")).unwrap();
    };
    put(good[0].as_bytes());
    let served = Served::start(folder.path(), &[]);
    let mut asked: Vec<_> = (0..18).map(|_| (authid(folder.path(), 1), "HTTP/1.1 200")).collect();
    [5, 15].into_iter().for_each(|at| asked.insert(at, (denied.clone(), "HTTP/1.1 401")));
    under_load(&served, &asked, |turn| {
        put(&bad[turn % bad.len()]);
        served.logged("denylist not loaded; the rules loaded before stay in force");
        put(good[(turn + 1) % good.len()].as_bytes());
        served.logged("denylist loaded");
    });
}

/// Asks for these AuthIDs all the time, which are to be answered so, while `swap` has its many turns. Nothing may grow.
pub(crate) fn under_load(served: &Served, asked: &[(String, &str)], swap: impl Fn(usize)) {
    let turns = if std::env::var_os("TESTS_FULL").is_some() { 1_000 } else { 20 };
    let address = served.address.as_str();
    let ask = |(authid, expected): &(String, &str)| {
        let answer = refresh(address, authid);
        assert!(answer.starts_with(expected), "{answer}");
    };
    asked.iter().for_each(ask);
    let idle = open_files(served);
    let (over, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for asked in asked.chunks(10) {
            let (ask, over, count) = (&ask, &over, &count);
            scope.spawn(move || {
                for one in asked.iter().cycle().take_while(|_| !over.load(Ordering::Acquire)) {
                    ask(one);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // Also when a turn fails, so that the others end.
        let _ends = Ends(&over);
        (0..turns).for_each(swap);
    });
    let count = count.into_inner();
    assert!(count > turns, "there were requests all the time");
    eprintln!("{count} requests, none failed");
    // Connections that were just closed take a moment to go.
    let end = Instant::now() + Duration::from_secs(20);
    while open_files(served) > idle {
        assert!(Instant::now() < end, "{} files open, {idle} before", open_files(served));
        thread::sleep(Duration::from_millis(20));
    }
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn open_files(served: &Served) -> usize {
    fs::read_dir(format!("/proc/{}/fd", served.child.id())).unwrap().count()
}
