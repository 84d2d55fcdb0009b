//! The store in a folder: who may have a part in it, what hangs, what has ended.

use super::*;
use crate::store::disk::Files;
use crate::store::folder::Folder;
use crate::store::sweep::{EVERY, Sweeps};
use crate::store::testing::{Hooked, Moment};
use rustix::process::geteuid;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Barrier, Condvar, Mutex};
use std::thread;
use tempfile::TempDir;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn open(folder: &TempDir) -> Store {
    Store::open(&StorePlace::Dir(folder.path().to_owned()), Clock::system()).unwrap()
}

/// The path below the folder of the blob of that name.
fn file(shelf: &str, number: u64) -> String {
    let name: String = name(number).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{shelf}/{}/{name}", &name[..2])
}

/// All that is in a folder, and what is in that.
fn all_in(folder: &Path) -> Vec<PathBuf> {
    let entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let below = entries.iter().filter(|path| path.is_dir() && !path.is_symlink()).flat_map(|path| all_in(path));
    below.chain(entries.iter().cloned()).collect()
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
async fn a_folder_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = Store::open(&StorePlace::Dir(file.clone()), Clock::system()).err().unwrap().to_string();
    assert!(error.contains(&file.display().to_string()), "{error}");
    // Where nobody makes folders, root neither.
    let error = Store::open(&StorePlace::Dir("/sys/authseal".into()), Clock::system()).err().unwrap().to_string();
    assert!(error.contains("/sys/authseal") && !error.contains("No such file"), "what stands in the way: {error}");
}

#[test]
fn servers_that_start_at_once_make_one_folder() {
    for _ in 0..50 {
        let (folder, all) = (tempfile::tempdir().unwrap(), Barrier::new(4));
        let place = StorePlace::Dir(folder.path().join("a/b/c"));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    all.wait();
                    Store::open(&place, Clock::system()).unwrap();
                });
            }
        });
    }
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
    // Nor is one of ours that they made longer.
    let longest = vec![9; MAX_BLOB_LEN];
    store.put(Shelf::Records, &name(1), &longest, MINUTE).await.unwrap();
    fs::write(&path, [fs::read(&path).unwrap(), vec![9]].concat()).unwrap();
    assert!(!store.swap(Shelf::Records, &name(1), Some(&longest), Some(b"new"), MINUTE).await.unwrap());
}

#[tokio::test]
async fn what_root_makes_belongs_to_the_owner_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder));
    let theirs = geteuid().is_root();
    if theirs {
        chown(folder.path(), Some(12_345), Some(54_321)).unwrap();
    }
    let before = all_in(folder.path());
    let store = Store::attach(&StorePlace::Dir(folder.path().to_owned()), Clock::system()).unwrap();
    for number in 0..3 {
        let name = name(number << 56);
        assert!(store.swap(Shelf::Records, &name, None, Some(b"one"), MINUTE).await.unwrap());
        assert!(store.swap(Shelf::Records, &name, Some(b"one"), Some(b"two"), MINUTE).await.unwrap());
        store.put(Shelf::Mailbox, &name, b"entry", MINUTE).await.unwrap();
    }
    let made: Vec<_> = all_in(folder.path()).into_iter().filter(|path| !before.contains(path)).collect();
    assert!(made.len() >= 3 * 2 * 2 + 2, "folders, files and locks: {made:?}");
    let root = fs::metadata(folder.path()).unwrap();
    for path in &made {
        let has = fs::symlink_metadata(path).unwrap();
        assert_eq!((has.uid(), has.gid()), (root.uid(), root.gid()), "{}", path.display());
        let mode = if has.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(has.mode() & 0o777, mode, "{}", path.display());
    }
}

#[tokio::test]
async fn links_in_the_folder_lead_nowhere() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let secret = outside.path().join("secret");
    fs::write(&secret, b"01234567secret").unwrap();
    drop(open(&folder));
    let plant = |link: &str, target: &Path| {
        let link = folder.path().join(link);
        let _ = fs::remove_dir_all(&link);
        let _ = fs::remove_file(&link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(target, &link).unwrap();
    };
    let store = Store::attach(&StorePlace::Dir(folder.path().to_owned()), Clock::system()).unwrap();
    let other = name(1 << 56);
    let lock = outside.path().join("lock");
    plant("locks/00", &lock);
    assert!(store.put(Shelf::Mailbox, &name(1), b"x", MINUTE).await.is_err());
    plant("locks/00", &secret);
    assert!(store.put(Shelf::Mailbox, &name(1), b"x", MINUTE).await.is_err());
    plant("records/01", outside.path());
    let error = store.put(Shelf::Records, &other, b"x", MINUTE).await.unwrap_err().to_string();
    assert!(error.contains("records/01"), "{error}");
    fs::remove_file(folder.path().join("records/01")).unwrap();
    plant(&file("records", 1 << 56), &secret);
    assert!(store.read(Shelf::Records, &other).await.is_err());
    assert!(store.swap(Shelf::Records, &other, Some(b"secret"), None, MINUTE).await.is_err());
    fs::remove_dir_all(folder.path().join("records")).unwrap();
    plant("records", outside.path());
    assert!(store.put(Shelf::Records, &other, b"x", MINUTE).await.is_err());
    let listed = store.heads(Shelf::Records, 8, |_| ()).await;
    assert!(listed.is_err(), "what cannot be listed is not empty");
    assert_eq!(fs::read(&secret).unwrap(), b"01234567secret");
    assert_eq!(all_in(outside.path()), [secret]);
}

#[tokio::test]
async fn a_pipe_in_the_place_of_a_record_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    store.put(Shelf::Records, &name(1), b"record", MINUTE).await.unwrap();
    let path = folder.path().join(file("records", 1));
    fs::remove_file(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let error = store.read(Shelf::Records, &name(1)).await.unwrap_err().to_string();
    assert!(error.contains("no regular file") && error.contains(&file("records", 1)), "{error}");
}

#[tokio::test]
async fn a_link_that_leads_nowhere_is_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("state");
    symlink("nowhere", &link).unwrap();
    assert!(Store::open(&StorePlace::Dir(link), Clock::system()).is_err());
    assert_eq!(all_in(folder.path()).len(), 1, "the link");
}

#[tokio::test]
async fn a_fault_names_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    fs::create_dir_all(folder.path().join(file("records", 1))).unwrap();
    let error = store.read(Shelf::Records, &name(1)).await.unwrap_err().to_string();
    assert!(error.contains(&file("records", 1)), "{error}");
    // A lock that cannot be made, which is no matter to root.
    let locks = folder.path().join("locks");
    fs::set_permissions(&locks, fs::Permissions::from_mode(0o500)).unwrap();
    let locked = store.put(Shelf::Records, &name(1 << 56), b"record", MINUTE).await;
    fs::set_permissions(&locks, fs::Permissions::from_mode(0o700)).unwrap();
    let said = locked.err().map(|error| error.to_string());
    let is_told = said.as_ref().is_some_and(|said| said.contains("locks/01: Permission denied"));
    assert!(geteuid().is_root() || is_told, "{said:?}");
}

#[tokio::test]
async fn a_command_makes_nothing_and_takes_no_folder_for_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    let place = StorePlace::Dir(folder.path().join("a/state"));
    let store = Store::attach(&place, Clock::system()).unwrap();
    assert_eq!(store.read(Shelf::Records, &name(1)).await.unwrap(), None);
    let mut count = 0;
    store.heads(Shelf::Records, 8, |_| count += 1).await.unwrap();
    assert_eq!(store.advice().await.unwrap(), Vec::<String>::new());
    assert_eq!((count, all_in(folder.path()).len()), (0, 0));
    fs::create_dir_all(folder.path().join("a/state")).unwrap();
    Store::attach(&place, Clock::system()).unwrap().read(Shelf::Mailbox, &name(1)).await.unwrap();
    assert_eq!(all_in(folder.path()).len(), 2);
}

#[tokio::test]
async fn a_lock_that_is_held_ends_in_the_bound_and_what_was_given_up_is_not_done_later() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let lock = fs::File::create(folder.path().join("locks/00")).unwrap();
    lock.lock().unwrap();
    let begun = Instant::now();
    for outcome in [
        store.put(Shelf::Mailbox, &name(1), b"late", MINUTE).await.err(),
        store.take(Shelf::Mailbox, &name(1)).await.err(),
        store.swap(Shelf::Records, &name(1), None, Some(b"late"), MINUTE).await.err(),
    ] {
        assert!(matches!(outcome, Some(StoreError::TimedOut)), "{outcome:?}");
    }
    assert!(begun.elapsed() >= 3 * LIMIT - Duration::from_millis(100));
    let health = store.health();
    assert!(health.reading.is_some() && health.writing.is_some());
    assert_eq!(store.read(Shelf::Records, &name(1)).await.unwrap(), None, "reading takes no lock");
    let other = name(1 << 56);
    assert!(!store.swap(Shelf::Records, &other, Some(b"early"), Some(b"x"), MINUTE).await.unwrap());
    assert!(store.swap(Shelf::Records, &other, None, None, MINUTE).await.unwrap());
    assert!(store.health().writing.is_some(), "nothing was written");
    store.put(Shelf::Records, &other, b"x", MINUTE).await.unwrap();
    drop(lock);
    store.put(Shelf::Mailbox, &name(2), b"x", MINUTE).await.unwrap();
    assert_eq!(store.health(), Health::default());
    assert_eq!(store.read(Shelf::Mailbox, &name(1)).await.unwrap(), None);
    assert_eq!(store.read(Shelf::Records, &name(1)).await.unwrap(), None);
}

/// What a disk waits for that moves only when it is let.
#[derive(Default)]
struct Hung {
    hangs: Mutex<bool>,
    moves: Condvar,
    hanging: AtomicUsize,
}

impl Hung {
    fn wait(&self) {
        self.hanging.fetch_add(1, Ordering::AcqRel);
        drop(self.moves.wait_while(self.hangs.lock().unwrap(), |hangs| *hangs));
        self.hanging.fetch_sub(1, Ordering::AcqRel);
    }

    fn hang(&self, hangs: bool) {
        *self.hangs.lock().unwrap() = hangs;
        self.moves.notify_all();
    }
}

#[tokio::test]
async fn a_disk_that_hangs_holds_a_few_threads_and_no_caller() {
    let folder = tempfile::tempdir().unwrap();
    let hung = Arc::new(Hung::default());
    let theirs = hung.clone();
    let wait = move |moment| {
        if moment == Moment::Before {
            theirs.wait();
        }
        Ok(())
    };
    let disk = Arc::new(Hooked(Files::below(folder.path()), wait));
    let store = Arc::new(Store::on_disk(disk, folder.path(), Clock::system()).unwrap());
    store.put(Shelf::Records, &name(0), b"record", MINUTE).await.unwrap();
    hung.hang(true);
    let asked = (0..100u64).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            match number % 3 {
                0 => store.read(Shelf::Records, &name(0)).await.err(),
                1 => store.put(Shelf::Mailbox, &name(number), b"late", MINUTE).await.err(),
                _ => store.swap(Shelf::Records, &name(0), Some(b"record"), Some(b"late"), MINUTE).await.err(),
            }
        })
    });
    let mut outcomes = Vec::new();
    for asked in asked.collect::<Vec<_>>() {
        outcomes.push(asked.await.unwrap());
    }
    let hanging = hung.hanging.load(Ordering::Acquire);
    // Before anything is judged: a test that fails must end, too.
    hung.hang(false);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Some(StoreError::TimedOut))), "{outcomes:?}");
    assert!((1..=32).contains(&hanging), "{hanging}");
    assert_eq!(store.read(Shelf::Records, &name(0)).await.unwrap().unwrap(), b"record");
    store.put(Shelf::Mailbox, &name(1), b"new", MINUTE).await.unwrap();
    assert_eq!(store.health(), Health::default());
    for number in (4..100).step_by(3) {
        assert_eq!(store.read(Shelf::Mailbox, &name(number)).await.unwrap(), None, "nobody waited for it any more");
    }
}

#[tokio::test]
async fn a_disk_that_is_full_says_so_and_keeps_no_half_of_a_blob() {
    let folder = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let is_full = full.clone();
    let hook = move |moment| match moment == Moment::AfterCreate && is_full.load(Ordering::Acquire) {
        true => Err(ErrorKind::StorageFull.into()),
        false => Ok(()),
    };
    let disk = Arc::new(Hooked(Files::below(folder.path()), hook));
    let store = Store::on_disk(disk, folder.path(), Clock::system()).unwrap();
    store.put(Shelf::Records, &name(2), b"record", MINUTE).await.unwrap();
    full.store(true, Ordering::Release);
    let error = store.put(Shelf::Records, &name(1), b"record", MINUTE).await.unwrap_err().to_string();
    assert!(error.contains("no storage space"), "{error}");
    assert_eq!(store.read(Shelf::Records, &name(2)).await.unwrap().unwrap(), b"record");
    assert_eq!(all_in(&folder.path().join("records")).len(), 2, "the record and its folder");
}

/// A folder with a store and a sweeper on one clock.
struct Swept {
    path: TempDir,
    clock: Clock,
    store: Store,
    folder: Folder,
    sweeps: Sweeps,
}

impl Swept {
    fn new() -> Self {
        let (path, clock) = (tempfile::tempdir().unwrap(), Clock::system());
        let store = Store::attach(&StorePlace::Dir(path.path().to_owned()), clock.clone()).unwrap();
        let disk = Arc::new(Files::below(path.path()));
        let folder = Folder { disk, root: path.path().to_owned(), clock: clock.clone() };
        Self { path, clock, store, folder, sweeps: Sweeps::new() }
    }

    /// Has the sweeper's disk call this at each moment.
    fn hook(&mut self, hook: impl Fn(Moment) -> io::Result<()> + Send + Sync + 'static) {
        self.folder.disk = Arc::new(Hooked(Files::below(self.path.path()), hook));
    }

    /// Records 0 and up, which live that many days each.
    async fn records(&self, days: &[u32]) {
        for (number, days) in days.iter().enumerate() {
            self.store.put(Shelf::Records, &name(number as u64), b"record", *days * DAY).await.unwrap();
        }
    }

    /// Sweeps every hour for so long.
    fn hours(&self, hours: u32) {
        for _ in 0..hours {
            self.clock.advance(EVERY);
            assert!(self.sweeps.is_due(self.clock.uptime()));
            assert!(!self.sweeps.is_due(self.clock.uptime()), "said once");
            self.sweeps.sweep(&self.folder).unwrap();
        }
    }

    fn files(&self, shelf: &str) -> usize {
        all_in(&self.path.path().join(shelf)).iter().filter(|path| path.is_file()).count()
    }
}

/// Three days of sweeps.
const GRACE_HOURS: u32 = 72;

#[tokio::test]
async fn entries_of_the_mailbox_and_unfinished_files_are_cleared_away_at_once() {
    let swept = Swept::new();
    swept.records(&[100]).await;
    swept.store.put(Shelf::Mailbox, &name(1), b"entry", MINUTE).await.unwrap();
    fs::write(swept.path.path().join("records/00/aside-00ff"), b"half").unwrap();
    assert_eq!((swept.files("mailbox"), swept.files("records")), (1, 2));
    swept.hours(1);
    assert_eq!((swept.files("mailbox"), swept.files("records")), (0, 1));
}

#[tokio::test]
async fn a_record_is_removed_when_it_was_seen_to_have_ended_for_days() {
    let mut swept = Swept::new();
    swept.records(&[1, 1, 100, 100, 100]).await;
    swept.clock.advance(2 * DAY);
    swept.hours(GRACE_HOURS - 1);
    assert_eq!(swept.files("records"), 5);
    // A restart knows of nothing.
    swept.sweeps = Sweeps::new();
    swept.hours(GRACE_HOURS - 1);
    assert_eq!(swept.files("records"), 5);
    // One comes back to life.
    swept.records(&[100]).await;
    swept.hours(3);
    assert_eq!(swept.files("records"), 4);
    assert_eq!(swept.store.read(Shelf::Records, &name(0)).await.unwrap().unwrap(), b"record");
    assert_eq!(swept.store.read(Shelf::Records, &name(1)).await.unwrap(), None);
}

#[tokio::test]
async fn records_are_removed_as_long_as_most_of_them_live() {
    for (ended, all, left) in [(2, 4, 2), (8, 10, 10), (10, 12, 12)] {
        let swept = Swept::new();
        swept.records(&[vec![1; ended], vec![100; all - ended]].concat()).await;
        swept.clock.advance(2 * DAY);
        swept.hours(GRACE_HOURS + 2);
        assert_eq!(swept.files("records"), left, "{ended} of {all}");
    }
}

#[tokio::test]
async fn a_record_that_comes_back_to_life_when_it_is_about_to_be_removed_stays() {
    let mut swept = Swept::new();
    swept.records(&[1, 100, 100]).await;
    swept.clock.advance(2 * DAY);
    swept.hours(GRACE_HOURS);
    let [ended, alive] = [0, 1].map(|number| swept.path.path().join(file("records", number)));
    let reads = AtomicUsize::new(0);
    swept.hook(move |moment| {
        // When the last of the three was looked at.
        if moment == Moment::AfterRead && reads.fetch_add(1, Ordering::AcqRel) == 2 {
            fs::copy(&alive, &ended)?;
        }
        Ok(())
    });
    swept.hours(2);
    assert_eq!(swept.files("records"), 3);
}

#[tokio::test]
async fn a_sweep_passes_over_what_others_hold_or_finish_and_tells_what_it_cannot_clear_away() {
    let mut swept = Swept::new();
    swept.store.put(Shelf::Mailbox, &name(1), b"entry", MINUTE).await.unwrap();
    let below = |name: &str| swept.path.path().join(name);
    let (lock, entry, half) = (below("locks/00"), below(&file("mailbox", 1)), below("mailbox/00/aside-1"));
    let held = fs::File::open(&lock).unwrap();
    held.lock().unwrap();
    let late = swept.folder.lock("00", std::time::Instant::now()).err().unwrap();
    assert!(matches!(swept.folder.error(late), StoreError::TimedOut));
    swept.hours(1);
    assert!(entry.exists());
    drop(held);
    // More than one: a busy machine may take longer than a sweep waits for a lock.
    swept.hours(3);
    assert!(!entry.exists());
    // A folder is no file, and a link no lock.
    fs::create_dir(&half).unwrap();
    assert!((0..3).any(|_| swept.sweeps.sweep(&swept.folder).is_err()));
    fs::remove_dir(&half).unwrap();
    fs::write(&half, b"half").unwrap();
    fs::rename(&lock, lock.with_extension("away")).unwrap();
    symlink(lock.with_extension("away"), &lock).unwrap();
    assert!(swept.sweeps.sweep(&swept.folder).is_err());
    fs::rename(lock.with_extension("away"), &lock).unwrap();
    // Its writer is done with it when it was listed: behind the shelf's and its folder's listing comes the lock.
    let (moments, finished) = (AtomicUsize::new(0), half.clone());
    swept.hook(move |moment| {
        if moment == Moment::Before && moments.fetch_add(1, Ordering::AcqRel) == 2 {
            fs::remove_file(&finished)?;
        }
        Ok(())
    });
    swept.sweeps.sweep(&swept.folder).unwrap();
    assert!(!half.exists());
}

#[tokio::test]
async fn no_clock_that_is_far_ahead_removes_a_record_or_hides_it() {
    for days in [vec![400], vec![400; 3], vec![90; 40]] {
        let swept = Swept::new();
        swept.records(&days).await;
        swept.hours(2);
        swept.clock.step(500 * 24 * 3600);
        swept.hours(3 * GRACE_HOURS);
        assert_eq!(swept.files("records"), days.len());
        assert!(swept.store.read(Shelf::Records, &name(0)).await.unwrap().is_some());
        swept.clock.step(-500 * 24 * 3600);
        swept.hours(GRACE_HOURS + 2);
        assert_eq!(swept.files("records"), days.len());
    }
}

#[tokio::test]
async fn a_record_that_is_replaced_while_the_clock_is_behind_keeps_its_end() {
    for behind in [200 * 24 * 3600, 20 * 365 * 24 * 3600] {
        let swept = Swept::new();
        swept.records(&[100; 5]).await;
        swept.clock.step(-behind);
        let first = name(0);
        let swap = swept.store.swap(Shelf::Records, &first, Some(b"record"), Some(b"marked"), 100 * DAY);
        assert!(swap.await.unwrap());
        swept.store.put(Shelf::Records, &name(1), b"again", 100 * DAY).await.unwrap();
        swept.clock.step(behind);
        swept.hours(GRACE_HOURS + 2);
        assert_eq!(swept.files("records"), 5, "{behind}");
        // And none is kept for ever.
        swept.clock.advance(100 * DAY);
        swept.records(&[0, 0, 100, 100, 100]).await;
        swept.hours(GRACE_HOURS + 2);
        assert_eq!(swept.files("records"), 3, "{behind}");
    }
}

#[tokio::test]
async fn a_clock_that_jumps_makes_the_sweeps_begin_again() {
    let swept = Swept::new();
    swept.records(&[1, 30, 400, 400, 400, 400]).await;
    swept.clock.advance(2 * DAY);
    swept.hours(GRACE_HOURS - 2);
    // 30 days end by a jump, for less than the grace.
    swept.clock.step(60 * 24 * 3600);
    swept.hours(GRACE_HOURS - 2);
    swept.clock.step(-60 * 24 * 3600);
    swept.hours(GRACE_HOURS - 2);
    assert_eq!(swept.files("records"), 6);
    swept.hours(4);
    assert_eq!(swept.files("records"), 5);
    assert!(swept.store.read(Shelf::Records, &name(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_server_sweeps_with_its_requests_and_a_command_never() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Clock::system());
    let place = StorePlace::Dir(folder.path().to_owned());
    let (server, command) =
        (Store::open(&place, clock.clone()).unwrap(), Store::attach(&place, clock.clone()).unwrap());
    server.put(Shelf::Mailbox, &name(1), b"entry", MINUTE).await.unwrap();
    let path = folder.path().join(file("mailbox", 1));
    clock.advance(61 * MINUTE);
    for _ in 0..20 {
        command.read(Shelf::Records, &name(2)).await.unwrap();
    }
    assert!(path.exists());
    let end = Instant::now() + Duration::from_secs(20);
    while path.exists() {
        assert!(Instant::now() < end);
        server.read(Shelf::Records, &name(2)).await.unwrap();
    }
}
