//! Who could have written what is read here. The text of a configuration, a keyring or a denylist is worth no more than
//! the least of those who can change it, or put something else in its place. Whom it may be shown to is another question,
//! which the readers of secrets ask.
//!
//! Every folder that a name is looked up in on the way counts, those that links lead through too. A volume that is mounted
//! read-only is taken as it is: nobody on this side can write to it, and the modes that Kubernetes and container engines
//! give it mean users of another machine. That a group can write is usual where each user has a group, so it is told
//! and not refused.

use rustix::fs::{StatVfsMountFlags, statvfs};
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

/// Why what is at a path is not taken: a sentence that names the file or the folder, and what to do.
#[derive(Debug, Error)]
#[allow(missing_docs, reason = "each message is its variant's description")]
pub enum Untrusted {
    #[error("every user of this machine can write to {0} (mode {1:04o}); run `chmod o-w {0}`")]
    Writable(PathBuf, u32),
    #[error(
        "{0} belongs to user {1}, who is neither root nor the user that this runs as; give it to one of them with `chown`"
    )]
    Foreign(PathBuf, u32),
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
    judge(path, metadata, |owner| geteuid().is_root() || is_own(owner))
}

/// [`trust`] for what nobody named, but was found: root, too, takes only its own.
///
/// # Errors
/// The first reason not to trust it.
pub fn trust_found(path: &Path, metadata: &Metadata) -> Result<(), Untrusted> {
    judge(path, metadata, is_own)
}

fn is_own(owner: u32) -> bool {
    owner == 0 || owner == geteuid().as_raw()
}

fn judge(path: &Path, metadata: &Metadata, is_trusted: impl Fn(u32) -> bool) -> Result<(), Untrusted> {
    let mode = metadata.mode() & 0o7777;
    // The sticky bit does not help here: all could add to the folder.
    if mode & EVERYBODY_WRITES != 0 && !(metadata.is_dir() && is_sealed(path, metadata)) {
        return Err(Untrusted::Writable(path.to_owned(), mode));
    }
    if !is_trusted(metadata.uid()) && !is_sealed(path, metadata) {
        return Err(Untrusted::Foreign(path.to_owned(), metadata.uid()));
    }
    for (folder, holds_it) in way(path)? {
        let metadata = fs::metadata(&folder)?;
        let mode = metadata.mode() & 0o7777;
        let exchangeable = mode & EVERYBODY_WRITES != 0 && mode & STICKY == 0;
        if exchangeable && !is_sealed(&folder, &metadata) {
            return Err(Untrusted::Writable(folder, mode));
        }
        if holds_it && !is_trusted(metadata.uid()) && !is_sealed(&folder, &metadata) {
            return Err(Untrusted::Foreign(folder, metadata.uid()));
        }
    }
    Ok(())
}

/// Whether it is on a volume that is mounted read-only. The root file system does not count: systemd's `ProtectSystem`
/// makes that read-only for a service, while the machine's users go on writing to it.
fn is_sealed(path: &Path, metadata: &Metadata) -> bool {
    let is_volume = fs::metadata("/").is_ok_and(|root| root.dev() != metadata.dev());
    is_volume && statvfs(path).is_ok_and(|volume| volume.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// The folders in which names are looked up on the way to `path`, and of each whether the last name is looked up in it:
/// that of the file, or of the link to it.
fn way(path: &Path) -> io::Result<Vec<(PathBuf, bool)>> {
    let names = |path: &Path| path.components().rev().map(|name| name.as_os_str().to_owned()).collect::<Vec<_>>();
    let mut rest: Vec<OsString> = names(&absolute(path)?);
    let (mut here, mut folders, mut links) = (PathBuf::new(), Vec::new(), 0);
    while let Some(name) = rest.pop() {
        match name.as_bytes() {
            b"/" => here = PathBuf::from("/"),
            b".." => drop(here.pop()),
            b"." => {}
            _ => {
                folders.push((here.clone(), rest.is_empty()));
                let next = here.join(&name);
                match fs::read_link(&next) {
                    Err(_) => here = next,
                    Ok(_) if links == MAX_LINKS => return Err(rustix::io::Errno::LOOP.into()),
                    Ok(target) => {
                        links += 1;
                        rest.extend(names(&target));
                    }
                }
            }
        }
    }
    Ok(folders)
}

/// A sentence about `path` or a folder on the way to it, if a group can write there. For advice: it refuses nothing.
pub fn shared(path: &Path) -> Option<String> {
    let folders = way(path).ok()?.into_iter().map(|(folder, _)| folder);
    folders.chain([path.to_owned()]).find_map(|place| {
        let metadata = fs::metadata(&place).ok()?;
        let (mode, group) = (metadata.mode() & 0o7777, metadata.gid());
        let open = mode & GROUP_WRITES != 0 && group != 0 && (metadata.is_file() || mode & STICKY == 0);
        (open && !is_sealed(&place, &metadata)).then(|| {
            format!(
                "the members of group {group} can write to {place} (mode {mode:04o}); unless they run this server, `chmod g-w {place}`",
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
            let expected = format!(
                "every user of this machine can write to {0} (mode {mode:04o}); run `chmod o-w {0}`",
                place.display()
            );
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
        let as_user =
            |path: &Path, user: u32| judge(path, &fs::metadata(path).unwrap(), |owner| owner == 0 || owner == user);
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
            let expected = format!("{} belongs to user 12345, who is neither root nor", place.display());
            assert!(errors.iter().all(|error| error.starts_with(&expected)), "{errors:?}");
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
