//! The room as a whole: callers who race, crash and meet a failing store; the model of the protocol is beside this.

mod crash;
mod model;

use super::*;
use crate::authid::{Bind, GrantId, ServiceId};
use crate::provider::Meaning;
use crate::seal::{Keyring, new_secret_text};
use futures_util::FutureExt;
use futures_util::future::join_all;
use secrecy::ExposeSecret;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(super) fn keyring_text(primary: i64, epochs: &[i64]) -> String {
    let keys = epochs.iter().map(|epoch| {
        let secret = new_secret_text(Epoch::try_from(*epoch).unwrap()).unwrap();
        format!("[[key]]\nepoch = {epoch}\nsecret = \"{}\"\n", *secret)
    });
    format!("primary = {primary}\n{}", keys.collect::<String>())
}

pub(super) fn login() -> Login {
    Login {
        service: ServiceId::parse("box.com").unwrap(),
        grant: GrantId::random().unwrap(),
        refresh_token: "token-0".to_owned().into(),
        sealed_at: 1_795_428_000,
        login_at: 1_795_428_000,
        bind: Bind::random().unwrap(),
    }
}

pub(super) fn tokens(refresh: &str) -> Tokens {
    Tokens {
        access_token: format!("access-of-{refresh}").into(),
        expires_in: Some(Duration::from_secs(3600)),
        refresh_token: Some(refresh.to_owned().into()),
        refresh_token_expires_in: None,
        scopes: None,
    }
}

pub(super) const STRICT: Manner = Manner { single_use: true, days: None };
const ROLLING: Manner = Manner { single_use: false, days: Some(90) };

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
    pub(super) fn refresh(&self, token: &SecretString) -> Result<Tokens, RefreshFailure> {
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

fn refused() -> RefreshFailure {
    RefreshFailure { failure: Failure::Refused(Meaning::LoginAgain), in_doubt: false }
}

pub(super) fn failed(failure: Failure, in_doubt: bool) -> RefreshFailure {
    RefreshFailure { failure, in_doubt }
}

pub(super) fn meter() -> Meter {
    Meter::new(Clock::system(), [])
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
    login: Login,
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
        Rotation::new(self.store.clone(), self.keyring.clone(), self.clock.clone(), meter())
    }

    async fn begin(&self, manner: Manner) {
        self.replica().begin(&self.login, tokens("token-0"), manner).await.unwrap();
    }

    /// One exchange on a replica of its own; `answer` is what becomes of the provider's answer on its way.
    async fn exchange(
        &self,
        manner: Manner,
        answer: impl Fn(Result<Tokens, RefreshFailure>) -> Result<Tokens, RefreshFailure> + Send + Sync,
    ) -> Result<String, Refused> {
        let ask = |token: SecretString, _| {
            let answer = answer(self.provider.refresh(&token));
            async move { answer }.boxed()
        };
        let deadline = Instant::now() + Duration::from_secs(19);
        let access = self.replica().exchange(&self.login, manner, true, deadline, &ask).await?;
        Ok(access.token.expose_secret().to_owned())
    }

    fn calls(&self) -> usize {
        self.provider.calls.load(Ordering::SeqCst)
    }
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

#[tokio::test]
async fn a_lost_answer_is_waited_out_and_then_the_old_token_is_tried_once() {
    for kind in [true, false] {
        let replicas = Replicas::new();
        replicas.provider.family().kind = kind;
        replicas.begin(STRICT).await;
        replicas.clock.advance(HOUR);
        let lost = |_| Err(failed(Failure::TimedOut, true));
        assert!(matches!(replicas.exchange(STRICT, lost).await, Err(Refused::Provider(Failure::TimedOut))));
        let early = replicas.exchange(STRICT, |a| a).await;
        assert!(matches!(early, Err(Refused::InDoubt(1..=20))), "{early:?}");
        assert_eq!(replicas.calls(), 1, "nobody else tries meanwhile");
        replicas.clock.advance(Duration::from_secs(21));
        let after = replicas.exchange(STRICT, |a| a).await;
        match kind {
            true => assert_eq!(after.unwrap(), "access-of-token-1"),
            false => assert!(matches!(after, Err(Refused::Provider(Failure::Refused(_)))), "{after:?}"),
        }
        assert_eq!(replicas.calls(), 2);
    }
}

#[tokio::test]
async fn a_call_that_was_turned_away_is_made_again_at_once() {
    let replicas = Replicas::new();
    replicas.begin(STRICT).await;
    replicas.clock.advance(HOUR);
    let newest = replicas.provider.family().newest;
    let ask = |_, _| async { Err(failed(Failure::Operator, false)) }.boxed();
    let deadline = || Instant::now() + Duration::from_secs(19);
    let away = replicas.replica().exchange(&replicas.login, STRICT, true, deadline(), &ask).await;
    assert!(matches!(away, Err(Refused::Provider(Failure::Operator))));
    assert_eq!(replicas.provider.family().newest, newest);
    assert_eq!(replicas.exchange(STRICT, |a| a).await.unwrap(), "access-of-token-1");
}

#[tokio::test]
async fn without_a_record_a_single_use_login_is_not_spent_and_a_rolling_one_goes_on() {
    let replicas = Replicas::new();
    assert!(matches!(replicas.exchange(STRICT, |a| a).await, Err(Refused::Forgotten)));
    assert_eq!(replicas.calls(), 0);
    assert_eq!(replicas.exchange(ROLLING, |a| a).await.unwrap(), "access-of-token-1");
    replicas.clock.advance(HOUR);
    assert_eq!(replicas.exchange(ROLLING, |a| a).await.unwrap(), "access-of-token-2");
    let newest = replicas.replica().newest(&replicas.login).await.unwrap();
    assert_eq!(newest.refresh_token.expose_secret(), "token-2");
}

#[tokio::test]
async fn a_store_that_was_set_back_or_edited_yields_no_wrong_token() {
    let replicas = Replicas::new();
    replicas.begin(STRICT).await;
    let name = record::name(&replicas.login);
    let old = replicas.store.read(Shelf::Records, &name).await.unwrap().unwrap();
    replicas.clock.advance(HOUR);
    replicas.exchange(STRICT, |a| a).await.unwrap();
    replicas.clock.advance(HOUR);
    replicas.store.put(Shelf::Records, &name, &old, HOUR).await.unwrap();
    let back = replicas.exchange(STRICT, |a| a).await;
    assert!(matches!(back, Err(Refused::Provider(Failure::Refused(_)))), "{back:?}");
    let mut edited = old.clone();
    edited[20] ^= 1;
    replicas.store.put(Shelf::Records, &name, &edited, HOUR).await.unwrap();
    let calls = replicas.calls();
    assert!(matches!(replicas.exchange(STRICT, |a| a).await, Err(Refused::Forgotten)));
    assert_eq!(replicas.calls(), calls);
    replicas.store.take(Shelf::Records, &name).await.unwrap();
    assert!(matches!(replicas.exchange(STRICT, |a| a).await, Err(Refused::Forgotten)));
}

#[tokio::test]
async fn after_a_refusal_a_newer_token_of_another_replica_is_adopted() {
    let replicas = Replicas::new();
    replicas.begin(ROLLING).await;
    replicas.clock.advance(HOUR);
    // While the provider refuses the old token, another replica writes what it got a moment earlier.
    let name = record::name(&replicas.login);
    let ask = |token: SecretString, _| {
        let replicas = &replicas;
        async move {
            assert_eq!(token.expose_secret(), "token-0");
            let blob = replicas.store.read(Shelf::Records, &name).await.unwrap().unwrap();
            let old = Record::open(&blob, &replicas.login, &replicas.keyring.load()).unwrap();
            let new = Record::new(Some(&old), &token, tokens("token-9"), replicas.clock.now());
            let blob = new.seal(&replicas.login, &replicas.keyring.load()).unwrap();
            replicas.store.put(Shelf::Records, &name, &blob, HOUR).await.unwrap();
            Err(refused())
        }
        .boxed()
    };
    let deadline = Instant::now() + Duration::from_secs(19);
    let access = replicas.replica().exchange(&replicas.login, ROLLING, true, deadline, &ask).await.unwrap();
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
    let deadline = Instant::now() + Duration::from_secs(19);
    let access = replicas.replica().exchange(&replicas.login, STRICT, false, deadline, &ask).await.unwrap();
    assert_eq!((access.token.expose_secret(), replicas.calls()), ("access-of-token-1", 1));
    assert_eq!(replicas.exchange(STRICT, |a| a).await.unwrap(), "access-of-token-1");
    assert_eq!(replicas.calls(), 1, "what the test brought is used");
}

#[tokio::test]
async fn a_record_under_a_key_that_is_not_here_is_left_alone() {
    let replicas = Replicas::new();
    let (text, newer) = (keyring_text(1, &[1]), keyring_text(2, &[2]));
    let theirs = Rotation::new(replicas.store.clone(), live(&newer), replicas.clock.clone(), meter());
    theirs.begin(&replicas.login, tokens("token-0"), STRICT).await.unwrap();
    let ours = Rotation::new(replicas.store.clone(), live(&text), replicas.clock.clone(), meter());
    let ask = |_, _| async { panic!("nothing is to be asked") }.boxed();
    let deadline = Instant::now() + Duration::from_secs(19);
    let outcome = ours.exchange(&replicas.login, STRICT, true, deadline, &ask).await;
    assert!(matches!(outcome, Err(Refused::NoKey(_, NoKey::Newer))));
    let counts = records_by_epoch(&replicas.store).await.unwrap();
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [(Some(Epoch::try_from(2).unwrap()), 1)]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_for_another_is_told_so() {
    let replicas = Replicas::new();
    replicas.begin(STRICT).await;
    replicas.clock.advance(HOUR);
    let lease = Lease::new(&replicas.store, record::name(&replicas.login)).unwrap();
    assert!(lease.take().await.unwrap());
    let deadline = Instant::now() + Duration::from_secs(5);
    let ask = |_, _| async { panic!("nothing is to be asked") }.boxed();
    let outcome = replicas.replica().exchange(&replicas.login, STRICT, true, deadline, &ask).await;
    assert!(matches!(outcome, Err(Refused::TimedOut)));
    // A holder that died is not waited for: its lease ends.
    replicas.clock.advance(lease::LASTS + Duration::from_secs(2));
    assert_eq!(replicas.exchange(STRICT, |a| a).await.unwrap(), "access-of-token-1");
}
