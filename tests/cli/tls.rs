//! A server that speaks TLS itself, with certificates made on the spot.

use crate::starved::Kept;
use crate::{Done, Served, authseal, done, folder, ready, run};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SignatureAlgorithm, date_time_ymd};
use rustix::process::Signal;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned, SupportedProtocolVersion};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const NAME: &str = "oauth.example.com";
const CONFIG: &str = "public_url = \"https://oauth.example.com\"\nlisten = [\"127.0.0.1:0\"]\nserver.drain_seconds = 0\n\
     acme_challenge_dir = \"acme\"\ntls = { cert_file = \"cert.pem\", key_file = \"key.pem\", redirect_listen = [\"127.0.0.1:0\"] }\n";

/// Makes a new pair for this name, its key first, as an ACME client would.
pub(crate) fn renew_with(folder: &Path, name: &str, kind: &'static SignatureAlgorithm) {
    renew_as(folder, &CertificateParams::new([name.to_owned()]).unwrap(), kind);
}

fn renew_as(folder: &Path, params: &CertificateParams, kind: &'static SignatureAlgorithm) {
    let key = KeyPair::generate_for(kind).unwrap();
    let cert = params.self_signed(&key).unwrap();
    for (file, text) in [("key.pem", key.serialize_pem()), ("cert.pem", cert.pem())] {
        let aside = folder.join("aside");
        fs::write(&aside, text).unwrap();
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(aside, folder.join(file)).unwrap();
    }
}

pub(crate) fn renew(folder: &Path) {
    renew_with(folder, NAME, &PKCS_ED25519);
}

/// A folder that such a server can start in.
pub(crate) fn with_certificate() -> TempDir {
    let folder = ready(CONFIG.replace("acme_challenge_dir", "#").as_str());
    fs::create_dir(folder.path().join("acme")).unwrap();
    fs::write(folder.path().join("authseal.toml"), CONFIG).unwrap();
    renew(folder.path());
    folder
}

fn certificate(folder: &Path) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(folder.join("cert.pem")).unwrap()
}

/// A connection by this stream, of a client that trusts the certificate in the folder alone.
pub(crate) fn client(folder: &Path, stream: TcpStream) -> Connection {
    over(stream, &certificate(folder), rustls::ALL_VERSIONS)
}

pub(crate) type Connection = StreamOwned<ClientConnection, TcpStream>;

/// A connection of a client that trusts this certificate alone.
fn connect(
    address: &str,
    trusted: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> Connection {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    over(stream, trusted, versions)
}

fn over(
    stream: TcpStream,
    trusted: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> Connection {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let client = ClientConnection::new(Arc::new(config), NAME.try_into().unwrap()).unwrap();
    StreamOwned::new(client, stream)
}

/// The answer's head and body; the connection stays open.
fn ask(connection: &mut (impl Read + Write), method: &str, path: &str, more: &str) -> (String, String) {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: {NAME}\r\n{more}\r\n");
    connection.write_all(head.as_bytes()).unwrap();
    connection.flush().unwrap();
    let mut reader = BufReader::new(connection);
    let lines = reader.by_ref().lines().map(|line| line.unwrap().to_ascii_lowercase());
    let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
    let length = head.iter().find_map(|line| line.strip_prefix("content-length: "));
    let length = if method == "HEAD" { 0 } else { length.map_or(0, |length| length.parse().unwrap()) };
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    (head.join("\n"), String::from_utf8(body).unwrap())
}

#[test]
fn every_page_is_there_by_tls_12_and_13_with_any_usual_key() {
    let folder = with_certificate();
    let served = Served::start(folder.path(), &[]);
    for kind in [&PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384] {
        renew_with(folder.path(), NAME, kind);
        served.logged("certificate loaded");
        for (version, expected) in
            [(&rustls::version::TLS12, ProtocolVersion::TLSv1_2), (&rustls::version::TLS13, ProtocolVersion::TLSv1_3)]
        {
            let mut connection = connect(&served.address, &certificate(folder.path()), &[version]);
            let (head, body) = ask(&mut connection, "GET", "/", "");
            assert!(head.starts_with("http/1.1 200") && body.contains("<title>"), "{head}");
            assert!(head.contains("strict-transport-security: max-age=31536000"), "{head}");
            assert_eq!(connection.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
            assert_eq!(connection.conn.protocol_version(), Some(expected));
        }
    }
    let mut plain = TcpStream::connect(&served.address).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: oauth.example.com\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/"), "nothing is answered without TLS");
}

#[test]
fn a_new_pair_serves_new_connections_and_drops_none_and_a_bad_one_changes_nothing() {
    let folder = with_certificate();
    let served = Served::start(folder.path(), &[]);
    let first = certificate(folder.path());
    let versions = rustls::ALL_VERSIONS;
    let mut open = connect(&served.address, &first, versions);
    let healthy = |connection: &mut Connection| {
        let (head, body) = ask(connection, "GET", "/healthz", "");
        assert!(head.starts_with("http/1.1 200") && body == "ok\n", "{head}");
        connection.conn.peer_certificates().unwrap()[0].clone().into_owned()
    };
    assert_eq!(healthy(&mut open), first);
    renew(folder.path());
    let second = certificate(folder.path());
    served.logged("certificate loaded");
    assert_eq!(healthy(&mut connect(&served.address, &second, versions)), second);
    assert_eq!(healthy(&mut open), first);

    fs::write(folder.path().join("cert.pem"), "hunter2").unwrap();
    let line = served.logged("certificate not loaded; the one loaded before stays in force");
    assert!(line["error"].as_str().unwrap().contains("there is no certificate in it"), "{line}");
    served.signal(Signal::HUP);
    served.logged("certificate not loaded; the one loaded before stays in force");
    assert_eq!(healthy(&mut connect(&served.address, &second, versions)), second);
    assert_eq!(healthy(&mut open), first);

    renew(folder.path());
    let third = certificate(folder.path());
    served.logged("certificate loaded");
    served.signal(Signal::HUP);
    served.logged("certificate loaded");
    assert_eq!(healthy(&mut connect(&served.address, &third, versions)), third);
    assert_eq!(healthy(&mut open), first);
}

#[test]
fn visitors_are_sent_from_http_to_https_and_nobody_else_is() {
    let folder = with_certificate();
    fs::write(folder.path().join("acme/a-token"), "a-token.thumbprint").unwrap();
    let served = Served::start(folder.path(), &[]);
    let line = served.logged("sending visitors from http to https");
    let mut http = TcpStream::connect(line["redirect_address"].as_str().unwrap()).unwrap();
    let mut ask = |method: &str, path: &str, more: &str| ask(&mut http, method, path, more);
    for (method, path, to) in [
        ("GET", "/", "/"),
        ("HEAD", "/revoke", "/revoke"),
        ("GET", "/?type=googledrive&token=abcdefgh12345678", "/?type=googledrive"),
        ("GET", "/refresh?type=box.com", "/refresh?type=box.com"),
        ("GET", "/refresh?type=%0d%0ax-planted:+1", "/refresh"),
        ("GET", "/refresh%20/?type=dropbox&token=abcdefgh12345678", "/refresh?type=dropbox"),
        ("GET", "/refresh", "/refresh"),
        ("GET", "//evil.test/%2e%2e", "/evil.test/.."),
        ("GET", "http://evil.test/x", "/x"),
    ] {
        let (head, _) = ask(method, path, "");
        assert!(head.starts_with("http/1.1 308"), "{head}");
        assert!(head.lines().any(|line| line == format!("location: https://oauth.example.com{to}")), "{head}");
        assert!(head.contains("referrer-policy: strict-origin-when-cross-origin"), "{head}");
        assert!(head.contains("cache-control: no-store") && !head.contains("strict-transport-security"), "{head}");
    }
    let body = "content-length: 0\r\n";
    for (method, path, more) in [
        ("GET", "/refresh", "x-authid: v3:x:1:hunter2\r\n"),
        ("HEAD", "/", "X-AuthID: v3:x:1:hunter2\r\n"),
        ("GET", "/Refresh/", "X-AuthID: v3:x:1:hunter2\r\n"),
        ("GET", "/healthz", "X-AuthID: v3:x:1:hunter2\r\n"),
        ("GET", "/.well-known/acme-challenge/a-token", "X-AuthID: v3:x:1:hunter2\r\n"),
        ("GET", "//REFRESH?authid=v3:x:1:hunter2", ""),
        ("GET", "/refresh?authid=v3:x:1:hunter2", ""),
        ("POST", "/refresh", body),
        ("POST", "/token", body),
    ] {
        let (head, _) = ask(method, path, more);
        let status = if path == "/token" { "http/1.1 403" } else { "http/1.1 401" };
        assert!(head.starts_with(status) && !head.contains("location:"), "{method} {path}: {head}");
        assert!(head.contains("x-reason: this request came by plain http, where others"), "{head}");
    }
    let (head, page) = ask("POST", "/revoked", body);
    assert!(head.starts_with("http/1.1 403") && head.contains("content-security-policy: default-src 'none'"), "{head}");
    assert!(page.contains("Not encrypted") && page.contains("Open the start page with https"), "{page}");
    let (head, body) = ask("GET", "/.well-known/acme-challenge/a-token", "");
    assert!(head.starts_with("http/1.1 200") && body == "a-token.thumbprint", "{head}");
    assert!(ask("GET", "/.well-known/acme-challenge/another", "").0.starts_with("http/1.1 404"));
    assert_eq!(ask("GET", "/healthz", "").1, "ok\n");
    assert!(ask("GET", &format!("/{}", "x".repeat(5000)), "").0.starts_with("http/1.1 414"));
}

#[test]
fn an_acme_answer_is_a_small_file_in_the_folder_and_nothing_else_is_shown() {
    let folder = with_certificate();
    let acme = folder.path().join("acme");
    let longest = "x".repeat(1024);
    fs::write(acme.join("longest"), &longest).unwrap();
    fs::write(acme.join("too-long"), "x".repeat(1025)).unwrap();
    fs::write(acme.join("empty"), "").unwrap();
    fs::write(acme.join("with.dot"), "hunter2").unwrap();
    fs::write(acme.join("x".repeat(128)), "a token of 128").unwrap();
    fs::write(acme.join("x".repeat(129)), "hunter2").unwrap();
    fs::write(folder.path().join("secret"), "hunter2").unwrap();
    symlink("../secret", acme.join("link")).unwrap();
    symlink("longest", acme.join("inside")).unwrap();
    fs::create_dir(acme.join("folder")).unwrap();
    fs::write(acme.join("folder/file"), "hunter2").unwrap();
    // Opening it waits for a writer, who never comes.
    assert!(std::process::Command::new("mkfifo").arg(acme.join("pipe")).status().unwrap().success());
    let served = Served::start(folder.path(), &[]);
    let line = served.logged("sending visitors from http to https");
    let mut http = TcpStream::connect(line["redirect_address"].as_str().unwrap()).unwrap();
    http.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut https = connect(&served.address, &certificate(folder.path()), rustls::ALL_VERSIONS);
    let mut ask = |token: &str| {
        let path = format!("/.well-known/acme-challenge/{token}");
        let answers = [ask(&mut http, "GET", &path, ""), ask(&mut https, "GET", &path, "")];
        answers.map(|(head, body)| {
            let text = head.contains("content-type: text/plain; charset=utf-8") && head.contains("no-store");
            (head.split(' ').nth(1).unwrap().to_owned(), if text { body } else { head })
        })
    };
    for (token, content) in [("longest", longest.as_str()), (&"x".repeat(128), "a token of 128")] {
        for answer in ask(token) {
            assert_eq!(answer, ("200".to_owned(), content.to_owned()), "{token}");
        }
    }
    let long = "x".repeat(129);
    let known = ["too-long", "empty", "with.dot", &long, "link", "inside", "folder", "pipe"];
    for token in
        known.into_iter().chain(["%2e%2e%2fsecret", "folder%2Ffile", "..%5csecret", "longest%00", "%2e%2e", "unknown"])
    {
        for (status, answer) in ask(token) {
            assert!(status == "404" && !answer.contains("hunter2"), "{token}: {status} {answer}");
        }
    }
}

#[test]
fn healthcheck_asks_a_server_that_speaks_tls() {
    let folder = with_certificate();
    let served = Served::start(folder.path(), &[]);
    let ready = |done: Done| assert_eq!((done.code, done.out.as_str()), (0, "ready\n"), "{done:?}");
    ready(run(folder.path(), &["healthcheck", "--url", &format!("https://{}", served.address)]));
    ready(done(authseal(folder.path(), &["healthcheck"]).env("AUTHSEAL_LISTEN", &served.address).spawn().unwrap()));
    let done = run(folder.path(), &["healthcheck", "--url", &format!("http://{}", served.address)]);
    assert!(done.code == 1 && done.err.contains("is --url right?"), "{done:?}");
}

#[test]
fn metrics_tell_when_the_certificate_ends_and_whether_the_last_reading_failed() {
    let folder = with_certificate();
    let served = Served::start(folder.path(), &[("AUTHSEAL_ADMIN__LISTEN", "127.0.0.1:0")]);
    let address = served.logged("listening for operators")["admin_address"].as_str().unwrap().to_owned();
    let metrics = || Kept::to(&address).ask("/metrics", "").1;
    // What rcgen makes ends in 4096.
    let before = metrics();
    assert!(before.contains("authseal_certificate_expires_timestamp_seconds 67090118400\n"), "{before}");
    assert!(before.contains("authseal_certificate_load_failed 0\n"), "{before}");
    fs::remove_file(folder.path().join("key.pem")).unwrap();
    served.logged("certificate not loaded; the one loaded before stays in force");
    assert!(metrics().contains("authseal_certificate_load_failed 1\n"));
    let plain = ready(crate::GOOD);
    let served = Served::start(plain.path(), &[("AUTHSEAL_ADMIN__LISTEN", "127.0.0.1:0")]);
    let address = served.logged("listening for operators")["admin_address"].as_str().unwrap().to_owned();
    let metrics = Kept::to(&address).ask("/metrics", "").1;
    assert!(!metrics.contains("authseal_certificate"), "{metrics}");
}

#[test]
fn check_and_serve_tell_every_fault_of_a_pair_and_check_warns_of_another_name() {
    let folder = with_certificate();
    let done = run(folder.path(), &["check"]);
    assert!(done.code == 0 && !done.out.contains("certificate"), "{done:?}");
    renew_with(folder.path(), "else.example.com", &PKCS_ED25519);
    let done = run(folder.path(), &["check"]);
    assert!(done.code == 0 && done.out.contains("is not for oauth.example.com, the host of `public_url`"), "{done:?}");
    fs::write(folder.path().join("cert.pem"), "").unwrap();
    fs::set_permissions(folder.path().join("key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    for verb in ["check", "serve"] {
        let done = run(folder.path(), &[verb]);
        assert_eq!(done.code, 2, "{done:?}");
        let faults: Vec<_> = done.err.lines().filter(|line| line.contains("`tls.")).collect();
        assert_eq!(faults.len(), 2, "{done:?}");
        assert!(faults[0].contains("cert.pem: there is no certificate in it"), "{done:?}");
        assert!(faults[1].contains("key.pem: it lets every user of this machine in"), "{done:?}");
    }
}

#[test]
fn a_certificate_of_another_time_is_served_and_told_of_since_it_may_be_the_clock_that_is_wrong() {
    let folder = with_certificate();
    for (from, until, said) in [
        (4000, 4001, "begins at 4000-01-01T00:00:00Z only; is this machine's clock right?"),
        (2000, 2001, "ended at 2001-01-01T00:00:00Z and is refused by clients; renew it"),
    ] {
        let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
        renew_as(folder.path(), &params, &PKCS_ED25519);
        let done = run(folder.path(), &["check"]);
        assert!(done.code == 0 && done.out.contains(said), "{done:?}");
        let mut served = Served::start(folder.path(), &[]);
        served.signal(Signal::TERM);
        assert_eq!(served.end(), Some(0));
    }
}

#[test]
fn an_address_is_for_one_purpose() {
    let folder = folder(&CONFIG.replace("127.0.0.1:0", "127.0.0.1:1"));
    fs::create_dir(folder.path().join("acme")).unwrap();
    let done = run(folder.path(), &["check"]);
    assert!(done.code == 2 && done.err.contains("tls.redirect_listen, entry 1"), "{done:?}");
}
