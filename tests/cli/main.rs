//! The command line as people meet it: the built binary, its words, where they go, and its exit codes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod acme;
mod apps;
mod config;
mod crowds;
mod denylist;
mod denylist_file;
mod faults;
mod first_start;
mod file_rights;
mod handover;
mod help;
mod import;
mod import_rclone;
mod init;
#[path = "../support/keyring.rs"]
mod keyring;
mod keyring_file;
mod keys;
mod legacy;
mod log;
mod online;
#[path = "../support/port.rs"]
mod port;
#[path = "../server/redis_server.rs"]
mod redis_server;
mod reload;
mod reload_configuration;
mod replica;
mod starved;
mod status;
mod terminal;
#[path = "../support/token_endpoint.rs"]
mod token_endpoint;
mod tls;
mod values;

use authseal::authid::{self, Grant, GrantId, ServiceId};
use authseal::seal::{EpochKeys, Keyring};
use port::free_port;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const GOOD: &str = "public_url = \"https://oauth.example.com\"\nlisten = [\"127.0.0.1:0\"]\nserver.drain_seconds = 0\n";

/// What a command did.
#[derive(Debug)]
struct Done {
    code: i32,
    out: String,
    err: String,
}

/// A folder with this `authseal.toml`.
fn folder(configuration: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("authseal.toml"), configuration).unwrap();
    folder
}

/// [`folder`] with the two files that a server needs.
fn ready(configuration: &str) -> TempDir {
    let folder = folder(configuration);
    for arguments in [["keys", "new", "keys.toml"], ["denylist", "init", "denylist"]] {
        assert_eq!(run(folder.path(), &arguments).code, 0);
    }
    folder
}

/// The binary in `folder`, with nothing of this process's environment.
fn authseal(folder: &Path, arguments: &[&str]) -> Command {
    empty(folder, env!("CARGO_BIN_EXE_authseal"), arguments)
}

/// A shell's script, the same way; `$0` is the binary.
fn shell(folder: &Path, script: &str) -> Command {
    empty(folder, "sh", &["-c", script, env!("CARGO_BIN_EXE_authseal")])
}

fn empty(folder: &Path, program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Done {
    done(authseal(folder, arguments).spawn().unwrap())
}

fn run_with_input(folder: &Path, arguments: &[&str], input: &str) -> Done {
    let mut child = authseal(folder, arguments).stdin(Stdio::piped()).spawn().unwrap();
    // A command that refuses its arguments may have ended before it is written to.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    done(child)
}

fn done(child: Child) -> Done {
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// A `serve` that listens; ends when dropped.
struct Served {
    child: Child,
    /// `127.0.0.1:<port>`.
    address: String,
    /// Its log after that, a line each.
    log: mpsc::Receiver<String>,
}

impl Served {
    fn start(folder: &Path, variables: &[(&str, &str)]) -> Self {
        Self::by(authseal(folder, &["serve"]).envs(variables.iter().copied()))
    }

    /// The same, by a command that becomes it.
    fn by(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let log = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || log.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut served = Self { child, address: String::new(), log: lines };
        served.address = served.logged("listening")["address"].as_str().unwrap().to_owned();
        served
    }

    /// Waits for a line with this message in the log.
    fn logged(&self, message: &str) -> serde_json::Value {
        loop {
            let line = self.log.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("no `{message}`"));
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            if line["message"] == message {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The answer to a request.
    fn ask(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).unwrap();
        let (mut answer, mut chunk) = (Vec::new(), [0; 4096]);
        while !answer.ends_with(b"\n") || answer.ends_with(b"\r\n") {
            match stream.read(&mut chunk).unwrap() {
                0 => break,
                length => answer.extend_from_slice(&chunk[..length]),
            }
        }
        String::from_utf8(answer).unwrap()
    }

    /// Waits for its end, at most ten seconds; the exit code.
    fn end(&mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return status.code(),
                None => assert!(Instant::now() < deadline, "it does not end"),
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An AuthID of the keyring in `folder`, under its primary.
fn sealed(folder: &Path, service: &str) -> (String, GrantId) {
    let keyring = Keyring::parse(&fs::read_to_string(folder.join("keys.toml")).unwrap()).unwrap();
    sealed_with(keyring.primary(), service)
}

/// An AuthID under any epoch.
fn sealed_with(keys: &EpochKeys, service: &str) -> (String, GrantId) {
    let service = ServiceId::parse(service).unwrap();
    let login =
        Grant { sealed_at: 1_795_428_000, ..Grant::new(service, "hunter2".to_owned().into(), 1_795_420_000).unwrap() };
    (authid::seal(keys, &login).unwrap().expose().to_owned(), login.id)
}

#[test]
fn an_empty_rust_log_is_none_at_all() {
    let folder = ready(GOOD);
    Served::start(folder.path(), &[("RUST_LOG", "")]);
}

#[test]
fn a_faulty_rust_log_ends_the_start_with_a_sentence() {
    let folder = ready(GOOD);
    for faulty in
        ["info,authseal=loud", "verbose", "info,verbose", "info,authseal[request]=debug", "[{grant}]=debug", ","]
    {
        for verb in ["serve", "check"] {
            let done = done(authseal(folder.path(), &[verb]).env("RUST_LOG", faulty).spawn().unwrap());
            assert_eq!(done.code, 2, "{done:?}");
            assert!(done.err.starts_with("authseal: RUST_LOG must be error, warn, info"), "{done:?}");
        }
    }
}

#[test]
fn the_exit_code_tells_what_to_mend_from_what_failed() {
    let folder = ready("public_url = 7\n");
    let code = |arguments: &[&str]| run(folder.path(), arguments).code;
    assert_eq!(code(&["providers"]), 2);
    assert_eq!(code(&["provider"]), 2);
    assert_eq!(code(&["keys", "new", "keys.toml"]), 1);
    assert_eq!(code(&["keys", "list", "--keyring", "keys.toml"]), 0);
    let help = run(folder.path(), &["--help"]);
    assert!(help.out.contains("Exit codes: 0 done, 1 failed, 2 "), "{help:?}");
    fs::write(folder.path().join("authseal.toml"), GOOD).unwrap();
    fs::remove_file(folder.path().join("keys.toml")).unwrap();
    assert_eq!(code(&["check"]), 2, "serve could not start without its keyring");
}

#[test]
fn the_two_files_are_made_beside_a_configuration_that_has_faults() {
    let elsewhere = tempfile::tempdir().unwrap();
    let folder = folder("[clients.google]\nid = \"1234\"\nsecret_file = \"google-secret\"\n");
    let config = folder.path().join("authseal.toml");
    for (verb, file) in [(["keys", "new"], "keys.toml"), (["denylist", "init"], "denylist")] {
        let path = folder.path().join(file);
        let done = run(elsewhere.path(), &[verb[0], verb[1], "--config", config.to_str().unwrap()]);
        assert_eq!(done.code, 0, "{done:?}");
        assert!(done.err.contains("clients.google.secret_file"), "{done:?}");
        assert!(done.err.contains(path.to_str().unwrap()), "{done:?}");
        assert!(path.exists(), "{done:?}");
    }
}

#[test]
fn the_two_files_are_made_where_a_good_configuration_says() {
    let folder = folder("[keyring]\nfile = \"a\"\n[denylist]\nfile = \"b\"\n");
    for (arguments, file) in [(["keys", "new"], "a"), (["denylist", "init"], "b")] {
        let done = run(folder.path(), &arguments);
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
        assert!(folder.path().join(file).exists());
    }
}

#[test]
fn a_keyring_that_is_there_is_left_alone() {
    let folder = ready(GOOD);
    let before = fs::read(folder.path().join("keys.toml")).unwrap();
    let done = run(folder.path(), &["keys", "new"]);
    let path = folder.path().join("keys.toml");
    let sentence = format!("authseal: there is a keyring {} already; it stays as it is\n", path.display());
    assert_eq!((done.code, done.err), (1, sentence));
    assert_eq!(fs::read(path).unwrap(), before);
}

#[test]
fn an_address_to_listen_at_is_judged_with_a_sentence() {
    let folder = ready(GOOD);
    let sentence = "is not an IP address with a port, like 127.0.0.1:8080";
    for arguments in [["check", "--listen", "localhost:8080"], ["demo", "--listen", "localhost:8080"]] {
        let done = run(folder.path(), &arguments);
        assert!(done.code == 2 && done.err.contains(sentence), "{done:?}");
    }
    let done = run(folder.path(), &["check", "--listen", "[::1]:8080", "--listen", "127.0.0.1:8080"]);
    assert_eq!(done.code, 0, "{done:?}");
}

#[test]
fn an_option_is_shown_only_where_it_does_something() {
    let folder = folder(GOOD);
    for command in [
        "keys new",
        "keys list",
        "keys new",
        "keys list",
        "keys stage",
        "keys retire",
        "denylist init",
        "authid inspect",
        "authid reseal",
        "authid revoke",
        "providers",
        "healthcheck",
    ] {
        let arguments: Vec<_> = command.split(' ').chain(["--help"]).collect();
        let help = run(folder.path(), &arguments).out;
        assert!(help.contains("--config") && !help.contains("--listen") && !help.contains("--public-url"), "{help}");
    }
}

#[test]
fn demo_names_the_cause_before_the_advice() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let temporary = tempfile::tempdir().unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = authseal(temporary.path(), &["demo", "--listen", &address]);
    let done = done(command.env("TMPDIR", temporary.path()).spawn().unwrap());
    let (cause, advice) = (done.err.find("in use").unwrap(), done.err.find("--listen").unwrap());
    assert!(done.code == 1 && cause < advice, "{done:?}");
}

#[test]
fn the_columns_of_the_services_are_as_wide_as_what_is_in_them() {
    let done = run(folder(GOOD).path(), &["providers"]);
    let heading = done.out.lines().next().unwrap();
    for column in ["NAME", "PROVIDER", "STATE"] {
        let at = heading.find(column).unwrap();
        let table = done.out.split("\n\n").next().unwrap();
        assert!(table.lines().count() > 8 && table.lines().all(|line| line.chars().count() <= 80), "{table}");
        for line in table.lines() {
            let cell: String = line.chars().skip(at - 2).take(3).collect();
            assert!(cell.starts_with("  ") && !cell.ends_with(' '), "{line}");
        }
    }
}

#[test]
fn a_provider_that_is_switched_off_is_shown_with_the_key_that_does_it() {
    let done = run(folder("[clients.dropbox]\nid = \"1234\"\nenabled = false\n").path(), &["providers"]);
    let line = done.out.lines().find(|line| line.starts_with("dropbox")).unwrap();
    assert!(line.ends_with("switched off"), "{line}");
    let done = run(folder("[clients.dropbox]\nid = \"1234\"\nenabled = false\n").path(), &["providers", "dropbox"]);
    assert!(done.out.contains("\n  clients.dropbox.enabled is false\n"), "{done:?}");
}

#[test]
fn inspect_says_what_an_authid_is() {
    let folder = ready(GOOD);
    let (authid, grant) = sealed(folder.path(), "onedrivev2");
    let done = run_with_input(folder.path(), &["authid", "inspect"], &format!("{authid}\n"));
    assert_eq!(done.code, 0, "{done:?}");
    let expected = format!(
        "service   OneDrive (onedrivev2)\nlogin id  {grant}\nepoch     1 (primary)\nlogin     2026-11-23T07:46:40Z\n\
         sealed    2026-11-23T10:00:00Z\nends      about 2027-02-21 (without a state store)\nrevoked   no\n"
    );
    assert_eq!(done.out, expected);
    fs::write(folder.path().join("denylist"), format!("authseal-denylist 1\ngrant {grant}\n")).unwrap();
    let done = run_with_input(folder.path(), &["authid", "inspect"], &authid);
    assert!(done.out.ends_with("revoked   yes, by a rule for its login\n"), "{done:?}");
}

#[test]
fn no_command_makes_the_state_folder_that_the_server_will_make() {
    let folder = ready(&format!("{GOOD}[state]\nstore = \"dir:var/state\"\n"));
    let (authid, _) = sealed(folder.path(), "gd");
    let before = run(folder.path(), &["check"]);
    assert_eq!(before.code, 0, "{}", before.err);
    assert!(before.out.contains("var/state: not there, the server will make it"), "{}", before.out);
    let json = run(folder.path(), &["check", "--json"]);
    assert!(json.out.contains("\"state_folder_to_be_made\":\"/"), "{}", json.out);
    run(folder.path(), &["keys", "stage"]);
    run(folder.path(), &["keys", "promote", "--force"]);
    run(folder.path(), &["keys", "retire", "1", "--force"]);
    run_with_input(folder.path(), &["authid", "inspect"], &authid);
    assert!(!folder.path().join("var").exists());
}

#[test]
fn a_state_folder_that_every_user_may_write_to_is_refused() {
    let folder = ready(&format!("{GOOD}[state]\nstore = \"dir:state\"\n"));
    let state = folder.path().join("state");
    fs::create_dir(&state).unwrap();
    for (mode, code) in [(0o700, 0), (0o770, 0), (0o777, 2), (0o703, 2)] {
        fs::set_permissions(&state, fs::Permissions::from_mode(mode)).unwrap();
        let done = run(folder.path(), &["check"]);
        assert_eq!(done.code, code, "{mode:o}: {}", done.err);
        assert_eq!(done.err.contains("every user of this machine can write to it"), code == 2, "{}", done.err);
        assert_eq!(fs::read_dir(&state).unwrap().count(), 0, "nothing is made in it");
    }
}

#[test]
fn inspect_says_nothing_of_an_authid_before_it_opens() {
    let (folder, other) = (ready(GOOD), ready(GOOD));
    let (authid, _) = sealed(other.path(), "googledrive");
    let inspect = |input: &str| {
        let done = run_with_input(folder.path(), &["authid", "inspect"], input);
        assert_eq!((done.code, done.out.as_str()), (1, ""), "{done:?}");
        assert!(input.trim().is_empty() || !done.err.contains(input), "{done:?}");
        done.err
    };
    assert!(inspect(&authid).contains("sealed with another server's key, or damaged"));
    assert!(inspect(&authid.replacen(":1:", ":2:", 1)).contains("epoch 2, which it names, is newer than all"));
    assert!(inspect("\n").contains("nothing came on standard input"));
    assert!(inspect("hunter2").contains("begins with `v3:`"));
    assert!(
        inspect("v2:googledrive:hunter2").contains("version 2, from another kind of server; it must be made again")
    );
    assert!(inspect(&format!("{}:hunter2", "0".repeat(32))).contains("version 1"));
}

/// A second key in the keyring of `folder`, which seals from now on.
fn rotate(folder: &Path) {
    let keys = fs::read_to_string(folder.join("keys.toml")).unwrap().replace("primary = 1", "primary = 2");
    fs::write(folder.join("keys.toml"), format!("{keys}\n{}", keyring::key(2))).unwrap();
}

/// A provider that answers every call alike; ends when dropped.
struct Provider {
    address: SocketAddr,
    calls: mpsc::Receiver<String>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Provider {
    /// Starts it and makes it that of `folder`'s service `example`.
    fn start(folder: &Path, status: &'static str, body: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, calls) = mpsc::channel();
        let thread = Some(thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let call = whole(&mut stream);
                if call.is_empty() {
                    break;
                }
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                let _ = stream.write_all((head + body).as_bytes());
                let _ = sender.send(call);
            }
        }));
        let tables = format!(
            "{GOOD}[clients.p]\nid = \"1\"\n[providers.p]\nname = \"Example\"\nrotation = \"none\"\n\
             refresh_token_days = 30\nauthorize_url = \"http://{address}/a\"\ntoken_url = \"http://{address}/t\"\n\
             revoke_url = \"http://{address}/r\"\nrevoke_ends_all_logins = true\n\
             withdraw_url = \"https://example.com/apps\"\n\
             [services.example]\nprovider = \"p\"\nname = \"Example Drive\"\nscopes = [\"files\"]\n"
        );
        fs::write(folder.join("authseal.toml"), tables).unwrap();
        Self { address, calls, thread }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        drop(TcpStream::connect(self.address)); // says nothing, which ends it
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

/// One request, head and body; empty if there is none.
fn whole(stream: &mut TcpStream) -> String {
    let (mut request, mut chunk) = (String::new(), [0; 4096]);
    loop {
        let length = stream.read(&mut chunk).unwrap_or(0);
        request.push_str(&String::from_utf8_lossy(&chunk[..length]));
        let ended = request.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            body.len() >= length.map_or(0, |length| length.parse().unwrap())
        });
        if length == 0 || ended {
            return request;
        }
    }
}

const TOKEN: &str = r#"{"access_token":"hunter3","expires_in":3600}"#;

#[test]
fn inspect_tests_an_authid_at_its_provider_and_fails_when_it_does_not_work() {
    let folder = ready(GOOD);
    let (authid, grant) = sealed(folder.path(), "example");
    let provider = Provider::start(folder.path(), "200 OK", TOKEN);
    let done = run_with_input(folder.path(), &["authid", "inspect", "--test"], &authid);
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{done:?}");
    assert!(done.out.ends_with("\ntest      It works: Example gave access just now.\n"), "{done:?}");
    assert!(done.out.contains("ends      about 2026-12-23\n") && !done.out.contains("hunter"), "{done:?}");
    assert!(provider.calls.recv().unwrap().contains("refresh_token=hunter2"));
    assert_eq!(run_with_input(folder.path(), &["authid", "inspect"], &authid).code, 0);
    assert!(provider.calls.try_recv().is_err(), "without the option nobody is asked");

    let _other = Provider::start(folder.path(), "400 Bad Request", r#"{"error":"invalid_grant"}"#);
    let done = run_with_input(folder.path(), &["authid", "inspect", "--test", "--json"], &authid);
    let told: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    let verdict = told["test"]["verdict"].as_str().unwrap();
    assert_eq!((done.code, done.err), (1, format!("authseal: {verdict}\n")));
    assert!(verdict.contains("no longer accepts this login"), "{verdict}");
    let expected = serde_json::json!({
        "service": "example", "grant": grant.to_string(), "login": grant.to_string(), "epoch": 1, "epoch_state": "primary",
        "login_at": "2026-11-23T07:46:40Z", "sealed_at": "2026-11-23T10:00:00Z", "ends_at": "2026-12-23T10:00:00Z",
        "denied_by": null, "test": { "works": false, "verdict": verdict },
    });
    assert_eq!(told, expected);
}

#[test]
fn reseal_prints_the_same_login_under_the_primary_and_says_beside_it_what_changed() {
    let folder = ready(GOOD);
    let (old, grant) = sealed(folder.path(), "onedrivev2");
    rotate(folder.path());
    let done = run_with_input(folder.path(), &["authid", "reseal"], &old);
    assert_eq!(done.code, 0, "{done:?}");
    let new = done.out.strip_suffix('\n').unwrap();
    assert!(new.starts_with("v3:onedrivev2:2:") && !done.err.contains("v3:"), "{done:?}");
    let sentence = format!("login {grant}: sealed under epoch 2 now; the AuthID under epoch 1 stays good\n");
    assert!(done.err.starts_with(&sentence), "{done:?}");
    let code = done.err.lines().nth(1).unwrap().strip_prefix("its revoke code: ").unwrap();
    let inspected = run_with_input(folder.path(), &["authid", "inspect"], new);
    assert!(inspected.out.contains(&format!("login id  {grant}\nepoch     2 (primary)\n")), "{inspected:?}");

    let again = run_with_input(folder.path(), &["authid", "reseal", "--json"], new);
    let told: serde_json::Value = serde_json::from_str(&again.out).unwrap();
    assert_eq!((&told["epoch"], &told["epoch_before"], &told["revoke_code"]), (&2.into(), &2.into(), &code.into()));
    assert!(told["authid"].as_str().is_some_and(|authid| authid != new) && again.err.is_empty(), "{again:?}");

    let revoked = run_with_input(folder.path(), &["authid", "revoke"], code);
    assert_eq!(revoked.code, 0, "{revoked:?}");
    for authid in [&old, new] {
        let refused = run_with_input(folder.path(), &["authid", "reseal"], authid);
        assert_eq!((refused.code, refused.out.as_str()), (1, ""), "{refused:?}");
        assert!(refused.err.contains("revoked, by a rule for its login; its owner can log in again"), "{refused:?}");
    }
}

#[test]
fn revoke_writes_its_line_and_goes_to_the_provider_only_when_told() {
    let folder = ready(GOOD);
    let (authid, grant) = sealed(folder.path(), "example");
    let provider = Provider::start(folder.path(), "200 OK", "{}");
    let line = || {
        let list = fs::read_to_string(folder.path().join("denylist")).unwrap();
        list.lines().filter(|line| line.starts_with(&format!("grant {grant} through 1 at 20"))).count()
    };
    let done = run_with_input(folder.path(), &["authid", "revoke"], &authid);
    let told = "withdrawn at Example: no, that was not asked for; its owner can do it at https://example.com/apps\n";
    let expected = format!("login id: {grant}\nrefused by this server: yes, durably\n{told}");
    assert_eq!((done.code, done.out, done.err.as_str(), line()), (0, expected, "", 1));
    assert!(provider.calls.try_recv().is_err());

    let done = run_with_input(folder.path(), &["authid", "revoke", "--at-provider", "--json"], &authid);
    let told: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    let expected = serde_json::json!({
        "revoked": true, "already": true, "grant": grant.to_string(), "login": grant.to_string(), "service": "example", "provider": "done",
        "withdraw_url": "https://example.com/apps",
    });
    assert_eq!((done.code, told, line()), (0, expected, 1), "{}", done.err);
    assert!(provider.calls.recv().unwrap().starts_with("POST /r "));

    let _other = Provider::start(folder.path(), "400 Bad Request", "{\"error\":\"nonsense\"}");
    let done = run_with_input(folder.path(), &["authid", "revoke", "--at-provider"], &authid);
    assert!(done.out.contains("withdrawn at Example: failed") && done.code == 1, "{done:?}");
    assert!(done.err.contains("refused here, but the storage provider did not end it"), "{done:?}");
}

#[test]
fn revoke_says_what_it_cannot_take_and_what_it_cannot_write() {
    let folder = ready(GOOD);
    let (authid, grant) = sealed(folder.path(), "onedrivev2");
    let revoke = |input: &str| run_with_input(folder.path(), &["authid", "revoke"], input);
    for (input, sentence) in [
        ("hunter2", "begins with `v3:`"),
        ("revoke:onedrivev2:1:hunter2", "not a revoke code of this server, or mistyped"),
        (
            "revoke:onedrivev2:9:00000000-00000000-00000000-00000000-00000000-00000000",
            "epoch 9, which it names, is newer",
        ),
    ] {
        let done = revoke(input);
        assert_eq!((done.code, done.out.as_str()), (1, ""), "{done:?}");
        assert!(done.err.contains(sentence) && !done.err.contains("hunter2"), "{done:?}");
    }
    let inspect = run_with_input(folder.path(), &["authid", "inspect"], "revoke:onedrivev2:1:x");
    assert!(inspect.err.contains("a revoke code, not an AuthID; `authseal authid revoke` takes it"), "{inspect:?}");
    fs::create_dir(folder.path().join("denylist.lock")).unwrap(); // where the lock must be a file
    let done = revoke(&authid);
    assert!(
        done.code == 1 && done.out.contains(&format!("login id: {grant}\nrefused by this server: no\n")),
        "{done:?}"
    );
    assert!(done.err.contains("the denylist could not be written: ") && done.err.contains("denylist.lock"), "{done:?}");
}

#[test]
fn an_authid_on_the_command_line_is_refused_without_being_printed() {
    let folder = ready(GOOD);
    for arguments in [
        &["authid", "inspect", "v3:hunter2"][..],
        &["authid", "inspect", "--authid=hunter2", "x"],
        &["authid", "reseal", "--json", "v3:hunter2"],
        &["authid", "revoke", "revoke:hunter2"],
    ] {
        let done = run(folder.path(), arguments);
        assert_eq!((done.code, done.out.as_str()), (2, ""), "{done:?}");
        assert!(!done.err.contains("hunter2") && done.err.contains("on standard input"), "{done:?}");
    }
    let help = run(folder.path(), &["authid", "inspect", "--help"]).out;
    assert!(!help.contains("ARGUMENT") && help.contains("Examples:"), "{help}");
}

#[test]
fn healthcheck_asks_the_server_that_runs() {
    let folder = ready(GOOD);
    let served = Served::start(folder.path(), &[]);
    let url = format!("http://{}", served.address);
    let done = run(folder.path(), &["healthcheck", "--url", &url]);
    assert_eq!((done.code, done.out.as_str()), (0, "ready\n"), "{done:?}");
}

#[test]
fn healthcheck_asks_where_the_configuration_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let folder = folder(&format!("listen = [\"0.0.0.0:{port}\"]\n"));
    let server = thread::spawn(move || answer(&mut listener.accept().unwrap().0));
    let done = run(folder.path(), &["healthcheck"]);
    assert_eq!((done.code, done.out.as_str()), (0, "ready\n"), "{done:?}");
    assert!(server.join().unwrap().starts_with("GET /readyz HTTP/1.1"));
}

/// Answers one request with 200; gives its head.
fn answer(stream: &mut TcpStream) -> String {
    let mut head = [0; 4096];
    let length = stream.read(&mut head).unwrap();
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
    String::from_utf8_lossy(&head[..length]).into_owned()
}

#[test]
fn healthcheck_names_its_url_once_and_the_cause() {
    let folder = folder(GOOD);
    let free = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let done = run(folder.path(), &["healthcheck", "--url", &format!("http://{free}")]);
    let sentence = format!(
        "authseal: http://{free}/readyz does not answer (Connection refused (os error 111)); is authseal running, and is --url right?\n"
    );
    assert_eq!((done.code, done.err), (1, sentence));
    for bad in ["127.0.0.1:8080", "localhost:8080", "ftp://127.0.0.1"] {
        let done = run(folder.path(), &["healthcheck", "--url", bad]);
        assert!(done.code == 2 && done.err.contains("must be like http://127.0.0.1:8080"), "{done:?}");
    }
}

#[test]
fn a_terminated_server_says_so_first_and_then_ends_well() {
    let folder = ready(&GOOD.replace("drain_seconds = 0", "drain_seconds = 2"));
    let mut served = Served::start(folder.path(), &[]);
    assert!(served.ask("/readyz").starts_with("HTTP/1.1 200"));
    served.signal(Signal::TERM);
    while !served.ask("/readyz").starts_with("HTTP/1.1 503") {}
    let answer = served.ask("/healthz");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(served.end(), Some(0));
}

#[test]
fn a_terminated_server_answers_those_who_wait() {
    let folder = ready(GOOD);
    let (authid, _) = sealed(folder.path(), "example");
    let provider = Provider::start(folder.path(), "503 Service Unavailable", "busy");
    let mut served = Served::start(folder.path(), &[]);
    let ask = |()| {
        let mut client = TcpStream::connect(&served.address).unwrap();
        let request = format!("GET /refresh HTTP/1.1\r\nhost: localhost\r\nx-authid: {authid}\r\n\r\n");
        client.write_all(request.as_bytes()).unwrap();
        client
    };
    let clients = [(); 5].map(ask);
    // One request by itself is two calls.
    for _ in 0..3 {
        provider.calls.recv_timeout(Duration::from_secs(20)).unwrap();
    }
    let begun = Instant::now();
    served.signal(Signal::TERM);
    for mut client in clients {
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nx-reason: "), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
    assert_eq!(served.end(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(15), "it did not wait: {:?}", begun.elapsed());
}

#[test]
fn an_interrupted_server_waits_for_nothing() {
    let folder = ready(&GOOD.replace("drain_seconds = 0", "drain_seconds = 60"));
    for signals in [&[Signal::INT][..], &[Signal::TERM, Signal::INT]] {
        let mut served = Served::start(folder.path(), &[]);
        for signal in signals {
            served.signal(*signal);
        }
        assert_eq!(served.end(), Some(0));
    }
}
