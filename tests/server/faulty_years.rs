//! Three years of daily backups through two replicas with one Redis, in which now and then something breaks: answers
//! come when nobody waits any more, the store goes silent, forgets what it had acknowledged or hangs, clocks are set,
//! replicas start again. None of that may cost a login that its provider would have kept, or spend a token twice.

use crate::emulator::{Emulator, Fault, Profile};
use crate::redis_server::RedisServer;
use crate::relay::{Relay, Swallow};
use crate::rotation::{full, log_in, spent};
use crate::spawn::{Answer, TestApp, spawn_at, spawn_beside, until};
use authseal::clock::Clock;
use std::collections::BTreeSet;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
const THREE_YEARS: usize = 3 * 365;
const SOON: Duration = Duration::from_secs(20);
/// Longer than a token is left alone that may have been spent, and than what a provider said is remembered.
const LATER: Duration = Duration::from_secs(301);
/// How far clocks are set: access tokens live for an hour.
const SET: i64 = 3000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breaks {
    /// The answer comes when the client has gone.
    LateAnswer,
    /// The connection to the store goes silent before anything is asked.
    Silent(Swallow),
    /// The same while the provider is asked.
    SilentMeanwhile(Swallow),
    /// The store forgets the mark while the provider is asked, as in a failover.
    ForgetsMark,
    /// It forgets the last record that it had acknowledged.
    ForgetsRecord,
    /// It answers nothing for a while.
    Hangs,
    ClockBack,
    ClockAhead,
    Restart,
    /// The provider does its part, and its answer is lost; or, where it takes no token twice, it turns the call away.
    LostAnswer,
}

const ALL: [Breaks; 13] = [
    Breaks::LateAnswer,
    Breaks::Silent(Swallow::Requests),
    Breaks::ClockBack,
    Breaks::SilentMeanwhile(Swallow::Answers),
    Breaks::ForgetsMark,
    Breaks::Restart,
    Breaks::Silent(Swallow::Answers),
    Breaks::ClockAhead,
    Breaks::ForgetsRecord,
    Breaks::SilentMeanwhile(Swallow::Everything),
    Breaks::LostAnswer,
    Breaks::SilentMeanwhile(Swallow::Requests),
    Breaks::Hangs,
];

struct Years {
    emulator: Emulator,
    redis: RedisServer,
    relay: Relay,
    replicas: Vec<TestApp>,
    authid: String,
    /// Tokens of which nobody could know whether the provider had taken them.
    doubtful: usize,
}

impl Years {
    async fn begin(who: Profile) -> Self {
        let redis = RedisServer::start(&[]);
        let relay = Relay::start(redis.address());
        let emulator = Emulator::start(who);
        let store = format!("[state]\nstore = \"redis://{}/0\"\n", relay.address());
        let first = spawn_at(&format!("{}{store}", emulator.provider_toml()), Clock::system());
        let authid = log_in(&emulator, &first).await;
        let replicas = vec![spawn_beside(&first), first];
        Self { emulator, redis, relay, replicas, authid, doubtful: 0 }
    }

    /// On all clocks, which differ by what the replicas' were set.
    fn pass(&self, time: Duration) {
        self.emulator.clock.advance(time);
        self.replicas[0].clock.advance(time);
    }

    /// All records, as Redis has them.
    fn records(&self) -> Vec<(String, Vec<u8>)> {
        let mut redis = self.redis();
        let keys: Vec<String> = redis::cmd("KEYS").arg("authseal:records:*").query(&mut redis).unwrap();
        let value = |key: &String| redis::cmd("GET").arg(key).query(&mut redis).unwrap();
        let values: Vec<Vec<u8>> = keys.iter().map(value).collect();
        keys.into_iter().zip(values).collect()
    }

    fn set_back(&self, records: &[(String, Vec<u8>)]) {
        let mut redis = self.redis();
        for (key, value) in records {
            redis::cmd("SET").arg(key).arg(value).exec(&mut redis).unwrap();
        }
    }

    fn redis(&self) -> redis::Connection {
        redis::Client::open(format!("redis://{}/0", self.redis.address())).unwrap().get_connection().unwrap()
    }

    async fn refresh(&self, replica: usize) -> Answer {
        self.replicas[replica].refresh(&self.authid).await
    }

    /// Does something while the provider is asked, which answers then.
    async fn meanwhile(&self, replica: usize, act: impl FnOnce()) {
        self.emulator.hold();
        let calls = spent(&self.emulator).len();
        let act = async {
            until(SOON, async || spent(&self.emulator).len() > calls).await;
            act();
            self.emulator.release();
        };
        let (answer, ()) = tokio::join!(self.refresh(replica), act);
        assert!(self.emulator.use_access_token(&answer.access_token()));
    }

    /// Lets something break, at a replica that is about to ask the provider.
    async fn breaks(&mut self, what: Breaks, replica: usize) {
        let clock = self.replicas[0].clock.clone();
        match what {
            Breaks::LateAnswer => {
                self.emulator.hold();
                let calls = spent(&self.emulator).len();
                let app = &self.replicas[replica];
                let client = app.client.get(app.at("/refresh")).header("X-AuthID", &self.authid);
                let client = tokio::spawn(client.send());
                until(SOON, async || spent(&self.emulator).len() > calls).await;
                client.abort();
                self.emulator.release();
            }
            Breaks::Silent(what) => self.relay.swallow_on_open(what),
            Breaks::SilentMeanwhile(what) => {
                self.meanwhile(replica, || self.relay.swallow_on_open(what)).await;
            }
            Breaks::ForgetsMark => {
                let before = self.records();
                self.meanwhile(replica, || self.set_back(&before)).await;
            }
            Breaks::ForgetsRecord => {
                let before = self.records();
                assert!(self.emulator.use_access_token(&self.refresh(replica).await.access_token()));
                self.set_back(&before);
                self.pass(DAY);
            }
            Breaks::Hangs => {
                self.redis.stop(true);
                let answer = self.refresh(replica).await;
                self.redis.stop(false);
                // Where tokens live on, the one in the AuthID does for as long as that is.
                assert!([200, 401, 503].contains(&answer.status), "{answer:?}");
                self.pass(LATER);
            }
            Breaks::ClockBack => {
                // Before the end of a token that is remembered, and after it by the time that really passed.
                assert!(self.emulator.use_access_token(&self.refresh(replica).await.access_token()));
                self.pass(Duration::from_secs(3300));
                clock.step(-SET);
                self.pass(Duration::from_secs(400));
            }
            Breaks::ClockAhead => clock.step(SET),
            Breaks::Restart => self.replicas = vec![spawn_beside(&self.replicas[0]), spawn_beside(&self.replicas[1])],
            Breaks::LostAnswer => {
                if self.emulator.who().service == "jottacloud" {
                    self.emulator.misbehave_times(1, Fault::oauth(429, "slow_down", ""));
                } else {
                    self.emulator.lose_answers(1, Fault::CloseBeforeHeaders);
                }
                self.doubtful += 1;
                let _ = self.refresh(replica).await;
                self.pass(LATER);
            }
        }
    }
}

/// Backs up daily, in turn at one replica or the other.
async fn years(who: Profile) {
    let mut years = Years::begin(who).await;
    let mut breaks = ALL.into_iter().cycle();
    let every = if full() { 7 } else { 28 };
    for day in 0..THREE_YEARS {
        years.pass(DAY);
        let replica = day / every % 2;
        let mut what = None;
        if day % every == every - 1 {
            what = breaks.next();
            years.breaks(what.unwrap(), replica).await;
        }
        let answer = years.refresh(replica).await;
        assert_eq!(answer.status, 200, "{} on day {day} after {what:?}: {answer:?}", who.service);
        assert!(years.emulator.use_access_token(&answer.access_token()), "day {day} after {what:?}");
    }
    let spent = spent(&years.emulator);
    let once: BTreeSet<_> = spent.iter().collect();
    let rolls = who.service == "onedrivev2";
    assert!(rolls || spent.len() <= once.len() + years.doubtful, "{} of {}", once.len(), spent.len());
    assert!(once.len() >= THREE_YEARS, "{}", once.len());
}

#[tokio::test]
async fn three_years_of_faults_cost_no_login_at_something_like_box() {
    years(Profile::box_com()).await;
}

#[tokio::test]
async fn three_years_of_faults_cost_no_login_at_something_like_jottacloud() {
    years(Profile::jottacloud()).await;
}

#[tokio::test]
async fn three_years_of_faults_cost_no_login_at_something_like_microsoft() {
    years(Profile::microsoft()).await;
}
