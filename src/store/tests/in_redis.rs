//! The store in Redis: what is said of how it is set up, and what happens when it or the network before it stops.

use super::relay::{Relay, Swallow};
use super::*;

/// Until Redis and its replica know each other.
async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_redis_that_is_down_is_said_once_and_used_again_when_it_is_back() {
    let server = RedisServer::start(&["--requirepass", "hunter2"]);
    let relay = Relay::start(server.address());
    let (right, wrong) = (at(server.address(), ":hunter2@", 0), at(relay.address(), ":hunter3@", 0));
    let store = Store::open(&wrong, Clock::system()).unwrap();
    let error = store.read(Shelf::Records, &name(1)).await.unwrap_err().to_string();
    assert!(error.contains("password") && !error.contains("hunter"), "{error}");
    assert_eq!(relay.accepted(), 1, "what was refused is not said again at once");
    let store = Store::open(&right, Clock::system()).unwrap();
    store.put(Shelf::Records, &name(1), b"record", MINUTE).await.unwrap();
    let port = server.address().port();
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
async fn a_redis_that_refused_the_connection_is_used_when_it_no_longer_does() {
    let server = RedisServer::start(&["--requirepass", "hunter2"]);
    let url = format!("redis://{}/1", server.address());
    let place = StorePlace::Redis { url: url.into(), ca_file: None, wait: 0 };
    let store = Store::open(&place, Clock::system()).unwrap();
    for _ in 0..2 {
        let error = store.read(Shelf::Records, &name(1)).await.unwrap_err().to_string();
        assert!(error.contains("Authentication required"), "{error}");
    }
    let operator = Store::open(&at(server.address(), ":hunter2@", 0), Clock::system()).unwrap();
    let Kind::Redis(redis) = &operator.kind else { panic!("not in Redis") };
    let _: String = redis.ask(::redis::cmd("CONFIG").arg("SET").arg("requirepass").arg("")).await.unwrap();
    assert_eq!(store.read(Shelf::Records, &name(1)).await.unwrap(), None);
}

#[tokio::test]
async fn the_log_is_read_from_any_entry_on_and_cut_at_its_beginning() {
    let server = RedisServer::start(&[]);
    let store = Store::open(&at(server.address(), "", 0), Clock::system()).unwrap();
    let read = async |id: Option<&str>, count| store.log_read(id, count).await.unwrap();
    assert_eq!((read(None, 9).await.len(), store.log_len().await.unwrap()), (0, 0));
    for entry in [b"one".as_slice(), b"", b"three\0\xff"] {
        store.log_append(entry).await.unwrap();
    }
    let all = read(None, 9).await;
    let bytes: Vec<_> = all.iter().map(|entry| entry.bytes.as_slice()).collect();
    assert_eq!(bytes, [b"one".as_slice(), b"", b"three\0\xff"]);
    assert_eq!((store.log_len().await.unwrap(), read(None, 2).await.len()), (3, 2));
    let from_second: Vec<_> = read(Some(&all[1].id), 9).await.into_iter().map(|entry| entry.id).collect();
    assert_eq!(from_second, [all[1].id.clone(), all[2].id.clone()]);
    store.log_trim(&all[2].id).await.unwrap();
    assert_eq!((read(None, 9).await.len(), store.log_len().await.unwrap()), (1, 1));
    let memory = Store::memory(Clock::system());
    memory.log_append(b"one").await.unwrap();
    assert_eq!((memory.log_read(None, 9).await.unwrap().len(), memory.log_len().await.unwrap()), (0, 0));
}

#[tokio::test]
async fn a_thousand_records_are_listed_in_a_few_round_trips() {
    let server = RedisServer::start(&[]);
    let store = Store::open(&at(server.address(), "", 0), Clock::system()).unwrap();
    for number in 0..1000 {
        let long = vec![number as u8; 100 + number as usize % 7];
        store.put(Shelf::Records, &name(number), &long, MINUTE).await.unwrap();
    }
    let mut redis = ::redis::Client::open(format!("redis://{}/0", server.address())).unwrap();
    let mut reads = || {
        let info: String = ::redis::cmd("INFO").arg("stats").query(&mut redis).unwrap();
        let reads = info.lines().find_map(|line| line.strip_prefix("total_reads_processed:")).unwrap();
        reads.trim().parse::<u64>().unwrap()
    };
    let before = reads();
    let mut heads = Vec::new();
    store.heads(Shelf::Records, 9, |head| heads.push(head.to_vec())).await.unwrap();
    let made = reads() - before;
    heads.sort();
    let mut expected: Vec<_> = (0..1000u64).map(|number| vec![number as u8; 9]).collect();
    expected.sort();
    assert!(heads == expected, "{} heads", heads.len());
    assert!(made < 100, "{made} times");
    ::redis::cmd("LPUSH").arg("authseal:records:list").arg("x").exec(&mut redis).unwrap();
    let error = store.heads(Shelf::Records, 9, |_| {}).await.unwrap_err().to_string();
    assert!(error.contains("WRONGTYPE"), "what cannot be read is not passed over: {error}");
}

#[tokio::test]
async fn how_redis_is_set_up_is_judged() {
    let server = RedisServer::start(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    let advice = Store::open(&at(server.address(), "", 0), Clock::system()).unwrap().advice().await.unwrap();
    assert_eq!(advice.len(), 2, "{advice:?}");
    assert!(advice[0].contains("appendonly yes") && advice[1].contains("noeviction"), "{advice:?}");
    for (apart, told) in [(-90, true), (90, true), (-30, false), (30, false)] {
        let clock = Clock::system();
        clock.step(apart);
        let advice = Store::open(&at(server.address(), "", 0), clock).unwrap().advice().await.unwrap();
        assert_eq!(advice.iter().any(|advice| advice.contains("set by NTP")), told, "{apart}: {advice:?}");
    }
}

#[tokio::test]
async fn a_replica_that_is_taken_for_a_primary_is_told_as_one() {
    let primary = RedisServer::start(&[]);
    let replica = RedisServer::start(&["--replicaof", "127.0.0.1", &primary.address().port().to_string()]);
    let store = Store::open(&at(replica.address(), "", 0), Clock::system()).unwrap();
    let error = store.put(Shelf::Records, &name(1), b"record", MINUTE).await.unwrap_err().to_string();
    let advice = store.advice().await.unwrap();
    for said in [&error, &advice[0]] {
        assert!(said.contains("is a replica, which takes no writes: name its primary"), "{said}");
    }
    assert!(store.was_replaced(), "another server may be there by now");
}

#[tokio::test]
async fn a_redis_that_is_full_says_so_and_goes_on_reading() {
    let server = RedisServer::start(&["--maxmemory", "2mb", "--maxmemory-policy", "noeviction"]);
    let store = Store::open(&at(server.address(), "", 0), Clock::system()).unwrap();
    let blob = vec![1; MAX_BLOB_LEN];
    let mut number = 0;
    let error = loop {
        match store.put(Shelf::Records, &name(number), &blob, MINUTE).await {
            Ok(()) if number < 1000 => number += 1,
            outcome => break outcome.unwrap_err().to_string(),
        }
    };
    assert!(error.contains("its memory is full; raise its `maxmemory`"), "{error}");
    assert_eq!((store.health().reading, store.health().writing.is_some()), (None, true));
    assert!(!store.was_replaced(), "the server is the right one");
    if number > 0 {
        assert_eq!(store.read(Shelf::Records, &name(0)).await.unwrap().unwrap(), blob);
    }
}

#[tokio::test]
async fn a_connection_that_goes_silent_is_replaced_at_once_and_costs_nothing() {
    let server = RedisServer::start(&[]);
    for swallow in [Swallow::Requests, Swallow::Answers, Swallow::Everything] {
        let relay = Relay::start(server.address());
        let store = Store::open(&at(relay.address(), "", 0), Clock::system()).unwrap();
        let name = name(swallow as u64);
        store.put(Shelf::Records, &name, b"0", MINUTE).await.unwrap();
        assert_eq!((relay.accepted(), store.was_replaced()), (1, false));
        relay.swallow_on_open(swallow);
        assert!(store.swap(Shelf::Records, &name, Some(b"0"), Some(b"1"), MINUTE).await.unwrap(), "{swallow:?}");
        relay.swallow_on_open(swallow);
        store.put(Shelf::Records, &name, b"2", MINUTE).await.unwrap();
        relay.swallow_on_open(swallow);
        assert_eq!(store.read(Shelf::Records, &name).await.unwrap().unwrap(), b"2");
        relay.swallow_on_open(swallow);
        assert!(store.swap(Shelf::Records, &name, Some(b"2"), None, MINUTE).await.unwrap(), "{swallow:?}");
        relay.swallow_on_open(swallow);
        assert!(!store.swap(Shelf::Records, &name, Some(b"2"), Some(b"3"), MINUTE).await.unwrap(), "{swallow:?}");
        for _ in 0..20 {
            assert_eq!(store.read(Shelf::Records, &name).await.unwrap(), None);
        }
        assert_eq!((relay.accepted(), store.health()), (6, Health::default()));
        assert!(store.was_replaced() && !store.was_replaced());
        relay.cut();
        assert_eq!(store.read(Shelf::Records, &name).await.unwrap(), None, "nor does one that was cut");
    }
}

#[tokio::test]
async fn a_network_that_swallows_everything_ends_in_the_bound_and_is_used_again_when_it_does_not() {
    let server = RedisServer::start(&[]);
    let relay = Relay::start(server.address());
    let store = Store::open(&at(relay.address(), "", 0), Clock::system()).unwrap();
    store.put(Shelf::Records, &name(1), b"record", MINUTE).await.unwrap();
    relay.swallow_on_open(Swallow::Everything);
    relay.swallow_on_new(Swallow::Everything);
    for _ in 0..2 {
        assert!(matches!(store.read(Shelf::Records, &name(1)).await, Err(StoreError::TimedOut)));
        let written = store.swap(Shelf::Records, &name(1), Some(b"record"), Some(b"x"), MINUTE).await;
        assert!(matches!(written, Err(StoreError::TimedOut)));
    }
    assert!(store.health().reading.is_some() && store.health().writing.is_some());
    relay.swallow_on_new(Swallow::Nothing);
    assert_eq!(store.read(Shelf::Records, &name(1)).await.unwrap().unwrap(), b"record");
    store.probe().await;
    assert_eq!(store.health(), Health::default());
}

#[tokio::test]
async fn a_redis_that_stands_still_is_not_stormed() {
    let server = RedisServer::start(&[]);
    let relay = Relay::start(server.address());
    let store = Arc::new(Store::open(&at(relay.address(), "", 0), Clock::system()).unwrap());
    store.put(Shelf::Records, &name(1), b"record", MINUTE).await.unwrap();
    server.stop(true);
    let asked = (0..200).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.read(Shelf::Records, &name(1)).await.err() })
    });
    for outcome in asked.collect::<Vec<_>>() {
        assert!(matches!(outcome.await.unwrap(), Some(StoreError::TimedOut)));
    }
    let accepted = relay.accepted();
    assert!(accepted <= 4, "{accepted}");
    server.stop(false);
    assert_eq!(store.read(Shelf::Records, &name(1)).await.unwrap().unwrap(), b"record");
}

#[tokio::test]
async fn a_redis_that_is_slow_is_waited_for() {
    let server = RedisServer::start(&[]);
    let relay = Relay::start(server.address());
    let store = Store::open(&at(relay.address(), "", 0), Clock::system()).unwrap();
    store.put(Shelf::Records, &name(1), b"record", MINUTE).await.unwrap();
    relay.delay(Duration::from_millis(100));
    assert_eq!(store.read(Shelf::Records, &name(1)).await.unwrap().unwrap(), b"record");
    assert_eq!(relay.accepted(), 1);
}

#[tokio::test]
async fn records_are_copied_to_as_many_replicas_as_asked_for_and_count_without_them() {
    let primary = RedisServer::start(&["--appendonly", "yes", "--repl-diskless-sync-delay", "0"]);
    let port = primary.address().port().to_string();
    let replica = RedisServer::start(&["--replicaof", "127.0.0.1", &port]);
    let meter = Meter::default();
    let open = |wait| Store::open(&at(primary.address(), "", wait), Clock::system()).unwrap().counted(meter.clone());
    let (careless, careful, greedy) = (open(0), open(1), open(2));
    until("the replica is there", async || !careless.advice().await.unwrap().is_empty()).await;
    let advice = careless.advice().await.unwrap();
    assert!(advice.len() == 1 && advice[0].contains("state.redis_wait = 1"), "{advice:?}");
    assert_eq!(careful.advice().await.unwrap(), Vec::<String>::new());
    let advice = greedy.advice().await.unwrap();
    assert!(advice.len() == 1 && advice[0].contains("fewer replicas"), "{advice:?}");

    let unacknowledged = || {
        let shown = meter.render();
        let line = shown.lines().find(|line| line.starts_with("authseal_store_unacknowledged_total "));
        line.map_or(0, |line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap())
    };
    until("it has what is written", async || {
        let before = unacknowledged();
        careful.put(Shelf::Records, &name(1), b"0", MINUTE).await.unwrap();
        unacknowledged() == before
    })
    .await;
    let before = unacknowledged();
    assert!(careful.swap(Shelf::Records, &name(1), Some(b"0"), Some(b"1"), MINUTE).await.unwrap());
    assert!(!careful.swap(Shelf::Records, &name(1), Some(b"0"), Some(b"2"), MINUTE).await.unwrap());
    let copy = Store::open(&at(replica.address(), "", 0), Clock::system()).unwrap();
    assert_eq!(copy.read(Shelf::Records, &name(1)).await.unwrap().unwrap(), b"1", "at once");
    assert!(copy.put(Shelf::Records, &name(1), b"2", MINUTE).await.is_err(), "a replica takes nothing");
    assert_eq!(unacknowledged(), before);
    // How often Redis was asked to wait for its replicas.
    let waits = async || {
        let Kind::Redis(redis) = &careless.kind else { panic!("not in Redis") };
        let stats: String = redis.ask(::redis::cmd("INFO").arg("commandstats")).await.unwrap();
        let wait = stats.lines().find_map(|line| line.strip_prefix("cmdstat_wait:calls=")).unwrap();
        wait.split_once(',').unwrap().0.parse::<u64>().unwrap()
    };
    let waited = waits().await;
    careful.put(Shelf::Mailbox, &name(1), b"entry", MINUTE).await.unwrap();
    assert_eq!(waits().await, waited, "for records alone");

    replica.stop(true);
    for number in 1..6u64 {
        let (old, new) = (number.to_string(), (number + 1).to_string());
        let done = careful.swap(Shelf::Records, &name(1), Some(old.as_bytes()), Some(new.as_bytes()), MINUTE).await;
        assert!(done.unwrap(), "Redis has it");
    }
    assert_eq!((unacknowledged(), careful.health()), (before + 5, Health::default()));
    assert_eq!(waits().await, waited + 1, "then for some time nobody waits");
    replica.stop(false);
}

#[tokio::test]
async fn the_authority_of_a_redis_is_read_from_a_file_of_many() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let open = || {
        let place = StorePlace::Redis { url: "rediss://127.0.0.1:1/0".into(), ca_file: Some(file.clone()), wait: 0 };
        Store::open(&place, Clock::system()).map(drop)
    };
    let authority = rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert.pem();
    let all_of_a_system = authority.repeat(256 * 1024 / authority.len());
    std::fs::write(&file, all_of_a_system).unwrap();
    open().unwrap();
    std::fs::write(&file, authority.repeat(1 + 1024 * 1024 / authority.len())).unwrap();
    let error = open().unwrap_err().to_string();
    assert!(error.contains("ca.pem") && error.contains("cannot be used"), "{error}");
}
