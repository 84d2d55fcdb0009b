//! A server that has its certificate issued itself, by Debian's `pebble`: an authority for tests that refuses nonces,
//! takes its time and forgets everything when it is ended.

use crate::port::free_port;
use crate::{Served, ready, run};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// An issue with a failure before it: ten seconds' pause, and a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(120);
const ISSUED: &str = "certificate issued";
const FAILED: &str = "no certificate was issued; the one in force stays";

/// The ports of one machine, and where the authority keeps its own certificate.
struct Lab {
    folder: TempDir,
    directory: u16,
    http: u16,
    tls: u16,
}

/// The authority; ends when dropped.
struct Pebble {
    child: Child,
    log: Receiver<String>,
}

impl Drop for Pebble {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        fs::write(folder.path().join("own.pem"), own.pem()).unwrap();
        fs::write(folder.path().join("own.key"), key.serialize_pem()).unwrap();
        Self { folder, directory: free_port(), http: free_port(), tls: free_port() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The authority, with these of its variables.
    fn pebble(&self, variables: &[(&str, &str)]) -> Pebble {
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{}", self.directory), "managementListenAddress": "",
            "certificate": self.at("own.pem"), "privateKey": self.at("own.key"),
            "httpPort": self.http, "tlsPort": self.tls, "ocspResponderURL": "", "externalAccountBindingRequired": false,
        }});
        fs::write(self.at("pebble.json"), config.to_string()).unwrap();
        let mut command = Command::new("pebble");
        command.arg("-config").arg(self.at("pebble.json")).env("PEBBLE_VA_NOSLEEP", "1");
        command.envs(variables.iter().copied()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("pebble is missing: apt-get install pebble");
        let (sender, log) = mpsc::channel();
        let lines = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || lines.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let pebble = Pebble { child, log };
        pebble.says("ACME directory available");
        pebble
    }

    /// The tables of a server that goes to it; over http, or in the handshake.
    fn config(&self, over_http: bool, name: &str) -> String {
        let redirect =
            if over_http { format!("[tls]\nredirect_listen = [\"127.0.0.1:{}\"]\n", self.http) } else { String::new() };
        format!(
            "public_url = \"https://{name}\"\nlisten = [\"127.0.0.1:{}\"]\nserver.drain_seconds = 0\n\
             [admin]\nlisten = [\"127.0.0.1:0\"]\n{redirect}[acme]\ncontact = \"admin@authseal.org\"\n\
             directory = \"https://localhost:{}/dir\"\nca_file = {:?}\n",
            self.tls,
            self.directory,
            self.at("own.pem"),
        )
    }
}

impl Pebble {
    fn says(&self, words: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.log.recv_timeout(end - Instant::now()).unwrap_or_else(|_| panic!("no `{words}`")).contains(words) {}
    }
}

/// The next line of the log with one of these messages.
fn next(served: &Served, messages: &[&str]) -> serde_json::Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let line = served.log.recv_timeout(end - Instant::now()).unwrap_or_else(|_| panic!("none of {messages:?}"));
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        if messages.contains(&line["message"].as_str().unwrap()) {
            return line;
        }
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("acme/certificate.pem")
}

/// Takes any certificate, to look at it.
#[derive(Debug)]
struct Anyone(CryptoProvider);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The certificate that is served to whoever offers this protocol.
fn served_certificate(address: &str, protocol: &[u8]) -> std::io::Result<CertificateDer<'static>> {
    let verifier = Arc::new(Anyone(ring::default_provider()));
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let client = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(client, TcpStream::connect(address)?);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
    Ok(stream.conn.peer_certificates().unwrap()[0].clone().into_owned())
}

/// Asks until the certificate in the file is the one that is served.
fn serves_the_file(served: &Served, folder: &Path) {
    let end = Instant::now() + PATIENCE;
    let expected = CertificateDer::from_pem_file(file(folder)).unwrap();
    while served_certificate(&served.address, b"http/1.1").unwrap() != expected {
        assert!(Instant::now() < end, "another certificate is served");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The admin listener's page.
fn ask_admin(admin: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream
        .write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    answer
}

fn metric(admin: &str, name: &str) -> f64 {
    let page = ask_admin(admin, "/metrics");
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

fn start(folder: &Path) -> (Served, String) {
    let served = Served::start(folder, &[]);
    let admin = served.logged("listening for operators")["admin_address"].as_str().unwrap().to_owned();
    (served, admin)
}

const NEXT: &str = "authseal_acme_next_attempt_timestamp_seconds";
const ORDERED: &str = "authseal_acme_orders_total{outcome=\"issued\"}";

/// Asks until the next order is long to come.
fn waits_for_years(admin: &str) {
    let (end, now) = (Instant::now() + PATIENCE, jiff::Timestamp::now().as_second() as f64);
    while metric(admin, NEXT) < now + 86_400.0 * 365.0 {
        assert!(Instant::now() < end, "an order is due");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_certificate_comes_by_either_proof_and_a_restart_orders_none() {
    for over_http in [true, false] {
        let lab = Lab::new();
        let folder = ready(&lab.config(over_http, "localhost"));
        let _pebble = lab.pebble(&[("PEBBLE_WFE_NONCEREJECT", "40"), ("PEBBLE_AUTHZREUSE", "100")]);
        let (served, admin) = start(folder.path());
        let line = next(&served, &[ISSUED, FAILED]);
        assert_eq!(line["message"], ISSUED, "{over_http} {line}");
        serves_the_file(&served, folder.path());
        waits_for_years(&admin);
        assert_eq!(metric(&admin, ORDERED), 1.0);
        assert!(metric(&admin, "authseal_certificate_expires_timestamp_seconds") > 1.79e9);
        let said = run(folder.path(), &["status", "--against", &format!("http://{admin}")]).out;
        assert!(said.contains("\n  acme          next order 20") && !said.contains("FAILED"), "{said}");
        for (name, mode) in [("", 0o700), ("certificate.pem", 0o600), ("account.json", 0o600), ("attempt.json", 0o600)]
        {
            let path = folder.path().join("acme").join(name);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
        }
        assert_eq!(fs::read_dir(folder.path().join("acme/challenges")).unwrap().count(), 0);
        assert!(served_certificate(&served.address, b"acme-tls/1").is_err(), "there is nothing to prove");
        let before = fs::read(file(folder.path())).unwrap();
        drop(served);
        let (_served, admin) = start(folder.path());
        waits_for_years(&admin);
        assert_eq!((metric(&admin, ORDERED), fs::read(file(folder.path())).unwrap()), (0.0, before));
    }
}

#[test]
fn what_init_writes_comes_to_https_with_a_mail_address_alone() {
    let lab = Lab::new();
    let folder = tempfile::tempdir().unwrap();
    let flags = ["--public-url", "https://localhost", "--acme-contact", "admin@authseal.org", "--yes"];
    let made = run(folder.path(), &[&["init"], &flags[..]].concat());
    assert_eq!(made.code, 0, "{made:?}");
    let config = folder.path().join("authseal.toml");
    let written = fs::read_to_string(&config).unwrap();
    // Only what is of this machine is another: its ports, and the authority.
    let (listen, redirect) = ("[\"0.0.0.0:443\", \"[::]:443\"]", "[\"0.0.0.0:80\", \"[::]:80\"]");
    let contact = "contact = \"admin@authseal.org\"\n";
    assert!([listen, redirect, contact].iter().all(|part| written.contains(part)), "{written}");
    let authority = format!(
        "{contact}directory = \"https://localhost:{}/dir\"\nca_file = {:?}\n",
        lab.directory,
        lab.at("own.pem")
    );
    let written = written
        .replace(listen, &format!("[\"127.0.0.1:{}\"]", lab.tls))
        .replace(redirect, &format!("[\"127.0.0.1:{}\"]", lab.http))
        .replace("127.0.0.1:9464", "127.0.0.1:0")
        .replace(contact, &authority);
    fs::write(&config, written).unwrap();
    let checked = run(folder.path(), &["check"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(!folder.path().join("acme").exists(), "who only looks makes nothing");
    let _pebble = lab.pebble(&[]);
    let (served, _) = start(folder.path());
    assert_eq!(next(&served, &[ISSUED, FAILED])["message"], ISSUED);
    serves_the_file(&served, folder.path());
}

#[test]
fn a_failed_renewal_keeps_the_certificate_and_the_authority_may_come_back() {
    let lab = Lab::new();
    let folder = ready(&lab.config(false, "localhost"));
    // One that is past two thirds of its life.
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let year: i32 = jiff::Timestamp::now().to_string()[..4].parse().unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(year - 5, 1, 1), date_time_ymd(year + 1, 12, 31));
    let from = format!("# Issued by way of https://localhost:{}/dir\n", lab.directory);
    let old = from + &key.serialize_pem() + &params.self_signed(&key).unwrap().pem();
    fs::create_dir(folder.path().join("acme")).unwrap();
    fs::write(file(folder.path()), &old).unwrap();
    fs::set_permissions(file(folder.path()), Permissions::from_mode(0o600)).unwrap();
    let (served, admin) = start(folder.path());
    let unreached = next(&served, &[ISSUED, FAILED]);
    assert!(unreached["fault"].as_str().unwrap().starts_with("the authority cannot be reached: "), "{unreached}");
    serves_the_file(&served, folder.path());
    assert_eq!(fs::read_to_string(file(folder.path())).unwrap(), old);
    // It takes its time, and is killed meanwhile; the next one knows no account of ours.
    let pebble = lab.pebble(&[("PEBBLE_VA_NOSLEEP", "0"), ("PEBBLE_VA_SLEEPTIME", "600")]);
    pebble.says("Pulled a task from the Tasks queue");
    drop(pebble);
    let broken = next(&served, &[ISSUED, FAILED]);
    assert!(broken["fault"].as_str().unwrap().starts_with("the authority cannot be reached: "), "{broken}");
    assert_eq!(fs::read_to_string(file(folder.path())).unwrap(), old);
    assert!(folder.path().join("acme/account.json").exists());
    let _pebble = lab.pebble(&[]);
    while next(&served, &[ISSUED, FAILED])["message"] != ISSUED {}
    serves_the_file(&served, folder.path());
    assert_ne!(fs::read_to_string(file(folder.path())).unwrap(), old);
    waits_for_years(&admin);
}

#[test]
fn before_the_first_certificate_clients_are_refused_and_operators_are_told() {
    let lab = Lab::new();
    let folder = ready(&lab.config(true, "nowhere.invalid"));
    let _pebble = lab.pebble(&[]);
    let (served, admin) = start(folder.path());
    let line = next(&served, &[ISSUED, FAILED]);
    let fault = line["fault"].as_str().unwrap();
    assert!(fault.starts_with("the authority does not find this server: "), "{line}");
    serves_the_file(&served, folder.path());
    assert!(metric(&admin, "authseal_certificate_expires_timestamp_seconds") < 1e9, "the placeholder has expired");
    assert_eq!(metric(&admin, "authseal_acme_orders_total{outcome=\"name\"}"), 1.0);
    let end = Instant::now() + PATIENCE;
    while !ask_admin(&admin, "/readyz").contains("\"failures\":1") {
        assert!(Instant::now() < end);
    }
    let said = ask_admin(&admin, "/readyz");
    assert!(said.contains("the authority does not find this server"), "{said}");
    // Another start does not make it ask again at once.
    let next_attempt = line["next_attempt"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_second();
    assert!(next_attempt > jiff::Timestamp::now().as_second() + 200, "{line}");
    drop(served);
    let (_served, admin) = start(folder.path());
    let end = Instant::now() + PATIENCE;
    while metric(&admin, NEXT) == 0.0 {
        assert!(Instant::now() < end);
    }
    assert!((metric(&admin, NEXT) - next_attempt as f64).abs() < 2.0);
    assert_eq!(metric(&admin, "authseal_acme_orders_total{outcome=\"name\"}"), 0.0);
}

#[test]
fn of_replicas_that_share_the_folder_one_orders_and_all_serve_what_came() {
    let lab = Lab::new();
    let shared = lab.at("shared");
    let cache = format!("cache = {shared:?}\n");
    let config = lab.config(false, "localhost") + &cache;
    let folders =
        [config.clone(), config.replace(&format!("127.0.0.1:{}\"]", lab.tls), "127.0.0.1:0\"]")].map(|it| ready(&it));
    // To be read before the first has answered all: it is slow.
    let _pebble = lab.pebble(&[("PEBBLE_VA_NOSLEEP", "0"), ("PEBBLE_VA_SLEEPTIME", "2")]);
    let replicas = [&folders[0], &folders[1]].map(|folder| start(folder.path()));
    for (_, admin) in &replicas {
        waits_for_years(admin);
    }
    let orders: f64 = replicas.iter().map(|(_, admin)| metric(admin, ORDERED)).sum();
    assert_eq!(orders, 1.0);
    let expected = CertificateDer::from_pem_file(shared.join("certificate.pem")).unwrap();
    for (served, _) in &replicas {
        let end = Instant::now() + PATIENCE;
        while served_certificate(&served.address, b"http/1.1").unwrap() != expected {
            assert!(Instant::now() < end, "another certificate is served");
        }
    }
}

#[test]
fn what_cannot_be_is_said_at_the_start() {
    let good = "public_url = \"https://oauth.example.com\"\nlisten = [\"127.0.0.1:0\"]\n";
    for (more, says) in [
        ("acme.domains = [\"oauth.example.com\"]", "acme.domains"),
        ("acme.contact = \"nobody\"", "is not one mail address, like `admin@example.com`"),
        ("acme.contact = \"a@b.example,c@d.example\"", "is not one mail address"),
        (
            "acme = { contact = \"a@b.example\", domains = [\"oauth.example.com\", \"*.example.com\"] }",
            "must name one host; `*` stands for nothing here",
        ),
        ("acme = { contact = \"a@b.example\", cache = \"keys.toml\" }\n", "keys.toml, which is no folder"),
        ("acme = { contact = \"a@b.example\", domains = [\"b.example\"] }", "must have the host of `public_url` in it"),
        ("acme = { contact = \"a@b.example\", directory = \"http://a.example\" }", "is not `letsencrypt`"),
        ("acme.contact = \"a@b.example\"\ntls = { cert_file = \"a\", key_file = \"b\" }", "keep one of the two"),
        ("acme.contact = \"a@b.example\"\nacme_challenge_dir = \".\"", "makes this server its own; keep one"),
        ("acme = { contact = \"a@b.example\", cache = \"keys.toml/x\" }\n", "`acme.cache`: "),
    ] {
        let folder = ready(&format!("{good}{more}\n"));
        let done = run(folder.path(), &["serve"]);
        assert!(matches!(done.code, 1 | 2), "{more}: {done:?}");
        assert!(done.err.contains(says), "{more}: {done:?}");
    }
    let folder = ready("public_url = \"https://10.0.0.1\"\nacme.contact = \"a@b.example\"\n");
    let done = run(folder.path(), &["check"]);
    assert!(done.out.contains("is for names") || done.err.contains("is for names"), "{done:?}");
    assert!(!folder.path().join("acme").exists(), "who only looks makes nothing");
    let folder =
        ready("public_url = \"https://a.example\"\nacme = { contact = \"a@b.example\", ca_file = \"denylist\" }\n");
    let done = run(folder.path(), &["check"]);
    let warning = "warning: acme.ca_file: no certificate can be ordered, since the authorities in ";
    assert!(done.code == 0 && done.out.contains(warning), "{done:?}");
}
