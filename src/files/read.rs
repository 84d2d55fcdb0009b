//! One careful look at a file that an operator named: a regular file, that nobody else could have written, of a bounded
//! size. All is asked of the one open file, so nothing can be swapped in between; and whatever is in its place, a pipe, a
//! device, a folder, is not waited for.

use super::place::{Place, open_without_links};
use super::trust::{Untrusted, Way};
use crate::unseen;
use rustix::fs::OFlags;
use rustix::process::geteuid;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use thiserror::Error;
use zeroize::Zeroizing;

/// Whom a file may be shown to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// Everybody.
    All,
    /// Its owner and its group.
    Group,
}

/// Why a file was not read: a sentence that begins with "it", without the file's content.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "each message is its variant's description")]
pub enum Unread {
    #[error("there is no such file")]
    Missing,
    #[error("it is no regular file; name the file itself (a container makes a folder where it finds no file to mount)")]
    NoFile,
    #[error(
        "user {0}, as whom this runs, may not read it or a folder on the way to it; give it to that user with `chown`, or to one of its groups. In a container: `uid` and `mode: 0400` of a Compose or Swarm secret, `uid=…,mode=0400` of a Podman secret, and for a mounted file `:Z` where SELinux is on"
    )]
    Denied(u32),
    #[error("it cannot be read: {0}")]
    Failed(io::Error),
    #[error(
        "it lets every user of this machine in (mode {0:04o}); run `chmod o-rwx` on it (a Kubernetes volume needs `defaultMode: 0440`, a Compose or Swarm secret its `uid` and `mode: 0400`)"
    )]
    OpenToOthers(u32),
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    #[error("it is longer than {0} bytes: is it the right file?")]
    TooLong(u64),
    #[error("it is not UTF-8 text: is it the right file?")]
    NotText,
    #[error("it is text in UTF-16, as some editors of Windows write it; save it as UTF-8")]
    Utf16,
}

impl Unread {
    /// Whether it may be read at the next try although nothing of the file itself was changed.
    pub fn may_pass(&self) -> bool {
        !matches!(self, Self::OpenToOthers(_) | Self::TooLong(_) | Self::NotText | Self::Utf16)
    }
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::Denied(geteuid().as_raw()),
            _ => Self::Failed(error),
        }
    }
}

/// Opens a file to be read piece by piece; links are followed.
///
/// # Errors
/// When it is missing, no regular file, open to others than `readers`, or [not to be trusted](super::trust).
pub fn open(path: &Path, readers: Readers) -> Result<(File, Metadata), Unread> {
    let open = || {
        // Before it is opened, too: opening a device may do something to it.
        if !fs::metadata(path)?.is_file() {
            return Err(Unread::NoFile);
        }
        // What is judged is the way that is taken: whoever exchanges a link meanwhile leads nobody.
        let way = Way::to(path)?;
        // With one descriptor at a time: there may be no other.
        let file = open_without_links(&way.end, OFlags::RDONLY)?;
        let metadata = check(&file, &way, readers)?;
        Ok((file, metadata))
    };
    match open() {
        // Kubernetes exchanges a link and removes where it led.
        Err(Unread::Missing) => open(),
        done => done,
    }
}

impl Place {
    /// What [`read_text`] gives, of the file in this place.
    ///
    /// # Errors
    /// As there.
    pub fn read_text(&self, limit: u64, readers: Readers) -> Result<(Zeroizing<String>, Metadata), Unread> {
        let file = self.open(OFlags::RDONLY)?;
        let metadata = check(&file, &Way::to(self.path())?, readers)?;
        Ok((as_text(&bytes(file, &metadata, limit)?)?, metadata))
    }
}

/// Asks of the open file at the end of a way what [`open`] asks.
fn check(file: &File, way: &Way, readers: Readers) -> Result<Metadata, Unread> {
    let metadata = file.metadata()?;
    let mode = metadata.mode() & 0o7777;
    match readers {
        _ if !metadata.is_file() => return Err(Unread::NoFile),
        Readers::Group if mode & 0o007 != 0 => return Err(Unread::OpenToOthers(mode)),
        Readers::Group | Readers::All => way.trust(&metadata)?,
    }
    Ok(metadata)
}

/// Reads a file of at most `limit` bytes, which may be secret; links are followed. It is text, or text with bytes in it
/// that nobody reads: PEM. Its byte order mark is left out.
///
/// # Errors
/// As for [`open`], and when it is longer, or UTF-16.
pub fn read(path: &Path, limit: u64, readers: Readers) -> Result<(Zeroizing<Vec<u8>>, Metadata), Unread> {
    let (file, metadata) = open(path, readers)?;
    Ok((bytes(file, &metadata, limit)?, metadata))
}

/// [`read`] for UTF-8 text.
///
/// # Errors
/// As for [`read`], and when it is something else.
pub fn read_text(path: &Path, limit: u64, readers: Readers) -> Result<(Zeroizing<String>, Metadata), Unread> {
    let (bytes, metadata) = read(path, limit, readers)?;
    Ok((as_text(&bytes)?, metadata))
}

/// What is in an open file.
fn bytes(file: File, metadata: &Metadata, limit: u64) -> Result<Zeroizing<Vec<u8>>, Unread> {
    // All the room at once: a buffer that grew would leave copies of secrets behind.
    let room = metadata.len().min(limit) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(room).unwrap_or_default()));
    file.take(limit + 1).read_to_end(&mut bytes)?;
    match unseen::without_mark(&bytes) {
        _ if bytes.len() as u64 > limit => Err(Unread::TooLong(limit)),
        _ if unseen::is_utf16(&bytes) => Err(Unread::Utf16),
        whole if whole.len() == bytes.len() => Ok(bytes),
        rest => Ok(Zeroizing::new(rest.to_vec())),
    }
}

/// Bytes as text.
fn as_text(bytes: &[u8]) -> Result<Zeroizing<String>, Unread> {
    std::str::from_utf8(bytes).map(|text| Zeroizing::new(text.to_owned())).map_err(|_| Unread::NotText)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode, RenameFlags, mkfifoat, renameat_with};
    use std::collections::BTreeSet;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, lchown, symlink};
    use std::os::unix::net::UnixListener;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn fault(path: &Path, readers: Readers) -> String {
        read_text(path, 8, readers).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_regular_file_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
        let socket = dir.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        let link = dir.path().join("link");
        symlink(&pipe, &link).unwrap();
        for path in [&*pipe, &*socket, &*link, dir.path(), Path::new("/dev/null"), Path::new("/dev/zero")] {
            assert!(fault(path, Readers::All).starts_with("it is no regular file"), "{}", path.display());
        }
        // Put there after the first look.
        let opened = File::options().read(true).write(true).open(&pipe).unwrap();
        assert!(matches!(check(&opened, &Way::to(&pipe).unwrap(), Readers::All), Err(Unread::NoFile)));
    }

    #[test]
    fn a_link_that_comes_and_goes_while_it_is_looked_at_leads_nobody_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let [path, link, secret] = ["file", "link", "secret"].map(|name| dir.path().join(name));
        fs::write(&path, "mine").unwrap();
        fs::write(&secret, "secret").unwrap();
        symlink(&secret, &link).unwrap();
        if lchown(&link, Some(12_345), None).is_err() {
            return; // only root can give it away
        }
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    renameat_with(CWD, &path, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                }
            });
            let all = (0..5_000).map(|_| read_text(&path, 8, Readers::All));
            let read: BTreeSet<_> = all.flatten().map(|(text, _)| text.to_string()).collect();
            done.store(true, Ordering::Relaxed);
            assert_eq!(read, ["mine".to_owned()].into());
        });
    }

    #[test]
    fn a_file_is_read_whole_or_refused_by_its_fault() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        assert_eq!(fault(&path, Readers::All), "there is no such file");
        for (text, expected) in [
            (&b"12345678"[..], Ok("12345678")),
            (b"", Ok("")),
            (b"123456789", Err("it is longer than 8 bytes: is it the right file?")),
            (b"\xff", Err("it is not UTF-8 text: is it the right file?")),
            (b"\xef\xbb\xbf1\n", Ok("1\n")),
            (b"\xff\xfea\0", Err("it is text in UTF-16, as some editors of Windows write it; save it as UTF-8")),
            (b"\0a\0b", Err("it is text in UTF-16, as some editors of Windows write it; save it as UTF-8")),
        ] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
            let read = read_text(&path, 8, Readers::All).map(|(text, _)| text.to_string());
            assert_eq!(read.map_err(|error| error.to_string()), expected.map(str::to_owned).map_err(str::to_owned));
        }
    }

    #[test]
    fn a_secret_is_for_its_owner_and_its_group() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "").unwrap();
        for mode in 0..0o1000 {
            fs::set_permissions(&path, Permissions::from_mode(mode | 0o400)).unwrap();
            let [secret, public] = [Readers::Group, Readers::All].map(|readers| open(&path, readers).is_ok());
            assert_eq!((secret, public), (mode & 0o007 == 0, mode & 0o002 == 0), "{mode:o}");
        }
    }
}
