//! The module as a whole: callers who race, crash and meet a failing store; the model of the protocol is beside this.

mod crash;
mod model;

use super::pending_writes::Pending;
use super::stamp::Stamp;
use super::*;
use crate::authid::ServiceId;
pub(super) use crate::seal::testing::keyring_text;
use crate::seal::{Epoch, Keyring, NoKey};
use crate::store::Shelf;
use futures_util::FutureExt;
use futures_util::future::join_all;
use secrecy::ExposeSecret;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(super) fn login() -> Grant {
    Grant::new(ServiceId::parse("box.com").unwrap(), "token-0".to_owned().into(), 1_795_428_000).unwrap()
}

pub(super) fn tokens(refresh: &str) -> TokenResponse {
    TokenResponse {
        access_token: format!("access-of-{refresh}").into(),
        expires_in: Some(Duration::from_secs(3600)),
        refresh_token: Some(refresh.to_owned().into()),
        refresh_token_expires_in: None,
        scopes: None,
    }
}

pub(super) const STRICT: RotationPolicy = RotationPolicy { single_use: true, days: None };
const ROLLING: RotationPolicy = RotationPolicy { single_use: false, days: Some(90) };

/// A provider whose refresh tokens work once: `token-0`, `token-1`, … Using a spent one ends the login, unless it is
/// kind and its answer was not used yet.
#[derive(Default)]
pub(super) struct Provider {
    state: Mutex<Family>,
    pub(super) calls: AtomicUsize,
}

#[derive(Default)]
pub(super) struct Family {
    pub(super) newest: u64,
    pub(super) dead: bool,
    /// Whether an old token brings the same again until what it brought is used.
    pub(super) kind: bool,
    /// Whether what the newest token's predecessor brought was used.
    pub(super) used: bool,
}

impl Provider {
    pub(super) fn family(&self) -> std::sync::MutexGuard<'_, Family> {
        self.state.lock().unwrap()
    }

    /// The provider's part of a refresh.
    pub(super) fn refresh(&self, token: &SecretString) -> Result<TokenResponse, RefreshError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let mut family = self.family();
        let number: u64 = token.expose_secret().strip_prefix("token-").unwrap().parse().unwrap();
        if family.dead {
            return Err(refused());
        }
        if number == family.newest {
            family.newest += 1;
            family.used = false;
        } else if !(family.kind && number + 1 == family.newest && !family.used) {
            family.dead = true;
            return Err(refused());
        }
        Ok(tokens(&format!("token-{}", family.newest)))
    }
}

fn refused() -> RefreshError {
    RefreshError { failure: ProviderError::Refused(ErrorClass::LoginAgain), in_doubt: false, status: Some(400) }
}

pub(super) fn failed(failure: ProviderError, in_doubt: bool) -> RefreshError {
    RefreshError { failure, in_doubt, status: None }
}

pub(super) fn meter() -> Meter {
    Meter::default()
}

pub(super) fn live(text: &str) -> Arc<LiveKeyring> {
    Arc::new(LiveKeyring::from_text(text).unwrap())
}

pub(super) fn keyring(primary: i64, epochs: &[i64]) -> Arc<Keyring> {
    let parsed = Keyring::parse(&keyring_text(primary, epochs)).unwrap();
    Arc::new(parsed)
}

/// Several replicas on one store.
struct Replicas {
    clock: Clock,
    store: Arc<Store>,
    keyring: Arc<LiveKeyring>,
    provider: Arc<Provider>,
    login: Grant,
    _folder: tempfile::TempDir,
}

impl Replicas {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::system();
        let place = crate::store::StorePlace::Dir(folder.path().to_owned());
        let store = Arc::new(Store::open(&place, clock.clone()).unwrap());
        let keyring = live(&keyring_text(1, &[1]));
        Self { clock, store, keyring, provider: Arc::default(), login: login(), _folder: folder }
    }

    fn replica(&self) -> Rotation {
        self.replica_at(&self.clock)
    }

    /// One with a clock of its own.
    fn replica_at(&self, clock: &Clock) -> Rotation {
        Rotation::new(self.store.clone(), self.keyring.clone(), clock.clone(), meter())
    }

    async fn begin(&self, policy: RotationPolicy) {
        self.replica().begin(&self.login, tokens("token-0"), policy).await.unwrap();
    }

    /// One exchange on a replica of its own; `answer` is what becomes of the provider's answer on its way.
    async fn exchange(
        &self,
        policy: RotationPolicy,
        answer: impl Fn(Result<TokenResponse, RefreshError>) -> Result<TokenResponse, RefreshError> + Send + Sync,
    ) -> Result<String, ExchangeError> {
        self.exchange_on(&self.replica(), policy, answer).await
    }

    async fn exchange_on(
        &self,
        replica: &Rotation,
        policy: RotationPolicy,
        answer: impl Fn(Result<TokenResponse, RefreshError>) -> Result<TokenResponse, RefreshError> + Send + Sync,
    ) -> Result<String, ExchangeError> {
        let ask = |token: SecretString, _| {
            let answer = answer(self.provider.refresh(&token));
            async move { answer }.boxed()
        };
        let access = replica.exchange(&self.login, policy, Requester::Client, deadline(), &ask).await?;
        Ok(access.token.expose_secret().to_owned())
    }

    /// An exchange whose answer does not come through.
    async fn lose_answer(&self, replica: &Rotation) {
        let lost = self.exchange_on(replica, STRICT, |_| Err(failed(ProviderError::TimedOut, true))).await;
        assert!(matches!(lost, Err(ExchangeError::Unclear(ProviderError::TimedOut, None))), "{lost:?}");
    }

    /// The record in the store, opened.
    async fn record(&self) -> Option<Record> {
        let blob = self.blob().await?;
        Some(Record::open(&blob, &self.login, &self.keyring.load()).unwrap())
    }

    async fn blob(&self) -> Option<Vec<u8>> {
        self.store.read(Shelf::Records, &record::name(&self.login)).await.unwrap()
    }

    async fn put_back(&self, blob: &[u8]) {
        self.store.put(Shelf::Records, &record::name(&self.login), blob, HOUR).await.unwrap();
    }

    fn calls(&self) -> usize {
        self.provider.calls.load(Ordering::SeqCst)
    }
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(19)
}

/// Does something while time passes on the clocks: as fast as in the runtime, which is paused, or faster.
async fn while_time_passes<T>(clocks: &[&Clock], work: impl Future<Output = T>) -> T {
    let pass = async {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            clocks.iter().for_each(|clock| clock.advance(Duration::from_millis(200)));
        }
    };
    tokio::select! {
        outcome = work => outcome,
        () = pass => unreachable!(),
    }
}

fn is_refused<T>(outcome: &Result<T, ExchangeError>) -> bool {
    let lost = |class: &ErrorClass| matches!(class, ErrorClass::AnswerLost);
    matches!(outcome, Err(ExchangeError::Provider(ProviderError::Refused(class), _)) if !lost(class))
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_replicas_make_one_call_for_each_expiry() {
    let replicas = Replicas::new();
    replicas.begin(STRICT).await;
    assert_eq!(replicas.exchange(STRICT, |a| a).await.unwrap(), "access-of-token-0");
    assert_eq!(replicas.calls(), 0, "what came with the login serves first");
    for round in 1..=5 {
        replicas.clock.advance(HOUR);
        let all = join_all((0..12).map(|_| replicas.exchange(STRICT, |a| a))).await;
        for access in all {
            assert_eq!(access.unwrap(), format!("access-of-token-{round}"));
        }
        assert_eq!(replicas.calls(), round);
    }
    assert!(!replicas.provider.family().dead);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_waited_out_and_then_the_old_token_is_tried_once() {
    for kind in [true, false] {
        let replicas = Replicas::new();
        replicas.provider.family().kind = kind;
        replicas.begin(STRICT).await;
        replicas.clock.advance(HOUR);
        replicas.lose_answer(&replicas.replica()).await;
        let held = tokio::time::timeout(Duration::from_secs(10), replicas.exchange(STRICT, |a| a)).await;
        assert!(held.is_err(), "{held:?}");
        assert_eq!(replicas.calls(), 1, "nobody else tries meanwhile");
        replicas.clock.advance(Duration::from_secs(21));
        let after = while_time_passes(&[&replicas.clock], replicas.exchange(STRICT, |a| a)).await;
        assert_eq!(replicas.calls(), 2);
        if kind {
            assert_eq!(after.unwrap(), "access-of-token-1");
        } else {
            let again = replicas.exchange(STRICT, |a| a).await;
            let lost = |outcome: &Result<_, _>| {
                matches!(outcome, Err(ExchangeError::Provider(ProviderError::Refused(ErrorClass::AnswerLost), _)))
            };
            assert!(lost(&after) && lost(&again), "{after:?} {again:?}: it is told why, at once and later");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_told_to_wait_by_a_mark_is_told_so_at_the_end_of_its_own_time() {
    let replicas = Replicas::new();
    replicas.begin(STRICT).await;
    replicas.clock.advance(HOUR);
    replicas.lose_answer(&replicas.replica()).await;
    // Time stands still on the clock, so the mark stays young.
    let held = replicas.exchange(STRICT, |a| a).await;
    assert!(matches!(held, Err(ExchangeError::Unclear(ProviderError::TimedOut, None))), "{held:?}");
    replicas.clock.advance(Duration::from_secs(1));
    let with_little_time = async {
        let ask = |_, _| async { panic!("nothing is to be asked") }.boxed();
        replicas
            .replica()
            .exchange(&replicas.login, STRICT, Requester::Client, Instant::now() + Duration::from_secs(12), &ask)
            .await
    };
    let held = while_time_passes(&[&replicas.clock], with_little_time).await;
    assert!(matches!(held, Err(ExchangeError::MaybeSpent)), "{:?}", held.err());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_after_a_minute_is_kept_and_nobody_else_asks_meanwhile() {
    for late in [9, 30, 60, 110] {
        let replicas = Replicas::new();
        replicas.begin(STRICT).await;
        replicas.clock.advance(HOUR);
        let ask = |token: SecretString, time: Duration| {
            assert!(time >= Duration::from_secs(60), "{time:?}");
            let answer = replicas.provider.refresh(&token);
            async move {
                tokio::time::sleep(Duration::from_secs(late)).await;
                answer
            }
            .boxed()
        };
        let one = replicas.replica();
        let asking = one.exchange(&replicas.login, STRICT, Requester::Client, deadline(), &ask);
        let others = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_secs(late + 5) {
                let told = replicas.exchange(STRICT, |a| a).await;
                match told {
                    Ok(token) => assert_eq!(token, "access-of-token-1"),
                    Err(ExchangeError::Unclear(ProviderError::TimedOut, None)) => {}
                    other => panic!("{late}: {other:?}"),
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let (answer, ()) = while_time_passes(&[&replicas.clock], async { tokio::join!(asking, others) }).await;
        assert_eq!(answer.unwrap().token.expose_secret(), "access-of-token-1");
        assert_eq!(replicas.calls(), 1, "{late}");
        assert_eq!(replicas.record().await.unwrap().asked_at, None);
    }
}

#[tokio::test(start_paused = true)]
async fn clocks_that_differ_let_nobody_ask_too_early_and_nobody_wait_for_ever() {
    for ahead in [2, 5, -3, 90, -90, 86_400, -86_400] {
        let replicas = Replicas::new();
        replicas.begin(STRICT).await;
        replicas.clock.advance(2 * HOUR);
        let theirs = Clock::system();
        theirs.advance(2 * HOUR);
        theirs.step(ahead);
        let one = replicas.replica_at(&theirs);
        let ask = |token: SecretString, _| {
            let answer = replicas.provider.refresh(&token);
            async move {
                tokio::time::sleep(Duration::from_secs(40)).await;
                answer
            }
            .boxed()
        };
        let asking = one.exchange(&replicas.login, STRICT, Requester::Client, deadline(), &ask);
        let other = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let busy = replicas.exchange(STRICT, |a| a).await;
            assert!(matches!(busy, Err(ExchangeError::Unclear(ProviderError::TimedOut, None))), "{ahead}: {busy:?}");
        };
        let both = async { tokio::join!(asking, other) };
        let (answer, ()) = while_time_passes(&[&replicas.clock, &theirs], both).await;
        assert_eq!((answer.is_ok(), replicas.calls()), (true, 1), "{ahead}");
        // One that died is taken for dead in time.
        replicas.provider.family().kind = true;
        replicas.clock.advance(48 * HOUR);
        theirs.advance(48 * HOUR);
        replicas.lose_answer(&one).await;
        let after = async {
            let quick = tokio::time::timeout(Duration::from_secs(7), replicas.exchange(STRICT, |a| a)).await;
            assert!(quick.is_err(), "{ahead}: {quick:?}");
            let token = replicas.exchange(STRICT, |a| a).await;
            if token.is_ok() { token } else { replicas.exchange(STRICT, |a| a).await }
        };
        let after = while_time_passes(&[&replicas.clock, &theirs], after).await;
        assert_eq!((after.unwrap().as_str(), replicas.calls()), ("access-of-token-2", 3), "{ahead}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_on_its_mark_looks_again_before_it_asks() {
    let replicas = Replicas::new();
    replicas.begin(STRICT).await;
    replicas.clock.advance(HOUR);
    // The record is marked by this very caller, an hour ago: what the steps were told just before they ask.
    let old = replicas.record().await.unwrap();
    let marked = old.with_mark(Some(replicas.clock.now())).seal(&replicas.login, &replicas.keyring.load()).unwrap();
    let ask = |_, _| async { panic!("nothing is to be asked") }.boxed();
    let replica = replicas.replica();
    let mut run = replica.run(&replicas.login, STRICT, deadline(), &ask);
    let record = Record::open(&marked, &replicas.login, &replicas.keyring.load()).ok();
    run.seen = super::records::Found { blob: Some(marked), record };
    for seconds in [6, -10] {
        replicas.clock.step(seconds);
        assert_eq!(run.ask().await, state_machine::Event::Late);
        replicas.clock.step(-seconds);
    }
    // Set back by as much as it slept.
    replicas.clock.advance(Duration::from_secs(6));
    replicas.clock.step(-6);
    assert_eq!(run.ask().await, state_machine::Event::Late);
}

#[tokio::test]
async fn a_call_that_was_turned_away_is_made_again_at_once() {
    let replicas = Replicas::new();
    replicas.begin(STRICT).await;
    replicas.clock.advance(HOUR);
    let away = replicas.exchange(STRICT, |_| Err(failed(ProviderError::Misconfigured, false))).await;
    assert!(matches!(away, Err(ExchangeError::Provider(ProviderError::Misconfigured, _))));
    assert_eq!(replicas.record().await.unwrap().asked_at, None);
    *replicas.provider.family() = Family::default();
    assert_eq!(replicas.exchange(STRICT, |a| a).await.unwrap(), "access-of-token-1");
}

#[test]
fn a_record_outlives_the_refresh_token_in_it_by_a_month() {
    let days = |policy: RotationPolicy| policy.record_life().as_secs() / 86_400;
    assert_eq!([days(ROLLING), days(STRICT)], [90 + 30, 370 + 30]);
}

#[tokio::test]
async fn without_a_record_a_single_use_login_is_not_spent_and_a_rolling_one_goes_on() {
    let replicas = Replicas::new();
    assert!(matches!(replicas.exchange(STRICT, |a| a).await, Err(ExchangeError::NoRecord)));
    assert_eq!(replicas.calls(), 0);
    assert_eq!(replicas.exchange(ROLLING, |a| a).await.unwrap(), "access-of-token-1");
    replicas.clock.advance(HOUR);
    assert_eq!(replicas.exchange(ROLLING, |a| a).await.unwrap(), "access-of-token-2");
    let newest = replicas.replica().with_newest_token(&replicas.login, ROLLING).await.unwrap();
    assert_eq!(newest.refresh_token.expose_secret(), "token-2");
}

#[tokio::test]
async fn a_store_that_was_set_back_or_edited_yields_no_wrong_token() {
    let replicas = Replicas::new();
    replicas.begin(STRICT).await;
    let old = replicas.blob().await.unwrap();
    replicas.clock.advance(HOUR);
    replicas.exchange(STRICT, |a| a).await.unwrap();
    replicas.clock.advance(HOUR);
    replicas.put_back(&old).await;
    let back = replicas.exchange(STRICT, |a| a).await;
    assert!(is_refused(&back), "{back:?}");
    let mut edited = old.clone();
    edited[20] ^= 1;
    replicas.put_back(&edited).await;
    let calls = replicas.calls();
    assert!(matches!(replicas.exchange(STRICT, |a| a).await, Err(ExchangeError::NoRecord)));
    assert_eq!(replicas.calls(), calls);
    replicas.replica().forget(&replicas.login).await;
    assert!(matches!(replicas.exchange(STRICT, |a| a).await, Err(ExchangeError::NoRecord)));
}

#[tokio::test]
async fn a_replica_that_remembers_more_than_the_store_sets_it_right_before_anything_is_spent() {
    let replicas = Replicas::new();
    replicas.begin(STRICT).await;
    let first = replicas.blob().await.unwrap();
    let mut edited = first.clone();
    *edited.last_mut().unwrap() ^= 1;
    let one = replicas.replica();
    for (round, back) in [Some(first.clone()), None, Some(edited), Some(first)].into_iter().enumerate() {
        replicas.clock.advance(HOUR);
        replicas.exchange_on(&one, STRICT, |a| a).await.unwrap();
        match back {
            Some(back) => replicas.put_back(&back).await,
            None => drop(replicas.store.take(Shelf::Records, &record::name(&replicas.login)).await.unwrap()),
        }
        let remembered = replicas.exchange_on(&one, STRICT, |a| a).await.unwrap();
        assert_eq!((remembered, replicas.calls()), (format!("access-of-token-{}", round + 1), round + 1));
        let other = replicas.exchange(STRICT, |a| a).await.unwrap();
        assert_eq!(other, format!("access-of-token-{}", round + 1), "and so others find it");
    }
    // What does not open any more, since its key was replaced, is not written again and again.
    let dead = sealed(&replicas, 9, &keyring(1, &[1]));
    replicas.put_back(&dead).await;
    one.records.remember(record::name(&replicas.login), 9, &dead);
    let unopened = tokio::time::timeout(Duration::from_secs(30), replicas.exchange_on(&one, STRICT, |a| a)).await;
    assert!(matches!(unopened.unwrap(), Err(ExchangeError::NoRecord)));
    // What was ended is not brought back.
    one.forget(&replicas.login).await;
    assert!(matches!(replicas.exchange_on(&one, STRICT, |a| a).await, Err(ExchangeError::NoRecord)));
}

#[tokio::test]
async fn a_token_from_before_a_restart_of_the_machine_is_asked_for_again_and_its_login_kept() {
    let replicas = Replicas::new();
    replicas.begin(STRICT).await;
    let mut records = Records::new(replicas.store.clone(), replicas.keyring.clone(), replicas.clock.clone());
    records.start = 1;
    let rotation = Rotation { records: Arc::new(records), ..replicas.replica() };
    assert_eq!(replicas.exchange_on(&rotation, STRICT, |a| a).await.unwrap(), "access-of-token-1");
    assert_eq!(replicas.exchange_on(&rotation, STRICT, |a| a).await.unwrap(), "access-of-token-1");
    assert_eq!(replicas.calls(), 1);
    // A clock that was ahead when the token was fetched.
    replicas.clock.step(-86_400);
    assert_eq!(replicas.exchange_on(&rotation, STRICT, |a| a).await.unwrap(), "access-of-token-2");
    replicas.clock.step(2 * 86_400);
    assert_eq!(replicas.exchange_on(&rotation, STRICT, |a| a).await.unwrap(), "access-of-token-3");
}

#[tokio::test]
async fn after_a_refusal_a_newer_token_of_another_replica_is_adopted() {
    let replicas = Replicas::new();
    replicas.begin(ROLLING).await;
    replicas.clock.advance(HOUR);
    // While the provider refuses the old token, another replica writes what it got a moment earlier.
    let ask = |token: SecretString, _| {
        let replicas = &replicas;
        async move {
            assert_eq!(token.expose_secret(), "token-0");
            let old = replicas.record().await.unwrap();
            let now = replicas.replica().records.stamp();
            let new = Record::new(Some(&old), &token, tokens("token-9"), now);
            replicas.put_back(&new.seal(&replicas.login, &replicas.keyring.load()).unwrap()).await;
            Err(refused())
        }
        .boxed()
    };
    let access =
        replicas.replica().exchange(&replicas.login, ROLLING, Requester::Client, deadline(), &ask).await.unwrap();
    assert_eq!(access.token.expose_secret(), "access-of-token-9");
}

#[tokio::test]
async fn a_test_of_a_login_asks_the_provider_though_a_token_is_remembered() {
    let replicas = Replicas::new();
    replicas.begin(STRICT).await;
    let ask = |token: SecretString, _| {
        let answer = replicas.provider.refresh(&token);
        async { answer }.boxed()
    };
    let access =
        replicas.replica().exchange(&replicas.login, STRICT, Requester::Tester, deadline(), &ask).await.unwrap();
    assert_eq!((access.token.expose_secret(), replicas.calls()), ("access-of-token-1", 1));
    assert_eq!(replicas.exchange(STRICT, |a| a).await.unwrap(), "access-of-token-1");
    assert_eq!(replicas.calls(), 1, "what the test brought is used");
}

#[tokio::test]
async fn a_record_under_a_key_that_is_not_here_is_left_alone() {
    let replicas = Replicas::new();
    let text = keyring_text(1, &[1]);
    let newer = keyring_text(2, &[2]);
    let theirs = Rotation::new(replicas.store.clone(), live(&newer), replicas.clock.clone(), meter());
    theirs.begin(&replicas.login, tokens("token-0"), STRICT).await.unwrap();
    let ours = Rotation::new(replicas.store.clone(), live(&text), replicas.clock.clone(), meter());
    let ask = |_, _| async { panic!("nothing is to be asked") }.boxed();
    let outcome = ours.exchange(&replicas.login, STRICT, Requester::Client, deadline(), &ask).await;
    assert!(matches!(outcome, Err(ExchangeError::NoKeyForRecord(_, NoKey::Newer))));
    let before = replicas.blob().await;
    let rolling = replicas.exchange_on(&ours, ROLLING, |a| a).await;
    assert_eq!(rolling.unwrap(), "access-of-token-1", "the AuthID's own token lives on");
    assert_eq!(replicas.blob().await, before, "another replica has the key");
    let counts = records_by_epoch(&replicas.store).await.unwrap();
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [(Some(Epoch::try_from(2).unwrap()), 1)]);
}

#[tokio::test]
async fn a_record_under_a_key_that_is_gone_ends_a_single_use_login_and_no_rolling_one() {
    for gone in ["retired = \"2026-11-01T00:00:00Z\"", ""] {
        let replicas = Replicas::new();
        let text = keyring_text(2, &[1, 2]);
        let old = live(&text.replace("primary = 2", "primary = 1"));
        let theirs = Rotation::new(replicas.store.clone(), old, replicas.clock.clone(), meter());
        theirs.begin(&replicas.login, tokens("token-0"), STRICT).await.unwrap();
        let secret = text.lines().find(|line| line.contains("authseal-key:1:")).unwrap();
        let text = match gone {
            "" => text.replace(&format!("[[key]]\nepoch = 1\n{secret}\n"), ""),
            gone => text.replace(secret, gone),
        };
        let ours = Rotation::new(replicas.store.clone(), live(&text), replicas.clock.clone(), meter());
        let outcome = replicas.exchange_on(&ours, STRICT, |a| a).await;
        assert!(
            matches!(outcome, Err(ExchangeError::NoKeyForRecord(_, NoKey::Retired | NoKey::Absent))),
            "{outcome:?}"
        );
        assert_eq!(replicas.calls(), 0);
        assert_eq!(replicas.exchange_on(&ours, ROLLING, |a| a).await.unwrap(), "access-of-token-1");
        replicas.clock.advance(HOUR);
        assert_eq!(replicas.exchange_on(&ours, ROLLING, |a| a).await.unwrap(), "access-of-token-2");
        assert_eq!(replicas.provider.family().newest, 2, "the newest token is written down again");
    }
}

#[tokio::test(start_paused = true)]
async fn what_ends_a_login_waits_for_the_exchange_under_way_and_gets_the_newest_token() {
    let replicas = Replicas::new();
    replicas.begin(STRICT).await;
    replicas.clock.advance(HOUR);
    let ask = |token: SecretString, _| {
        let answer = replicas.provider.refresh(&token);
        async move {
            tokio::time::sleep(Duration::from_secs(7)).await;
            answer
        }
        .boxed()
    };
    let one = replicas.replica();
    let two = replicas.replica();
    let act = |token: SecretString| async move { token.expose_secret().to_owned() }.boxed();
    let asking = one.exchange(&replicas.login, STRICT, Requester::Client, deadline(), &ask);
    let ending = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let early = Instant::now() + Duration::from_secs(3);
        assert!(matches!(two.alone(&replicas.login, STRICT, early, act).await, Acted::Not));
        let Acted::Surely(token) = two.alone(&replicas.login, STRICT, deadline(), act).await else { panic!() };
        token
    };
    let both = async { tokio::join!(asking, ending) };
    let (answer, token) = while_time_passes(&[&replicas.clock], both).await;
    assert!(answer.is_ok());
    assert_eq!(token, "token-1");
    assert_eq!(replicas.record().await.unwrap().asked_at, None);
    // While it acts, nobody else asks; and where an exchange broke off, nobody can be sure.
    replicas.clock.advance(HOUR);
    let act_long = |_| async { tokio::time::sleep(Duration::from_secs(6)).await }.boxed();
    let asking = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(tokio::time::timeout(Duration::from_secs(4), replicas.exchange(STRICT, |a| a)).await.is_err());
    };
    let both = async { tokio::join!(two.alone(&replicas.login, STRICT, deadline(), act_long), asking) };
    while_time_passes(&[&replicas.clock], both).await;
    assert_eq!(replicas.calls(), 1);
    replicas.lose_answer(&one).await;
    replicas.clock.advance(Duration::from_secs(25));
    let ending = two.alone(&replicas.login, STRICT, deadline(), act);
    assert!(matches!(while_time_passes(&[&replicas.clock], ending).await, Acted::Perhaps(_)));
    two.forget(&replicas.login).await;
    assert!(matches!(two.alone(&replicas.login, STRICT, deadline(), act).await, Acted::Unknown));
}

#[tokio::test(start_paused = true)]
async fn of_a_process_that_ends_in_a_call_the_log_names_the_login() {
    let replicas = Replicas::new();
    replicas.begin(STRICT).await;
    replicas.clock.advance(HOUR);
    let replica = replicas.replica();
    assert!(replica.settle().await);
    let ask = |_, _| std::future::pending().boxed();
    let asking = replica.exchange(&replicas.login, STRICT, Requester::Client, deadline(), &ask);
    let ending = async {
        while replica.under_way.grants().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        replica.settle().await
    };
    let settled = tokio::select! {
        settled = ending => settled,
        _ = asking => unreachable!(),
    };
    assert!(!settled);
    assert!(replica.settle().await, "nothing is under way any more");
}

#[tokio::test]
async fn what_is_done_with_a_token_that_lives_on_is_sure_unless_it_was_replaced_meanwhile() {
    let replicas = &Replicas::new();
    replicas.begin(ROLLING).await;
    for is_replaced in [false, true] {
        let act = |token: SecretString| {
            async move {
                if is_replaced {
                    replicas.clock.advance(HOUR);
                    replicas.exchange(ROLLING, |answer| answer).await.unwrap();
                }
                token.expose_secret().to_owned()
            }
            .boxed()
        };
        let acted = replicas.replica().alone(&replicas.login, ROLLING, deadline(), act).await;
        let token = match acted {
            Acted::Surely(token) if !is_replaced => token,
            Acted::Perhaps(token) if is_replaced => token,
            _ => panic!("replaced: {is_replaced}"),
        };
        assert_eq!(token, "token-0");
    }
}

/// A record of a generation, sealed for the login.
fn sealed(replicas: &Replicas, generation: u64, keyring: &Keyring) -> Vec<u8> {
    let fetched = Stamp { wall: 0, start: None };
    let mut record = Record::new(None, &"own".into(), tokens(&format!("token-{generation}")), fetched);
    record.generation = generation;
    record.seal(&replicas.login, keyring).unwrap()
}

fn pending(replicas: &Replicas, generation: u64) -> Pending {
    let blob = sealed(replicas, generation, &replicas.keyring.load()).into();
    Pending { grant: replicas.login.id, generation, blob, life: HOUR }
}

#[tokio::test]
async fn one_token_that_cannot_be_written_down_does_not_keep_others_out() {
    let replicas = Replicas::new();
    let rotation = replicas.replica();
    let too_long = vec![0; crate::store::MAX_BLOB_LEN + 1].into();
    for name in [[0; 32], [1; 32], [2; 32]] {
        rotation.pending_writes.keep(name, Pending { blob: Arc::clone(&too_long), ..pending(&replicas, 1) });
    }
    rotation.pending_writes.keep(record::name(&replicas.login), pending(&replicas, 1));
    let written = async {
        while rotation.pending_writes() > 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), written).await.unwrap();
    assert_eq!(replicas.record().await.unwrap().generation, 1);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_process_waits_for_what_can_be_written_down_and_no_longer() {
    for (repaired, longest) in [(700, 1500), (3700, 4500), (4200, 5500)] {
        let replicas = Replicas::new();
        let rotation = replicas.replica();
        let name = record::name(&replicas.login);
        // Under a key that is not here: nothing is written in its place.
        replicas.put_back(&sealed(&replicas, 1, &keyring(2, &[2]))).await;
        rotation.pending_writes.keep(name, pending(&replicas, 2));
        // The task that offers it every second does so between the tries of the end.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let begun = Instant::now();
        let repair = async {
            tokio::time::sleep(Duration::from_millis(repaired)).await;
            replicas.store.take(Shelf::Records, &name).await.unwrap();
        };
        let (_, settled) = tokio::join!(repair, rotation.settle());
        assert!(settled && rotation.pending_writes() == 0, "{repaired}");
        assert!(begun.elapsed() < Duration::from_millis(longest), "{repaired}: {:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_sign_of_life_is_given_again_to_a_store_that_was_set_back_and_never_over_a_newer_token() {
    for is_newer in [false, true] {
        let replicas = &Replicas::new();
        replicas.begin(STRICT).await;
        replicas.clock.advance(HOUR);
        let there = match is_newer {
            true => sealed(replicas, 1, &replicas.keyring.load()),
            false => replicas.blob().await.unwrap(),
        };
        let there = &there;
        let ask = |_, _| {
            async move {
                replicas.put_back(there).await;
                tokio::time::sleep(state_machine::RENEW * 3 / 2).await;
                let record = replicas.record().await.unwrap();
                let expected = if is_newer { (1, false) } else { (0, true) };
                assert_eq!((record.generation, record.asked_at.is_some()), expected);
                Err(failed(ProviderError::TimedOut, true))
            }
            .boxed()
        };
        let replica = replicas.replica();
        assert!(replica.exchange(&replicas.login, STRICT, Requester::Client, deadline(), &ask).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_end_what_waits_is_written_down_once_more_or_known_to_be_lost() {
    let replicas = Replicas::new();
    let rotation = replicas.replica();
    rotation.pending_writes.keep(record::name(&replicas.login), pending(&replicas, 1));
    assert!(rotation.settle().await);
    assert_eq!(replicas.record().await.unwrap().generation, 1);
    let too_long = vec![0; crate::store::MAX_BLOB_LEN + 1].into();
    rotation.pending_writes.keep([0; 32], Pending { blob: too_long, ..pending(&replicas, 1) });
    assert!(!rotation.settle().await);
}

#[tokio::test]
async fn the_records_of_thirty_thousand_logins_are_remembered_and_no_more() {
    let replicas = Replicas::new();
    let records = replicas.replica().records;
    let name = |number: u32| {
        let mut name = [0; 32];
        name[..4].copy_from_slice(&number.to_be_bytes());
        name
    };
    (0..100_000).for_each(|number| records.remember(name(number), 1, &[0; 400]));
    let kept = (0..100_000).filter(|number| records.generation(&name(*number)) == Some(1)).count();
    assert!((25_000..35_000).contains(&kept), "{kept}");
}

#[tokio::test]
async fn what_waits_to_be_written_down_takes_the_place_of_older_records_only() {
    let name = |replicas: &Replicas| record::name(&replicas.login);
    for (there, after) in [(0, 2), (1, 2), (2, 2), (3, 3)] {
        let replicas = Replicas::new();
        let rotation = replicas.replica();
        let before = sealed(&replicas, there, &replicas.keyring.load());
        replicas.put_back(&before).await;
        rotation.pending_writes.keep(name(&replicas), pending(&replicas, 2));
        rotation.pending_writes.write(&name(&replicas)).await.unwrap();
        assert_eq!((replicas.record().await.unwrap().generation, rotation.pending_writes()), (after, 0));
        assert_eq!(replicas.blob().await.unwrap() == before, there >= 2, "one as new stays as it is, with its mark");
    }
    // Under a key that is not here yet.
    let replicas = Replicas::new();
    let rotation = replicas.replica();
    let theirs = sealed(&replicas, 1, &keyring(2, &[2]));
    replicas.put_back(&theirs).await;
    rotation.pending_writes.keep(name(&replicas), pending(&replicas, 2));
    assert!(rotation.pending_writes.write(&name(&replicas)).await.is_err());
    assert_eq!((replicas.blob().await, rotation.pending_writes()), (Some(theirs), 1));
    replicas.store.take(Shelf::Records, &name(&replicas)).await.unwrap();
    rotation.pending_writes.write(&name(&replicas)).await.unwrap();
    assert_eq!((replicas.record().await.unwrap().generation, rotation.pending_writes()), (2, 0));
}
