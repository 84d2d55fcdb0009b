//! One suite for all kinds of store, and what is special about each.

use super::*;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

const MINUTE: Duration = Duration::from_secs(60);

/// A Redis of one test's own; it ends with it.
pub(crate) struct RedisServer {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl RedisServer {
    pub(crate) fn start(settings: &[&str]) -> Self {
        // The port could be taken in between; then it is tried again with another.
        (0..20).find_map(|_| Self::try_start(settings)).expect("redis-server starts (Debian package redis-server)")
    }

    fn try_start(settings: &[&str]) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]).arg(folder.path());
        let mut child = command.args(["--save", ""]).args(settings).stdout(Stdio::piped()).spawn().ok()?;
        let ready = BufReader::new(child.stdout.take()?)
            .lines()
            .map_while(Result::ok)
            .any(|line| line.contains("Ready to accept connections"));
        let server = Self { child, port, _folder: folder };
        ready.then_some(server)
    }

    pub(crate) fn place(&self, user: &str) -> StorePlace {
        StorePlace::Redis { url: format!("redis://{user}127.0.0.1:{}/0", self.port).into(), ca_file: None, wait: 0 }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn name(number: u64) -> Name {
    let mut name = [7; 32];
    name[..8].copy_from_slice(&number.to_be_bytes());
    name
}

/// What every kind must do. `pass` lets time pass.
async fn conforms(store: &Store, pass: impl AsyncFn(Duration)) {
    for (at, shelf) in Shelf::ALL.into_iter().enumerate() {
        let name = name(at as u64);
        assert_eq!(store.read(shelf, &name).await.unwrap(), None);
        store.put(shelf, &name, b"one", MINUTE).await.unwrap();
        store.put(shelf, &name, b"two", MINUTE).await.unwrap();
        assert_eq!(store.read(shelf, &name).await.unwrap().unwrap(), b"two");
        for other in Shelf::ALL.into_iter().filter(|other| *other != shelf) {
            assert_eq!(store.read(other, &name).await.unwrap(), None, "shelves are apart");
        }
        assert_eq!(store.take(shelf, &name).await.unwrap().unwrap(), b"two");
        assert_eq!(store.take(shelf, &name).await.unwrap(), None, "what was taken is gone");

        let swap = async |expected: Option<&[u8]>, new: Option<&[u8]>| {
            store.swap(shelf, &name, expected, new, MINUTE).await.unwrap()
        };
        assert!(!swap(Some(b"x"), Some(b"y")).await, "nothing is there");
        assert!(swap(None, Some(b"a\0\xff")).await);
        assert!(!swap(None, Some(b"b")).await, "something is there");
        assert!(!swap(Some(b"a"), None).await && !swap(Some(b""), Some(b"b")).await);
        assert!(swap(Some(b"a\0\xff"), Some(b"")).await);
        assert_eq!(store.read(shelf, &name).await.unwrap().unwrap(), b"", "an empty blob is one");
        assert!(swap(Some(b""), None).await && swap(None, None).await);
        assert_eq!(store.read(shelf, &name).await.unwrap(), None);

        let longest = vec![9; MAX_BLOB_LEN];
        store.put(shelf, &name, &longest, MINUTE).await.unwrap();
        assert_eq!(store.read(shelf, &name).await.unwrap().unwrap(), longest);
        let longer = vec![9; MAX_BLOB_LEN + 1];
        assert!(matches!(store.put(shelf, &name, &longer, MINUTE).await, Err(StoreError::TooLong)));
        assert!(matches!(store.swap(shelf, &name, None, Some(&longer), MINUTE).await, Err(StoreError::TooLong)));
        assert_eq!(store.take(shelf, &name).await.unwrap().unwrap(), longest);
    }

    // What has ended is not there for anybody.
    let short = Duration::from_secs(1);
    for number in 10..13 {
        store.put(Shelf::Leases, &name(number), b"short", short).await.unwrap();
    }
    store.put(Shelf::Leases, &name(13), b"long", MINUTE).await.unwrap();
    pass(Duration::from_millis(2100)).await;
    assert_eq!(store.read(Shelf::Leases, &name(10)).await.unwrap(), None);
    assert_eq!(store.take(Shelf::Leases, &name(11)).await.unwrap(), None);
    assert!(!store.swap(Shelf::Leases, &name(12), Some(b"short"), Some(b"x"), MINUTE).await.unwrap());
    assert!(store.swap(Shelf::Leases, &name(12), None, Some(b"x"), MINUTE).await.unwrap());
    let mut heads = Vec::new();
    store.heads(Shelf::Leases, 3, |head| heads.push(head.to_vec())).await.unwrap();
    heads.sort();
    assert_eq!(heads, [b"lon".to_vec(), b"x".to_vec()]);
    assert_eq!(store.health(), Health::default());
}

/// Of many who want the same, exactly one gets it.
async fn is_fair(store: Arc<Store>) {
    for round in 100..120 {
        let name = name(round);
        store.put(Shelf::Mailbox, &name, b"one", MINUTE).await.unwrap();
        let tasks = (0..20u8).map(|who| {
            let store = store.clone();
            tokio::spawn(async move {
                let took = store.take(Shelf::Mailbox, &name).await.unwrap().is_some();
                let held = store.swap(Shelf::Leases, &name, None, Some(&[who]), MINUTE).await.unwrap();
                (took, held)
            })
        });
        let (mut took, mut held) = (0, 0);
        for task in tasks.collect::<Vec<_>>() {
            let outcome = task.await.unwrap();
            took += usize::from(outcome.0);
            held += usize::from(outcome.1);
        }
        assert_eq!((took, held), (1, 1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_conforms() {
    let clock = Clock::system();
    let store = Arc::new(Store::memory(clock.clone()));
    conforms(&store, async |time| clock.advance(time)).await;
    is_fair(store.clone()).await;
    assert!(!store.is_durable() && store.advice().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_folder_conforms() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::system());
    let place = StorePlace::Dir(folder.path().join("a/b"));
    let store = Arc::new(Store::open(&place, clock.clone()).unwrap());
    conforms(&store, async |time| clock.advance(time)).await;
    is_fair(store.clone()).await;
    assert!(store.is_durable() && place.is_durable());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redis_conforms() {
    let server = RedisServer::start(&["--appendonly", "yes"]);
    let store = Arc::new(Store::open(&server.place(""), Clock::system()).unwrap());
    // Redis has a clock of its own, so this once time really passes.
    conforms(&store, async |time| tokio::time::sleep(time).await).await;
    is_fair(store.clone()).await;
    assert!(store.is_durable());
    assert_eq!(store.advice().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn in_memory_the_newest_blob_is_always_kept_and_there_is_a_bound() {
    let Kind::Memory(memory) = Store::memory(Clock::system()).kind else { panic!("not in memory") };
    for number in 0..memory::MAX_BLOBS + 100 {
        memory.put(Shelf::Mailbox, &name(number), &[1], MINUTE);
        assert!(memory.read(Shelf::Mailbox, &name(number)).is_some());
    }
    memory.blobs.run_pending_tasks();
    assert!(memory.blobs.entry_count() <= memory::MAX_BLOBS);
}

#[tokio::test]
async fn a_folder_outlives_its_process_and_is_shared_by_others() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Store::open(&StorePlace::Dir(folder.path().to_owned()), Clock::system()).unwrap();
    let (one, two) = (open(), open());
    one.put(Shelf::Records, &name(1), b"record", MINUTE).await.unwrap();
    assert_eq!(two.read(Shelf::Records, &name(1)).await.unwrap().unwrap(), b"record");
    assert!(two.swap(Shelf::Records, &name(1), Some(b"record"), Some(b"next"), MINUTE).await.unwrap());
    drop((one, two));
    assert_eq!(open().read(Shelf::Records, &name(1)).await.unwrap().unwrap(), b"next");
}

#[tokio::test]
async fn in_a_folder_what_has_ended_and_what_was_not_finished_is_cleared_away() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::system());
    let store = Store::open(&StorePlace::Dir(folder.path().to_owned()), clock.clone()).unwrap();
    store.put(Shelf::Mailbox, &name(1), b"short", MINUTE).await.unwrap();
    store.put(Shelf::Records, &name(2), b"long", 100 * MINUTE).await.unwrap();
    let unfinished = folder.path().join("records/00/aside-00ff");
    std::fs::write(&unfinished, b"half").unwrap();
    let files = || {
        let shelves = ["mailbox/00", "records/00"];
        let listed = shelves.map(|shelf| std::fs::read_dir(folder.path().join(shelf)).map_or(0, Iterator::count));
        (listed[0], listed[1])
    };
    assert_eq!(files(), (1, 2));
    clock.advance(61 * MINUTE);
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while files() != (0, 1) {
        assert!(std::time::Instant::now() < end, "{:?}", files());
        store.read(Shelf::Records, &name(2)).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(store.read(Shelf::Records, &name(2)).await.unwrap().unwrap(), b"long");
}

#[tokio::test]
async fn a_folder_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = Store::open(&StorePlace::Dir(file.clone()), Clock::system()).err().unwrap().to_string();
    assert!(error.contains(&file.display().to_string()), "{error}");
}

#[tokio::test]
async fn a_file_that_somebody_else_put_there_is_no_blob() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&StorePlace::Dir(folder.path().to_owned()), Clock::system()).unwrap();
    store.put(Shelf::Records, &name(1), b"record", MINUTE).await.unwrap();
    let path = folder.path().join("records/00").join(format!("{}{}", "0".repeat(15) + "1", "07".repeat(24)));
    assert!(path.exists());
    for content in [b"".as_slice(), b"short"] {
        std::fs::write(&path, content).unwrap();
        assert_eq!(store.read(Shelf::Records, &name(1)).await.unwrap(), None);
        assert!(store.swap(Shelf::Records, &name(1), None, Some(b"new"), MINUTE).await.unwrap());
    }
}

#[tokio::test]
async fn a_redis_that_is_down_is_said_once_and_used_again_when_it_is_back() {
    let server = RedisServer::start(&["--requirepass", "hunter2"]);
    let (right, wrong) = (server.place(":hunter2@"), server.place(":hunter3@"));
    let store = Store::open(&wrong, Clock::system()).unwrap();
    let error = store.read(Shelf::Records, &name(1)).await.unwrap_err().to_string();
    assert!(error.contains("password") && !error.contains("hunter"), "{error}");
    let store = Store::open(&right, Clock::system()).unwrap();
    store.put(Shelf::Records, &name(1), b"record", MINUTE).await.unwrap();
    let port = server.port;
    drop(server);
    assert!(store.read(Shelf::Records, &name(1)).await.is_err());
    assert!(store.health().reading.is_some());
    let again = RedisServer::start(&["--requirepass", "hunter2", "--port", &port.to_string()]);
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while store.put(Shelf::Records, &name(1), b"record", MINUTE).await.is_err() {
        assert!(std::time::Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(store.health().writing, None);
    drop(again);
}

#[tokio::test]
async fn how_redis_is_set_up_is_judged() {
    let server = RedisServer::start(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let advice = Store::open(&server.place(""), Clock::system()).unwrap().advice().await.unwrap();
    assert_eq!(advice.len(), 2, "{advice:?}");
    assert!(advice[0].contains("appendonly yes") && advice[1].contains("noeviction"), "{advice:?}");
}

#[tokio::test]
async fn a_redis_that_is_full_says_so_and_goes_on_reading() {
    let server = RedisServer::start(&["--maxmemory", "2mb", "--maxmemory-policy", "noeviction"]);
    let store = Store::open(&server.place(""), Clock::system()).unwrap();
    let blob = vec![1; MAX_BLOB_LEN];
    let mut number = 0;
    let error = loop {
        match store.put(Shelf::Records, &name(number), &blob, MINUTE).await {
            Ok(()) if number < 1000 => number += 1,
            outcome => break outcome.unwrap_err().to_string(),
        }
    };
    assert!(error.contains("maxmemory"), "{error}");
    if number > 0 {
        assert_eq!(store.read(Shelf::Records, &name(0)).await.unwrap().unwrap(), blob);
    }
}
