//! `/refresh` that asks the provider, below a running server: how much CPU time a request takes beside the least that
//! can be done, one POST of a bare handler over kept connections. Plain, over TLS and over HTTP/2, with AuthIDs of the
//! primary key and of an older one. `docs/performance.md` says how to run this and how to read it.

#![allow(clippy::unwrap_used, reason = "a benchmark has no one to return an error to")]
#![allow(clippy::print_stdout, reason = "a benchmark prints")]

#[path = "../tests/support/keyring.rs"]
mod keyring;

use actix_web::{App, HttpResponse, HttpServer, web};
use authseal::authid::{Grant, ServiceId, seal};
use authseal::seal::{Epoch, Keyring};
use futures_util::future::join_all;
use keyring::key;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// So many that none comes again while its token is remembered.
const AUTHIDS: usize = 30_000;
const CONNECTIONS: [usize; 3] = [1, 64, 512];
/// A life of one second: remembered for half of it.
const TOKENS: &str = r#"{"access_token":"at-ABCDEFGHIJKLMNOPQRSTUVWXYZ","expires_in":1,"token_type":"Bearer"}"#;
/// Set for the bare handler: where to listen is its own choice, this is where to ask.
const BARE: &str = "AUTHSEAL_BENCH_BARE";
const CA: &str = "AUTHSEAL_BENCH_CA";

fn main() {
    if let Ok(url) = std::env::var(BARE) {
        return actix_web::rt::System::new().block_on(bare(url));
    }
    // `cargo bench -- --quick`, and `cargo test --benches`, which only asks whether it runs.
    let test = std::env::args().any(|argument| argument == "--test");
    let quick = test || std::env::args().any(|argument| argument == "--quick");
    let (authids, phase) = if quick { (2_000, 500) } else { (AUTHIDS, 3_000) };
    let phase = Duration::from_millis(if test { 50 } else { phase });
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    fs::write(at.join("keys.toml"), format!("primary = 2\n{}{}", key(1), key(2))).unwrap();
    fs::set_permissions(at.join("keys.toml"), Permissions::from_mode(0o600)).unwrap();
    fs::write(at.join("denylist"), "authseal-denylist 1\n").unwrap();
    let keyring = Keyring::parse(&fs::read_to_string(at.join("keys.toml")).unwrap()).unwrap();
    let [old, new] = [1_i64, 2].map(|epoch| {
        let keys = keyring.keys(Epoch::try_from(epoch).unwrap()).unwrap();
        let login = || Grant::new(ServiceId::parse("exampledrive").unwrap(), "t".repeat(100).into(), 1_795_420_000);
        Arc::new((0..authids).map(|_| seal(keys, &login().unwrap()).unwrap().expose().to_owned()).collect::<Vec<_>>())
    });
    println!("CPU time of a request in µs; memory in MiB, resident afterwards");
    for (name, protocols) in [("plain", &[][..]), ("TLS", &["http/1.1"]), ("HTTP/2", &["h2", "http/1.1"])] {
        let url = runtime.block_on(provider(at, protocols));
        configure(at, &url);
        let bare = Served::start(
            Command::new(std::env::current_exe().unwrap()).env(BARE, &url).env(CA, at.join("ca.pem")),
            "listening",
        );
        let served = Served::start(
            Command::new(env!("CARGO_BIN_EXE_authseal")).args(["serve"]).current_dir(at).env_clear(),
            "\"listening\"",
        );
        for connections in CONNECTIONS {
            let bare_cost = bare.load(&runtime, connections, &new, phase);
            for (kind, authids) in [("primary", &new), ("older key", &old)] {
                let cost = served.load(&runtime, connections, authids, phase);
                println!(
                    "{name:6} {connections:3} connections, {kind:9}: {cost:6.1} / {bare_cost:6.1} = {:.2}; {:.1} / {:.1} MiB",
                    cost / bare_cost,
                    served.memory(),
                    bare.memory()
                );
            }
        }
    }
}

/// The least that can be done.
async fn bare(url: String) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut client = reqwest::Client::builder().no_proxy();
    if url.starts_with("https:") {
        let authority = fs::read(std::env::var(CA).unwrap()).unwrap();
        client = client.tls_certs_only([reqwest::Certificate::from_pem(&authority).unwrap()]);
    }
    let state = web::Data::new((client.build().unwrap(), format!("{url}/token")));
    let app = move || App::new().app_data(state.clone()).route("/refresh", web::get().to(forward));
    let server = HttpServer::new(app).workers(2).bind("127.0.0.1:0").unwrap();
    eprintln!("{{\"message\":\"listening\",\"address\":\"{}\"}}", server.addrs()[0]);
    server.run().await.unwrap();
}

async fn forward(state: web::Data<(reqwest::Client, String)>) -> HttpResponse {
    let form = [("grant_type", "refresh_token"), ("refresh_token", "t"), ("client_id", "1234")];
    let answer = state.0.post(&state.1).form(&form).send().await.unwrap();
    HttpResponse::Ok().content_type("application/json").body(answer.bytes().await.unwrap())
}

fn configure(folder: &Path, url: &str) {
    let authority = if url.starts_with("https:") { "ca_file = \"ca.pem\"\n" } else { "" };
    fs::write(
        folder.join("authseal.toml"),
        format!(
            "public_url = \"https://oauth.example.com\"\nlisten = [\"127.0.0.1:0\"]\n\
             [clients.example]\nid = \"1234\"\n[services.exampledrive]\nprovider = \"example\"\nname = \"Example\"\n\
             scopes = [\"files\"]\n[providers.example]\nrotation = \"none\"\n{authority}\
             authorize_url = \"{url}/authorize\"\ntoken_url = \"{url}/token\"\n"
        ),
    )
    .unwrap();
}

/// A provider that always answers, over TLS if there are protocols for it.
async fn provider(folder: &Path, protocols: &[&str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = (!protocols.is_empty()).then(|| tls(folder, protocols));
    let scheme = if tls.is_some() { "https" } else { "http" };
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                socket.set_nodelay(true).unwrap();
                let Some(tls) = tls else { return http1(socket).await };
                let Ok(stream) = tls.accept(socket).await else { return };
                if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                    http2(stream).await
                } else {
                    http1(stream).await
                }
            });
        }
    });
    format!("{scheme}://{address}")
}

fn tls(folder: &Path, protocols: &[&str]) -> TlsAcceptor {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    fs::write(folder.join("ca.pem"), certificate.pem()).unwrap();
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(ring).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let chain = vec![CertificateDer::from(certificate)];
    let mut config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config).into()
}

async fn http1(mut socket: impl AsyncRead + AsyncWrite + Unpin) {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{TOKENS}", TOKENS.len());
    while message(&mut socket).await.is_some() {
        if socket.write_all(answer.as_bytes()).await.is_err() || socket.flush().await.is_err() {
            return;
        }
    }
}

async fn http2(socket: impl AsyncRead + AsyncWrite + Unpin) {
    let Ok(mut connection) = h2::server::handshake(socket).await else { return };
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        let Ok(mut stream) = respond.send_response(hyper::Response::new(()), false) else { return };
        let _ = stream.send_data(TOKENS.into(), true);
    }
}

/// Reads one HTTP/1.1 message, whose body is short; its first line.
async fn message(socket: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let (mut text, mut chunk) = (String::new(), [0; 4096]);
    loop {
        let len = socket.read(&mut chunk).await.ok().filter(|len| *len > 0)?;
        text.push_str(std::str::from_utf8(&chunk[..len]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.split("\r\n").find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return Some(head.lines().next().unwrap().to_owned());
        }
    }
}

struct Served {
    child: Child,
    address: String,
}

impl Served {
    fn start(command: &mut Command, listening: &str) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let line = log.find(|line| line.contains(listening)).unwrap();
        thread::spawn(move || log.for_each(drop));
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        Self { child, address: line["address"].as_str().unwrap().to_owned() }
    }

    /// So many clients for so long, each with a connection of its own. What a request took, in µs of CPU time.
    fn load(
        &self,
        runtime: &tokio::runtime::Runtime,
        clients: usize,
        authids: &Arc<Vec<String>>,
        phase: Duration,
    ) -> f64 {
        let next = Arc::new(AtomicUsize::new(0));
        let end = Instant::now() + phase;
        let before = self.cpu();
        let clients = (0..clients).map(|_| {
            let (next, authids, address) = (next.clone(), authids.clone(), self.address.clone());
            tokio::spawn(async move {
                let mut socket = TcpStream::connect(address).await.unwrap();
                socket.set_nodelay(true).unwrap();
                while Instant::now() < end {
                    let authid = &authids[next.fetch_add(1, Ordering::Relaxed) % authids.len()];
                    let request = format!("GET /refresh HTTP/1.1\r\nhost: x\r\nx-authid: {authid}\r\n\r\n");
                    socket.write_all(request.as_bytes()).await.unwrap();
                    let answer = message(&mut socket).await.unwrap();
                    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                }
            })
        });
        let ended = runtime.block_on(async { join_all(clients).await });
        ended.into_iter().for_each(|client| client.unwrap());
        (self.cpu() - before) / next.load(Ordering::Relaxed) as f64
    }

    /// In µs, of all threads.
    fn cpu(&self) -> f64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let times = threads.filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("schedstat")).ok());
        times.map(|time| time.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e3).sum()
    }

    /// In MiB.
    fn memory(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
