//! Listening sockets that this process did not open: systemd hands them over when it starts a service (socket activation,
//! sd_listen_fds(3)), and in the same way a server hands its own to its successor. Who else has them keeps them open, so
//! no client is refused between one process and the next.
//!
//! What a socket is for is said by its name. One that says something unknown is refused instead of guessed at.

use rustix::net::sockopt;
use std::fmt;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};

/// The name of the socket on which a successor says that it is ready.
const PREDECESSOR: &str = "predecessor";
/// The same, where somebody else than the predecessor keeps the listeners open.
const PREDECESSOR_KEPT: &str = "predecessor-kept";
/// What is said on it.
pub(crate) const READY: &[u8] = b"READY=1";

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Everybody.
    Public,
    /// Visitors by plain http, who are sent to https.
    Redirect,
    /// Operators.
    Admin,
}

impl Purpose {
    /// Its name among sockets that are handed over.
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Redirect => "redirect",
            Self::Admin => "admin",
        }
    }

    /// By its name; those that systemd gives where no one is set are for everybody.
    fn named(name: &str) -> Option<Self> {
        match name {
            "public" | "authseal.socket" | "unknown" | "" => Some(Self::Public),
            "redirect" => Some(Self::Redirect),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }
}

/// A socket that listens.
#[derive(Debug)]
pub enum Listener {
    /// At an address.
    Tcp(TcpListener),
    /// At a path. Who may open it is somebody on this machine: a connection counts as one from 127.0.0.1.
    Unix(UnixListener),
}

impl Listener {
    /// The same socket once more.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn another(&self) -> io::Result<OwnedFd> {
        self.as_fd().try_clone_to_owned()
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

/// Where it listens: `127.0.0.1:8080`, `unix:/run/authseal.sock`.
impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => address.fmt(f),
                Err(_) => f.write_str("unknown"),
            },
            Self::Unix(listener) => {
                let address = listener.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                write!(f, "unix:{}", path.map_or("unnamed".into(), |path| path.to_string_lossy()))
            }
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

/// The sockets of a server, for its successor.
pub struct Sockets {
    all: Vec<(Purpose, OwnedFd)>,
    /// Somebody else has those for everybody too.
    kept: bool,
}

impl Sockets {
    /// These; see [`Handed::are_kept`].
    pub fn new(all: Vec<(Purpose, OwnedFd)>, kept: bool) -> Self {
        Self { all, kept }
    }

    /// All of them once more with their names, and behind them `ready`, on which the successor says that it is.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub(crate) fn with(&self, ready: UnixDatagram) -> io::Result<(Vec<&'static str>, Vec<OwnedFd>)> {
        let mut names: Vec<_> = self.all.iter().map(|(purpose, _)| purpose.name()).collect();
        let mut sockets = self.all.iter().map(|(_, socket)| socket.try_clone()).collect::<io::Result<Vec<_>>>()?;
        names.push(if self.kept { PREDECESSOR_KEPT } else { PREDECESSOR });
        sockets.push(ready.into());
        Ok((names, sockets))
    }
}

/// The sockets that were handed over to this process.
#[derive(Default)]
pub struct Handed {
    listeners: Vec<(Purpose, Listener)>,
    predecessor: Option<UnixDatagram>,
    /// By the predecessor, which had them for itself.
    for_good: bool,
}

impl Handed {
    /// What this process was started with. To be asked once, before there are threads.
    ///
    /// # Errors
    /// Names what is no socket that listens, and what has an unknown name.
    pub fn from_environment() -> io::Result<Self> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut given = listenfd::ListenFd::from_env();
        let mut handed = Self::default();
        for at in 0..given.len() {
            let name = names.next().unwrap_or_default();
            if [PREDECESSOR, PREDECESSOR_KEPT].contains(&name) {
                handed.for_good = name == PREDECESSOR;
                handed.predecessor = given.take_unix_datagram(at)?;
                continue;
            }
            let refused = |why: &str| {
                io::Error::other(format!("a socket was handed over under the name `{}` {why}", name.escape_default()))
            };
            let purpose = Purpose::named(name)
                .ok_or_else(|| refused("which is unknown: FileDescriptorName must be public, redirect or admin"))?;
            let listener = match given.take_tcp_listener(at) {
                Ok(listener) => listener.map(Listener::Tcp),
                Err(_) => given
                    .take_unix_listener(at)
                    .map_err(|_| refused("that is neither a TCP nor a Unix stream socket"))?
                    .map(Listener::Unix),
            };
            let listener = listener.ok_or_else(|| refused("that is taken already"))?;
            if !sockopt::socket_acceptconn(&listener).unwrap_or_default() {
                return Err(refused("that does not listen: Accept= must be no"));
            }
            handed.listeners.push((purpose, listener));
        }
        Ok(handed)
    }

    /// Takes those for `purpose`.
    pub fn take(&mut self, purpose: Purpose) -> Vec<Listener> {
        self.listeners.extract_if(.., |(its, _)| *its == purpose).map(|(_, listener)| listener).collect()
    }

    /// Whether somebody keeps the listeners for everybody open when this process ends.
    pub fn are_kept(&self) -> bool {
        !self.for_good && self.listeners.iter().any(|(purpose, _)| *purpose == Purpose::Public)
    }

    /// Who wants to know that this process is ready.
    pub fn predecessor(&mut self) -> Option<UnixDatagram> {
        self.predecessor.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_purpose_is_found_by_its_name_and_by_no_other() {
        for purpose in [Purpose::Public, Purpose::Redirect, Purpose::Admin] {
            assert_eq!(Purpose::named(purpose.name()), Some(purpose));
        }
        for name in ["Admin", "admin.socket", "public ", "authseal-admin.socket", PREDECESSOR] {
            assert_eq!(Purpose::named(name), None, "{name}");
        }
    }

    #[test]
    fn a_listener_says_where_it_listens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.sock");
        let unix = Listener::Unix(UnixListener::bind(&path).unwrap());
        assert_eq!(unix.to_string(), format!("unix:{}", path.display()));
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = tcp.local_addr().unwrap().to_string();
        assert_eq!(Listener::Tcp(tcp).to_string(), address);
    }
}
