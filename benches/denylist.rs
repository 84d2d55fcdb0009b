//! A denylist of a million lines below a running server: what it takes to load, how much memory, and what requests
//! notice when the file changes every second. `docs/performance.md` says how to run this and how to read it.

#![allow(clippy::unwrap_used, reason = "a benchmark has no one to return an error to")]
#![allow(clippy::print_stdout, reason = "a benchmark prints")]

#[path = "../tests/support/keyring.rs"]
mod keyring;
#[path = "../tests/support/token_endpoint.rs"]
mod token_endpoint;

use authseal::authid::{Grant, ServiceId, seal};
use authseal::seal::{Epoch, Keyring};
use keyring::key;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const LINES: u32 = 1_000_000;
const EPOCHS: u32 = 100;
/// Clients, each with a connection of its own.
const CLIENTS: usize = 4;
/// Of each client between two requests: 2,000 requests a second altogether.
const PACE: Duration = Duration::from_millis(2);

fn main() {
    // `cargo bench -- --quick`, and `cargo test --benches`, which only asks whether it runs.
    let quick = std::env::args().any(|argument| argument == "--quick" || argument == "--test");
    let (lines, phase) = if quick { (10_000, Duration::from_secs(2)) } else { (LINES, Duration::from_secs(30)) };
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    configure(at);
    let keyring = Keyring::parse(&fs::read_to_string(at.join("keys.toml")).unwrap()).unwrap();
    let authid = |epoch: i64| {
        let keys = keyring.keys(Epoch::try_from(epoch).unwrap()).unwrap();
        let service = ServiceId::parse("exampledrive").unwrap();
        let login = Grant::new(service, "t".repeat(100).into(), 1_795_420_000).unwrap();
        seal(keys, &login).unwrap().expose().to_owned()
    };
    let (allowed, denied) = (authid(1), authid(2));

    write_list(&at.join("denylist"), 0, 0);
    let empty = Served::start(at);
    println!(
        "no lines: ready after {:.0} ms, {:.1} MiB resident",
        empty.ready.as_secs_f64() * 1e3,
        empty.memory("VmRSS")
    );
    drop(empty);

    for (name, more) in [("one", 0), ("two", 1)] {
        write_list(&at.join(name), lines, more);
    }
    put(at, "one");
    let served = Served::start(at);
    println!(
        "{lines} lines and {EPOCHS} epochs: ready after {:.0} ms, {:.1} MiB resident",
        served.ready.as_secs_f64() * 1e3,
        served.memory("VmRSS")
    );
    let quiet = load(&served.address, &allowed, &denied, phase, || thread::sleep(Duration::from_millis(10)));
    println!("file at rest:              {quiet}");
    let mut turn = 0;
    let reloading = load(&served.address, &allowed, &denied, phase, || {
        put(at, if turn % 2 == 0 { "two" } else { "one" });
        turn += 1;
        thread::sleep(Duration::from_secs(1));
    });
    println!("file replaced every second: {reloading}; {turn} times");
    println!("memory afterwards {:.1} MiB, at most {:.1} MiB", served.memory("VmRSS"), served.memory("VmHWM"));
}

/// A server's configuration, a keyring of two epochs, and a provider that always answers.
fn configure(folder: &Path) {
    let at = token_endpoint::start(360_000);
    fs::write(
        folder.join("authseal.toml"),
        format!(
            "public_url = \"https://oauth.example.com\"\nlisten = [\"127.0.0.1:0\"]\nlog.level = \"info\"\n\
             [clients.example]\nid = \"1234\"\n[services.exampledrive]\nprovider = \"example\"\nname = \"Example\"\n\
             scopes = [\"files\"]\n[providers.example]\nrotation = \"none\"\n\
             authorize_url = \"http://{at}/authorize\"\ntoken_url = \"http://{at}/token\"\n"
        ),
    )
    .unwrap();
    fs::write(folder.join("keys.toml"), format!("primary = 1\n{}{}", key(1), key(2))).unwrap();
    fs::set_permissions(folder.join("keys.toml"), Permissions::from_mode(0o600)).unwrap();
}

/// A denylist that refuses epoch 2, a hundred others and as many logins; `more` makes two lists differ.
fn write_list(path: &Path, lines: u32, more: u32) {
    let mut out = BufWriter::new(fs::File::create(path).unwrap());
    writeln!(out, "authseal-denylist 1\nepoch 2").unwrap();
    (0..EPOCHS).for_each(|number| writeln!(out, "epoch {}", 1_000 + number).unwrap());
    for number in 0..lines + more {
        // Spread as ids are, and in no order.
        let id = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        writeln!(out, "grant {id:032x} through 4 at 2026-11-23T10:00:00Z").unwrap();
    }
}

/// Puts a list into place whole, without writing it again.
fn put(folder: &Path, name: &str) {
    fs::hard_link(folder.join(name), folder.join("aside")).unwrap();
    fs::rename(folder.join("aside"), folder.join("denylist")).unwrap();
}

struct Served {
    child: Child,
    address: String,
    ready: Duration,
}

impl Served {
    fn start(folder: &Path) -> Self {
        let began = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_authseal"))
            .args(["serve"])
            .current_dir(folder)
            .env_clear()
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let line = log.find(|line| line.contains("\"listening\"")).unwrap();
        let ready = began.elapsed();
        thread::spawn(move || log.for_each(drop));
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        Self { child, address: line["address"].as_str().unwrap().to_owned(), ready }
    }

    /// In MiB.
    fn memory(&self, what: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(what)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What requests took, in words. Every tenth asks with an AuthID that is denied. The run ends at the first wrong answer.
fn load(address: &str, allowed: &str, denied: &str, phase: Duration, mut meanwhile: impl FnMut()) -> String {
    let over = AtomicBool::new(false);
    let mut times: Vec<Duration> = thread::scope(|scope| {
        let client = |number: usize| {
            let over = &over;
            move || {
                let mut connection = TcpStream::connect(address).unwrap();
                connection.set_nodelay(true).unwrap();
                let mut times = Vec::new();
                let mut due = Instant::now() + PACE / 4 * u32::try_from(number).unwrap();
                while !over.load(Ordering::Acquire) {
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    let (authid, expected) = if times.len() % 10 == 9 { (denied, "401") } else { (allowed, "200") };
                    // From when it was due: what has to wait for the one before has waited, too.
                    exchange(&mut connection, authid, expected);
                    times.push(due.elapsed());
                    due += PACE;
                }
                times
            }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(client(number))).collect();
        let end = Instant::now() + phase;
        while Instant::now() < end {
            meanwhile();
        }
        over.store(true, Ordering::Release);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let count = times.len();
    format!(
        "{count} requests, all answered as they should be; median {:.2}, p99 {:.2}, p99.9 {:.2}, longest {:.2} ms",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    )
}

fn exchange(connection: &mut TcpStream, authid: &str, expected: &str) {
    write!(connection, "GET /refresh HTTP/1.1\r\nhost: localhost\r\nx-authid: {authid}\r\n\r\n").unwrap();
    let (mut answer, mut len) = ([0; 4096], 0);
    loop {
        len += connection.read(&mut answer[len..]).unwrap();
        let text = std::str::from_utf8(&answer[..len]).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        assert!(head.starts_with(&format!("HTTP/1.1 {expected}")), "{text}");
        let wanted = head.split_once("content-length: ").unwrap().1.split("\r\n").next().unwrap();
        if body.len() == wanted.parse::<usize>().unwrap() {
            return;
        }
    }
}
