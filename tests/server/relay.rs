//! A relay for TCP before a server of a test, which swallows, delays and cuts bytes: the network's faults that a server
//! itself cannot play. Plain threads, so that it fits every test; `src/` has it too, by path.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What is swallowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "not every test has every fault")]
pub(crate) enum Swallow {
    Nothing = 0,
    /// What the client says.
    Requests = 1,
    /// What the server says: it did what it was asked to.
    Answers = 2,
    Everything = 3,
}

/// It ends when it is dropped.
pub(crate) struct Relay(Arc<Shared>);

struct Shared {
    address: SocketAddr,
    server: SocketAddr,
    /// Of each connection: its two ends, and what is swallowed on it.
    connections: Mutex<Vec<(TcpStream, TcpStream, Arc<AtomicU8>)>>,
    accepted: AtomicUsize,
    /// What is swallowed on connections to come.
    new: AtomicU8,
    delay: AtomicU64,
    ended: AtomicBool,
}

#[allow(dead_code, reason = "not every test has every fault")]
impl Relay {
    /// A relay that passes everything on to `server`.
    pub(crate) fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            address: listener.local_addr().unwrap(),
            server,
            connections: Mutex::default(),
            accepted: AtomicUsize::new(0),
            new: AtomicU8::new(0),
            delay: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let relay = Self(shared.clone());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if shared.ended.load(Ordering::Acquire) {
                    return;
                }
                shared.accepted.fetch_add(1, Ordering::AcqRel);
                // Where the server is gone the client's connection ends.
                let _ = connect(&shared, client);
            }
        });
        relay
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// How many connections there were.
    pub(crate) fn accepted(&self) -> usize {
        self.0.accepted.load(Ordering::Acquire)
    }

    /// Swallows on the connections that are open, for as long as they live.
    pub(crate) fn swallow_on_open(&self, what: Swallow) {
        self.0.connections.lock().unwrap().iter().for_each(|(_, _, on)| on.store(what as u8, Ordering::Release));
    }

    /// Swallows on the connections to come, until this is called again.
    pub(crate) fn swallow_on_new(&self, what: Swallow) {
        self.0.new.store(what as u8, Ordering::Release);
    }

    /// Holds up each piece that is passed on from now.
    pub(crate) fn delay(&self, time: Duration) {
        self.0.delay.store(time.as_millis() as u64, Ordering::Release);
    }

    /// Cuts the connections that are open.
    pub(crate) fn cut(&self) {
        for (client, server, _) in self.0.connections.lock().unwrap().drain(..) {
            let _ = (client.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both));
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Release);
        self.cut();
        let _ = TcpStream::connect(self.0.address);
    }
}

fn connect(shared: &Arc<Shared>, client: TcpStream) -> std::io::Result<()> {
    let server = TcpStream::connect(shared.server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let on = Arc::new(AtomicU8::new(shared.new.load(Ordering::Acquire)));
    let ends = (client.try_clone()?, server.try_clone()?);
    for (from, to, what) in
        [(ends.0, ends.1, Swallow::Requests), (server.try_clone()?, client.try_clone()?, Swallow::Answers)]
    {
        let (shared, on) = (shared.clone(), on.clone());
        thread::spawn(move || pass(&shared, from, to, &on, what as u8));
    }
    shared.connections.lock().unwrap().push((client, server, on));
    Ok(())
}

fn pass(shared: &Shared, mut from: TcpStream, mut to: TcpStream, on: &AtomicU8, way: u8) {
    let mut piece = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        thread::sleep(Duration::from_millis(shared.delay.load(Ordering::Acquire)));
        if on.load(Ordering::Acquire) & way == 0 && to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
