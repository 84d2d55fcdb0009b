//! From one process to the next without a gap: sockets that a service manager keeps, or that a server hands to its
//! successor; and what a service manager is told meanwhile.

use crate::keyring::key;
use crate::reload::{authid, refresh, with_provider};
use crate::{GOOD, Served, authseal, done, empty, ready};
use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(40);
const TAKEN_OVER: &str = "SIGUSR2: a new process has taken over; ending, as soon as everything under way is done";
const CONTINUES: &str = "no new process takes over, this one continues";

/// A process that is nobody's child here; it ends when this is dropped.
struct Process(Pid);

impl Process {
    fn numbered(number: u64) -> Self {
        Self(Pid::from_raw(i32::try_from(number).unwrap()).unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

fn until(done: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "it does not happen");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Asks for an access token by one connection for each request, or by one as long as the server keeps it. Whether it does.
fn ask(stream: &mut TcpStream, authid: &str, keep: bool) -> bool {
    let connection = if keep { "keep-alive" } else { "close" };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET /refresh HTTP/1.1\r\nhost: localhost\r\nx-authid: {authid}\r\nconnection: {connection}\r\n\r\n"
    )
    .expect("it takes the request");
    let mut reader = BufReader::new(stream);
    let (mut length, mut close, mut status) = (0, false, String::new());
    reader.read_line(&mut status).expect("it answers");
    assert!(status.starts_with("HTTP/1.1 200"), "{status:?}");
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end().to_ascii_lowercase();
        match line.split_once(": ") {
            Some(("content-length", value)) => length = value.parse().unwrap(),
            Some(("connection", value)) => close = value == "close",
            Some(_) => {}
            None => break,
        }
    }
    reader.read_exact(&mut vec![0; length]).expect("it answers to the end");
    keep && !close
}

/// Asks all the time, while `change` has its turns: until there were enough of both. All have to be answered well.
fn none_is_lost(address: &str, authid: &str, turns: usize, mut change: impl FnMut()) {
    let wanted = if std::env::var_os("TESTS_FULL").is_some() { 100_000 } else { 3_000 };
    let (over, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    /// Also when a turn fails, so that the others end.
    struct Ends<'a>(&'a AtomicBool);
    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Release);
        }
    }
    thread::scope(|scope| {
        for keep in [true, true, false, false] {
            let (over, count) = (&over, &count);
            scope.spawn(move || {
                // Nor do the others ask in vain when one finds a fault.
                let _ends = Ends(over);
                let mut kept = None;
                while !over.load(Ordering::Acquire) {
                    let mut stream = kept.take().unwrap_or_else(|| TcpStream::connect(address).expect("it listens"));
                    if ask(&mut stream, authid, keep) {
                        kept = Some(stream);
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let _ends = Ends(&over);
        for turn in 1..=turns {
            change();
            while count.load(Ordering::Relaxed) < wanted * turn / turns && !over.load(Ordering::Acquire) {
                thread::sleep(Duration::from_millis(5));
            }
        }
    });
    assert!(count.into_inner() >= wanted);
}

#[test]
fn a_server_hands_over_to_a_new_process_and_loses_no_request() {
    let folder = with_provider(&format!("primary = 1\n{}", key(1)));
    let mut served = Served::start(folder.path(), &[]);
    let authid = authid(folder.path(), 1);
    let mut now: Option<Process> = None;
    none_is_lost(&served.address.clone(), &authid, 3, || {
        match &now {
            None => served.signal(Signal::USR2),
            Some(process) => kill_process(process.0, Signal::USR2).unwrap(),
        }
        let next = Process::numbered(served.logged(TAKEN_OVER)["process"].as_u64().unwrap());
        served.logged("ended");
        if let Some(before) = now.replace(next) {
            until(|| test_kill_process(before.0).is_err() || is_zombie(before.0));
        }
    });
    assert_eq!(served.end(), Some(0));
    let last = now.take().unwrap();
    // No descriptor is left to those that came between.
    let sockets = fs::read_dir(format!("/proc/{}/fd", last.0.as_raw_nonzero())).unwrap();
    // One that was listed may be closed by now.
    let listening = sockets.filter_map(|file| fs::read_link(file.unwrap().path()).ok()).filter(|link| listens(link));
    // The one in use, and the one to hand over, of the public and of the admin listener.
    assert_eq!(listening.count(), 4);
    // Nobody else has the sockets, so it ends as one that opened them itself.
    kill_process(last.0, Signal::TERM).unwrap();
    until(|| served.ask("/readyz").ends_with("draining\n"));
    served.logged("ended");
    assert!(TcpStream::connect(&served.address).is_err());
}

/// Whether it has ended, and whoever takes in orphans here has not noticed.
fn is_zombie(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    stat.is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z')))
}

/// Whether it is a TCP socket that listens, by its inode.
fn listens(link: &Path) -> bool {
    let inode = link.to_string_lossy().replace("socket:[", "").replace(']', "");
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().any(|line| {
        let columns: Vec<_> = line.split_whitespace().collect();
        columns.get(3) == Some(&"0A") && columns.get(9) == Some(&inode.as_str())
    })
}

#[test]
fn a_new_process_that_does_not_come_to_serve_is_given_up_and_the_old_one_continues() {
    let folder = ready(GOOD);
    let program = folder.path().join("program");
    symlink(env!("CARGO_BIN_EXE_authseal"), &program).unwrap();
    let mut served = Served::by(&mut empty(folder.path(), program.to_str().unwrap(), &["serve"]));
    let given_up = |why: &str| {
        served.signal(Signal::USR2);
        let end = Instant::now() + PATIENCE;
        loop {
            // What the other one says of itself is no JSON.
            let line = served.log.recv_timeout(end.saturating_duration_since(Instant::now())).unwrap();
            if line.contains(CONTINUES) {
                assert!(line.contains(why), "{line}");
                break;
            }
        }
        assert!(served.ask("/readyz").starts_with("HTTP/1.1 200"));
    };
    let replace = |script: &str| {
        fs::remove_file(&program).unwrap();
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    };
    fs::write(folder.path().join("authseal.toml"), "public_url = 7\n").unwrap();
    given_up("it ended: exit status: 2");
    fs::write(folder.path().join("authseal.toml"), GOOD).unwrap();
    replace("#!/bin/sh\necho $$ > process\nexec sleep 100\n");
    given_up("it was not ready after 10 seconds, and is killed");
    let process = fs::read_to_string(folder.path().join("process")).unwrap();
    let process = Process::numbered(process.trim().parse().unwrap());
    assert!(test_kill_process(process.0).is_err(), "it is gone");
    std::mem::forget(process);
    fs::remove_file(&program).unwrap();
    given_up("No such file or directory");
    symlink(env!("CARGO_BIN_EXE_authseal"), &program).unwrap();
    served.signal(Signal::USR2);
    let _next = Process::numbered(served.logged(TAKEN_OVER)["process"].as_u64().unwrap());
    assert_eq!(served.end(), Some(0));
    assert!(served.ask("/readyz").starts_with("HTTP/1.1 200"));
}

/// Starts with these sockets, as systemd does it.
fn with_sockets<'a>(command: &'a mut Command, names: &str, sockets: Vec<OwnedFd>) -> &'a mut Command {
    command.env("LISTEN_FDS", sockets.len().to_string()).env("LISTEN_FDNAMES", names);
    let mappings = (3..).zip(sockets).map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd });
    command.fd_mappings(mappings.collect()).unwrap()
}

#[test]
fn while_somebody_keeps_the_socket_a_restart_loses_no_request() {
    let folder = with_provider(&format!("primary = 1\n{}", key(1)));
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let start = || {
        let mut command = authseal(folder.path(), &["serve"]);
        Served::by(with_sockets(&mut command, "public", vec![socket.try_clone().unwrap().into()]))
    };
    let mut served = start();
    assert_eq!(served.address, socket.local_addr().unwrap().to_string());
    none_is_lost(&served.address.clone(), &authid(folder.path(), 1), 2, || {
        served.signal(Signal::TERM);
        assert_eq!(served.end(), Some(0));
        served = start();
    });
}

/// What is answered at a path.
fn by_path(path: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn sockets_are_for_whom_their_names_say_and_may_be_paths() {
    let folder = ready(&format!("{GOOD}[admin]\nlisten = [\"192.0.2.1:1\"]\n"));
    let [public, admin] = ["public.sock", "admin.sock"].map(|name| folder.path().join(name));
    let sockets = vec![
        UnixListener::bind(&admin).unwrap().into(),
        TcpListener::bind("127.0.0.1:0").unwrap().into(),
        UnixListener::bind(&public).unwrap().into(),
    ];
    let mut command = authseal(folder.path(), &["serve"]);
    let served = Served::by(with_sockets(&mut command, "admin:authseal.socket:public", sockets));
    assert!(served.ask("/readyz").ends_with("ready\n"));
    assert!(by_path(&public, "GET /readyz").ends_with("ready\n"));
    assert!(by_path(&public, "GET /metrics").starts_with("HTTP/1.1 404"));
    assert!(by_path(&admin, "GET /metrics").starts_with("HTTP/1.1 200"));
    // Who comes by a path is on this machine, so what a proxy says counts where 127.0.0.1 is one.
    assert!(by_path(&admin, "GET /readyz").contains("\"ready\":true"));
}

#[test]
fn a_socket_that_is_not_understood_ends_the_start_with_a_sentence() {
    let folder = ready(GOOD);
    let listener = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = TcpStream::connect(other.local_addr().unwrap()).unwrap();
    for (name, socket, says) in [
        ("metrics", listener(), "`metrics` which is unknown: FileDescriptorName must be public, redirect or admin"),
        ("public", UnixDatagram::unbound().unwrap().into(), "`public` that is neither a TCP nor a Unix stream socket"),
        ("public", connected.into(), "`public` that does not listen: Accept= must be no"),
        ("redirect", listener(), "there is no [tls] to send visitors to"),
    ] {
        let mut command = authseal(folder.path(), &["serve"]);
        let done = done(with_sockets(&mut command, name, vec![socket]).spawn().unwrap());
        assert!(done.code != 0 && done.err.contains(says), "{done:?}");
    }
}

#[test]
fn systemd_starts_it_when_somebody_connects() {
    let folder = with_provider(&format!("primary = 1\n{}", key(1)));
    let path = folder.path().join("a.sock");
    let listen = format!("--listen={}", path.display());
    let arguments = [listen.as_str(), "--fdname=public", env!("CARGO_BIN_EXE_authseal"), "serve"];
    let Ok(mut child) = empty(folder.path(), "systemd-socket-activate", &arguments).spawn() else {
        return eprintln!("systemd-socket-activate is not installed");
    };
    let process = Process(Pid::from_child(&child));
    until(|| path.exists());
    assert!(by_path(&path, "GET /readyz").ends_with("ready\n"));
    drop(process);
    child.wait().unwrap();
}

#[test]
fn a_service_manager_is_told_how_the_server_does() {
    let folder = ready(GOOD);
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = || {
        let mut bytes = [0; 1024];
        let length = manager.recv(&mut bytes).expect("it says something");
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    let beyond_the_watchdog = || loop {
        let said = told();
        if said != "WATCHDOG=1\n" {
            return said;
        }
    };
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "2000000")];
    let mut served = Served::start(folder.path(), &variables);
    assert!(beyond_the_watchdog().starts_with("READY=1\n"));
    (0..3).for_each(|_| assert_eq!(told(), "WATCHDOG=1\n"));
    served.signal(Signal::HUP);
    let reloading = beyond_the_watchdog();
    let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().lines().next().unwrap();
    assert!(since.parse::<u64>().unwrap() > 0);
    assert!(beyond_the_watchdog().starts_with("READY=1\n"));
    served.signal(Signal::USR2);
    let next = Process::numbered(served.logged(TAKEN_OVER)["process"].as_u64().unwrap());
    // The new one is heard as soon as the manager knows of it; a real one does not listen before.
    let number = format!("MAINPID={}\n", next.0.as_raw_nonzero());
    while !beyond_the_watchdog().starts_with(&number) {}
    assert_eq!(served.end(), Some(0));
    kill_process(next.0, Signal::HUP).unwrap();
    while !beyond_the_watchdog().starts_with("RELOADING=1\n") {}
    assert!(beyond_the_watchdog().starts_with("READY=1\n"));
    kill_process(next.0, Signal::TERM).unwrap();
    while !beyond_the_watchdog().starts_with("STOPPING=1\n") {}
    let log: Vec<_> = served.log.iter().collect();
    assert!(!log.iter().any(|line| line.contains("could not be told")), "{log:?}");
}

#[test]
fn one_that_was_started_by_nobody_in_particular_tells_nobody() {
    let folder = with_provider(&format!("primary = 1\n{}", key(1)));
    let served = Served::start(folder.path(), &[("LISTEN_PID", "1"), ("LISTEN_FDS", "1"), ("WATCHDOG_PID", "1")]);
    assert!(refresh(&served.address, &authid(folder.path(), 1)).starts_with("HTTP/1.1 200"));
}
