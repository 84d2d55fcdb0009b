//! Who could have written what is read here. The text of a configuration, a keyring or a denylist is worth no more than
//! the least of those who can change it, or put something else in its place. Whom it may be shown to is another question,
//! which the readers of secrets ask.
//!
//! Every folder that a name is looked up in on the way counts, those that links lead through too. A volume that is mounted
//! read-only is taken as it is: nobody on this side can write to it, and the modes that Kubernetes and container engines
//! give it mean users of another machine. That a group can write is usual where each user has a group, so it is told
//! and not refused.

use crate::watch::directory;
use rustix::fs::{Access, AtFlags, CWD, StatVfsMountFlags, accessat, statvfs};
use rustix::process::geteuid;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf, absolute};
use thiserror::Error;

/// As many links as Linux follows in one path.
const MAX_LINKS: usize = 40;
const EVERYBODY_WRITES: u32 = 0o002;
const GROUP_WRITES: u32 = 0o020;
/// In a folder with this bit, what somebody made is renamed and removed by nobody else.
const STICKY: u32 = 0o1000;

/// Why a file or folder is not taken: a sentence about "it", which names no more than folders on the way there.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "each message is its variant's description")]
pub enum Untrusted {
    #[error("every user of this machine can write to it (mode {0:04o}); run `chmod o-w` on it")]
    Writable(u32),
    #[error(
        "every user of this machine can put something else in its place, since all can write to {0} (mode {1:04o}); run `chmod o-w {0}`"
    )]
    Exchangeable(PathBuf, u32),
    #[error(
        "it belongs to user {0}, who is neither root nor the user that this runs as; give it to one of them with `chown`"
    )]
    Foreign(u32),
    #[error(
        "its folder {0} belongs to user {1}, who is neither root nor the user that this runs as; give it to one of them with `chown`"
    )]
    ForeignFolder(PathBuf, u32),
    #[error("a link on the way to it belongs to user {0}, and it does not; name the file itself")]
    Link(u32),
    #[error("who can write to it cannot be told: {0}")]
    Unknown(#[from] io::Error),
}

/// Refuses the file or folder at `path`, whose `metadata` was taken from what was opened, if every user of the machine
/// can write to it or exchange it, or if it or its own folder belongs to somebody other than root and this process's user.
/// Root takes what belongs to anybody: its commands are for the service's files, too.
///
/// # Errors
/// The first reason not to trust it.
pub fn trust(path: &Path, metadata: &Metadata) -> Result<(), Untrusted> {
    Way::to(path)?.trust(metadata)
}

/// [`trust`] for what nobody named, but was found: root, too, takes only its own.
///
/// # Errors
/// The first reason not to trust it.
pub fn trust_found(path: &Path, metadata: &Metadata) -> Result<(), Untrusted> {
    Way::to(path)?.judge(metadata, is_own)
}

/// [`trust`] for a folder that another program fills, as whatever user.
///
/// # Errors
/// When every user of the machine can write to it or exchange it.
pub fn trust_filled(path: &Path, metadata: &Metadata) -> Result<(), Untrusted> {
    Way::to(path)?.judge(metadata, |_| true)
}

fn is_own(owner: u32) -> bool {
    owner == 0 || owner == geteuid().as_raw()
}

/// Whether it is on a volume that is mounted read-only. The root file system does not count: systemd's `ProtectSystem`
/// makes that read-only for a service, while the machine's users continue to write to it.
fn is_sealed(path: &Path, metadata: &Metadata) -> bool {
    let is_volume = fs::metadata("/").is_ok_and(|root| root.dev() != metadata.dev());
    is_volume && statvfs(path).is_ok_and(|volume| volume.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// How a path leads to what it names.
pub(super) struct Way {
    /// The folders in which names are looked up, and of each whether the last name is: that of the file, or of the link
    /// to it.
    folders: Vec<(PathBuf, bool)>,
    /// The owner of each link that is followed.
    links: Vec<u32>,
    /// Where it ends: an absolute path without links, of something that need not exist.
    pub(super) end: PathBuf,
}

impl Way {
    pub(super) fn to(path: &Path) -> io::Result<Self> {
        let names = |path: &Path| path.components().rev().map(|name| name.as_os_str().to_owned()).collect::<Vec<_>>();
        let mut rest: Vec<OsString> = names(&absolute(path)?);
        let mut way = Self { folders: Vec::new(), links: Vec::new(), end: PathBuf::new() };
        while let Some(name) = rest.pop() {
            match name.as_bytes() {
                b"/" => way.end = PathBuf::from("/"),
                b".." => drop(way.end.pop()),
                b"." => {}
                _ => {
                    let next = way.end.join(&name);
                    way.folders.push((way.end.clone(), rest.is_empty()));
                    match fs::symlink_metadata(&next) {
                        Ok(link) if link.is_symlink() => {
                            rest.extend(names(&fs::read_link(&next)?));
                            way.links.push(link.uid());
                        }
                        _ => way.end = next,
                    }
                    if way.links.len() > MAX_LINKS {
                        return Err(rustix::io::Errno::LOOP.into());
                    }
                }
            }
        }
        Ok(way)
    }

    /// [`trust`] for what was opened at the end of this way.
    pub(super) fn trust(&self, metadata: &Metadata) -> Result<(), Untrusted> {
        self.judge(metadata, |owner| geteuid().is_root() || is_own(owner))
    }

    fn judge(&self, metadata: &Metadata, is_trusted: impl Fn(u32) -> bool) -> Result<(), Untrusted> {
        let mode = metadata.mode() & 0o7777;
        // The sticky bit does not help here: all could add to the folder.
        if mode & EVERYBODY_WRITES != 0 && !(metadata.is_dir() && is_sealed(&self.end, metadata)) {
            return Err(Untrusted::Writable(mode));
        }
        if !is_trusted(metadata.uid()) && !is_sealed(&self.end, metadata) {
            return Err(Untrusted::Foreign(metadata.uid()));
        }
        self.judge_links(metadata.uid())?;
        for (folder, holds_it) in &self.folders {
            let metadata = fs::metadata(folder)?;
            let mode = metadata.mode() & 0o7777;
            let exchangeable = mode & EVERYBODY_WRITES != 0 && mode & STICKY == 0;
            if exchangeable && !is_sealed(folder, &metadata) {
                return Err(Untrusted::Exchangeable(folder.clone(), mode));
            }
            if *holds_it && !is_trusted(metadata.uid()) && !is_sealed(folder, &metadata) {
                return Err(Untrusted::ForeignFolder(folder.clone(), metadata.uid()));
            }
        }
        Ok(())
    }

    /// Refuses a link that somebody else made to what is not his: it may be there to lead somebody who may do more.
    pub(super) fn judge_links(&self, owner: u32) -> Result<(), Untrusted> {
        let lures = |maker: &&u32| !is_own(**maker) && **maker != owner;
        self.links.iter().find(lures).map_or(Ok(()), |maker| Err(Untrusted::Link(*maker)))
    }
}

/// A sentence about `path` or a folder on the way to it, if a group can write there. For advice: it refuses nothing.
pub fn shared(path: &Path) -> Option<String> {
    let folders = Way::to(path).ok()?.folders.into_iter().map(|(folder, _)| folder);
    folders.chain([path.to_owned()]).find_map(|place| {
        let metadata = fs::metadata(&place).ok()?;
        let mode = metadata.mode() & 0o7777;
        let group = metadata.gid();
        let open = mode & GROUP_WRITES != 0 && group != 0 && (metadata.is_file() || mode & STICKY == 0);
        (open && !is_sealed(&place, &metadata)).then(|| {
            format!(
                "the members of group {group} can write to {place} (mode {mode:04o}); unless they run this server, `chmod g-w {place}`",
                place = place.display()
            )
        })
    })
}

/// A sentence about the configuration file at `path`, if the user that a server runs as could rewrite it: this process's
/// user, or for root the owner of the file or its folder. A server that was taken over would then decide what the next
/// one does.
pub fn rewritable(path: &Path) -> Option<String> {
    let can_write = |place: &Path| match geteuid().is_root() {
        true => fs::metadata(place).ok().map(|metadata| metadata.uid()).filter(|owner| *owner != 0),
        false => accessat(CWD, place, Access::WRITE_OK, AtFlags::EACCESS).ok().map(|()| geteuid().as_raw()),
    };
    [directory(path), path].into_iter().find_map(|place| {
        can_write(place).map(|user| {
            format!(
                "user {user} can write to {place}: if the server runs as that user, who takes it over rewrites its configuration; give it to root, and keep the denylist elsewhere (docs/deploying.md)",
                place = place.display()
            )
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    /// `above/folder/file`, all of them closed, in a folder of its own.
    fn fresh() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().canonicalize().unwrap().join("above/folder/file");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "").unwrap();
        for place in file.ancestors().take(3) {
            chmod(place, 0o755);
        }
        (dir, file)
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn verdict(path: &Path) -> Result<(), String> {
        trust(path, &fs::metadata(path).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_every_user_can_write_to_or_exchange_is_refused_with_the_command_for_it() {
        let (_dir, file) = fresh();
        let [folder, above] = [1, 2].map(|up| file.ancestors().nth(up).unwrap());
        for (place, mode, good) in [
            (&*file, 0o602, false),
            (&*file, 0o666, false),
            (&*file, 0o777, false),
            (&*file, 0o644, true),
            (&*file, 0o664, true),
            (folder, 0o777, false),
            (folder, 0o703, false),
            (folder, 0o1777, true),
            (folder, 0o775, true),
            (above, 0o777, false),
            (above, 0o1777, true),
        ] {
            let before = fs::metadata(place).unwrap().mode() & 0o7777;
            chmod(place, mode);
            let expected = match place == file {
                true => format!("every user of this machine can write to it (mode {mode:04o}); run `chmod o-w` on it"),
                false => format!(
                    "every user of this machine can put something else in its place, since all can write to {0} (mode {mode:04o}); run `chmod o-w {0}`",
                    place.display()
                ),
            };
            assert_eq!(verdict(&file), if good { Ok(()) } else { Err(expected) });
            chmod(place, before);
        }
        chmod(folder, 0o1777);
        assert!(verdict(folder).is_err(), "whoever adds to a folder that counts as a whole changes it");
    }

    #[test]
    fn links_are_judged_by_every_folder_that_they_lead_through() {
        let (_dir, file) = fresh();
        let top = file.ancestors().nth(3).unwrap();
        fs::create_dir_all(top.join("open/inner")).unwrap();
        symlink("../above/folder/../folder", top.join("open/link")).unwrap();
        symlink("open/link/file", top.join("entry")).unwrap();
        assert_eq!(verdict(&top.join("entry")), Ok(()));
        chmod(&top.join("open"), 0o777);
        assert!(verdict(&top.join("entry")).unwrap_err().contains("/open (mode 0777)"));
        assert_eq!(verdict(&file), Ok(()), "the file itself is not reached through it");
        symlink("loop", top.join("loop")).unwrap();
        let error = trust(&top.join("loop"), &fs::metadata(&file).unwrap()).unwrap_err();
        assert!(matches!(error, Untrusted::Unknown(_)), "{error}");
    }

    #[test]
    fn the_layout_of_a_kubernetes_volume_is_taken() {
        let (_dir, file) = fresh();
        let volume = file.ancestors().nth(2).unwrap();
        fs::create_dir(volume.join("..2026")).unwrap();
        fs::rename(&file, volume.join("..2026/keys.toml")).unwrap();
        symlink("..2026", volume.join("..data")).unwrap();
        symlink("..data/keys.toml", volume.join("keys.toml")).unwrap();
        chmod(volume, 0o3777);
        assert_eq!(verdict(&volume.join("keys.toml")), Ok(()));
    }

    #[test]
    fn who_owns_it_is_root_or_this_user_and_only_root_takes_what_it_was_told_to() {
        let (_dir, file) = fresh();
        let (own, metadata) = (geteuid().as_raw(), fs::metadata(&file).unwrap());
        let as_user = |path: &Path, user: u32| {
            Way::to(path).unwrap().judge(&fs::metadata(path).unwrap(), |owner| owner == 0 || owner == user)
        };
        assert!(trust(&file, &metadata).is_ok() && trust_found(&file, &metadata).is_ok());
        if own != 0 {
            let error = as_user(&file, own + 1).unwrap_err().to_string();
            return assert!(error.contains(&format!("belongs to user {own}")), "{error}");
        }
        for place in [&*file, file.parent().unwrap()] {
            chown(place, Some(12_345), None).unwrap();
            let metadata = fs::metadata(&file).unwrap();
            assert!(trust(&file, &metadata).is_ok() && as_user(&file, 12_345).is_ok());
            let errors =
                [trust_found(&file, &metadata), as_user(&file, 54_321)].map(|judged| judged.unwrap_err().to_string());
            let of_folder = format!("its folder {}", place.display());
            let expected =
                format!("{} belongs to user 12345, who is neither", if place == file { "it" } else { &of_folder });
            assert!(errors.iter().all(|error| error.starts_with(&expected)), "{errors:?}");
            chown(place, Some(0), None).unwrap();
        }
    }

    #[test]
    fn a_link_leads_nobody_to_what_its_maker_does_not_own() {
        let (_dir, file) = fresh();
        let link = file.with_file_name("link");
        symlink(&file, &link).unwrap();
        if std::os::unix::fs::lchown(&link, Some(12_345), None).is_err() {
            return; // only root can give it away
        }
        assert!(verdict(&link).unwrap_err().starts_with("a link on the way to it belongs to user 12345, and"));
        chown(&file, Some(12_345), None).unwrap();
        assert_eq!(verdict(&link), Ok(()));
    }

    #[test]
    fn a_configuration_that_the_servers_user_can_rewrite_is_told() {
        let (_dir, file) = fresh();
        if !geteuid().is_root() {
            return assert!(rewritable(&file).unwrap().contains(&format!("user {} can write", geteuid().as_raw())));
        }
        assert_eq!(rewritable(&file), None);
        for place in [&*file, file.parent().unwrap()] {
            chown(place, Some(12_345), None).unwrap();
            let told = rewritable(&file).unwrap();
            assert!(told.starts_with(&format!("user 12345 can write to {}: ", place.display())), "{told}");
            chown(place, Some(0), None).unwrap();
        }
    }

    #[test]
    fn what_a_group_can_write_to_is_told_and_not_refused() {
        let (_dir, file) = fresh();
        assert_eq!(shared(&file), None);
        for place in file.ancestors().take(3) {
            if chown(place, None, Some(12_345)).is_err() && fs::metadata(place).unwrap().gid() == 0 {
                return;
            }
            let before = fs::metadata(place).unwrap().mode() & 0o7777;
            chmod(place, before | 0o020);
            let told = shared(&file).unwrap();
            assert!(told.contains(&format!("can write to {} (mode 0775)", place.display())) || place == file, "{told}");
            assert_eq!(verdict(&file), Ok(()));
            chmod(place, before);
        }
    }
}
