//! One suite for all kinds of store, and what is special about those in memory and in a folder; of Redis see below.

use super::*;
use crate::clock::Clock;
use redis_server::RedisServer;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod in_folder;
mod in_redis;
#[path = "../../tests/server/redis_server.rs"]
mod redis_server;
#[path = "../../tests/server/relay.rs"]
mod relay;

const MINUTE: Duration = Duration::from_secs(60);

/// Where a Redis is, or a relay before it; `user` is what stands before the host.
fn at(address: SocketAddr, user: &str, wait: u32) -> StorePlace {
    StorePlace::Redis { url: format!("redis://{user}{address}/0").into(), ca_file: None, wait }
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

        let longest = vec![9; 32 * 1024];
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
        store.put(Shelf::Mailbox, &name(number), b"short", short).await.unwrap();
    }
    store.put(Shelf::Mailbox, &name(13), b"long", MINUTE).await.unwrap();
    pass(Duration::from_millis(2100)).await;
    assert_eq!(store.read(Shelf::Mailbox, &name(10)).await.unwrap(), None);
    assert_eq!(store.take(Shelf::Mailbox, &name(11)).await.unwrap(), None);
    assert!(!store.swap(Shelf::Mailbox, &name(12), Some(b"short"), Some(b"x"), MINUTE).await.unwrap());
    assert!(store.swap(Shelf::Mailbox, &name(12), None, Some(b"x"), MINUTE).await.unwrap());
    let mut heads = Vec::new();
    store.heads(Shelf::Mailbox, 3, |head| heads.push(head.to_vec())).await.unwrap();
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
                let held = store.swap(Shelf::Records, &name, None, Some(&[who]), MINUTE).await.unwrap();
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
    assert!(!store.is_durable() && !store.is_shared() && store.advice().await.unwrap().is_empty());
    assert_eq!(store.name(), "memory");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_folder_conforms() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::system());
    let place = StorePlace::Dir(folder.path().join("a/b"));
    let store = Arc::new(Store::open(&place, clock.clone()).unwrap());
    conforms(&store, async |time| clock.advance(time)).await;
    is_fair(store.clone()).await;
    assert!(store.is_durable() && place.is_durable() && !store.is_shared());
    assert_eq!(store.name(), "a folder");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn redis_conforms() {
    let server = RedisServer::start(&["--appendonly", "yes"]);
    let store = Arc::new(Store::open(&at(server.address(), "", 0), Clock::system()).unwrap());
    // Redis has a clock of its own, so this once time really passes.
    conforms(&store, async |time| tokio::time::sleep(time).await).await;
    is_fair(store.clone()).await;
    assert!(store.is_durable() && store.is_shared());
    assert_eq!(store.name(), "Redis");
    assert_eq!(store.advice().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn in_memory_the_newest_blob_is_always_kept_and_there_is_a_bound() {
    let Kind::Memory(memory) = Store::memory(Clock::system()).kind else { panic!("not in memory") };
    for number in 0..memory::MAX_BLOBS + 100 {
        memory.put(Shelf::Mailbox, &name(number), &[1], MINUTE);
        assert!(memory.read(Shelf::Mailbox, &name(number)).is_some());
    }
    let kept = (0..memory::MAX_BLOBS + 100).filter(|number| memory.read(Shelf::Mailbox, &name(*number)).is_some());
    assert_eq!(kept.count() as u64, memory::MAX_BLOBS);
}
