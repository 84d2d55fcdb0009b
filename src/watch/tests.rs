use super::*;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::sync::mpsc::{Receiver, Sender, channel};
use tempfile::TempDir;

const FOREVER: Duration = Duration::from_secs(3600);
const PATIENCE: Duration = Duration::from_secs(20);

/// Files of text, of which some words mean harm.
struct Texts {
    files: Vec<PathBuf>,
    /// What each reading found.
    reads: Sender<Option<String>>,
    /// Each line for the log.
    logged: Sender<String>,
    meanwhile: Box<dyn Fn() + Send>,
}

impl Source for Texts {
    type Value = String;
    type Fault = String;

    fn files(&self) -> Vec<PathBuf> {
        self.files.clone()
    }

    fn read(&self) -> Result<(String, Vec<FileStamp>), String> {
        let stamps = self.files.iter().filter_map(|path| FileStamp::at(path)).collect();
        let texts: io::Result<Vec<_>> = self.files.iter().map(fs::read_to_string).collect();
        let text = texts.map(|texts| texts.concat());
        let _ = self.reads.send(text.as_ref().ok().cloned());
        (self.meanwhile)();
        match text {
            Err(error) => Err(format!("unread: {error}")),
            Ok(text) if text.contains("panic") => panic!("as asked for"),
            Ok(text) if text.contains("faulty") => Err(text),
            Ok(text) => Ok((text, stamps)),
        }
    }

    fn is_unread(fault: &String) -> bool {
        fault.starts_with("unread")
    }

    fn loaded(&mut self, old: &String, new: &String, _: &[FileStamp]) {
        let _ = self.logged.send(format!("{old} -> {new}"));
    }

    fn not_loaded(&self, fault: &String) {
        let _ = self.logged.send(fault.clone());
    }
}

struct Followed {
    live: Arc<Live<Texts>>,
    reads: Receiver<Option<String>>,
    logged: Receiver<String>,
}

impl Followed {
    /// As if `files` had been read just now.
    fn new<const N: usize>(files: [&Path; N], meanwhile: impl Fn() + Send + 'static) -> Self {
        let ((send_reads, reads), (send_logged, logged)) = (channel(), channel());
        let from = files.iter().map(|path| FileStamp::at(path).unwrap_or(NOTHING)).collect();
        let files = files.map(Path::to_owned).into();
        let source = Texts { files, reads: send_reads, logged: send_logged, meanwhile: Box::new(meanwhile) };
        Self { live: Arc::new(Live::new(source, "first".to_owned(), from)), reads, logged }
    }

    fn logged(&self) -> Vec<String> {
        self.logged.try_iter().collect()
    }
}

/// The stamp of no file.
const NOTHING: FileStamp = FileStamp { device: 0, inode: 0, size: 0, written: (0, 0), changed: (0, 0), links: 1 };

/// Follows `path` and sends what it holds at each reading.
fn follow(path: &Path) -> (WatchedFile, Receiver<Option<String>>) {
    let followed = Followed::new([path], || {});
    (followed.live.follow().unwrap(), followed.reads)
}

/// In a folder of its own.
fn a_file() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "a").unwrap();
    (dir, path)
}

/// Waits until a reload has read `text`; reloads of states on the way there are passed over.
fn wait_for(reloads: &Receiver<Option<String>>, text: &str) {
    while reloads.recv_timeout(PATIENCE).unwrap().as_deref() != Some(text) {}
}

fn replace(path: &Path, text: &str) {
    let aside = path.with_extension("aside");
    fs::write(&aside, text).unwrap();
    fs::rename(aside, path).unwrap();
}

#[test]
fn inotify_reports_writes_renames_and_removals() {
    let (_dir, path) = a_file();
    let (file, reloads) = follow(&path);
    let _watch = Watch::start_polling_every(FOREVER, vec![file]).unwrap();
    fs::write(&path, "written").unwrap();
    wait_for(&reloads, "written");
    replace(&path, "renamed");
    wait_for(&reloads, "renamed");
    fs::remove_file(&path).unwrap();
    while reloads.recv_timeout(PATIENCE).unwrap().is_some() {}
    fs::write(&path, "back").unwrap();
    wait_for(&reloads, "back");
}

#[test]
fn the_swap_of_a_directory_symlink_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    for (version, text) in [("..1", "old"), ("..2", "new")] {
        fs::create_dir(dir.path().join(version)).unwrap();
        fs::write(dir.path().join(version).join("file"), text).unwrap();
    }
    symlink("..1", dir.path().join("..data")).unwrap();
    let path = dir.path().join("file");
    symlink("..data/file", &path).unwrap();
    let (file, reloads) = follow(&path);
    let _watch = Watch::start_polling_every(FOREVER, vec![file]).unwrap();
    symlink("..2", dir.path().join("..data_tmp")).unwrap();
    fs::rename(dir.path().join("..data_tmp"), dir.path().join("..data")).unwrap();
    wait_for(&reloads, "new");
}

#[test]
fn the_poll_sees_what_inotify_does_not() {
    let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = elsewhere.path().join("file");
    fs::write(&target, "a").unwrap();
    let path = dir.path().join("link");
    symlink(&target, &path).unwrap();
    let (file, reloads) = follow(&path);
    let _watch = Watch::start_polling_every(Duration::from_millis(5), vec![file]).unwrap();
    fs::write(&target, "changed").unwrap();
    wait_for(&reloads, "changed");
}

#[test]
fn without_inotify_the_poll_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made-later").join("file");
    let (file, reloads) = follow(&path);
    let watch = Watch::start_polling_every(Duration::from_millis(5), vec![file]).unwrap();
    assert!(watch._inotify.is_none());
    fs::create_dir(path.parent().unwrap()).unwrap();
    fs::write(&path, "there").unwrap();
    wait_for(&reloads, "there");
}

#[test]
fn a_file_is_loaded_once_for_each_change_and_when_told() {
    let (_dir, path) = a_file();
    let file = Followed::new([&path], || {});
    file.live.look(false);
    assert_eq!(file.reads.try_iter().count(), 0);
    replace(&path, "b");
    file.live.look(false);
    file.live.look(false);
    assert_eq!((file.reads.try_iter().count(), file.logged()), (1, vec!["first -> b".to_owned()]));
    file.live.look(true);
    assert_eq!((file.reads.try_iter().count(), file.live.load().as_str()), (1, "b"));
}

#[test]
fn files_that_belong_together_are_loaded_once_when_any_of_them_changed() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["one", "two"].map(|name| dir.path().join(name));
    paths.iter().for_each(|path| fs::write(path, "a").unwrap());
    let both = Followed::new([&paths[0], &paths[1]], || {});
    for changed in [&paths[..], &paths[..1], &paths[1..], &[]] {
        changed.iter().for_each(|path| replace(path, "b"));
        both.live.look(false);
        both.live.look(false);
        assert_eq!(both.reads.try_iter().count(), usize::from(!changed.is_empty()), "{changed:?}");
    }
}

#[test]
fn a_file_that_could_not_be_read_is_read_again_until_it_can_be_and_the_log_is_not_filled() {
    let (dir, path) = a_file();
    let file = Followed::new([&path], || {});
    let aside = dir.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    for looks in 1..=64 {
        file.live.look(false);
        assert_eq!(file.reads.try_iter().count(), 1, "each look tries again");
        assert_eq!(
            file.logged().len(),
            usize::from(looks == 1 || looks % 2 == 0 && looks & (looks - 1) == 0),
            "{looks}"
        );
        assert!(file.live.load_status().failed() && file.live.load_status().stale_since().is_some());
    }
    file.live.look(true);
    assert_eq!(file.logged().len(), 1, "who asks is told");
    // The same file as before, to the last bit of its stamp.
    fs::rename(&aside, &path).unwrap();
    file.live.look(false);
    assert!(!file.live.load_status().failed() && file.live.load_status().stale_since().is_none());
    assert_eq!((file.live.load().as_str(), file.logged().len()), ("a", 1));
    // A folder in its place can be looked at and not be read.
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    (0..3).for_each(|_| file.live.look(false));
    assert_eq!((file.reads.try_iter().count(), file.logged().len()), (2 + 3, 2));
}

#[test]
fn a_faulty_file_is_told_of_once_and_stays_known_as_faulty_until_it_is_good() {
    let (_dir, path) = a_file();
    let file = Followed::new([&path], || {});
    for text in ["faulty", "faulty too"] {
        replace(&path, text);
        (0..5).for_each(|_| file.live.look(false));
        assert_eq!((file.reads.try_iter().count(), file.logged()), (1, vec![text.to_owned()]));
        assert!(file.live.load_status().failed());
    }
    replace(&path, "a");
    file.live.look(false);
    assert!(!file.live.load_status().failed());
}

#[test]
fn a_reading_that_failed_for_somebody_else_is_not_taken_for_seen() {
    let (dir, path) = a_file();
    let file = Followed::new([&path], || {});
    let aside = dir.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    file.live.hold().reload();
    fs::rename(&aside, &path).unwrap();
    file.live.look(false);
    assert_eq!((file.reads.try_iter().count(), file.live.load_status().failed()), (2, false));
}

#[test]
fn a_panic_is_caught_and_the_file_is_followed_further() {
    let (_dir, path) = a_file();
    let (file, reloads) = follow(&path);
    let _watch = Watch::start_polling_every(FOREVER, vec![file]).unwrap();
    replace(&path, "panic");
    wait_for(&reloads, "panic");
    replace(&path, "good again");
    wait_for(&reloads, "good again");
}

#[test]
fn what_made_a_panic_is_not_read_again_and_stays_known_as_faulty() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, "panic").unwrap();
    let file = Followed::new([&path], || {});
    replace(&path, "panic");
    (0..3).for_each(|_| file.live.look(false));
    assert_eq!(file.reads.try_iter().count(), 1);
    assert!(file.live.load_status().stale_since().is_some() && *file.live.load().as_str() == *"first");
}

#[test]
fn a_file_whose_reading_hangs_stops_no_other_and_is_known_to_hang() {
    let dir = tempfile::tempdir().unwrap();
    let [stuck, other] = ["stuck", "other"].map(|name| dir.path().join(name));
    [&stuck, &other].into_iter().for_each(|path| fs::write(path, "a").unwrap());
    let (release, held) = channel::<()>();
    let hanging = Followed::new([&stuck], move || {
        let _ = held.recv();
    });
    let (other_file, reloads) = follow(&other);
    let _watch = Watch::start_polling_every(FOREVER, vec![hanging.live.follow().unwrap(), other_file]).unwrap();
    replace(&stuck, "b");
    assert_eq!(hanging.reads.recv_timeout(PATIENCE), Ok(Some("b".to_owned())));
    replace(&other, "changed");
    wait_for(&reloads, "changed");
    let load_status = hanging.live.load_status();
    assert_eq!(load_status.stale_since(), None, "a moment is not long");
    let began = load_status.began.fetch_sub(LONG + 1, Ordering::Relaxed) - LONG - 1;
    assert_eq!(load_status.stale_since(), Some(began));
    drop(release);
    assert_eq!(hanging.logged.recv_timeout(PATIENCE), Ok("first -> b".to_owned()));
}

#[test]
fn a_change_between_loading_and_following_is_not_missed() {
    let (_dir, path) = a_file();
    let (file, reloads) = follow(&path);
    replace(&path, "b");
    let _watch = Watch::start_polling_every(FOREVER, vec![file]).unwrap();
    wait_for(&reloads, "b");
}

#[test]
fn a_file_that_changed_while_it_was_read_is_read_again() {
    let (_dir, path) = a_file();
    let edited = path.clone();
    let file = Followed::new([&path], move || fs::write(&edited, "edited meanwhile").unwrap());
    replace(&path, "b");
    file.live.look(false);
    file.live.look(false);
    assert_eq!(file.reads.try_iter().count(), 2);
}

#[test]
fn all_are_loaded_again_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["one", "two"].map(|name| dir.path().join(name));
    paths.iter().for_each(|path| fs::write(path, "a").unwrap());
    let ((one, reloads_of_one), (two, reloads_of_two)) = (follow(&paths[0]), follow(&paths[1]));
    let watch = Watch::start_polling_every(FOREVER, vec![one, two]).unwrap();
    watch.reload_all();
    wait_for(&reloads_of_one, "a");
    wait_for(&reloads_of_two, "a");
}

#[test]
fn the_watcher_ends_when_its_handle_is_dropped() {
    let (_dir, path) = a_file();
    let (file, reloads) = follow(&path);
    drop(Watch::start_polling_every(FOREVER, vec![file]).unwrap());
    assert_eq!(reloads.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
}

/// What was written to the log.
struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A path of an open file without a name, as one is that was mounted alone and replaced outside.
fn nameless(folder: &TempDir) -> (fs::File, PathBuf) {
    use std::os::fd::AsRawFd;
    let path = folder.path().join("mounted");
    fs::write(&path, "a").unwrap();
    let file = fs::File::open(&path).unwrap();
    fs::remove_file(path).unwrap();
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    (file, path)
}

#[test]
fn a_file_that_was_replaced_outside_is_told_from_one_that_is_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let (_file, path) = nameless(&folder);
    let sentence = detached(&path).unwrap();
    assert!(sentence.starts_with(&path.display().to_string()) && sentence.contains("mount its folder"), "{sentence}");
    let named = folder.path().join("named");
    assert_eq!(detached(&named), None);
    fs::write(&named, "a").unwrap();
    assert_eq!(detached(&named), None);
    fs::hard_link(&named, folder.path().join("other")).unwrap();
    fs::rename(folder.path().join("other"), folder.path().join("third")).unwrap();
    assert_eq!(detached(&named), None);
    assert_eq!(detached(Path::new("/dev/null")), None);
}

#[test]
fn the_log_is_told_once_of_a_file_that_was_replaced_outside() {
    let folder = tempfile::tempdir().unwrap();
    let named = folder.path().join("named");
    fs::write(&named, "a").unwrap();
    let link = folder.path().join("link");
    symlink(&named, &link).unwrap();
    let followed = Followed::new([&link], || {});
    let lines = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = lines.clone();
    let writer = move || Lines(log.clone());
    let _guard = tracing::subscriber::set_default(tracing_subscriber::fmt().with_writer(writer).finish());
    let look = |count| (0..count).for_each(|_| followed.live.look(false));
    let told =
        || String::from_utf8(lines.lock().unwrap().clone()).unwrap().matches("replaced or removed outside").count();
    look(3);
    assert_eq!(told(), 0);
    let (_file, path) = nameless(&folder);
    fs::remove_file(&link).unwrap();
    symlink(&path, &link).unwrap();
    look(5);
    assert_eq!(told(), 1);
    fs::remove_file(&link).unwrap();
    symlink(&named, &link).unwrap();
    look(2);
    fs::remove_file(&link).unwrap();
    symlink(&path, &link).unwrap();
    look(2);
    assert_eq!(told(), 2);
}
