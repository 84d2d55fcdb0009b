//! A place where nobody should ever come: it counts connections and answers none.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A listener on loopback that counts who comes.
pub(crate) struct Honeypot {
    address: SocketAddr,
    caught: Arc<AtomicUsize>,
    closed: Arc<AtomicBool>,
}

impl Honeypot {
    pub(crate) fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (caught, closed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, end) = (caught.clone(), closed.clone());
        std::thread::spawn(move || {
            for _connection in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address, caught, closed }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/honeypot", self.address)
    }

    /// How many connections there were.
    pub(crate) fn caught(&self) -> usize {
        self.caught.load(Ordering::SeqCst)
    }
}

impl Drop for Honeypot {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        // Wakes the listener so that it sees that it is closed.
        let _ = TcpStream::connect(self.address);
    }
}
