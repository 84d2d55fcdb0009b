//! What an operator should know of how a Redis is set up, by what it says of itself.

use crate::clock::UnixTime;
use std::collections::HashMap;

/// By how many seconds clocks may differ before it is worth a word.
const APART: u64 = 60;
/// What has become of a primary after a failover by hand, and what nobody meant who named it.
pub(super) const READ_ONLY: &str = "is a replica, which takes no writes: name its primary in `state.store`, or the sentinels that \
                         know which one that is (`redis+sentinel://`)";

/// Sentences about what endangers what is stored in it, by its `INFO` and its `appendfsync`, where `wanted` replicas shall
/// have a record and it is `now` here.
pub(super) fn on(info: &str, fsync: &str, wanted: u32, now: UnixTime) -> Vec<String> {
    let info: HashMap<_, _> = info.lines().filter_map(|line| line.trim_end().split_once(':')).collect();
    let says = |key: &str| info.get(key).copied().unwrap_or_default();
    let mut advice = Vec::new();
    let version: Vec<u32> = says("redis_version").split('.').filter_map(|part| part.parse().ok()).collect();
    if version < vec![6, 2] {
        advice.push(format!("Redis {} is too old: 6.2 or later is needed", says("redis_version")));
    }
    if says("role") == "slave" {
        advice.push(format!("Redis {READ_ONLY}"));
    }
    if says("aof_enabled") == "0" {
        advice.push(
            "Redis keeps no append-only file: if it stops, single-use logins that were refreshed since its last \
             snapshot are lost; set `appendonly yes`"
                .to_owned(),
        );
    } else if fsync == "no" {
        advice.push("Redis leaves it to the system when to write its file (`appendfsync no`): a crash of its machine loses up to half a minute of refreshes; set `appendfsync always`, or `everysec`".to_owned());
    }
    if says("maxmemory") != "0" && says("maxmemory_policy") != "noeviction" {
        advice.push(format!(
            "Redis drops entries when its memory is full (`maxmemory-policy {}`), and with them logins; set \
             `maxmemory-policy noeviction`",
            says("maxmemory_policy")
        ));
    }
    // Redis says so since version 7.
    if says("server_time_usec").parse().is_ok_and(|micros: i64| now.abs_diff(micros / 1_000_000) > APART) {
        advice.push(
            "the clocks of Redis and of this machine are more than a minute apart: a replica whose clock is behind \
             hands out access tokens that have ended; have both set by NTP"
                .to_owned(),
        );
    }
    let replicas = says("connected_slaves").parse().unwrap_or(0);
    match wanted {
        0 if replicas > 0 => advice.push(
            "Redis has replicas, and what it has written counts before they have it: a failover loses single-use \
             logins that were just refreshed; set `state.redis_wait = 1`"
                .to_owned(),
        ),
        wanted if wanted > replicas => advice.push(format!(
            "Redis has fewer replicas than the {wanted} of `state.redis_wait`, so records are not copied as asked"
        )),
        _ => {}
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = 1_795_428_000;
    const GOOD: &str = "\
        # Server\r\nredis_version:7.4.1\r\nserver_time_usec:1795428000000000\r\nrole:master\r\naof_enabled:1\r\n\
        maxmemory:1000\r\nmaxmemory_policy:noeviction\r\nconnected_slaves:1\r\n";

    #[test]
    fn each_fault_of_a_redis_is_told_by_itself() {
        let with = |line: &str, fsync: &str, wanted| {
            let key = line.split_once(':').unwrap().0;
            let others = GOOD.lines().filter(|other| !other.starts_with(&format!("{key}:")));
            let info: String = others.chain([line]).map(|line| format!("{line}\r\n")).collect();
            on(&info, fsync, wanted, NOW)
        };
        for good in [
            "redis_version:6.2",
            "redis_version:6.2.0",
            "redis_version:10.0.0",
            "maxmemory_policy:noeviction",
            "server_time_usec:1795427940000000",
            "server_time_usec:1795428060999999",
            "server_time_usec:",
            "connected_slaves:2",
        ] {
            assert_eq!(with(good, "everysec", 1), Vec::<String>::new(), "{good}");
        }
        assert_eq!(on(&GOOD.replace(":1000", ":0").replace("noevic", "allkeys-"), "", 1, NOW), Vec::<String>::new());
        for (line, fsync, wanted, said) in [
            ("redis_version:5.0.14", "", 1, "Redis 5.0.14 is too old"),
            ("redis_version:6.0.20", "", 1, "Redis 6.0.20 is too old"),
            ("role:slave", "", 1, "is a replica"),
            ("aof_enabled:0", "no", 1, "set `appendonly yes`"),
            ("aof_enabled:1", "no", 1, "`appendfsync no`"),
            ("maxmemory_policy:volatile-lru", "", 1, "`maxmemory-policy volatile-lru`"),
            ("server_time_usec:1795427939000000", "", 1, "have both set by NTP"),
            ("server_time_usec:1795428061000000", "", 1, "have both set by NTP"),
            ("connected_slaves:1", "", 0, "set `state.redis_wait = 1`"),
            ("connected_slaves:1", "", 2, "fewer replicas than the 2"),
            ("connected_slaves:", "", 1, "fewer replicas than the 1"),
        ] {
            let advice = with(line, fsync, wanted);
            assert!(advice.len() == 1 && advice[0].contains(said), "{line}: {advice:?}");
        }
    }
}
