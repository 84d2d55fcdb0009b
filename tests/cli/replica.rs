//! A pretend replica: an admin listener that answers `GET /keyring`, `/legacy` and `/apps` with what a test gives it.

use authseal::seal::{EpochKeys, Keyring};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// What a pretend replica does when it is asked.
pub(crate) enum Manner {
    /// Answers with this status and body.
    Says(&'static str, String),
    /// Takes the request and says nothing, until it is dropped.
    Hangs,
}

pub(crate) struct Replica {
    /// `http://127.0.0.1:<port>`.
    pub(crate) url: String,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Replica {
    pub(crate) fn new(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let ended = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&ended);
        let thread = thread::spawn(move || {
            let mut waiting = Vec::new();
            for stream in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::Acquire) {
                    return;
                }
                match &manner {
                    Manner::Says(status, body) => answer(&stream, status, body),
                    Manner::Hangs => waiting.push(stream),
                }
            }
        });
        Self { url, ended, thread: Some(thread) }
    }

    /// One that holds this keyring, has watched since 2026-01-01 and saw nothing.
    pub(crate) fn holding(keyring: &str) -> Self {
        Self::seeing(keyring, "2026-01-01T00:00:00Z", &[])
    }

    /// One that holds this keyring and has seen these epochs in use.
    pub(crate) fn seeing(keyring: &str, since: &str, seen: &[(u32, &str)]) -> Self {
        let keyring = Keyring::parse(keyring).unwrap();
        let epochs = keyring.entries().map(|(epoch, state, entry)| {
            let last_seen = seen.iter().find(|(number, _)| *number == epoch.number()).map(|(_, time)| *time);
            let fingerprint = entry.keys.as_ref().ok().map(EpochKeys::fingerprint);
            let created = entry.created.map(|time| time.to_string());
            json!({ "epoch": epoch.number(), "state": state.label(), "created": created, "fingerprint": fingerprint, "last_seen": last_seen })
        });
        let body = json!({
            "digest": keyring.digest(),
            "primary": keyring.primary().epoch().number(),
            "min_epoch": keyring.min_epoch().map(|epoch| epoch.number()),
            "watching_since": since,
            "epochs": epochs.collect::<Value>(),
        });
        Self::new(Manner::Says("200 OK", body.to_string()))
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.url.trim_start_matches("http://"));
        let _ = self.thread.take().unwrap().join();
    }
}

fn answer(mut stream: &TcpStream, status: &str, body: &str) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let asked = lines.next().unwrap_or_default();
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let (status, body) = if ["/keyring", "/legacy", "/apps"].iter().any(|path| asked == format!("GET {path} HTTP/1.1"))
    {
        (status, body)
    } else {
        ("404 Not Found", "")
    };
    let length = body.len();
    let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
}
