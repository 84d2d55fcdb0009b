//! A whole server for one test: in this process, on a port of its own, with its files in a folder that goes away. The
//! one place that knows how authseal is started.

use crate::browser::Person;
use crate::duplicati::Duplicati;
use crate::emulator::Emulator;
use crate::http;
use crate::keyring::key;
use authseal::app::{App, LiveApp};
use authseal::authid::{self, Envelope, Grant, ServiceId};
use authseal::clock::Clock;
use authseal::config::{Config, Sources};
use authseal::seal::{Epoch, EpochKeys, Keyring};
use authseal::socket::Handed;
use authseal::web::Server;
use reqwest::header::HeaderMap;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// What browsers see: as behind a proxy that ends TLS, which is at the tests' own address.
pub(crate) const PUBLIC_URL: &str = "https://authseal.test";

/// A running server; it stops when it is dropped.
pub(crate) struct TestApp {
    /// `http://127.0.0.1:<port>`.
    pub(crate) base: String,
    /// The same of the admin listener, where the tables have one.
    pub(crate) admin: Option<String>,
    pub(crate) client: reqwest::Client,
    /// The server's time.
    pub(crate) clock: Clock,
    /// Where configuration, keyring and denylist lie.
    pub(crate) dir: Arc<TempDir>,
    /// All that the server can open, and one epoch that it has never heard of.
    keyring: Keyring,
    newer: Keyring,
    /// The entry of that one for a keyring file.
    newer_entry: String,
    end: Option<oneshot::Sender<End>>,
    thread: Option<JoinHandle<()>>,
}

/// The epochs of a test's keyring: one is given up, one only opens, one seals, one is staged; nobody knows the last.
pub(crate) const RETIRED: u32 = 1;
pub(crate) const OLD: u32 = 2;
pub(crate) const PRIMARY: u32 = 3;
pub(crate) const STAGED: u32 = 4;
pub(crate) const UNKNOWN: u32 = 5;

/// What `/refresh` answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, body: response.text().await.unwrap() }
    }

    /// A header's text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// `X-Reason`, checked for what every reason must be.
    pub(crate) fn reason(&self) -> &str {
        let reason = self.header("x-reason").unwrap_or_else(|| panic!("no X-Reason: {self:?}"));
        assert!((1..=300).contains(&reason.len()) && reason.bytes().all(|b| (0x20..0x7f).contains(&b)), "{reason:?}");
        assert!(reason.starts_with(|c: char| c.is_ascii_alphabetic()) && !reason.ends_with('.'), "{reason:?}");
        reason
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The access token, of an answer that has one.
    pub(crate) fn access_token(&self) -> String {
        assert_eq!(self.status, 200, "{self:?}");
        self.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// Seconds that the access token has left.
    pub(crate) fn expires(&self) -> i64 {
        self.json()["expires"].as_i64().unwrap()
    }
}

/// Starts a server for these providers.
pub(crate) fn spawn_for(emulators: &[&Emulator]) -> TestApp {
    spawn_app(&emulators.iter().map(|emulator| emulator.provider_toml()).collect::<String>())
}

/// Starts a server with further tables of configuration.
pub(crate) fn spawn_app(tables: &str) -> TestApp {
    spawn_at(tables, Clock::system())
}

/// [`spawn_app`] with a clock that others may hold too.
pub(crate) fn spawn_at(tables: &str, clock: Clock) -> TestApp {
    crate::canary::listen();
    let dir = Arc::new(tempfile::tempdir().unwrap());
    let (keys, newer) = write_keyrings();
    let file = dir.path().join("keys.toml");
    fs::write(&file, &keys).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(dir.path().join("denylist"), "authseal-denylist 1\n").unwrap();
    let proxy = if tables.contains("[server]") { "" } else { "server.trusted_proxies = [\"127.0.0.1\"]\n" };
    let top = format!("public_url = \"{PUBLIC_URL}\"\nlisten = [\"127.0.0.1:0\"]\n{proxy}");
    let files = "[keyring]\nfile = \"keys.toml\"\n[denylist]\nfile = \"denylist\"\n";
    fs::write(dir.path().join("authseal.toml"), format!("{top}{files}{tables}")).unwrap();
    let (addresses, end, thread) = serve(dir.path().into(), clock.clone());
    let newer_entry = newer[newer.rfind("[[key]]").unwrap()..].to_owned();
    let (keyring, newer) = (Keyring::parse(&keys).unwrap(), Keyring::parse(&newer).unwrap());
    let (base, admin) = addresses;
    let (client, end, thread) = (http::client(), Some(end), Some(thread));
    TestApp { base, admin, client, clock, dir, keyring, newer, newer_entry, end, thread }
}

/// Another server with the files of `first`, and a clock that both hold: as a second replica, or after a restart.
pub(crate) fn spawn_beside(first: &TestApp) -> TestApp {
    spawn_in(first.dir.clone(), first.clock.clone())
}

pub(crate) fn spawn_in(dir: Arc<TempDir>, clock: Clock) -> TestApp {
    let (addresses, end, thread) = serve(dir.path().into(), clock.clone());
    let keyring = Keyring::parse(&fs::read_to_string(dir.path().join("keys.toml")).unwrap()).unwrap();
    let newer = Keyring::parse(&write_keyrings().1).unwrap();
    let (base, admin) = addresses;
    let (client, newer_entry, end, thread) = (http::client(), String::new(), Some(end), Some(thread));
    TestApp { base, admin, client, clock, dir, keyring, newer, newer_entry, end, thread }
}

/// Another server with the keyring and the clock of `first`, on a disk of its own and with an empty denylist: as a replica
/// on another machine.
pub(crate) fn spawn_apart(first: &TestApp, tables: &str) -> TestApp {
    let dir = Arc::new(tempfile::tempdir().unwrap());
    fs::copy(first.dir.path().join("keys.toml"), dir.path().join("keys.toml")).unwrap();
    fs::write(dir.path().join("denylist"), "authseal-denylist 1\n").unwrap();
    let top = format!("public_url = \"{PUBLIC_URL}\"\nlisten = [\"127.0.0.1:0\"]\nkeyring.file = \"keys.toml\"\n");
    let proxy = "server.trusted_proxies = [\"127.0.0.1\"]\n";
    fs::write(dir.path().join("authseal.toml"), format!("{top}{proxy}{tables}")).unwrap();
    spawn_in(dir, first.clock.clone())
}

/// How a server is told to end.
enum End {
    AtOnce,
    Drained,
}

/// Where a server listens: for everybody, and for operators.
type Addresses = (String, Option<String>);

/// Starts the server on a thread of its own. Unless it is configured otherwise, it ends as soon as it is told to, and
/// keeps nobody waiting.
fn serve(dir: PathBuf, clock: Clock) -> (Addresses, oneshot::Sender<End>, JoinHandle<()>) {
    let (started, start) = mpsc::channel();
    let (end, told) = oneshot::channel();
    let thread = std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let file = Some(dir.join("authseal.toml"));
            // Who tests an end or a wait says so in the tables.
            let written = fs::read_to_string(dir.join("authseal.toml")).unwrap();
            let flags = ["server.drain_seconds", "refresh.wait_seconds"].into_iter();
            let flags = flags.filter(|key| !written.contains(key.split('.').next_back().unwrap()));
            let flags = flags.map(|key| (key.to_owned(), "0".to_owned())).collect();
            let system_file = dir.join("none");
            let sources = Sources { file, system_file, working_dir: dir, flags, ..Sources::default() };
            let load = move || Config::load_to_serve(&sources);
            let (config, public_url) = load().unwrap_or_else(|faults| panic!("{faults}"));
            let again = move || load().map(|(config, _)| config).map_err(|faults| vec![faults.to_string()]);
            let listeners = config.listeners.clone();
            let app = App::build(config, public_url, clock).unwrap();
            let live = LiveApp::new(app, Box::new(again));
            let server = Server::bind(live, listeners, Handed::default()).unwrap();
            let admin = server.admin_addresses().first().map(|address| format!("http://{address}"));
            let base = format!("http://{}", server.addresses()[0]);
            let running = server.run().unwrap();
            started.send((base, admin)).unwrap();
            if let Ok(End::Drained) = told.await {
                running.drain().await;
            }
            running.stop().await.unwrap();
        });
    });
    let addresses = start.recv().expect("the server starts; its own message is above");
    (addresses, end, thread)
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.end(End::AtOnce);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl TestApp {
    fn end(&mut self, how: End) {
        if let Some(end) = self.end.take() {
            let _ = end.send(how);
        }
    }

    /// Tells the server to end as SIGTERM does.
    pub(crate) fn terminate(&mut self) {
        self.end(End::Drained);
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// `GET` of a path of the admin listener.
    pub(crate) async fn ask(&self, path: &str) -> Answer {
        let url = format!("{}{path}", self.admin.as_ref().expect("the tables have [admin]"));
        Answer::of(self.client.get(url).send().await.unwrap()).await
    }

    /// What another server with these files does, without one: its threads are those of the caller.
    pub(crate) fn logic(&self) -> App {
        let (dir, none) = (self.dir.path(), self.dir.path().join("none"));
        let file = Some(dir.join("authseal.toml"));
        let sources = Sources { file, system_file: none, working_dir: dir.into(), ..Sources::default() };
        let (config, public_url) = Config::load_to_serve(&sources).unwrap_or_else(|faults| panic!("{faults}"));
        App::build(config, public_url, self.clock.clone()).unwrap()
    }

    /// An AuthID of a login, sealed under the primary.
    pub(crate) fn seal(&self, service: &str, refresh_token: &str) -> String {
        self.seal_under(PRIMARY, service, refresh_token)
    }

    /// An AuthID sealed under some epoch.
    pub(crate) fn seal_under(&self, number: u32, service: &str, refresh_token: &str) -> String {
        let now = self.clock.now();
        let service = ServiceId::parse(service).unwrap();
        let login = Grant::new(service, refresh_token.to_owned().into(), now).unwrap();
        authid::seal(self.keys_of(number), &login).unwrap().expose().to_owned()
    }

    /// What is sealed in an AuthID.
    pub(crate) fn open(&self, authid: &str) -> Grant {
        Envelope::parse(authid).unwrap().open(&self.keyring).unwrap()
    }

    /// The keys of an epoch, also of one that the server does not have.
    pub(crate) fn keys_of(&self, number: u32) -> &EpochKeys {
        let epoch = epoch(number);
        self.keyring.keys(epoch).or_else(|_| self.newer.keys(epoch)).unwrap()
    }

    /// Puts the epoch that the server has never heard of into its keyring file.
    pub(crate) fn stage_the_unknown(&self) {
        let file = self.dir.path().join("keys.toml");
        let keys = fs::read_to_string(&file).unwrap() + &self.newer_entry;
        fs::write(file, keys).unwrap();
    }

    /// An AuthID of a login that was just made at this provider.
    pub(crate) fn log_in(&self, emulator: &Emulator) -> String {
        self.seal(emulator.who().service, &emulator.log_in().refresh.unwrap())
    }

    /// `GET /refresh` with the AuthID in its header.
    pub(crate) async fn refresh(&self, authid: &str) -> Answer {
        let request = self.client.get(self.at("/refresh")).header("X-AuthID", authid.as_bytes());
        Answer::of(request.send().await.unwrap()).await
    }

    /// `POST` of a form.
    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        Answer::of(self.client.post(self.at(path)).form(form).send().await.unwrap()).await
    }

    /// `GET` of a path, without any header of a browser.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.client.get(self.at(path)).send().await.unwrap()).await
    }

    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// A backup client with an AuthID.
    pub(crate) fn duplicati(&self, service: &str, authid: &str) -> Duplicati {
        Duplicati::new(&self.at("/refresh"), service, authid, &self.clock)
    }

    /// Somebody with a browser, all at one address.
    pub(crate) fn person(&self) -> Person {
        let mut person = Person::new(PUBLIC_URL, &self.base, &self.clock);
        person.behind("x-forwarded-for", "203.0.113.7");
        person
    }
}

/// The server's keyring, and another one with a newer epoch.
pub(crate) fn write_keyrings() -> (String, String) {
    let mut keys = format!("primary = {PRIMARY}\n[[key]]\nepoch = {RETIRED}\nretired = \"2026-01-01T00:00:00Z\"\n");
    for number in [OLD, PRIMARY, STAGED] {
        keys += &key(i64::from(number));
    }
    let mut newer = format!("primary = {UNKNOWN}\n");
    for number in [RETIRED, UNKNOWN] {
        newer += &key(i64::from(number));
    }
    (keys, newer)
}

pub(crate) fn epoch(number: u32) -> Epoch {
    Epoch::try_from(i64::from(number)).unwrap()
}

/// Waits for something that another thread does; at most `time`.
pub(crate) async fn until(time: Duration, mut done: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + time;
    while !done().await {
        assert!(Instant::now() < end, "it did not happen within {time:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
