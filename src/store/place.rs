//! Where a store is: what the configuration says of it, and whether a folder is one to trust and to rely on.

use super::redis::is_url;
use crate::files;
use rustix::fs::{Access, AtFlags, CWD, accessat, statfs};
use rustix::io::Errno;
use secrecy::SecretString;
use std::fs::metadata;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use url::Url;

/// The most replicas of Redis that a write may wait for; more are hardly ever meant.
const MAX_WAIT: u32 = 9;

/// Where a store is, as configured.
#[derive(Clone, Debug, Default)]
pub enum StorePlace {
    /// In memory.
    #[default]
    Memory,
    /// In a folder.
    Dir(PathBuf),
    /// In Redis.
    Redis {
        /// Its URL, which may hold a password.
        url: SecretString,
        /// The PEM file of the authority that signed its certificate.
        ca_file: Option<PathBuf>,
        /// How many of its replicas shall have a record before it counts as written.
        wait: u32,
    },
}

impl StorePlace {
    /// Reads `memory`, `dir:<path>`, or the URL of a Redis: `redis://…`, `redis+sentinel://…`, `redis+cluster://…` and the
    /// same with `rediss`. A relative path starts at `folder`; `ca_file` is for the latter, `wait` for all of Redis.
    ///
    /// # Errors
    /// A sentence that begins with a verb, without the text itself: it may hold a password.
    pub fn parse(text: &str, folder: &Path, ca_file: Option<PathBuf>, wait: u32) -> Result<Self, String> {
        let place = match text.split_once(':') {
            None if text == "memory" => Self::Memory,
            Some(("dir", path)) if !path.trim().is_empty() => Self::Dir(folder.join(path)),
            Some((scheme, _)) if is_redis(scheme) && has_lone_user(text) => {
                return Err("has a text before the `@` and no password; a password alone follows a colon, as in \
                            \"redis://:PASSWORD@redis.lan:6379/0\""
                    .to_owned());
            }
            Some((scheme, _)) if is_redis(scheme) && is_url(text) => {
                Self::Redis { url: text.to_owned().into(), ca_file: ca_file.clone(), wait }
            }
            Some((scheme, _)) if scheme.contains('+') && is_redis(scheme) => {
                return Err("is not a URL like \"redis+sentinel://:PASSWORD@one:26379,two:26379/NAME/0\" or \
                            \"redis+cluster://:PASSWORD@one:6379,two:6379\""
                    .to_owned());
            }
            Some((scheme, _)) if is_redis(scheme) => {
                return Err(
                    "is not a URL like \"redis://127.0.0.1:6379/0\" or \"rediss://:PASSWORD@redis.lan:6379/0\"; \
                            characters of a password that have a meaning in URLs are written as `%40`"
                        .to_owned(),
                );
            }
            _ => {
                return Err("must be \"memory\", \"dir:\" and a folder, \"redis://HOST:6379/0\" or \
                            \"rediss://HOST:6379/0\""
                    .to_owned());
            }
        };
        if wait > 0 && !matches!(place, Self::Redis { .. }) {
            return Err("is no Redis, so `state.redis_wait` is of no use; leave that out".to_owned());
        }
        match ca_file {
            Some(_) if !text.starts_with("rediss") => {
                Err("does not begin with `rediss://`, so `state.ca_file` is of no use; leave that out".to_owned())
            }
            _ => Ok(place),
        }
    }

    /// Judges `state.redis_wait`.
    ///
    /// # Errors
    /// A sentence that begins with a verb.
    pub fn wait(count: u32) -> Result<u32, String> {
        if count <= MAX_WAIT { Ok(count) } else { Err(format!("must be at most {MAX_WAIT} replicas")) }
    }

    /// Whether replicas on several machines find there what one of them has put there.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Redis { .. })
    }

    /// Whether what is stored there outlives this process.
    pub fn is_durable(&self) -> bool {
        !matches!(self, Self::Memory)
    }
}

fn is_redis(scheme: &str) -> bool {
    let (scheme, kind) = scheme.split_once('+').unwrap_or((scheme, "cluster"));
    matches!(scheme, "redis" | "rediss") && matches!(kind, "sentinel" | "cluster")
}

/// Whether there is a user and no password: Redis is not told of either then.
fn has_lone_user(text: &str) -> bool {
    Url::parse(text).is_ok_and(|url| !url.username().is_empty() && url.password().is_none())
}

/// Whether the folder is there and this process can use it.
///
/// # Errors
/// When it is no folder, may not be written to, or strangers could put old records into it.
pub(super) fn is_usable(root: &Path) -> io::Result<bool> {
    let of_root = match metadata(root) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        found => found?,
    };
    if !of_root.is_dir() {
        return Err(ErrorKind::NotADirectory.into());
    }
    files::trust(root, &of_root).map_err(|error| io::Error::new(ErrorKind::PermissionDenied, error))?;
    accessat(CWD, root, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)?;
    Ok(true)
}

/// The kind of file system that a folder is on, where others than this machine may have a part in it.
pub(super) fn network(root: &Path) -> io::Result<Option<&'static str>> {
    match statfs(root) {
        // Not made yet.
        Err(Errno::NOENT) => Ok(None),
        found => Ok(kind(found?.f_type as u64)),
    }
}

/// By its number in Linux's `magic.h`.
fn kind(magic: u64) -> Option<&'static str> {
    match magic & 0xffff_ffff {
        0x6969 => Some("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => Some("SMB"),
        0x5346_414f | 0x6b41_4653 => Some("AFS"),
        0x00c3_6400 => Some("Ceph"),
        0x0102_1997 => Some("9P"),
        0x6573_5546 => Some("FUSE"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::geteuid;
    use std::fs::{self, Permissions, set_permissions};
    use std::os::unix::fs::{PermissionsExt, chown};

    fn parsed(text: &str, ca_file: Option<&str>, wait: u32) -> Result<StorePlace, String> {
        StorePlace::parse(text, Path::new("/etc/authseal"), ca_file.map(PathBuf::from), wait)
    }

    #[test]
    fn a_place_is_memory_a_folder_or_a_redis() {
        let memory = parsed("memory", None, 0).unwrap();
        assert!(matches!(memory, StorePlace::Memory) && !memory.is_shared() && !memory.is_durable());
        for (text, path) in [("dir:state", "/etc/authseal/state"), ("dir:/var/lib/x:y", "/var/lib/x:y")] {
            let folder = parsed(text, None, 0).unwrap();
            assert!(matches!(&folder, StorePlace::Dir(of) if of == Path::new(path)), "{folder:?}");
            assert!(!folder.is_shared() && folder.is_durable());
        }
        for url in [
            "redis://127.0.0.1:6379/0",
            "redis://:secret@redis.lan:6379/0",
            "rediss://user:secret@redis.lan:6379/0",
            "redis+sentinel://:secret@one:26379,two:26379/main/0",
            "rediss+cluster://:secret@one:6379,two:6379",
        ] {
            let redis = parsed(url, None, 2).unwrap();
            assert!(matches!(redis, StorePlace::Redis { wait: 2, ca_file: None, .. }), "{url}");
            assert!(redis.is_shared() && redis.is_durable() && !format!("{redis:?}").contains("secret"));
            let with_ca = parsed(url, Some("/ca.pem"), 0);
            assert_eq!(with_ca.is_ok(), url.starts_with("rediss"), "{url}");
        }
    }

    #[test]
    fn what_is_no_place_is_told_by_its_kind_and_not_shown() {
        for (text, said) in [
            ("", "must be"),
            ("Memory", "must be"),
            ("memory:", "must be"),
            ("dir:", "must be"),
            ("dir: ", "must be"),
            ("http://redis.lan:6379/0", "must be"),
            ("http://hunter2@redis.lan", "must be"),
            ("redis+other://redis.lan:6379", "must be"),
            ("redisx+cluster://redis.lan:6379", "must be"),
            ("redis://hunter2@redis.lan:6379/0", "a password alone follows a colon"),
            ("redis+cluster://hunter2@one:6379", "a password alone follows a colon"),
            ("redis://:hunter2@redis.lan:port/0", "is not a URL like \"redis://127.0.0.1"),
            ("rediss://:hun/ter2@redis.lan:6379/0", "is not a URL like \"redis://127.0.0.1"),
            ("redis+sentinel://:hunter2@one:port/main", "is not a URL like \"redis+sentinel"),
        ] {
            let error = parsed(text, None, 0).unwrap_err();
            assert!(error.contains(said) && !error.contains("hunter2"), "{text}: {error}");
        }
        for text in ["memory", "dir:state"] {
            assert!(parsed(text, None, 1).unwrap_err().contains("redis_wait"));
            assert!(parsed(text, Some("/ca.pem"), 0).unwrap_err().contains("ca_file"));
        }
        assert_eq!([StorePlace::wait(0), StorePlace::wait(9)], [Ok(0), Ok(9)]);
        assert!(StorePlace::wait(10).is_err());
    }

    #[test]
    fn a_file_system_of_the_network_is_recognised() {
        let known =
            [(0x6969, "NFS"), (0x517b, "SMB"), (0xfe53_4d42, "SMB"), (0x6b41_4653, "AFS"), (0x5346_414f, "AFS")];
        for (magic, name) in
            known.into_iter().chain([(0x00c3_6400, "Ceph"), (0x0102_1997, "9P"), (0x6573_5546, "FUSE")])
        {
            assert_eq!(kind(magic), Some(name));
        }
        // As a signed word of 32 bits shows it.
        assert_eq!(kind(0xff53_4d42_u32 as i32 as u64), Some("SMB"));
        for (name, magic) in [("ext4", 0xef53), ("xfs", 0x5846_5342), ("tmpfs", 0x0102_1994), ("overlay", 0x794c_7630)]
        {
            assert_eq!(kind(magic), None, "{name}");
        }
        network(Path::new("/")).unwrap();
    }

    #[test]
    fn a_folder_that_every_user_may_write_to_or_this_one_may_not_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (mode, good) in
            [(0o700, true), (0o750, true), (0o770, true), (0o777, false), (0o1777, false), (0o702, false)]
        {
            set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_usable(folder.path()).is_ok(), good, "{mode:o}");
        }
        set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        assert!(!is_usable(&folder.path().join("none")).unwrap());
        fs::write(folder.path().join("file"), b"").unwrap();
        assert!(is_usable(&folder.path().join("file/none")).is_err(), "what cannot be looked at may be there");
        for mode in [0o500, 0o600] {
            set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_usable(folder.path()).is_ok(), geteuid().is_root(), "{mode:o}");
        }
        set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    }

    #[test]
    fn root_works_in_the_folder_of_the_service() {
        let folder = tempfile::tempdir().unwrap();
        if geteuid().is_root() {
            chown(folder.path(), Some(12_345), Some(12_345)).unwrap();
        }
        assert!(is_usable(folder.path()).unwrap());
    }
}
