//! A Redis of one test's own; it ends with the test. `src/` has it too, by path.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

pub(crate) struct RedisServer {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

#[allow(dead_code, reason = "not every test needs all of it")]
impl RedisServer {
    pub(crate) fn start(settings: &[&str]) -> Self {
        // The port could be taken in between; then it is tried again with another.
        (0..20).find_map(|_| Self::try_start(settings)).expect("redis-server starts (Debian package redis-server)")
    }

    fn try_start(settings: &[&str]) -> Option<Self> {
        let mut port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if let Some(at) = settings.iter().position(|setting| *setting == "--port") {
            port = settings[at + 1].parse().unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(folder.path());
        let mut child = command.args(["--save", ""]).args(settings).stdout(Stdio::piped()).spawn().ok()?;
        let ready = BufReader::new(child.stdout.take()?)
            .lines()
            .map_while(Result::ok)
            .any(|line| line.contains("Ready to accept connections"));
        let server = Self { child, port, _folder: folder };
        ready.then_some(server)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Stops it, or lets it continue.
    pub(crate) fn stop(&self, stop: bool) {
        let signal = if stop { rustix::process::Signal::STOP } else { rustix::process::Signal::CONT };
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
