//! Four equal requests within milliseconds: .NET sends one again, at once and three times, when its connection ends before
//! the first byte of an answer. At services whose refresh tokens work once, and with servers that are killed meanwhile.

use crate::emulator::{Emulator, Profile};
use crate::redis_server::RedisServer;
use crate::rotation::{log_in, records, spent};
use crate::spawn::{Answer, PUBLIC_URL, TestApp, spawn_at, until};
use authseal::clock::Clock;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use url::Url;

const SOON: Duration = Duration::from_secs(20);

/// The built server, as a process of its own.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(folder: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_authseal"));
        command.arg("serve").current_dir(folder).env_clear().stderr(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = log.find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(&line).ok()?;
            (line["message"] == "listening").then(|| line["address"].as_str().unwrap().parse().unwrap())
        });
        std::thread::spawn(move || log.for_each(drop));
        Self { child, address: address.expect("it listens") }
    }

    /// A request on a connection of its own, not waiting for an answer.
    fn send(&self, authid: &str) -> TcpStream {
        let host = Url::parse(PUBLIC_URL).unwrap();
        let host = host.host_str().unwrap();
        let mut connection = TcpStream::connect(self.address).unwrap();
        let request = format!("GET /refresh HTTP/1.1\r\nHost: {host}\r\nX-AuthID: {authid}\r\n\r\n");
        connection.write_all(request.as_bytes()).unwrap();
        connection
    }

    /// A request and its answer.
    async fn refresh(&self, authid: &str) -> Answer {
        let request = crate::http::client().get(format!("http://{}/refresh", self.address));
        Answer::of(request.header("X-AuthID", authid).send().await.unwrap()).await
    }
}

impl Drop for Process {
    /// By SIGKILL.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A provider, and the folder of a server where somebody logged in two hours ago.
async fn logged_in(who: Profile, store: &str) -> (Emulator, TestApp, String) {
    let (emulator, clock) = (Emulator::start(who), Clock::system());
    clock.step(-7200);
    let tables = format!("[state]\nstore = \"{store}\"\n[refresh]\nwait_seconds = 20\n{}", emulator.provider_toml());
    let app = spawn_at(&tables, clock);
    let authid = log_in(&emulator, &app).await;
    (emulator, app, authid)
}

#[tokio::test]
async fn four_requests_whose_connections_are_cut_are_one_call_and_cost_no_login() {
    for who in [Profile::jottacloud(), Profile::box_com(), Profile::google(), Profile::microsoft()] {
        let (emulator, app, authid) = logged_in(who, "dir:state").await;
        let server = Process::start(app.dir.path());
        emulator.hold();
        let before = spent(&emulator).len();
        // Cut at once, cut when the provider is being asked, and one that stays.
        drop((server.send(&authid), server.send(&authid)));
        let third = server.send(&authid);
        until(SOON, async || spent(&emulator).len() == before + 1).await;
        drop(third);
        let mut fourth = server.send(&authid);
        emulator.release();
        let (mut answer, mut piece) = (String::new(), [0; 4096]);
        while !answer.ends_with('}') {
            let length = fourth.read(&mut piece).unwrap();
            assert_ne!(length, 0, "{answer}");
            answer.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let token = server.refresh(&authid).await.access_token();
        assert!(answer.contains(&token) && emulator.use_access_token(&token), "{}", who.service);
        assert_eq!(spent(&emulator).len(), before + 1, "{}", who.service);
    }
}

/// Kills a server as soon as the store holds what the provider gave, while nobody has got it, and starts another.
async fn killed_after_keeping(emulator: &Emulator, app: &TestApp, authid: &str, generation: impl Fn() -> Option<u64>) {
    assert_eq!(generation(), Some(0));
    let server = Process::start(app.dir.path());
    emulator.hold();
    drop([(); 4].map(|()| server.send(authid)));
    until(SOON, async || spent(emulator).len() == 1).await;
    emulator.release();
    until(SOON, async || generation() == Some(1)).await;
    drop(server);
    let server = Process::start(app.dir.path());
    drop([(); 3].map(|()| server.send(authid)));
    let token = server.refresh(authid).await.access_token();
    assert!(emulator.use_access_token(&token));
    assert_eq!(spent(emulator).len(), 1, "nothing is spent twice");
}

#[tokio::test]
async fn a_command_that_is_told_to_end_keeps_what_the_provider_gives() {
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let (emulator, app, authid) = logged_in(Profile::jottacloud(), "dir:state").await;
        emulator.hold();
        let mut command = Command::new(env!("CARGO_BIN_EXE_authseal"));
        command.args(["authid", "inspect", "--test"]).current_dir(app.dir.path()).env_clear();
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(authid.as_bytes()).unwrap();
        until(SOON, async || spent(&emulator).len() == 1).await;
        kill_process(Pid::from_child(&child), signal).unwrap();
        let mut told = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let waits = told.any(|line| line.contains("it is waited for"));
        emulator.release();
        let ended = child.wait().unwrap();
        assert!(waits && ended.code() == Some(1), "{signal:?}: {ended}");
        let token = Process::start(app.dir.path()).refresh(&authid).await.access_token();
        assert!(emulator.use_access_token(&token), "{signal:?}");
        assert_eq!(spent(&emulator).len(), 1, "{signal:?}");
    }
}

/// How many times a refresh token has changed, from the head of its record.
fn generation(record: &[u8]) -> Option<u64> {
    record.get(5..13).map(|bytes| u64::from_be_bytes(bytes.try_into().unwrap()))
}

#[tokio::test]
async fn a_server_that_is_killed_after_it_kept_the_answer_costs_no_login_with_a_folder() {
    for who in [Profile::jottacloud(), Profile::box_com()] {
        let (emulator, app, authid) = logged_in(who, "dir:state").await;
        // The end of the entry is before it.
        let kept = || generation(fs::read(records(&app).first()?).ok()?.get(8..)?);
        killed_after_keeping(&emulator, &app, &authid, kept).await;
    }
}

#[tokio::test]
async fn a_server_that_is_killed_after_it_kept_the_answer_costs_no_login_with_redis() {
    let redis = RedisServer::start(&[]);
    let (emulator, app, authid) = logged_in(Profile::jottacloud(), &format!("redis://{}/0", redis.address())).await;
    let mut connection = TcpStream::connect(redis.address()).unwrap();
    let mut ask = move |command: String| {
        connection.write_all(command.as_bytes()).unwrap();
        let mut answer = [0; 4096];
        let length = connection.read(&mut answer).unwrap();
        answer[..length].to_vec()
    };
    let keys = String::from_utf8(ask("KEYS *records*\r\n".to_owned())).unwrap();
    let key = keys.lines().find(|line| line.contains("records")).unwrap_or_else(|| panic!("{keys}")).to_owned();
    let ask = std::cell::RefCell::new(ask);
    let kept = || {
        let answer = (ask.borrow_mut())(format!("GETRANGE {key} 0 12\r\n"));
        generation(answer.strip_prefix(b"$13\r\n")?)
    };
    killed_after_keeping(&emulator, &app, &authid, kept).await;
}
