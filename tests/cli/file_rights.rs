//! Who else could have written a file, and what is in its place: what is taken, what is refused, and what root's commands do
//! in a folder that belongs to a less privileged user.

use crate::{Done, GOOD, Served, done, empty, ready, run, run_with_input, shell, tls::with_certificate};
use rustix::fs::{CWD, Mode, mkfifoat};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The service's user, and somebody else, where root can pretend them.
const SERVICE: u32 = 12_345;
const OTHER: u32 = 54_321;

/// What a server goes by, file by file.
const FILES: [&str; 8] =
    ["authseal.toml", "keys.toml", "denylist", "cert.pem", "key.pem", "password", "secret", "templates/error.html"];

/// A folder with all of them.
fn everything() -> TempDir {
    let folder = with_certificate();
    let at = folder.path();
    let config = fs::read_to_string(at.join("authseal.toml")).unwrap();
    let more = "access.password_file = \"password\"\nclients.google = { id = \"i\", secret_file = \"secret\" }\n";
    fs::write(at.join("authseal.toml"), format!("templates_dir = \"templates\"\n{more}{config}")).unwrap();
    fs::write(at.join("password"), run_with_input(at, &["access", "hash"], "correct horse\n").out).unwrap();
    fs::write(at.join("secret"), "hush\n").unwrap();
    fs::create_dir(at.join("templates")).unwrap();
    fs::write(at.join("templates/error.html"), "mine").unwrap();
    for name in FILES.iter().chain(&["templates", "acme", ""]) {
        let mode = if at.join(name).is_dir() { 0o755 } else { 0o640 };
        chmod(&at.join(name), mode);
    }
    folder
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn own_all(folder: &Path, user: u32) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() { own_all(&entry, user) } else { lchown(entry, Some(user), Some(user)).unwrap() }
    }
    chown(folder, Some(user), Some(user)).unwrap();
}

fn fails_with(done: &Done, words: &str) {
    assert!(done.code == 2 && done.err.contains(words), "{words}: {done:?}");
}

#[test]
fn what_every_user_could_change_is_refused_wherever_it_is_named() {
    let folder = everything();
    let at = folder.path();
    let check = || run(at, &["check"]);
    assert_eq!(check().code, 0, "{:?}", check());
    for name in FILES.iter().chain(&["templates"]) {
        let path = at.join(name);
        let before = fs::metadata(&path).unwrap().mode();
        for bit in [0o002, 0o022] {
            chmod(&path, before & 0o7777 | bit);
            let words = if name.starts_with("ke") {
                "lets every user of this machine in"
            } else {
                "every user of this machine can write to it"
            };
            fails_with(&check(), words);
            fails_with(&run(at, &["serve"]), words);
        }
        chmod(&path, before & 0o7777);
    }
    for (mode, good) in [(0o777, false), (0o703, false), (0o1777, true)] {
        chmod(at, mode);
        match good {
            true => assert_eq!(check().code, 0),
            false => fails_with(&check(), &format!("since all can write to {} (mode {mode:04o})", at.display())),
        }
    }
}

#[test]
fn a_folder_that_another_program_fills_may_be_anybodys_and_is_not_everybodys() {
    let folder = everything();
    let at = folder.path();
    let config = fs::read_to_string(at.join("authseal.toml")).unwrap();
    fs::write(at.join("authseal.toml"), format!("legacy.v1_dir = \"old\"\n{config}")).unwrap();
    fs::create_dir(at.join("old")).unwrap();
    for name in ["acme", "old"] {
        if is_root() {
            chown(at.join(name), Some(OTHER), None).unwrap();
        }
        for (mode, good) in [(0o777, false), (0o1777, false), (0o703, false), (0o775, true), (0o755, true)] {
            chmod(&at.join(name), mode);
            let done = run(at, &["check"]);
            match good {
                true => assert_eq!(done.code, 0, "{name}: {done:?}"),
                false => fails_with(&done, &format!("every user of this machine can write to it (mode {mode:04o})")),
            }
        }
    }
}

#[test]
fn what_a_certificate_comes_from_is_not_everybodys() {
    let acme = "acme = { contact = \"admin@example.com\", ca_file = \"ca.pem\" }\n";
    let folder = ready(&format!("{GOOD}{acme}"));
    let at = folder.path();
    fs::create_dir_all(at.join("acme/challenges")).unwrap();
    fs::write(at.join("ca.pem"), "").unwrap();
    for name in ["acme", "acme/challenges", "ca.pem"] {
        let path = at.join(name);
        chmod(&path, 0o750);
        assert_eq!(run(at, &["check"]).code, 0, "{name}: {:?}", run(at, &["check"]));
        chmod(&path, 0o777);
        fails_with(&run(at, &["check"]), "every user of this machine can write to it (mode 0777)");
        chmod(&path, 0o750);
    }
}

#[test]
fn what_a_third_user_owns_is_refused_by_the_server_and_a_group_is_warned_of() {
    if !is_root() {
        return; // only root can give files away
    }
    let folder = everything();
    let at = folder.path();
    // Where others may run it.
    let binary = at.join("authseal");
    fs::copy(env!("CARGO_BIN_EXE_authseal"), &binary).unwrap();
    own_all(at, SERVICE);
    let check = || {
        let mut command = empty(at, binary.to_str().unwrap(), &["check"]);
        done(command.uid(SERVICE).gid(SERVICE).spawn().unwrap())
    };
    let good = check();
    assert!(
        good.code == 0 && good.out.contains(&format!("warning: user {SERVICE} can write to {}: ", at.display())),
        "{good:?}"
    );
    for name in FILES.iter().chain(&["templates", ""]) {
        let path = at.join(name);
        chown(&path, Some(OTHER), None).unwrap();
        fails_with(&check(), &format!("belongs to user {OTHER}, who is neither root nor"));
        chown(&path, Some(0), None).unwrap();
        assert_eq!(check().code, 0, "{name}: {:?}", check());
        chown(&path, Some(SERVICE), None).unwrap();
    }
    for name in FILES.iter().filter(|name| !name.contains('/')).chain(&["templates", ""]) {
        let path = at.join(name);
        let before = fs::metadata(&path).unwrap().mode() & 0o7777;
        chmod(&path, before | 0o020);
        let told = check();
        let warning = format!("warning: the members of group {SERVICE} can write to {} (mode ", path.display());
        assert!(
            told.code == 0 && told.out.matches(warning.trim_end_matches("/ (mode ")).count() == 1,
            "{name}: {told:?}"
        );
        chmod(&path, before);
    }
}

#[test]
fn nothing_waits_for_a_pipe_or_a_device_in_the_place_of_a_file() {
    let folder = everything();
    let at = folder.path();
    for name in FILES {
        let (path, kept) = (at.join(name), at.join("kept"));
        fs::rename(&path, &kept).unwrap();
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        fails_with(&run(at, &["check"]), "it is no regular file");
        fails_with(&run(at, &["serve"]), "it is no regular file");
        fs::remove_file(&path).unwrap();
        symlink("/dev/zero", &path).unwrap();
        fails_with(&run(at, &["check"]), "it is no regular file");
        fs::rename(&kept, &path).unwrap();
    }
}

#[test]
fn a_pipe_that_takes_a_files_place_later_keeps_no_other_file_from_being_followed() {
    let folder = everything();
    let at = folder.path();
    let served = Served::start(at, &[]);
    fs::remove_file(at.join("password")).unwrap();
    mkfifoat(CWD, at.join("password"), Mode::RUSR | Mode::WUSR).unwrap();
    served.logged("password not loaded; the one loaded before stays in force");
    assert_eq!(run(at, &["denylist", "add", "epoch", "9"]).code, 0);
    served.logged("denylist loaded");
    assert_eq!(run(at, &["keys", "stage"]).code, 0);
    served.logged("keyring loaded");
}

#[test]
fn a_configuration_may_come_from_what_the_caller_hands_over() {
    let folder = ready(GOOD);
    let pipe = "cat authseal.toml | \"$0\" check --config /dev/stdin";
    // As some shells do with the lines that follow a command.
    let nameless = "exec 3< authseal.toml; rm authseal.toml; \"$0\" check --config /dev/fd/3";
    for script in [pipe, nameless] {
        let mut command = shell(folder.path(), script);
        command.env("PATH", std::env::var("PATH").unwrap());
        for (key, name) in [("AUTHSEAL_KEYRING__FILE", "keys.toml"), ("AUTHSEAL_DENYLIST__FILE", "denylist")] {
            command.env(key, name);
        }
        let checked = done(command.spawn().unwrap());
        assert_eq!(checked.code, 0, "{script}: {checked:?}");
    }
}

#[test]
fn a_configuration_in_the_working_directory_counts_only_if_it_is_the_callers_own() {
    let folder = ready(GOOD);
    let at = folder.path();
    let config = at.join("authseal.toml");
    let verbs: [&[&str]; 3] = [&["check"], &["denylist", "add", "epoch", "3"], &["keys", "stage"]];
    let refused = |words: &str| {
        for verb in verbs {
            let done = run(at, verb);
            fails_with(&done, "authseal.toml is not used, though it is in the working directory: ");
            assert!(done.err.contains(words), "{done:?}");
        }
    };
    chmod(at, 0o777);
    fails_with(&run(at, &["check"]), "since all can write to");
    chmod(at, 0o755);
    if is_root() {
        for place in [at, &config] {
            chown(place, Some(SERVICE), None).unwrap();
            refused(&format!("belongs to user {SERVICE}"));
            let named = run(at, &["check", "--config", "authseal.toml"]);
            assert_eq!(named.code, 0, "root takes what it is told to take: {named:?}");
            chown(place, Some(0), None).unwrap();
        }
    }
    assert_eq!(run(at, &["check"]).code, 0);
    assert!(!at.join("keys.toml.lock").exists() && !at.join("denylist.lock").exists());
}

#[test]
fn roots_commands_neither_open_nor_make_nor_give_away_what_a_planted_link_leads_to() {
    let folder = ready(GOOD);
    let at = folder.path().canonicalize().unwrap();
    let config = at.join("authseal.toml");
    let (secret, absent) = (at.join("root/secret"), at.join("root/absent"));
    fs::create_dir(at.join("root")).unwrap();
    fs::write(&secret, "root:…").unwrap();
    chmod(&secret, 0o600);
    fs::create_dir(at.join("etc")).unwrap();
    for name in ["authseal.toml", "keys.toml", "denylist"] {
        fs::rename(at.join(name), at.join("etc").join(name)).unwrap();
    }
    let etc = at.join("etc");
    assert!(!config.exists());
    if is_root() {
        own_all(&etc, SERVICE);
    }
    let rights = |path: &Path| fs::metadata(path).map(|found| (found.uid(), found.gid(), found.mode())).unwrap();
    let before = rights(&secret);
    for (verb, file) in [(&["keys", "stage"][..], "keys.toml"), (&["denylist", "add", "epoch", "3"], "denylist")] {
        let command = [verb, &["--config", "etc/authseal.toml"]].concat();
        let lock = etc.join(format!("{file}.lock"));
        let text = fs::read(etc.join(file)).unwrap();
        for target in [&secret, &absent] {
            symlink(target, &lock).unwrap();
            let done = run(&at, &command);
            assert!(done.code == 1 && done.err.contains("this is not the lock that authseal makes"), "{done:?}");
            assert_eq!((rights(&secret), absent.exists(), &fs::read(etc.join(file)).unwrap()), (before, false, &text));
            fs::remove_file(&lock).unwrap();
        }
        assert_eq!(run(&at, &command).code, 0);
        assert_eq!(rights(&lock).2 & 0o7777, 0o600);
        assert_eq!(rights(&lock).0, rights(&etc.join(file)).0, "what is made is the owner's of the file");
    }
    if is_root() {
        // A keyring and a denylist that are root's alone, and links to them.
        for (make, verb, file) in [
            (["keys", "new", "root/keys.toml"], &["keys", "stage"][..], "keys.toml"),
            (["denylist", "init", "root/denylist"], &["denylist", "add", "epoch", "4"], "denylist"),
        ] {
            assert_eq!(run(&at, &make).code, 0);
            let (own, link) = (at.join("root").join(file), etc.join(file));
            let text = fs::read(&own).unwrap();
            fs::remove_file(&link).unwrap();
            symlink(&own, &link).unwrap();
            lchown(&link, Some(SERVICE), Some(SERVICE)).unwrap();
            let done = run(&at, &[verb, &["--config", "etc/authseal.toml"]].concat());
            assert!(done.code != 0 && done.err.contains("a link on the way to it belongs to user 12345"), "{done:?}");
            assert_eq!(fs::read(&own).unwrap(), text);
        }
        assert_eq!(names(&at.join("root")), ["denylist", "keys.toml", "secret"]);
    }
}

/// The names in a folder and below it, sorted.
fn names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        for entry in fs::read_dir(folder.join(&below)).unwrap() {
            let name = below.join(entry.unwrap().file_name());
            names.push(name.to_str().unwrap().to_owned());
            if folder.join(&name).is_dir() {
                folders.push(name);
            }
        }
    }
    names.sort();
    names
}

#[test]
fn looking_at_things_makes_nothing() {
    let folder = everything();
    let at = folder.path();
    let before = names(at);
    for looking in [
        "check",
        "providers",
        "config show --all",
        "keys list",
        "keys verify",
        "keys stage --dry-run",
        "keys stage --print",
        "keys promote 1 --dry-run",
        "keys retire 1 --dry-run",
        "keys new --dry-run",
        "denylist list",
        "denylist check",
        "denylist add epoch 3 --dry-run",
        "denylist remove epoch 3 --dry-run",
        "denylist compact --dry-run",
        "authid inspect",
        "init --dir other --public-url https://oauth.example.com --yes --dry-run",
    ] {
        run(at, &looking.split(' ').collect::<Vec<_>>());
        assert_eq!(names(at), before, "{looking}");
    }
}

#[test]
fn folders_that_init_makes_are_closed_whatever_the_umask_is() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let flags = "--dir a/etc --denylist b/state/denylist --public-url https://oauth.example.com --yes";
    let made = done(shell(at, &format!("umask 0; \"$0\" init {flags}")).spawn().unwrap());
    assert_eq!(made.code, 0, "{made:?}");
    let mode = |name: &str| fs::metadata(at.join(name)).unwrap().mode() & 0o7777;
    assert_eq!(["a", "a/etc", "b", "b/state"].map(mode), [0o750; 4]);
    let files = ["a/etc/authseal.toml", "a/etc/keys.toml", "b/state/denylist"];
    assert_eq!(files.map(mode), [0o640, 0o600, 0o640]);
    let config = ["check", "--config", "a/etc/authseal.toml"];
    assert_eq!(run(at, &config).code, 0, "{:?}", run(at, &config));
    let demo = done(shell(at, "umask 0; \"$0\" demo --once").spawn().unwrap());
    assert_eq!(demo.code, 0, "{demo:?}");
    // Again: what the configuration names is made where it says.
    fs::remove_file(at.join("b/state/denylist")).unwrap();
    let again = run(at, &["init", "--dir", "a/etc", "--yes"]);
    assert!(
        again.code == 0 && at.join("b/state/denylist").exists() && !at.join("a/etc/denylist").exists(),
        "{again:?}"
    );
}
