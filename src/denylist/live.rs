//! The denylist in force in a server: looking up, revoking, and following the file.
//!
//! A grant revoked by this process is refused from that moment on, whether or not its line has reached the disk or has
//! been read back yet. Looking up takes no lock.

use super::error::DenylistError;
use super::file::{self, Locked, WRITES, read, replaced_time_and_again};
use super::rule::{Recorded, Rule};
use super::rules::{Denied, Rules};
use crate::authid::{GrantId, ServiceId};
use crate::clock::UnixTime;
use crate::seal::Epoch;
use crate::watch::{FileStamp, Held, Live, LoadStatus, Source, WatchedFile};
use arc_swap::ArcSwap;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use thiserror::Error;

/// A revocation that did not reach the disk. The grant is refused here until this process ends, and by nobody else.
#[derive(Debug, Error)]
#[error("grant {grant} is not durably revoked: {cause}; it is refused only until this process ends")]
pub struct NotDurable {
    /// The grant.
    pub grant: GrantId,
    /// What the file system said.
    #[source]
    pub cause: io::Error,
}

/// What is said of a line in a list with a fault elsewhere.
const FAULTY: &str = "the line is written, but a fault elsewhere in the denylist keeps other servers from taking it up: `authseal denylist check` names it";

/// A denylist in force.
pub struct Denylist {
    path: PathBuf,
    rules: Arc<Live<OnDisk>>,
    revoked: Revoked,
}

/// A line to be written.
#[derive(Clone, Copy)]
struct Entry {
    grant: GrantId,
    recorded: Recorded,
}

impl Entry {
    fn new(grant: GrantId, through: Epoch, at: UnixTime) -> Self {
        Self { grant, recorded: Recorded { through: Some(through), at: Timestamp::from_second(at).ok() } }
    }
}

/// Grants revoked by this process whose lines were not among the rules when those were read.
type Revoked = Arc<ArcSwap<BTreeSet<GrantId>>>;

/// The file, and what this process knows to be in it.
struct OnDisk {
    path: PathBuf,
    /// Of the file that holds the rules in force and the lines of `added`.
    stamp: Option<FileStamp>,
    added: BTreeSet<GrantId>,
    /// Grants whose lines the disk refused. They may be read back from the page cache all the same, and a later sync
    /// may say nothing more of it: only writing them again helps.
    unconfirmed: BTreeSet<GrantId>,
    revoked: Revoked,
}

impl Source for OnDisk {
    type Value = Rules;
    type Fault = DenylistError;

    fn files(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    fn read(&self) -> Result<(Rules, Vec<FileStamp>), DenylistError> {
        read(&self.path).map(|(rules, stamp)| (rules, vec![stamp]))
    }

    fn is_unread(fault: &DenylistError) -> bool {
        match fault {
            DenylistError::Missing(_) => true,
            DenylistError::Unread(_, why) => why.may_pass(),
            _ => false,
        }
    }

    fn loaded(&mut self, old: &Rules, new: &Rules, from: &[FileStamp]) {
        let stays = |grant: &GrantId| !new.holds(*grant) || self.unconfirmed.contains(grant);
        self.revoked.rcu(|revoked| revoked.iter().copied().filter(stays).collect::<BTreeSet<_>>());
        let before = old.count();
        let now = new.count();
        let stamp = from.first().copied();
        if self.stamp != stamp {
            tracing::info!(target: "authseal::audit", event = "denylist_changed", before, rules = now, "denylist loaded");
        }
        self.stamp = stamp;
        self.added.clear();
        if now < before {
            tracing::warn!(before, now, "the denylist has fewer rules than before; those that are left are in force");
        }
    }

    fn not_loaded(&self, error: &DenylistError) {
        let error = match error {
            // A new one would take the place of the rules in memory.
            DenylistError::Missing(path) => {
                format!("the denylist {} is gone; put it back, and make no new one", path.display())
            }
            error => error.to_string(),
        };
        tracing::error!(error, "denylist not loaded; the rules loaded before stay in force");
    }
}

impl Denylist {
    /// Reads the denylist `path`.
    ///
    /// # Errors
    /// When it is missing, unreadable or faulty: to start without it would undo every revocation.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, DenylistError> {
        let path = path.into();
        let revoked = Revoked::default();
        let (rules, stamp) = read(&path)?;
        let on_disk = OnDisk {
            path: path.clone(),
            stamp: Some(stamp),
            added: BTreeSet::new(),
            unconfirmed: BTreeSet::new(),
            revoked: Arc::clone(&revoked),
        };
        Ok(Self { path, rules: Arc::new(Live::new(on_disk, rules, vec![stamp])), revoked })
    }

    /// Makes a denylist without rules, with the ways to write one explained in it. Mode 0640.
    ///
    /// # Errors
    /// When there is a file already, whatever it holds, or none can be made.
    pub fn init(path: &Path) -> Result<(), DenylistError> {
        file::create(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => DenylistError::Exists(path.to_owned()),
            _ => DenylistError::NotMade(path.to_owned(), error),
        })
    }

    /// Whether, and by which kind of rule, an AuthID is refused: one that was sealed under `epoch` for the login
    /// `grant` at `service`, made at `login_at`.
    pub fn denies(&self, service: &ServiceId, epoch: Epoch, grant: GrantId, login_at: UnixTime) -> Option<Denied> {
        // First those of this process: they leave this set only after rules that hold them are in force.
        let revoked = self.revoked.load().contains(&grant);
        self.rules.load().denies(service, epoch, grant, login_at).or(revoked.then_some(Denied::Grant))
    }

    /// Whether one login is refused, whatever it was sealed under.
    pub fn denies_grant(&self, grant: GrantId) -> bool {
        let revoked = self.revoked.load().contains(&grant);
        revoked || self.rules.load().holds(grant)
    }

    /// The rule by which every login made at `service` at `login_at` is refused if it is sealed under `epoch`.
    pub fn denies_all(&self, service: &ServiceId, epoch: Epoch, login_at: UnixTime) -> Option<Denied> {
        self.rules.load().denies_all(service, epoch, login_at)
    }

    /// Whether a rule about `epoch` is for one service alone.
    pub fn names_services(&self, epoch: Epoch) -> bool {
        self.rules.load().names_services(epoch)
    }

    /// The rules in force.
    pub fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.load())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Has all of a file in force that nobody else changes meanwhile.
    pub(super) fn catch_up(&self, file: &Locked) -> io::Result<()> {
        let stamp = FileStamp::new(&file.file().metadata()?);
        let mut rules = self.rules.hold();
        let on_disk = rules.source();
        if on_disk.stamp != Some(stamp) || !on_disk.added.is_empty() {
            rules.reload();
        }
        Ok(())
    }

    /// Refuses these from now on, until rules that hold them are in force.
    pub(super) fn refuse(&self, grants: impl Iterator<Item = GrantId>) {
        let grants: Vec<_> = grants.collect();
        if !grants.is_empty() {
            self.revoked.rcu(|revoked| revoked.iter().chain(&grants).copied().collect::<BTreeSet<_>>());
        }
    }

    /// How many different rules the file held when it was last read.
    pub fn count(&self) -> usize {
        self.rules.load().count()
    }

    /// When the rules in force were read, and how later readings went.
    pub fn load_status(&self) -> &LoadStatus {
        self.rules.load_status()
    }

    /// What to hand to [`Watch::start`](crate::watch::Watch::start).
    pub fn follow(&self) -> Option<WatchedFile> {
        self.rules.follow()
    }

    /// Revokes `grant`, in memory at once and then on the disk; returns when it is there. Blocks for as long as others
    /// write to the file. A grant that has its line already gets no second one. `through` is the newest epoch in the
    /// keyring and `at` the time: they tell when the line is no longer needed.
    ///
    /// # Errors
    /// When the line may not be on the disk. The grant then stays refused until this process ends.
    pub fn append(&self, grant: GrantId, through: Epoch, at: UnixTime) -> Result<(), NotDurable> {
        self.refuse(std::iter::once(grant));
        self.write(Entry::new(grant, through, at)).map_err(|cause| NotDurable { grant, cause })
    }

    fn write(&self, entry: Entry) -> io::Result<()> {
        // First the file's lock, which may take long, then ours: reloading must not wait for other processes.
        let file = Locked::open(&self.path)?;
        self.write_in_place(file, &mut self.rules.hold(), entry)
    }

    /// Writes until the line is on the disk in the file that is at the path, which an editor may have replaced
    /// meanwhile.
    fn write_in_place(&self, mut file: Locked, rules: &mut Held<'_, OnDisk>, entry: Entry) -> io::Result<()> {
        for _ in 0..WRITES {
            let known = self.write_once(&mut file, rules, entry)?;
            if file.in_place()? {
                return match known || !self.load_status().failed() {
                    true => Ok(()),
                    false => Err(io::Error::new(io::ErrorKind::InvalidData, FAULTY)),
                };
            }
            file.reopen()?;
        }
        Err(replaced_time_and_again(&self.path))
    }

    /// Writes the line unless it is there; tells whether all of the file is known, so that none of it is faulty.
    fn write_once(&self, file: &mut Locked, rules: &mut Held<'_, OnDisk>, entry: Entry) -> io::Result<bool> {
        let Entry { grant, recorded } = entry;
        let stamp = |file: &Locked| file.file().metadata().map(|metadata| Some(FileStamp::new(&metadata)));
        if stamp(file)? != rules.source().stamp {
            rules.reload();
        }
        let on_disk = rules.source();
        let known = stamp(file)? == on_disk.stamp;
        let there = self.rules.load().holds(grant) || on_disk.added.contains(&grant);
        if known && there && !on_disk.unconfirmed.contains(&grant) {
            return file.sync().map(|()| true);
        }
        on_disk.unconfirmed.insert(grant);
        file.append(&format!("{}\n", Rule::Grant(grant, recorded)))?;
        on_disk.unconfirmed.remove(&grant);
        if known {
            on_disk.stamp = stamp(file)?;
            on_disk.added.insert(grant);
        }
        Ok(known)
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::FaultyLines;
    use super::super::tests::{AT, LINE, epoch, grant, service};
    use super::*;
    use crate::files::Unread;
    use crate::watch::Watch;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::{Duration, Instant};

    /// A fresh denylist in a directory of its own.
    fn fresh() -> (tempfile::TempDir, PathBuf, Arc<Denylist>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("denylist");
        Denylist::init(&path).unwrap();
        let denylist = Arc::new(Denylist::open(&path).unwrap());
        (dir, path, denylist)
    }

    fn denied(denylist: &Denylist, grant: GrantId) -> bool {
        denylist.denies(&service("dropbox"), epoch(3), grant, AT).is_some()
    }

    fn lines_for(path: &Path, grant: GrantId) -> usize {
        fs::read_to_string(path).unwrap().matches(&format!("grant {grant} through 4 at 2026-11-23T10:00:00Z\n")).count()
    }

    fn replace(path: &Path, text: &str) {
        let aside = path.with_extension("aside");
        fs::write(&aside, text).unwrap();
        fs::rename(aside, path).unwrap();
    }

    /// Follows the denylist's file.
    fn watched(denylist: &Denylist) -> Watch {
        Watch::start(vec![denylist.follow().unwrap()]).unwrap()
    }

    fn until(is: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !is() {
            assert!(Instant::now() < end, "it does not come about");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_line_torn_at_any_byte_never_stops_a_start_and_is_mended_by_the_next_append() {
        let (_dir, path, _) = fresh();
        let head = "authseal-denylist 1\nepoch 9\n";
        let whole = [38, 48, LINE.len()]; // after the grant, after `through 4`, at the end
        for cut in 0..=LINE.len() {
            let torn = &LINE[..cut];
            fs::write(&path, format!("{head}{torn}")).unwrap();
            let denylist = Denylist::open(&path).unwrap();
            let counts = whole.contains(&torn.trim_end().len());
            assert_eq!(denylist.count(), if counts { 2 } else { 1 }, "{torn:?}");
            denylist.append(grant(1), epoch(4), AT).unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let mended = match cut {
                0 => String::new(),
                _ if counts => format!("{torn}\n"),
                _ => format!("#{}\n", &torn[1..]),
            };
            assert_eq!(text, format!("{head}{mended}grant {} through 4 at 2026-11-23T10:00:00Z\n", grant(1)));
            assert_eq!(Denylist::open(&path).unwrap().count(), if counts { 3 } else { 2 }, "{torn:?}");
        }
    }

    #[test]
    fn what_refuses_every_login_of_a_service_needs_no_login_to_be_told() {
        let (_dir, path, _) = fresh();
        let rules = "epoch 3 login-before 2026-11-23T10:00:01Z\nepoch 4 service dropbox\n";
        fs::write(&path, format!("authseal-denylist 1\n{rules}")).unwrap();
        let denylist = Denylist::open(&path).unwrap();
        let all = |at_service, of_epoch, login_at| denylist.denies_all(&service(at_service), epoch(of_epoch), login_at);
        assert_eq!([all("box.com", 3, AT), all("box.com", 3, AT + 1)], [Some(Denied::LoginBefore), None]);
        assert_eq!([all("dropbox", 4, AT), all("box.com", 4, AT)], [Some(Denied::Service), None]);
    }

    #[test]
    fn a_list_that_may_be_there_again_is_unread_and_a_wrong_one_is_faulty() {
        let path = || PathBuf::from("denylist");
        let unread = |why| DenylistError::Unread(path(), why);
        assert!(OnDisk::is_unread(&DenylistError::Missing(path())));
        assert!(OnDisk::is_unread(&unread(Unread::Failed(io::Error::other("a disk")))));
        assert!(!OnDisk::is_unread(&unread(Unread::TooLong(1))));
        assert!(!OnDisk::is_unread(&DenylistError::Faulty(path(), FaultyLines::default())));
    }

    #[test]
    fn a_header_without_its_newline_gets_one() {
        let (_dir, path, denylist) = fresh();
        fs::write(&path, "authseal-denylist 1").unwrap();
        denylist.append(grant(1), epoch(4), AT).unwrap();
        assert!(fs::read_to_string(&path).unwrap().starts_with("authseal-denylist 1\ngrant 0101"));
    }

    #[test]
    fn init_makes_a_list_that_opens_and_never_replaces_one() {
        let (_dir, path, denylist) = fresh();
        assert_eq!(denylist.count(), 0);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0, "at most 0640");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(Denylist::init(&path), Err(DenylistError::Exists(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        assert!(matches!(Denylist::init(Path::new("/no/such/place")), Err(DenylistError::NotMade(..))));
    }

    #[test]
    fn a_missing_or_faulty_list_is_fatal_at_start() {
        let (_dir, path, _) = fresh();
        fs::write(&path, "authseal-denylist 1\nepoch x\ngrant y\n").unwrap();
        let error = Denylist::open(&path).err().unwrap().to_string();
        assert!(error.contains("\nline 2: ") && error.contains("\nline 3: "), "{error}");
        fs::remove_file(&path).unwrap();
        let error = Denylist::open(&path).err().unwrap().to_string();
        assert!(error.contains("`authseal denylist init`"), "{error}");
    }

    #[test]
    fn a_revoked_grant_is_refused_at_once_and_after_a_restart_and_has_one_line() {
        let (_dir, path, denylist) = fresh();
        denylist.append(grant(1), epoch(4), AT).unwrap();
        denylist.append(grant(1), epoch(4), AT).unwrap();
        assert!(denied(&denylist, grant(1)) && !denied(&denylist, grant(2)));
        denylist.rules.hold().reload();
        denylist.append(grant(1), epoch(4), AT).unwrap();
        let other = Denylist::open(&path).unwrap();
        assert!(denied(&other, grant(1)));
        other.append(grant(1), epoch(4), AT).unwrap();
        denylist.append(grant(2), epoch(4), AT).unwrap();
        other.append(grant(2), epoch(4), AT).unwrap();
        assert_eq!((lines_for(&path, grant(1)), lines_for(&path, grant(2))), (1, 1));
    }

    #[test]
    fn a_line_that_was_taken_out_by_hand_is_written_again() {
        let (_dir, path, denylist) = fresh();
        denylist.append(grant(1), epoch(4), AT).unwrap();
        denylist.rules.hold().reload();
        replace(&path, "authseal-denylist 1\n");
        denylist.append(grant(1), epoch(4), AT).unwrap();
        assert_eq!(lines_for(&path, grant(1)), 1);
    }

    #[test]
    fn a_line_that_went_into_a_file_just_replaced_is_written_again() {
        let (_dir, path, denylist) = fresh();
        let revoke = |file: Locked, number| {
            denylist.write_in_place(file, &mut denylist.rules.hold(), Entry::new(grant(number), epoch(4), AT))
        };
        let opened = Locked::open(&path).unwrap();
        replace(&path, "authseal-denylist 1\nepoch 9\n");
        revoke(opened, 1).unwrap();
        assert_eq!(lines_for(&path, grant(1)), 1);
        // The same where an editor keeps the old file under another name.
        let opened = Locked::open(&path).unwrap();
        fs::hard_link(&path, path.with_extension("backup")).unwrap();
        replace(&path, "authseal-denylist 1\nepoch 9\n");
        revoke(opened, 3).unwrap();
        assert_eq!(lines_for(&path, grant(3)), 1);
        // The same where nothing had to be written.
        let opened = Locked::open(&path).unwrap();
        replace(&path, "authseal-denylist 1\n");
        revoke(opened, 1).unwrap();
        assert_eq!(lines_for(&path, grant(1)), 1);
        let opened = Locked::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(revoke(opened, 2).unwrap_err().to_string().contains("denylist: "));
        assert!(!path.exists());
    }

    #[test]
    fn a_reload_that_has_not_seen_the_line_does_not_undo_the_revocation() {
        let (_dir, path, denylist) = fresh();
        denylist.append(grant(1), epoch(4), AT).unwrap();
        replace(&path, "authseal-denylist 1\nepoch 9\n"); // what a reader a moment earlier would have found
        denylist.rules.hold().reload();
        assert_eq!(denylist.count(), 1);
        assert!(denied(&denylist, grant(1)));
        // Once the line was read back, the file alone decides.
        denylist.append(grant(1), epoch(4), AT).unwrap();
        denylist.rules.hold().reload();
        replace(&path, "authseal-denylist 1\n");
        denylist.rules.hold().reload();
        assert!(!denied(&denylist, grant(1)));
    }

    #[test]
    fn what_the_disk_refused_is_refused_in_memory_and_written_when_it_can_be() {
        let (dir, path, denylist) = fresh();
        let gone = dir.path().with_extension("gone");
        fs::rename(dir.path(), &gone).unwrap();
        let error = denylist.append(grant(1), epoch(4), AT).err().unwrap();
        let text = error.to_string();
        assert!(text.contains("not durably revoked") && text.contains(&path.display().to_string()), "{text}");
        assert!(denied(&denylist, grant(1)));
        fs::rename(&gone, dir.path()).unwrap();
        denylist.rules.hold().reload();
        assert!(denied(&denylist, grant(1)));
        denylist.append(grant(1), epoch(4), AT).unwrap();
        assert_eq!(lines_for(&path, grant(1)), 1);
    }

    #[test]
    fn a_list_that_vanished_or_was_emptied_is_not_begun_anew() {
        let (_dir, path, denylist) = fresh();
        for text in [None, Some(""), Some("something else\n")] {
            fs::remove_file(&path).unwrap();
            text.into_iter().for_each(|text| fs::write(&path, text).unwrap());
            assert!(denylist.append(grant(1), epoch(4), AT).is_err());
            assert_eq!(fs::read_to_string(&path).ok().as_deref(), text);
            fs::write(&path, "").unwrap();
        }
        assert!(denied(&denylist, grant(1)));
    }

    #[test]
    fn a_line_is_added_to_a_list_with_faults_elsewhere_and_not_called_done() {
        let (_dir, path, denylist) = fresh();
        fs::write(&path, "authseal-denylist 1\nepoch x\n").unwrap();
        let error = denylist.append(grant(1), epoch(4), AT).unwrap_err().to_string();
        assert!(error.contains("a fault elsewhere in the denylist keeps other servers"), "{error}");
        assert_eq!(lines_for(&path, grant(1)), 1);
        assert!(denied(&denylist, grant(1)));
    }

    #[test]
    fn a_list_that_was_away_for_a_moment_has_no_fault() {
        let (dir, path, denylist) = fresh();
        let away = dir.path().with_extension("away");
        fs::rename(dir.path(), &away).unwrap();
        denylist.rules.hold().reload();
        assert!(denylist.load_status().failed());
        fs::rename(&away, dir.path()).unwrap();
        denylist.append(grant(1), epoch(4), AT).unwrap();
        assert_eq!(lines_for(&path, grant(1)), 1);
    }

    #[test]
    fn many_writers_lose_nothing() {
        let (_dir, path, denylist) = fresh();
        let other = Arc::new(Denylist::open(&path).unwrap());
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let handle = if writer % 2 == 0 { &denylist } else { &other };
                scope.spawn(move || {
                    for number in 0..12 {
                        handle.append(grant(writer * 16 + number), epoch(4), AT).unwrap();
                        handle.append(grant(0xee), epoch(4), AT).unwrap();
                        assert!(denied(handle, grant(writer * 16 + number)));
                    }
                });
            }
            scope.spawn(|| (0..20).for_each(|_| denylist.rules.hold().reload()));
        });
        let reopened = Denylist::open(&path).unwrap();
        assert_eq!(reopened.count(), 8 * 12 + 1);
        for (writer, number) in (0..8).flat_map(|writer| (0..12).map(move |number| (writer, number))) {
            assert_eq!(lines_for(&path, grant(writer * 16 + number)), 1);
            assert!(denied(&reopened, grant(writer * 16 + number)));
        }
        assert_eq!(lines_for(&path, grant(0xee)), 1);
    }

    #[test]
    fn edits_by_hand_are_picked_up_and_a_bad_one_keeps_the_last_good_rules() {
        let (_dir, path, denylist) = fresh();
        let _watch = watched(&denylist);
        let refused = |number| denylist.denies(&service("dropbox"), epoch(number), grant(1), AT);
        let failed = || denylist.load_status().failed();
        replace(&path, "authseal-denylist 1\nepoch 3\n");
        until(|| (refused(3), refused(4)) == (Some(Denied::Epoch), None));
        replace(&path, "authseal-denylist 1\nepoch 3\nepoch 4 login-before tomorrow\n");
        until(failed);
        assert_eq!((refused(3), refused(4)), (Some(Denied::Epoch), None));
        replace(&path, "authseal-denylist 1\nepoch 3\n");
        until(|| !failed());
        fs::remove_file(&path).unwrap();
        until(failed);
        assert_eq!((refused(3), refused(4)), (Some(Denied::Epoch), None));
        replace(&path, "authseal-denylist 1\nepoch 4\n");
        until(|| (refused(3), refused(4)) == (None, Some(Denied::Epoch)) && !failed());
    }

    #[test]
    fn the_swap_of_a_mounted_directory_is_picked_up() {
        let dir = tempfile::tempdir().unwrap();
        for (version, text) in [("..1", "authseal-denylist 1\n"), ("..2", "authseal-denylist 1\nepoch 3\n")] {
            fs::create_dir(dir.path().join(version)).unwrap();
            fs::write(dir.path().join(version).join("denylist"), text).unwrap();
        }
        symlink("..1", dir.path().join("..data")).unwrap();
        let path = dir.path().join("denylist");
        symlink("..data/denylist", &path).unwrap();
        let denylist = Arc::new(Denylist::open(&path).unwrap());
        let _watch = watched(&denylist);
        symlink("..2", dir.path().join("..data_tmp")).unwrap();
        fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
        until(|| denied(&denylist, grant(1)));
    }

    #[test]
    fn a_line_of_another_process_is_picked_up_through_follow() {
        let (_dir, path, denylist) = fresh();
        assert_eq!(denylist.rules.hold().source().files(), std::slice::from_ref(&path));
        Denylist::open(&path).unwrap().append(grant(1), epoch(4), AT).unwrap();
        let _watch = watched(&denylist);
        until(|| denied(&denylist, grant(1)));
    }
}
