//! A running server without a descriptor to open a file with: what was changed meanwhile takes effect all the same, or as
//! soon as there are descriptors again, and the operator is told until then.

use crate::keyring_file::key;
use crate::reload::{authid, refresh, with_provider};
use crate::tls::{renew, with_certificate};
use crate::{Served, run, run_with_input};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// A connection that stays open: a new one would need a descriptor.
pub(crate) struct Kept(BufReader<TcpStream>);

impl Kept {
    pub(crate) fn to(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self(BufReader::new(stream))
    }

    /// The answer's head, in lower case, and its body.
    pub(crate) fn ask(&mut self, path: &str, more: &str) -> (String, String) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{more}\r\n");
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let lines = self.0.by_ref().lines().map(|line| line.unwrap().to_ascii_lowercase());
        let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.0.read_exact(&mut body).unwrap();
        (head.join("\n"), String::from_utf8(body).unwrap())
    }

    fn readyz(&mut self) -> Value {
        serde_json::from_str(&self.ask("/readyz", "").1).unwrap()
    }

    fn refresh(&mut self, authid: &str) -> String {
        self.ask("/refresh", &format!("x-authid: {authid}\r\n")).0
    }
}

pub(crate) fn admin(served: &Served) -> String {
    served.logged("listening for operators")["admin_address"].as_str().unwrap().to_owned()
}

/// No file number from `limit` on can be given out any more; those that are taken stay.
fn limit_files(served: &Served, limit: u64) {
    let new = Rlimit { current: Some(limit), maximum: getrlimit(Resource::Nofile).maximum };
    prlimit(Some(Pid::from_child(&served.child)), Resource::Nofile, new).unwrap();
}

/// The lowest number that is free: what the next file would get.
fn next_file(served: &Served) -> u64 {
    let taken =
        |number: &u64| Path::new(&format!("/proc/{}/fd/{number}", served.child.id())).symlink_metadata().is_ok();
    (0..).find(|number| !taken(number)).unwrap()
}

fn within(time: Duration, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + time;
    while !is() {
        assert!(Instant::now() < end, "not within {time:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

const TWO_SECONDS: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_revocation_takes_effect_while_all_descriptors_are_taken() {
    let folder = with_provider(&format!("primary = 1\n{}", key(1)));
    let served = Served::start(folder.path(), &[]);
    let authid = authid(folder.path(), 1);
    let mut kept = Kept::to(&served.address);
    assert!(kept.refresh(&authid).contains(" 200 "));
    // The connections of before may still be closing, which frees their numbers: until nothing changes any more.
    let full = || limit_files(&served, next_file(&served));
    full();
    assert_eq!(run(folder.path(), &["denylist", "add", "epoch", "1"]).code, 0);
    within(TWO_SECONDS, || {
        full();
        kept.refresh(&authid).contains(" 401 ")
    });
}

#[test]
fn a_configuration_is_reloaded_while_all_descriptors_are_taken() {
    let folder = with_provider(&format!("primary = 1\n{}", key(1)));
    let served = Served::start(folder.path(), &[]);
    let config = folder.path().join("authseal.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("site.name = \"Renamed\"\n{text}")).unwrap();
    // Its threads, which need descriptors of their own, have begun when it answers.
    let mut kept = Kept::to(&served.address);
    assert!(kept.ask("/healthz", "").0.contains(" 200 "));
    limit_files(&served, next_file(&served));
    served.signal(Signal::HUP);
    assert_eq!(served.logged("configuration reloaded")["changed"], serde_json::json!(["site.name"]));
}

#[test]
fn each_file_that_could_not_be_read_is_in_force_soon_after_it_can_be() {
    let folder = with_certificate();
    let hash = |password: &str| {
        let done = run_with_input(folder.path(), &["access", "hash"], &format!("{password}\n"));
        fs::write(folder.path().join("password"), done.out).unwrap();
    };
    hash("correct horse");
    let config = folder.path().join("authseal.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{text}access.password_file = \"password\"\nadmin.listen = [\"127.0.0.1:0\"]\n"))
        .unwrap();
    let served = Served::start(folder.path(), &[]);
    let mut admin = Kept::to(&admin(&served));
    let files = ["keyring", "denylist", "certificate", "password"];
    let since = |readyz: &Value| files.map(|file| readyz[file]["since"].as_str().unwrap().to_owned());
    let failed = |readyz: &Value| files.map(|file| readyz[file]["last_load_failed"].as_bool().unwrap());
    let before = admin.readyz();
    assert_eq!(failed(&before), [false; 4]);
    within(PATIENCE, || admin.readyz()["keyring"]["last_look"] != before["keyring"]["last_look"]);

    limit_files(&served, 3);
    assert_eq!(run(folder.path(), &["keys", "stage"]).code, 0);
    assert_eq!(run(folder.path(), &["denylist", "add", "epoch", "1"]).code, 0);
    renew(folder.path());
    hash("battery staple");
    within(PATIENCE, || failed(&admin.readyz()) == [true; 4]);
    let readyz = admin.readyz();
    assert_eq!(since(&readyz), since(&before), "what was read before is in force");
    assert!(files.iter().all(|file| readyz[file]["stale_since"].is_string()), "{readyz}");
    let metrics = admin.ask("/metrics", "").1;
    for file in files {
        assert!(metrics.contains(&format!("authseal_{file}_load_failed 1\n")), "{metrics}");
        assert!(
            metrics.contains(&format!("authseal_file_last_look_timestamp_seconds{{file=\"{file}\"}} ")),
            "{metrics}"
        );
    }
    let line = served.logged("denylist not loaded; the rules loaded before stay in force");
    assert!(line["error"].as_str().unwrap().contains("Too many open files"), "{line}");

    limit_files(&served, 1_024);
    let good = |readyz: &Value| failed(readyz) == [false; 4] && readyz["denylist"]["entries"] == 1;
    within(TWO_SECONDS, || good(&admin.readyz()));
    assert_eq!(admin.readyz()["keyring"]["entries"], 2);
    assert!(files.iter().all(|file| admin.readyz()[file]["stale_since"].is_null()));
    served.logged("another password is asked for from now on; whoever gave the old one is asked again");
}

#[test]
fn a_file_that_stays_unreadable_does_not_fill_the_log_and_a_faulty_one_is_told_of_once() {
    let folder = with_provider(&format!("primary = 1\n{}", key(1)));
    let mut served = Served::start(folder.path(), &[]);
    let mut admin = Kept::to(&admin(&served));
    fs::write(folder.path().join("denylist"), "authseal-denylist 1\nepoch x\n").unwrap();
    fs::remove_file(folder.path().join("keys.toml")).unwrap();
    served.logged("keyring not loaded; the one loaded before stays in force");
    let looks = |readyz: &Value| readyz["keyring"]["last_look"].as_str().unwrap().to_owned();
    let mut seen = std::collections::BTreeSet::new();
    // A look a second, or more.
    within(PATIENCE, || seen.insert(looks(&admin.readyz())) && seen.len() > 6 || seen.len() > 6);
    assert_eq!(admin.readyz()["denylist"]["last_load_failed"], true);
    served.signal(Signal::INT);
    served.end();
    let lines: Vec<_> = served.log.iter().collect();
    let count = |word: &str| lines.iter().filter(|line| line.contains(word)).count();
    assert!((1..=4).contains(&count("keyring not loaded")), "{lines:?}");
    assert!(count("denylist not loaded") <= 1, "{lines:?}");
}

#[test]
fn a_server_takes_up_a_denylist_that_came_back() {
    let folder = with_provider(&format!("primary = 1\n{}", key(1)));
    let served = Served::start(folder.path(), &[]);
    let authid = authid(folder.path(), 1);
    let (path, aside) = (folder.path().join("denylist"), folder.path().join("aside"));
    fs::rename(&path, &aside).unwrap();
    served.logged("denylist not loaded; the rules loaded before stay in force");
    fs::write(&aside, "authseal-denylist 1\nepoch 1\n").unwrap();
    fs::rename(&aside, &path).unwrap();
    within(TWO_SECONDS, || refresh(&served.address, &authid).starts_with("HTTP/1.1 401"));
}
