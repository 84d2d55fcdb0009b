//! The parts of the hot path, each alone. `docs/performance.md` says how to run this and how to read it: compare
//! figures of one run with each other, never with those of another run.

#![allow(clippy::unwrap_used, reason = "a benchmark has no one to return an error to")]
#![allow(missing_docs, reason = "criterion_group makes a public function")]

#[path = "../tests/support/keyring.rs"]
mod keyring;

use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::{HttpRequest, HttpResponse, HttpServer, web};
use authseal::app::{App, LiveApp};
use authseal::authid::{AppId, Envelope, Grant, GrantId, ServiceId, seal};
use authseal::clock::Clock;
use authseal::config::{Config, Sources};
use authseal::demo::{DemoProvider, walk};
use authseal::denylist::parse;
use authseal::provider::Catalogue;
use authseal::seal::{Epoch, EpochKeys, Key, Keyring};
use authseal::web::Server;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use keyring::{key, secret};
use std::fmt::Write;
use std::fs::Permissions;
use std::hint::black_box;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use zeroize::Zeroizing;

/// As long as Google's refresh tokens.
const SHORT_TOKEN: usize = 103;
/// As long as the longer ones of Microsoft.
const LONG_TOKEN: usize = 1_500;

fn keyring() -> Keyring {
    Keyring::parse(&format!("primary = 1\n{}", key(1))).unwrap()
}

fn login(token_len: usize) -> Grant {
    let service = ServiceId::parse("googledrive").unwrap();
    let app = Some(AppId::new("google", "1234567890-abc.apps.googleusercontent.com"));
    Grant { app, ..Grant::new(service, "t".repeat(token_len).into(), 1_795_420_000).unwrap() }
}

/// Parse, open and seal an AuthID, beside the one cipher call that each must at least make: the figure to divide by.
fn authid(criterion: &mut Criterion) {
    let keyring = keyring();
    for token_len in [SHORT_TOKEN, LONG_TOKEN] {
        let login = login(token_len);
        let authid = seal(keyring.primary(), &login).unwrap();
        let text = authid.expose();
        let envelope = Envelope::parse(text).unwrap();
        let plaintext = vec![b'x'; token_len + 121]; // 121: the members around the token
        let key = Key::new(&[7; 32]);
        let sealed = key.seal(&[0; 51], &plaintext).unwrap();

        let mut group = criterion.benchmark_group(format!("authid/{token_len}"));
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function("cipher_open", |b| b.iter(|| key.open(&[0; 51], black_box(&sealed))));
        group.bench_function("parse", |b| b.iter(|| Envelope::parse(black_box(text))));
        group.bench_function("open", |b| b.iter(|| black_box(&envelope).open(&keyring)));
        group.bench_function("parse_and_open", |b| {
            b.iter(|| Envelope::parse(black_box(text)).ok().and_then(|envelope| envelope.open(&keyring).ok()));
        });
        group.bench_function("seal", |b| b.iter(|| seal(keyring.primary(), black_box(&login))));
        group.finish();
    }
}

/// What a request costs that was never an AuthID of ours: it must be cheaper than one that is.
fn refused(criterion: &mut Criterion) {
    let (ours, theirs) = (keyring(), keyring());
    let forged = seal(theirs.primary(), &login(SHORT_TOKEN)).unwrap();
    let padded = format!("{}=", forged.expose());

    let mut group = criterion.benchmark_group("refused");
    group.bench_function("malformed", |b| b.iter(|| Envelope::parse(black_box(&padded)).is_err()));
    group.bench_function("forged", |b| {
        b.iter(|| Envelope::parse(black_box(forged.expose())).is_ok_and(|envelope| envelope.open(&ours).is_err()));
    });
    group.finish();
}

/// Reading a keyring's secret, key derivation included: once per epoch and reload.
fn keys(criterion: &mut Criterion) {
    let secret = secret(1);
    criterion.bench_function("keys/from_text", |b| b.iter(|| EpochKeys::from_text(black_box(&secret))));
}

/// Looking up a login that is not on the list, as on every request, by the number of lines.
fn denylist(criterion: &mut Criterion) {
    let (service, epoch) = (ServiceId::parse("googledrive").unwrap(), Epoch::FIRST);
    let mut group = criterion.benchmark_group("denylist");
    for lines in [0_u32, 1_000, 1_000_000] {
        let mut text = String::from("authseal-denylist 1\n");
        for _ in 0..lines {
            writeln!(text, "grant {} through 1 at 2026-11-23T10:00:00Z", GrantId::random().unwrap()).unwrap();
        }
        let rules = parse(text.as_bytes()).unwrap().unwrap().rules;
        let grants: Vec<_> = (0..1024).map(|_| GrantId::random().unwrap()).collect();
        let mut next = grants.iter().cycle();
        group.bench_function(format!("lookup/{lines}"), |b| {
            b.iter(|| rules.denies(&service, epoch, *next.next().unwrap(), 1_795_420_000));
        });
        if lines == 1_000_000 {
            group.sample_size(10);
            group.bench_function("load/1000000", |b| b.iter(|| parse(black_box(text.as_bytes()))));
        }
    }
    group.finish();
}

/// A whole `/refresh` that is answered from the cache, with the log on as in production, beside a bare handler of the
/// same framework that opens a sealed text of the same length.
fn refresh(criterion: &mut Criterion) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (app, our_address, authid) = runtime.block_on(log_in(folder.path()));

    let body_len = authid.rsplit_once(':').unwrap().1.len() * 3 / 4;
    let key = Key::new(&[7; 32]);
    let sealed = BASE64_URL_SAFE_NO_PAD.encode(key.seal(&[0; 51], &vec![b'x'; body_len - 40]).unwrap());
    let key = web::Data::new(key);
    let bare_app = move || actix_web::App::new().app_data(key.clone()).route("/refresh", web::get().to(bare_handler));
    tracing_subscriber::fmt().json().with_max_level(tracing::Level::INFO).with_writer(std::io::sink).init();

    let mut group = criterion.benchmark_group("refresh");
    let bare = runtime.block_on(init_service(bare_app()));
    let ours = runtime.block_on(init_service(authseal::web::service(app)));
    let request = |authid: &str| TestRequest::get().uri("/refresh").insert_header(("X-AuthID", authid)).to_request();
    group.bench_function("bare_handler", |b| {
        b.to_async(&runtime).iter(async || assert!(call_service(&bare, request(&sealed)).await.status().is_success()));
    });
    group.bench_function("cached", |b| {
        b.to_async(&runtime).iter(async || assert!(call_service(&ours, request(&authid)).await.status().is_success()));
    });
    group.finish();

    // The same two over a kept connection, with all that a request costs besides.
    let mut group = criterion.benchmark_group("refresh_over_http");
    let bare_server = HttpServer::new(bare_app).workers(1).bind("127.0.0.1:0").unwrap();
    let bare_address = bare_server.addrs()[0];
    runtime.spawn(bare_server.run());
    for (name, address, authid) in [("bare_handler", bare_address, &sealed), ("cached", our_address, &authid)] {
        let request = format!("GET /refresh HTTP/1.1\r\nhost: x\r\nx-authid: {authid}\r\n\r\n");
        let mut connection = TcpStream::connect(address).unwrap();
        connection.set_nodelay(true).unwrap();
        group.bench_function(name, |b| b.iter(|| exchange(&mut connection, request.as_bytes())));
    }
    group.finish();
}

/// What any server of this kind must at least do: open one sealed text and answer with as much JSON.
async fn bare_handler(request: HttpRequest, key: web::Data<Key>) -> HttpResponse {
    let text = request.headers().get("x-authid").unwrap().to_str().unwrap();
    let opened = key.open(&[0; 51], &BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap();
    HttpResponse::Ok().json(serde_json::json!({
        "access_token": "f8bd08a15ef1437ce91de7115da036b6", "expires": opened.len(), "type": "demodrive",
    }))
}

/// One request and its whole answer.
fn exchange(connection: &mut TcpStream, request: &[u8]) {
    connection.write_all(request).unwrap();
    let (mut answer, mut len) = ([0; 4096], 0);
    loop {
        len += connection.read(&mut answer[len..]).unwrap();
        let text = std::str::from_utf8(&answer[..len]).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let wanted = head.split_once("content-length: ").unwrap().1.split("\r\n").next().unwrap();
        if body.len() == wanted.parse::<usize>().unwrap() {
            return;
        }
    }
}

/// A server in front of the demo provider, and an AuthID whose access token it has cached.
async fn log_in(folder: &Path) -> (web::Data<LiveApp>, SocketAddr, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("http://{address}");
    let provider = DemoProvider::start(&Zeroizing::new([7; 32]), format!("{url}/logged-in"), &Catalogue::default());
    let provider = provider.unwrap();
    let write = |name: &str, text: String| {
        std::fs::write(folder.join(name), text).unwrap();
        std::fs::set_permissions(folder.join(name), Permissions::from_mode(0o600)).unwrap();
    };
    write("keys.toml", format!("primary = 1\n{}", key(1)));
    write("denylist", "authseal-denylist 1\n".to_owned());
    write("authseal.toml", format!("public_url = \"{url}\"\n{}", provider.configuration));
    let sources =
        Sources { file: Some(folder.join("authseal.toml")), working_dir: folder.to_owned(), ..Sources::default() };
    let Ok((config, public_url)) = Config::load_to_serve(&sources) else { panic!("the configuration has a fault") };
    let listeners = config.listeners.clone();
    let app = App::build(config, public_url.clone(), Clock::system()).unwrap();
    let server = Server::on(app, vec![listener], listeners);
    let app = server.live();
    tokio::spawn(provider.server);
    server.run().unwrap(); // for as long as the runtime lives
    (app, address, walk(&public_url, "demodrive").await.unwrap().authid)
}

criterion_group!(benches, authid, refused, keys, denylist, refresh);
criterion_main!(benches);
