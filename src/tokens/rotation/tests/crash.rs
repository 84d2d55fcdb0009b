//! The process ends, or the machine loses power, at any point of an exchange, on a disk that keeps what was synced and
//! of the rest what it likes. A kind provider takes an old token until what it brought was used; a strict one does not.
//! At every point: with the kind one no login is lost, with the strict one none whose answer was lost is asked for
//! twice in vain, and no file is ever half a record.

use super::*;
use crate::store::disk::{Disk, Locked};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// A disk in memory.
#[derive(Clone, Debug, Default)]
struct State {
    /// File contents by number, and how many of their first bytes are sure to be on the disk.
    files: Vec<(Vec<u8>, usize)>,
    /// What programs see.
    names: BTreeMap<PathBuf, usize>,
    /// What is sure to be on the disk.
    synced: BTreeMap<PathBuf, usize>,
    folders: BTreeSet<PathBuf>,
    /// Calls left until the end.
    left: Option<u64>,
}

/// The disk, whether its one lock is held, and whether syncs of folders fail.
#[derive(Clone, Debug, Default)]
struct Fragile(Arc<Mutex<State>>, Arc<AtomicBool>, Arc<AtomicBool>);

impl Fragile {
    fn act<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.0.lock().unwrap();
        match &mut state.left {
            Some(0) => return Err(io::Error::other("the end")),
            Some(left) => *left -= 1,
            None => {}
        }
        act(&mut state)
    }

    fn ends_after(&self, calls: u64) {
        self.0.lock().unwrap().left = Some(calls);
    }

    fn has_ended(&self) -> bool {
        self.0.lock().unwrap().left == Some(0)
    }

    /// The disk as the next process finds it.
    fn after(&self, power_lost: bool, random: &mut Rng) -> Self {
        let mut state = self.0.lock().unwrap().clone();
        state.left = None;
        if power_lost {
            let paths: BTreeSet<_> = state.names.keys().chain(state.synced.keys()).cloned().collect();
            for path in paths {
                let now = state.names.get(&path).copied();
                let sure = state.synced.get(&path).copied();
                match if random.bool() { now } else { sure } {
                    Some(file) => state.names.insert(path, file),
                    None => state.names.remove(&path),
                };
            }
            for (bytes, sure) in &mut state.files {
                let more = bytes.len() - *sure;
                bytes.truncate(*sure + random.usize(..=more));
            }
            state.synced = state.names.clone();
        }
        Self(Arc::new(Mutex::new(state)), Arc::default(), Arc::default())
    }
}

impl Disk for Fragile {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        self.act(|state| {
            let file = *state.names.get(path).ok_or(ErrorKind::NotFound)?;
            let bytes = &state.files[file].0;
            Ok(bytes[..bytes.len().min(limit as usize)].to_vec())
        })
    }

    fn create(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.act(|state| {
            if !state.folders.contains(path.parent().unwrap()) {
                return Err(ErrorKind::NotFound.into());
            }
            state.files.push((bytes.to_vec(), 0));
            state.names.insert(path.to_owned(), state.files.len() - 1);
            Ok(())
        })
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.act(|state| {
            let file = *state.names.get(path).ok_or(ErrorKind::NotFound)?;
            state.files[file].1 = state.files[file].0.len();
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.act(|state| {
            let file = state.names.remove(from).ok_or(ErrorKind::NotFound)?;
            state.names.insert(to.to_owned(), file);
            Ok(())
        })
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        if self.2.load(Ordering::Acquire) {
            return Err(io::Error::other("the sync failed"));
        }
        self.act(|state| {
            state.synced.retain(|path, _| path.parent() != Some(folder));
            let names = state.names.iter().filter(|(path, _)| path.parent() == Some(folder));
            state.synced.extend(names.map(|(path, file)| (path.clone(), *file)));
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.act(|state| state.names.remove(path).map(|_| ()).ok_or_else(|| ErrorKind::NotFound.into()))
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        self.act(|state| {
            state.folders.extend(folder.ancestors().map(Path::to_owned));
            Ok(())
        })
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        self.act(|state| {
            let all = state.names.keys().chain(&state.folders);
            Ok(all.filter(|path| path.parent() == Some(folder)).cloned().collect())
        })
    }

    fn try_lock(&self, _: &Path) -> io::Result<Option<Locked>> {
        let taken = self.1.swap(true, Ordering::AcqRel);
        Ok((!taken).then(|| Locked(Box::new(Held(self.1.clone())))))
    }
}

/// The one lock there is, for all names.
struct Held(Arc<AtomicBool>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Where the end comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndAt {
    /// After so many calls of the disk.
    DiskCall(u64),
    /// When the request has left, before the provider does its part.
    BeforeProvider,
    /// When the provider has done its part, before its answer is here.
    AfterProvider,
}

/// More calls of the disk than an exchange makes: then there is no end before its own.
const MOST_CALLS: u64 = 30;

async fn run(seed: u64, end_at: EndAt, kind: bool, power_lost: bool) {
    let case = format!("seed {seed}, end at {end_at:?}, kind {kind}, power lost {power_lost}");
    let mut random = Rng::with_seed(seed);
    let clock = Clock::system();
    let keyring = live(&keyring_text(1, &[1]));
    let login = login();
    let provider = Provider::default();
    provider.family().kind = kind;
    let start = |disk: &Fragile| {
        let store = Store::on_disk(Arc::new(disk.clone()), Path::new("/state"), clock.clone()).unwrap();
        Rotation::new(Arc::new(store), keyring.clone(), clock.clone(), meter())
    };
    let disk = Fragile::default();
    start(&disk).begin(&login, tokens("token-0"), STRICT).await.unwrap();
    clock.advance(HOUR);

    let process = start(&disk);
    if let EndAt::DiskCall(calls) = end_at {
        disk.ends_after(calls);
    }
    let ask = |token: SecretString, _| {
        // A process that has ended asks nobody, and neither does one that ends just now.
        if disk.has_ended() || end_at == EndAt::BeforeProvider {
            disk.ends_after(0);
            return async { Err(failed(ProviderError::TimedOut, true)) }.boxed();
        }
        let answer = provider.refresh(&token);
        if end_at == EndAt::AfterProvider {
            disk.ends_after(0);
        }
        async { answer }.boxed()
    };
    let first = process.exchange(&login, STRICT, Requester::Client, deadline(), &ask).await;
    let asked = provider.calls.load(Ordering::SeqCst) > 0;
    let ended = disk.has_ended();
    // Whether the client got its token before the end: then it used it.
    let written = first.is_ok() && process.pending_writes() == 0;
    let delivered = first.is_ok() && !ended;
    provider.family().used = delivered;
    drop(process);

    let disk = disk.after(power_lost, &mut random);
    clock.advance(Duration::from_secs(25));
    let process = start(&disk);
    let ask = |token: SecretString, _| {
        let answer = provider.refresh(&token);
        async { answer }.boxed()
    };
    let second = process.exchange(&login, STRICT, Requester::Client, deadline(), &ask);
    let second = while_time_passes(&[&clock], second).await;
    let calls = provider.calls.load(Ordering::SeqCst);
    if kind || !asked || written {
        let access = second.unwrap_or_else(|refused| panic!("{case}: {refused:?}"));
        if written && asked {
            assert_eq!(access.token.expose_secret(), "access-of-token-1", "{case}");
            assert_eq!(calls, 1, "{case}: what was written down is not asked for again");
        }
    } else {
        let lost = matches!(second, Err(ExchangeError::Provider(ProviderError::Refused(_), _)));
        assert!(lost || second.is_ok(), "{case}: {second:?}", second = second.err());
        assert!(calls <= 2, "{case}: no loop");
    }
    let blob = process.records.store.read(Shelf::Records, &record::name(&login)).await.unwrap().expect("a record");
    assert!(Record::open(&blob, &login, &keyring.load()).is_ok(), "{case}: a whole record");
}

#[tokio::test(start_paused = true)]
async fn no_crash_costs_a_login_that_could_be_kept() {
    let seeds = if std::env::var_os("TESTS_FULL").is_some() { 1000 } else { 12 };
    let points = (0..MOST_CALLS).map(EndAt::DiskCall).chain([EndAt::BeforeProvider, EndAt::AfterProvider]);
    for end_at in points {
        for (kind, power_lost) in [(true, true), (true, false), (false, true), (false, false)] {
            for seed in 0..if power_lost { seeds } else { 1 } {
                run(seed, end_at, kind, power_lost).await;
            }
        }
    }
}

#[tokio::test]
async fn an_answer_whose_sync_failed_is_written_again_before_it_counts_as_written() {
    let mut random = Rng::with_seed(1);
    let clock = Clock::system();
    let keyring = live(&keyring_text(1, &[1]));
    let login = login();
    let disk = Fragile::default();
    let store = Store::on_disk(Arc::new(disk.clone()), Path::new("/state"), clock.clone()).unwrap();
    let rotation = Rotation::new(Arc::new(store), keyring.clone(), clock.clone(), meter());
    rotation.begin(&login, tokens("token-0"), STRICT).await.unwrap();
    clock.advance(HOUR);
    let provider = Provider::default();
    let ask = |token: SecretString, _| {
        let answer = provider.refresh(&token);
        // The mark was written well; of the answer the folder's sync fails, after the rename.
        disk.2.store(true, Ordering::Release);
        async { answer }.boxed()
    };
    rotation.exchange(&login, STRICT, Requester::Client, deadline(), &ask).await.unwrap();
    assert_eq!(rotation.pending_writes(), 1);
    let there = rotation.records.store.read(Shelf::Records, &record::name(&login)).await.unwrap().unwrap();
    assert_eq!(record::generation_of(&there), Some(1), "it can be read");
    disk.2.store(false, Ordering::Release);
    rotation.pending_writes.write(&record::name(&login)).await.unwrap();
    assert_eq!(rotation.pending_writes(), 0);
    for _ in 0..20 {
        let disk = disk.after(true, &mut random);
        let store = Store::on_disk(Arc::new(disk), Path::new("/state"), clock.clone()).unwrap();
        let there = store.read(Shelf::Records, &record::name(&login)).await.unwrap().unwrap();
        assert_eq!(record::generation_of(&there), Some(1), "and survives a loss of power");
    }
}

#[tokio::test]
async fn a_renewal_that_hangs_does_not_keep_the_answer_waiting() {
    let clock = Clock::system();
    let keyring = live(&keyring_text(1, &[1]));
    let login = login();
    let disk = Fragile::default();
    let store = Store::on_disk(Arc::new(disk.clone()), Path::new("/state"), clock.clone()).unwrap();
    let rotation = Rotation::new(Arc::new(store), keyring, clock.clone(), meter());
    rotation.begin(&login, tokens("token-0"), STRICT).await.unwrap();
    clock.advance(HOUR);
    let provider = Provider::default();
    let held = disk.1.clone();
    let read = AtomicBool::new(false);
    let ask = |token: SecretString, _| {
        let answer = provider.refresh(&token);
        // From now on the store's lock is somebody else's.
        held.store(true, Ordering::Release);
        let renewal = state_machine::RENEW + Duration::from_millis(500);
        let read = &read;
        async move {
            tokio::time::sleep(renewal).await;
            read.store(true, Ordering::Release);
            answer
        }
        .boxed()
    };
    let exchange = rotation.exchange(&login, STRICT, Requester::Client, deadline(), &ask);
    let release = async {
        tokio::time::sleep(state_machine::RENEW + Duration::from_secs(1)).await;
        assert!(read.load(Ordering::Acquire), "the answer is read while the renewal waits for the lock");
        held.store(false, Ordering::Release);
    };
    let (answer, ()) = tokio::join!(exchange, release);
    assert_eq!(answer.unwrap().token.expose_secret(), "access-of-token-1");
}
