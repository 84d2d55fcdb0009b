//! A log that nobody reads: requests are answered all the same, the process ends all the same, and when somebody reads
//! again, lines come and one of them tells of those that are lost.

use crate::keyring_file::key;
use crate::reload::{authid, refresh, with_provider};
use crate::starved::Kept;
use crate::{GOOD, Served, authseal, ready};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStderr, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// More than the pipe and the queue before it hold.
const MANY: usize = 6_000;
const PATIENCE: Duration = Duration::from_secs(20);

/// A server whose log was read up to where it says where it listens, and no further.
struct Unread {
    child: Child,
    log: Option<BufReader<ChildStderr>>,
    address: String,
    admin: String,
}

impl Unread {
    fn start(folder: &std::path::Path) -> Self {
        let mut child = authseal(folder, &["serve"]).env("RUST_LOG", "debug").spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut find = |key: &str| loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).unwrap() > 0);
            let line: Value = serde_json::from_str(&line).unwrap();
            if let Some(address) = line[key].as_str() {
                return address.to_owned();
            }
        };
        let (address, admin) = (find("address"), find("admin_address"));
        Self { child, log: Some(log), address, admin }
    }

    /// Each request makes a line.
    fn fill(&self) {
        let mut kept = Kept::to(&self.address);
        for _ in 0..MANY {
            assert!(kept.ask("/healthz", "").0.contains(" 200 "));
        }
    }

    fn dropped(&self) -> u64 {
        let metrics = Kept::to(&self.admin).ask("/metrics", "").1;
        let line = metrics.lines().find_map(|line| line.strip_prefix("authseal_log_lines_dropped_total "));
        line.unwrap().parse().unwrap()
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the end, at most ten seconds; the exit code.
fn code(child: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match child.try_wait().unwrap() {
            Some(status) => return status.code(),
            None => assert!(Instant::now() < deadline, "it does not end"),
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_log_that_nobody_reads_holds_no_request_up_and_tells_of_its_losses_when_it_is_read_again() {
    let folder = with_provider(&format!("primary = 1\n{}", key(1)));
    let mut unread = Unread::start(folder.path());
    let authid = authid(folder.path(), 1);
    assert_eq!(unread.dropped(), 0);
    unread.fill();
    assert!(unread.dropped() > 100, "{}", unread.dropped());
    for _ in 0..50 {
        assert!(refresh(&unread.address, &authid).starts_with("HTTP/1.1 200"));
        for path in ["/healthz", "/readyz"] {
            assert!(Kept::to(&unread.address).ask(path, "").0.contains(" 200 "));
        }
    }

    let (sender, lines) = mpsc::channel();
    let log = unread.log.take().unwrap();
    let reader = thread::spawn(move || log.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let told = "lines of the log were left out: nobody read standard error";
    let next = || lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("nothing comes"));
    let line = std::iter::repeat_with(next).find(|line| line.contains(told)).unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert!(line["lines"].as_u64().unwrap() > 100 && line["level"] == "WARN", "{line}");
    assert!(!lines.try_iter().any(|line| line.contains(told)), "it is told once");
    Kept::to(&unread.address).ask("/isalive", "");
    assert!(std::iter::repeat_with(next).any(|line| line.contains("/isalive")));
    drop(unread);
    let _ = reader.join();
}

#[test]
fn a_server_whose_log_nobody_reads_ends_when_it_is_told_to() {
    let folder = with_provider(&format!("primary = 1\n{}", key(1)));
    let mut unread = Unread::start(folder.path());
    unread.fill();
    assert!(unread.dropped() > 0);
    kill_process(Pid::from_child(&unread.child), Signal::INT).unwrap();
    assert_eq!(code(&mut unread.child), Some(0));
}

#[test]
fn a_start_that_fails_ends_though_nobody_reads_why() {
    let folder = ready(GOOD);
    let start = || {
        let (reader, mut writer) = io::pipe().unwrap();
        let flags = fcntl_getfl(&writer).unwrap();
        fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
        while writer.write(b"x").is_ok() {}
        fcntl_setfl(&writer, flags).unwrap();
        let mut child = authseal(folder.path(), &["serve"]).stderr(Stdio::from(writer)).spawn().unwrap();
        let code = code(&mut child);
        drop(reader);
        code
    };
    fs::remove_file(folder.path().join("keys.toml")).unwrap();
    assert_eq!(start(), Some(2), "the log had begun");
    fs::write(folder.path().join("authseal.toml"), "nonsense = 1\n").unwrap();
    assert_eq!(start(), Some(2), "it had not");
}

#[test]
fn the_last_lines_are_written_before_the_end() {
    let folder = ready(GOOD);
    let mut served = Served::start(folder.path(), &[]);
    served.signal(Signal::TERM);
    assert_eq!(served.end(), Some(0));
    assert!(served.log.iter().any(|line| line.contains("SIGTERM: ending")));
}

#[test]
fn what_strangers_can_bring_about_at_will_is_no_alarm_and_is_logged_ten_times_a_second_and_counted() {
    const TIMES: usize = 200;
    let folder = ready(&format!(
        "{GOOD}server.trusted_proxies = [\"127.0.0.1\"]\nrefresh.wait_seconds = 0\nlimits.invalid_authids = 1000\n"
    ));
    let served = Served::start(folder.path(), &[]);
    let mut kept = Kept::to(&served.address);
    let damaged = format!("x-authid: v3:googledrive:1:{}\r\n", "A".repeat(120));
    let made_up = damaged.replace(":1:", ":99:");
    for (path, headers, status, lines) in [
        ("/nothing", "", 404, &[("answered", "none 404")][..]),
        ("/refresh", &damaged, 401, &[("no access token", "googledrive invalid"), ("answered", "/refresh 401")]),
        ("/refresh", &made_up, 503, &[("no access token", "googledrive no_key"), ("answered", "/refresh 503")]),
        (
            "/logged-in?code=c&state=s",
            "",
            400,
            &[("a login was refused", "none bad_state"), ("answered", "/logged-in 400")],
        ),
        ("/login", "sec-purpose: prefetch\r\n", 503, &[("answered", "/login 503")]),
    ] {
        let (begun, sent) = (Instant::now(), format!("{headers}x-forwarded-for: 192.0.2.1\r\n"));
        for _ in 0..TIMES {
            assert!(kept.ask(path, &sent).0.contains(&format!(" {status} ")), "{path}");
        }
        let most = 10 * (begun.elapsed().as_secs() as usize + 2);
        let (mut single, mut counted) = (BTreeMap::new(), BTreeMap::new());
        let of = |counts: &BTreeMap<String, usize>, text: &str| counts.get(text).copied().unwrap_or_default();
        while lines.iter().any(|(text, _)| of(&single, text) + of(&counted, text) < TIMES) {
            let line: Value = serde_json::from_str(&served.log.recv_timeout(PATIENCE).unwrap()).unwrap();
            // Anybody can make up the number of a key, and a replica may really lack one.
            let may_warn = headers.contains(":99:");
            assert!(line["level"] == "INFO" || may_warn && line["level"] == "WARN", "{line}");
            let message = line["message"].as_str().unwrap();
            match (line["text"].as_str(), line["about"].as_str(), line["left_out"].as_u64()) {
                (Some(text), Some(about), Some(left_out)) => {
                    assert!(lines.contains(&(text, about)), "{line}");
                    *counted.entry(text.to_owned()).or_default() += left_out as usize;
                }
                _ => *single.entry(message.to_owned()).or_default() += 1,
            }
        }
        for (text, _) in lines {
            assert!(of(&single, text) <= most, "{text}: {single:?}, {counted:?}");
        }
    }
}

#[test]
fn a_client_that_is_told_to_wait_is_no_alarm() {
    let folder = ready(&format!("{GOOD}server.trusted_proxies = [\"127.0.0.1\"]\nlimits.invalid_authids = 1\n"));
    let served = Served::start(folder.path(), &[]);
    let mut kept = Kept::to(&served.address);
    let sent = "x-authid: v3:nonsense\r\nx-forwarded-for: 192.0.2.1\r\n";
    let heads = [(); 2].map(|()| kept.ask("/refresh", sent).0);
    assert!(heads[0].contains(" 401 ") && heads[1].contains(" 503 "), "{heads:?}");
    let line = loop {
        let line: Value = serde_json::from_str(&served.log.recv_timeout(PATIENCE).unwrap()).unwrap();
        if line["status"] == 503 {
            break line;
        }
    };
    assert_eq!(line["level"], "INFO", "{line}");
}

#[test]
fn a_requests_number_tells_nobody_how_many_there_were() {
    let folder = ready(GOOD);
    let served = Served::start(folder.path(), &[]);
    let mut kept = Kept::to(&served.address);
    let mut number = || {
        let (head, _) = kept.ask("/nothing", "");
        let line = head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap();
        assert!(line.len() == 16 && line.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}");
        u64::from_str_radix(line, 16).unwrap()
    };
    let numbers: BTreeSet<_> = (0..50).map(|_| number()).collect();
    assert_eq!(numbers.len(), 50);
    let near = |(one, next): (&u64, &u64)| next - one < 1 << 32;
    assert!(!numbers.iter().zip(numbers.iter().skip(1)).any(near), "{numbers:?}");
}
