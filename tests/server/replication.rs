//! Revocations travel between replicas that share no disk: over Redis, and from admin listener to admin listener.

use crate::admin::ADMIN;
use crate::emulator::{Emulator, Profile};
use crate::port::free_port;
use crate::redis_server::RedisServer;
use crate::relay::{Relay, Swallow};
use crate::rotation::full;
use crate::spawn::{Answer, PRIMARY, TestApp, UNKNOWN, spawn_apart, spawn_app, spawn_beside, until};
use authseal::authid::{Envelope, GrantId};
use authseal::denylist::{self, Removal, Rule};
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

fn with_redis(emulator: &Emulator, redis: SocketAddr) -> String {
    format!("{}[state]\nstore = \"redis://{redis}/0\"\n{ADMIN}", emulator.provider_toml())
}

fn grant(authid: &str) -> String {
    Envelope::parse(authid).unwrap().grant.to_string()
}

fn lines(app: &TestApp) -> Vec<String> {
    let text = fs::read_to_string(app.dir.path().join("denylist")).unwrap();
    text.lines().skip(1).map(str::to_owned).collect()
}

fn count(app: &TestApp, text: &str) -> usize {
    lines(app).iter().filter(|line| line.contains(text)).count()
}

/// As `authseal denylist add` does it.
fn add(app: &TestApp, rule: &str) {
    let rules = [(Rule::parse(rule).unwrap(), String::new())];
    denylist::add(&app.dir.path().join("denylist"), &rules, false).unwrap();
}

/// As `authseal denylist remove` does it.
fn remove(app: &TestApp, rule: &str) {
    let rule = Rule::parse(rule).unwrap().bare();
    let removal = Removal { rule: rule.clone(), at: app.clock.now() + 1 };
    let goes = |line: &denylist::Line<'_>| line.rule.as_ref().is_some_and(|other| other.bare() == rule);
    let gone = denylist::remove(&app.dir.path().join("denylist"), goes, &[removal], false).unwrap();
    assert_eq!(gone, 1, "{rule}");
}

async fn revoke(app: &TestApp, authid: &str) {
    let request = app.client.post(app.at("/revoked")).header("X-AuthID", authid);
    assert_eq!(Answer::of(request.send().await.unwrap()).await.status, 200);
}

async fn metric(app: &TestApp, name: &str) -> u64 {
    let shown = app.ask("/metrics").await.body;
    let line = shown.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}\n{shown}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// Whether all that others said has been read, and all own rules are known to them.
async fn in_step(app: &TestApp) -> bool {
    let shown = app.ask("/readyz").await.json();
    shown["replication"]
        .as_array()
        .unwrap()
        .iter()
        .all(|source| source["behind_since"].is_null() && source["unsent"] == 0)
}

/// Has a Redis do something.
fn tell(redis: SocketAddr, command: &[&[u8]]) -> Vec<u8> {
    let mut connection = TcpStream::connect(redis).unwrap();
    let mut request = format!("*{}\r\n", command.len()).into_bytes();
    for part in command {
        request.extend(format!("${}\r\n", part.len()).into_bytes());
        request.extend_from_slice(part);
        request.extend(b"\r\n");
    }
    connection.write_all(&request).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let mut answer = vec![0; 1 << 20];
    let length = connection.read(&mut answer).unwrap();
    answer.truncate(length);
    answer
}

/// The first sealed entries of the log.
fn entries(redis: SocketAddr, count: &[u8]) -> Vec<Vec<u8>> {
    let answer = tell(redis, &[b"XRANGE", b"authseal:revocations", b"-", b"+", b"COUNT", count]);
    let mut entries = Vec::new();
    let mut rest = answer.as_slice();
    while let Some(at) = rest.windows(7).position(|window| window == b"$1\r\ne\r\n") {
        rest = &rest[at + 8..];
        let end = rest.iter().position(|byte| *byte == b'\r').unwrap();
        let length: usize = std::str::from_utf8(&rest[..end]).unwrap().parse().unwrap();
        entries.push(rest[end + 2..end + 2 + length].to_vec());
        rest = &rest[end + 2 + length..];
    }
    entries
}

#[tokio::test]
async fn what_one_replica_revokes_is_refused_by_all_and_after_a_restart_without_redis() {
    let redis = RedisServer::start(&[]);
    let emulator = Emulator::start(Profile::google());
    let tables = with_redis(&emulator, redis.address());
    let one = spawn_app(&tables);
    let (two, three) = (spawn_apart(&one, &tables), spawn_apart(&one, &tables));
    let (revoked, other) = (one.log_in(&emulator), one.log_in(&emulator));
    two.refresh(&revoked).await.access_token();
    revoke(&one, &revoked).await;
    for app in [&two, &three] {
        until(SOON, async || app.refresh(&revoked).await.status == 401).await;
        until(SOON, async || count(app, &grant(&revoked)) == 1).await;
        app.refresh(&other).await.access_token();
    }
    // What the operator adds to one file, with every kind of rule.
    let rules = [
        &format!("grant {:032x}", 7),
        "epoch 9",
        "epoch 9 service dropbox",
        "epoch 8 login-before 2026-11-01T00:00:00Z",
        &format!("legacy {:064x}", 5),
    ];
    rules.iter().for_each(|rule| add(&three, rule));
    for app in [&one, &two] {
        until(SOON, async || rules.iter().all(|rule| count(app, rule) >= 1)).await;
    }
    until(SOON, async || metric(&two, "authseal_replication_received_total").await == 6).await;
    until(SOON, async || in_step(&one).await && in_step(&two).await && in_step(&three).await).await;
    assert!(lines(&one).iter().all(|line| count(&one, line) >= 1) && lines(&one).len() == 6, "{:?}", lines(&one));
    drop(redis);
    until(SOON, async || metric(&two, "authseal_replication_behind_seconds").await < 3600 && !in_step(&two).await)
        .await;
    let again = spawn_beside(&two);
    assert_eq!(again.refresh(&revoked).await.status, 401, "the file is enough");
}

#[tokio::test]
async fn a_rule_that_is_removed_is_removed_everywhere_and_nobody_brings_it_back() {
    let redis = RedisServer::start(&[]);
    let emulator = Emulator::start(Profile::google());
    let tables = with_redis(&emulator, redis.address());
    let one = spawn_app(&tables);
    let two = spawn_apart(&one, &tables);
    let authid = one.log_in(&emulator);
    revoke(&one, &authid).await;
    add(&one, "epoch 9");
    until(SOON, async || count(&two, &grant(&authid)) == 1 && count(&two, "epoch 9") == 1).await;
    // One that is away meanwhile, with the rules in its file.
    let away = spawn_apart(&one, &tables);
    until(SOON, async || lines(&away).len() == 2).await;
    let folder = away.dir.clone();
    drop(away);
    let old = entries(redis.address(), b"9");
    assert!(!old.is_empty());
    remove(&two, &format!("grant {}", grant(&authid)));
    remove(&two, "epoch 9");
    for app in [&one, &two] {
        until(SOON, async || app.refresh(&authid).await.status == 200 && count(app, "removed ") == 2).await;
    }
    let back = crate::spawn::spawn_in(folder, one.clock.clone());
    until(SOON, async || back.refresh(&authid).await.status == 200 && count(&back, "removed ") == 2).await;
    // Who can write to Redis plays back what was said before.
    for entry in &old {
        tell(redis.address(), &[b"XADD", b"authseal:revocations", b"*", b"e", entry]);
    }
    let new = spawn_apart(&one, &tables);
    until(SOON, async || in_step(&new).await && in_step(&one).await).await;
    for app in [&one, &two, &back, &new] {
        assert_eq!((app.refresh(&authid).await.status, count(app, "removed ")), (200, 2));
        assert_eq!(lines(app).len(), 2, "{:?}", lines(app));
    }
    // Said once more it holds again.
    one.clock.advance(Duration::from_secs(5));
    revoke(&one, &authid).await;
    add(&one, "epoch 9");
    for app in [&two, &back, &new] {
        until(SOON, async || app.refresh(&authid).await.status == 401).await;
        until(SOON, async || lines(app).iter().any(|line| line == "epoch 9")).await;
    }
}

#[tokio::test]
async fn a_partition_heals_without_loss_on_either_side() {
    let redis = RedisServer::start(&[]);
    let emulator = Emulator::start(Profile::google());
    let relay = Relay::start(redis.address());
    let one = spawn_app(&with_redis(&emulator, redis.address()));
    let two = spawn_apart(&one, &with_redis(&emulator, relay.address()));
    let (here, there) = (one.log_in(&emulator), one.log_in(&emulator));
    until(SOON, async || in_step(&two).await).await;
    relay.swallow_on_new(Swallow::Everything);
    relay.cut();
    until(SOON, async || !in_step(&two).await).await;
    revoke(&one, &here).await;
    revoke(&two, &there).await;
    assert_eq!(two.refresh(&there).await.status, 401);
    until(SOON, async || metric(&two, "authseal_replication_unsent_rules").await == 1).await;
    assert_eq!((one.refresh(&there).await.status, two.refresh(&here).await.status), (200, 200));
    two.clock.advance(Duration::from_secs(60));
    assert!(metric(&two, "authseal_replication_behind_seconds").await >= 60);
    relay.swallow_on_new(Swallow::Nothing);
    relay.cut();
    until(SOON, async || one.refresh(&there).await.status == 401 && two.refresh(&here).await.status == 401).await;
    until(SOON, async || in_step(&two).await).await;
    // Redis comes back empty, and who comes later finds everything all the same.
    tell(redis.address(), &[b"FLUSHALL"]);
    let three = spawn_apart(&one, &with_redis(&emulator, redis.address()));
    until(SOON, async || three.refresh(&there).await.status == 401 && three.refresh(&here).await.status == 401).await;
}

#[tokio::test]
async fn who_can_write_to_redis_and_has_no_key_adds_nothing() {
    let redis = RedisServer::start(&[]);
    let emulator = Emulator::start(Profile::google());
    let tables = with_redis(&emulator, redis.address());
    let (one, stranger) = (spawn_app(&tables), spawn_app(&tables));
    // One with another keyring.
    add(&stranger, &format!("epoch {PRIMARY}"));
    until(SOON, async || !entries(redis.address(), b"9").is_empty()).await;
    let sealed = entries(redis.address(), b"9");
    let mut damaged = sealed[0].clone();
    *damaged.last_mut().unwrap() ^= 1;
    for junk in [&b""[..], b"epoch 3\n", b"+0 epoch 3\n", &damaged, &[1; 40], &vec![0xff; 100_000]] {
        tell(redis.address(), &[b"XADD", b"authseal:revocations", b"*", b"e", junk]);
    }
    tell(redis.address(), &[b"XADD", b"authseal:revocations", b"*", b"other", b"1", b"more", b"2"]);
    until(SOON, async || metric(&one, "authseal_replication_refused_total").await == 8).await;
    assert_eq!(lines(&one), Vec::<String>::new());
    let authid = one.log_in(&emulator);
    one.refresh(&authid).await.access_token();
    // What is sealed under an epoch that comes later is read when the epoch is there.
    let keys = one.dir.path().join("keys.toml");
    let two = spawn_apart(&one, &tables);
    one.stage_the_unknown();
    let text = fs::read_to_string(&keys).unwrap();
    fs::write(
        two.dir.path().join("keys.toml"),
        text.replace(&format!("primary = {PRIMARY}"), &format!("primary = {UNKNOWN}")),
    )
    .unwrap();
    until(SOON, async || two.ask("/keyring").await.json()["primary"] == UNKNOWN).await;
    add(&two, "epoch 9");
    until(SOON, async || count(&one, "epoch 9") == 1).await;
}

#[tokio::test]
async fn what_an_editor_takes_out_comes_back_and_what_opens_no_more_does_not() {
    let redis = RedisServer::start(&[]);
    let emulator = Emulator::start(Profile::google());
    let one = spawn_app(&with_redis(&emulator, redis.address()));
    add(&one, "epoch 9");
    add(&one, &format!("epoch {}", crate::spawn::RETIRED));
    until(SOON, async || in_step(&one).await && !entries(redis.address(), b"9").is_empty()).await;
    fs::write(one.dir.path().join("denylist"), "authseal-denylist 1\n").unwrap();
    until(SOON, async || lines(&one) == ["epoch 9"]).await;
}

#[tokio::test]
async fn a_replica_is_followed_without_redis_and_nobody_in_its_place() {
    let emulator = Emulator::start(Profile::google());
    let one = spawn_app(&format!("{}{ADMIN}", emulator.provider_toml()));
    let follow = |url: &str| format!("denylist.follow = [\"{url}/denylist\"]\n{}{ADMIN}", emulator.provider_toml());
    let two = spawn_apart(&one, &follow(one.admin.as_ref().unwrap()));
    let (revoked, later) = (one.log_in(&emulator), one.log_in(&emulator));
    for authid in [&revoked, &later] {
        revoke(&one, authid).await;
        until(SOON, async || two.refresh(authid).await.status == 401 && count(&two, &grant(authid)) == 1).await;
    }
    remove_and_wait(&one, &two, &revoked).await;
    assert!(one.ask("/denylist").await.header("etag").unwrap().len() > 10);
    assert!(
        !one.client
            .get(format!("{}/denylist", one.admin.as_ref().unwrap()))
            .send()
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap()
            .windows(16)
            .any(|window| window == &grant(&later).as_bytes()[..16])
    );

    // Others answer with what was sealed elsewhere, with junk without end, or not at all.
    let stranger = spawn_app(&format!("{}{ADMIN}", emulator.provider_toml()));
    add(&stranger, &format!("epoch {PRIMARY}"));
    let junk = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = junk.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut client in junk.incoming().map_while(Result::ok) {
            let _ = client.read(&mut [0; 4096]);
            let _ = client.write_all(b"HTTP/1.1 200 OK\r\netag: \"x\"\r\n\r\n");
            while client.write_all(&[0, 0, 0, 64]).and_then(|()| client.write_all(&[1; 64])).is_ok() {}
        }
    });
    for url in [stranger.admin.clone().unwrap(), format!("http://{address}"), "http://127.0.0.1:9".to_owned()] {
        let three = spawn_apart(&one, &follow(&url));
        until(SOON, async || !in_step(&three).await).await;
        if !url.ends_with(":9") {
            until(SOON, async || metric(&three, "authseal_replication_refused_total").await > 0).await;
        }
        assert_eq!(lines(&three), Vec::<String>::new());
    }
}

async fn remove_and_wait(one: &TestApp, two: &TestApp, authid: &str) {
    remove(one, &format!("grant {}", grant(authid)));
    until(SOON, async || two.refresh(authid).await.status == 200 && count(two, "removed ") == 1).await;
}

#[tokio::test]
async fn many_rules_reach_a_new_replica_and_the_log_stays_short() {
    let rules = if full() { 1_000_000 } else { 5_000 };
    let redis = RedisServer::start(&[]);
    let emulator = Emulator::start(Profile::google());
    let tables = with_redis(&emulator, redis.address());
    let one = spawn_app(&tables);
    let path = one.dir.path().join("denylist");
    let mut text = fs::read_to_string(&path).unwrap();
    for number in 0..rules {
        writeln!(text, "grant {number:032x} through 4 at 2026-11-23T10:00:00Z").unwrap();
    }
    fs::write(path, text).unwrap();
    let long = Duration::from_secs(if full() { 600 } else { 180 });
    let two = spawn_apart(&one, &tables);
    let there = async |app: &TestApp| app.ask("/readyz").await.json()["denylist"]["entries"] == rules;
    until(long, async || there(&two).await).await;
    let three = spawn_apart(&one, &tables);
    until(long, async || there(&three).await && in_step(&three).await).await;
    assert!(GrantId::parse(&format!("{:032x}", rules - 1)).is_some());
    // A thousand entries more than needed, as single revocations make them, and it is cut; nothing is lost.
    let copy = entries(redis.address(), b"1").remove(0);
    for _ in 0..3000 + rules / 30 {
        tell(redis.address(), &[b"XADD", b"authseal:revocations", b"*", b"e", &copy]);
    }
    let length = || String::from_utf8(tell(redis.address(), &[b"XLEN", b"authseal:revocations"])).unwrap();
    let length = || length().trim_start_matches(':').trim_end().parse::<u64>().unwrap();
    until(long, async || length() < 1000 + rules / 50).await;
    let four = spawn_apart(&one, &tables);
    until(long, async || there(&four).await && in_step(&four).await).await;
}

#[tokio::test]
async fn only_a_replica_that_may_have_made_its_denylist_waits_for_the_others_and_for_a_minute_at_most() {
    let emulator = Emulator::start(Profile::google());
    let nobody = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let tables = with_redis(&emulator, nobody);
    let has_one = spawn_app(&tables);
    assert_eq!(has_one.get("/readyz").await.status, 200, "its file is enough to start with");
    let may_be_new = spawn_apart(&has_one, &format!("{tables}[denylist]\ncreate = true\n"));
    assert_eq!(may_be_new.get("/readyz").await.status, 503);
    may_be_new.clock.advance(Duration::from_secs(61));
    assert_eq!(may_be_new.get("/readyz").await.status, 200, "perhaps nobody is there");
}
