//! Simulated storms: thousands of clients, who repeat what failed as Duplicati does, against the server's own logic and a
//! provider, all in this process and in paused time, so that a night takes seconds. Seeds make each one repeatable.
//! HTTP on the clients' side is left out: `duplicati` shows that 503 with a reason ends an attempt after one request.

use crate::duplicati::{ATTEMPT, Next, after};
use crate::reading::{self, Backend, Generation, Operation, Refusal};
use crate::rotation::full;
use crate::spawn::{PRIMARY, PUBLIC_URL, epoch, write_keyrings};
use authseal::app::App;
use authseal::authid::{self, Grant, ServiceId};
use authseal::clock::Clock;
use authseal::config::{Config, Sources};
use authseal::seal::Keyring;
use fastrand::Rng;
use futures_util::future::join_all;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, sleep_until, timeout};

const SERVICE: &str = "googledrive";
/// Calls at a time, by which the provider bounds what can be served.
const PLACES: u32 = 64;
/// The backup program repeats a failed operation so often, with a new backend each time, after such pauses.
const REPEATS: usize = 5;
const BETWEEN: Duration = Duration::from_secs(10);

/// What the provider does with a request.
#[derive(Clone, Copy, Debug)]
enum Mood {
    /// Answers after this time.
    Good(Duration),
    /// Closes each connection.
    Down,
    /// Says nothing.
    Silent,
    /// Answers 503.
    Disturbed,
    /// Answers 429 after this time, and says for how many seconds.
    Busy(Duration, u32),
}

/// A server without HTTP, its provider, and the time that both live in.
struct World {
    app: App,
    keyring: Keyring,
    mood: Mutex<Mood>,
    /// When each request came to the provider.
    calls: Mutex<Vec<Instant>>,
    clock: Clock,
    _dir: TempDir,
}

impl World {
    async fn new(mood: Mood, tables: &str) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = format!("http://{}", listener.local_addr().unwrap());
        let dir = tempfile::tempdir().unwrap();
        let keys = write_keyrings().0;
        let file = dir.path().join("keys.toml");
        fs::write(&file, &keys).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(dir.path().join("denylist"), "authseal-denylist 1\n").unwrap();
        let text = format!(
            "public_url = \"{PUBLIC_URL}\"\nkeyring.file = \"keys.toml\"\ndenylist.file = \"denylist\"\n{tables}\n\
             [clients.google]\nid = \"id\"\nsecret = \"secret\"\n\
             [providers.google]\nauthorize_url = \"{provider}/authorize\"\ntoken_url = \"{provider}/token\"\n"
        );
        fs::write(dir.path().join("authseal.toml"), text).unwrap();
        let (file, system_file) = (Some(dir.path().join("authseal.toml")), dir.path().join("none"));
        let sources = Sources { file, system_file, working_dir: dir.path().into(), ..Sources::default() };
        let (config, public_url) = Config::load_to_serve(&sources).unwrap_or_else(|faults| panic!("{faults}"));
        let clock = Clock::system();
        let app = App::build(config, public_url, clock.clone()).unwrap();
        let keyring = Keyring::parse(&keys).unwrap();
        let (mood, calls) = (Mutex::new(mood), Mutex::default());
        let world = Arc::new(Self { app, keyring, mood, calls, clock, _dir: dir });
        tokio::spawn(world.clone().provide(listener));
        tokio::spawn(world.clone().pass_time());
        world
    }

    /// Keeps the server's clock with the paused time.
    async fn pass_time(self: Arc<Self>) {
        let (begun, before) = (Instant::now(), self.clock.uptime());
        loop {
            sleep(Duration::from_millis(50)).await;
            self.clock.advance(begun.elapsed().saturating_sub(self.clock.uptime().saturating_sub(before)));
        }
    }

    async fn provide(self: Arc<Self>, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(self.clone().answer(stream));
        }
    }

    async fn answer(self: Arc<Self>, mut stream: TcpStream) {
        while read(&mut stream).await {
            self.calls.lock().unwrap().push(Instant::now());
            let mood = *self.mood.lock().unwrap();
            let head = match mood {
                Mood::Good(time) => {
                    sleep(time).await;
                    "200 OK".to_owned()
                }
                Mood::Down => return,
                Mood::Silent => return std::future::pending().await,
                Mood::Disturbed => "503 Service Unavailable".to_owned(),
                Mood::Busy(time, seconds) => {
                    sleep(time).await;
                    format!("429 Too Many Requests\r\nRetry-After: {seconds}")
                }
            };
            let body = r#"{"access_token":"at","token_type":"bearer","expires_in":3600}"#;
            let body = if matches!(mood, Mood::Good(_)) { body } else { "{}" };
            let length = body.len();
            let answer =
                format!("HTTP/1.1 {head}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}");
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn calls(&self) -> usize {
        self.calls.lock().unwrap().len()
    }

    fn log_in(&self, number: usize) -> String {
        let service = ServiceId::parse(SERVICE).unwrap();
        let login = Grant::new(service, format!("token-{number}").into(), self.clock.now()).unwrap();
        authid::seal(self.keyring.keys(epoch(PRIMARY)).unwrap(), &login).unwrap().expose().to_owned()
    }

    /// One request, as `/refresh` answers it.
    async fn request(&self, authid: &str) -> Result<(), Refusal> {
        let tokens = self.app.tokens();
        let deadline = tokens.deadline();
        let opened = tokens.open_until(authid, deadline).await.unwrap();
        if tokens.cached(&opened).is_some() {
            return Ok(());
        }
        match tokens.refresh(&opened, deadline, || None).await {
            Ok(_) => Ok(()),
            Err(refused) => {
                let is_over = refused.label() == "refused";
                let status = Some(if is_over { 401 } else { 503 });
                Err(Refusal { status, reason: Some(refused.to_string()), ..Refusal::default() })
            }
        }
    }

    /// One operation of a backend, with the retries of its helper.
    async fn operate(&self, backend: Backend, generation: Generation, authid: &str) -> bool {
        let (begun, mut attempts) = (Instant::now(), 0);
        loop {
            let outcome = timeout(ATTEMPT, self.request(authid)).await.unwrap_or_else(|_| Err(Refusal::default()));
            attempts += 1;
            let Err(refusal) = outcome else { return true };
            let limit = reading::limit(backend, generation, Operation::Put);
            match after(attempts, begun.elapsed(), reading::retries(backend, generation, &refusal), limit) {
                Next::Again(pause) => sleep(pause).await,
                Next::GivesUp | Next::TimeIsUp(_) => return false,
            }
        }
    }

    /// A backup that begins then; when it got its token, if it did.
    async fn back_up(&self, number: usize, begins: Instant) -> Option<Instant> {
        sleep_until(begins).await;
        let authid = self.log_in(number);
        let backend = Backend::ALL[number % Backend::ALL.len()];
        let generation = Generation::ALL[number / Backend::ALL.len() % 2];
        for _ in 0..=REPEATS {
            if self.operate(backend, generation, &authid).await {
                return Some(Instant::now());
            }
            sleep(BETWEEN).await;
        }
        None
    }
}

/// Reads a request to its end; `false` when there is none.
async fn read(stream: &mut TcpStream) -> bool {
    let (mut request, mut chunk) = (String::new(), [0; 4096]);
    loop {
        let Ok(count @ 1..) = stream.read(&mut chunk).await else { return false };
        request.push_str(&String::from_utf8_lossy(&chunk[..count]));
        let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return true;
        }
    }
}

#[tokio::test(start_paused = true)]
#[allow(clippy::print_stdout, reason = "docs/scaling.md has these figures")]
async fn a_night_in_which_the_provider_is_away_ends_with_everybody_served_soon_after_it_is_back() {
    const OUTAGE: Duration = Duration::from_secs(75);
    const CALL: Duration = Duration::from_millis(300);
    const BUSY: u32 = 5;
    let cases: &[(usize, u64)] = if full() { &[(10_000, 1), (1000, 1), (1000, 2), (1000, 3)] } else { &[(1000, 1)] };
    for &(clients, seed) in cases {
        for mood in [Mood::Busy(CALL, BUSY), Mood::Down, Mood::Silent, Mood::Disturbed] {
            let world = World::new(mood, "refresh.max_waiting = 20000").await;
            let begun = Instant::now();
            // Half of them at the full minute, the others within it.
            let mut random = Rng::with_seed(seed);
            let backups = join_all((0..clients).map(|number| {
                let after = random.u64(..if number % 2 == 0 { 3000 } else { 60_000 });
                world.back_up(number, begun + Duration::from_millis(after))
            }));
            let outage = async {
                sleep(OUTAGE).await;
                world.set(Mood::Good(CALL));
                world.calls()
            };
            let (served, calls) = tokio::join!(backups, outage);
            let back = begun + OUTAGE;
            let mut served: Vec<_> =
                served.into_iter().map(|at| at.map(|at| at.saturating_duration_since(back))).collect();
            served.sort();
            let after = world.calls() - calls;
            eprintln!(
                "{clients} clients, seed {seed}, {mood:?}: {calls} calls in the outage, {after} after it; served: half {:?}, \
                 all {:?} after it",
                served[clients / 2],
                served[clients - 1]
            );
            assert!(served.iter().all(Option::is_some), "{mood:?}, seed {seed}: somebody's backup failed");
            // What the places allow, a pause of the loops, and a pause of the backup program.
            let shortest = CALL * (clients as u32).div_ceil(PLACES);
            let most = shortest * 3 / 2 + Duration::from_secs(6) + BETWEEN;
            assert!(served[clients - 1] <= Some(most), "{mood:?}, seed {seed}: {:?}", served[clients - 1]);
            // However many clients there are: until it is known to be away as many as may be under way, which takes two
            // attempts where it says nothing; then one a second, twice. A pause that it asks for is kept.
            let known = match mood {
                Mood::Busy(..) => 2 * PLACES as usize + (OUTAGE.as_secs() / u64::from(BUSY)) as usize,
                _ => 10 * PLACES as usize + 2 * OUTAGE.as_secs() as usize,
            };
            assert!(calls <= known, "{mood:?}, seed {seed}: {calls} calls in the outage");
            assert!(after <= clients + clients / 20, "{mood:?}, seed {seed}: {after} calls after the outage");
        }
    }
}

#[tokio::test(start_paused = true)]
#[allow(clippy::print_stdout, reason = "docs/scaling.md has these figures")]
async fn at_ten_times_what_a_provider_carries_nine_of_ten_of_its_calls_are_for_somebody_who_still_waits() {
    let cases: &[u32] = if full() { &[1, 2, 4] } else { &[4] };
    for &call in cases {
        let world = World::new(Mood::Good(Duration::from_secs(call.into())), "refresh.max_waiting = 4000").await;
        let (best, seconds) = (f64::from(PLACES) / f64::from(call), 60);
        let arrivals = (10.0 * best) as usize;
        let begun = Instant::now();
        let answers = join_all((0..arrivals * seconds).map(|number| {
            let (world, comes) = (world.clone(), begun + Duration::from_secs_f64(number as f64 / arrivals as f64));
            async move {
                sleep_until(comes).await;
                let good = world.request(&world.log_in(number)).await.is_ok();
                (good, Instant::now(), comes.elapsed())
            }
        }))
        .await;
        let longest = answers.iter().map(|(_, _, took)| *took).max().unwrap();
        // Without the first seconds, in which nobody has waited yet.
        let counted = begun + Duration::from_secs(25)..begun + Duration::from_secs(60);
        let served = answers.iter().filter(|(good, at, _)| *good && counted.contains(at)).count();
        let goodput = served as f64 / (counted.end - counted.start).as_secs_f64() / best;
        let refused = answers.iter().filter(|(good, _, took)| !good && *took < Duration::from_secs(3)).count();
        let ended = Instant::now();
        assert!(world.request(&world.log_in(0)).await.is_ok());
        let again = ended.elapsed();
        eprintln!(
            "{arrivals} a second at a provider that carries {best}: {:.0} % of that, the longest wait {longest:?}, {refused} \
             of {} refused within three seconds; the next one after it takes {again:?}",
            100.0 * goodput,
            answers.len()
        );
        assert!(goodput >= 0.9, "{goodput}");
        assert!(longest < Duration::from_secs(22), "{longest:?}");
        assert!(again <= Duration::from_secs(2 + u64::from(call)), "{again:?}");
    }
}
