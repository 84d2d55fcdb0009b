//! What is handed over from outside: pasted texts, keyrings on one line, variables, and files that a container was given
//! one by one.

use crate::{Done, GOOD, Served, authseal, done, folder, ready, run, run_with_input, sealed, shell};
use authseal::authid::RevokeCode;
use authseal::seal::Keyring;
use secrecy::ExposeSecret;
use std::fs;
use std::path::Path;
use std::process::Command;

fn with(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Done {
    done(authseal(folder, arguments).envs(variables.iter().copied()).spawn().unwrap())
}

#[test]
fn the_command_line_reads_what_people_paste() {
    let folder = ready(GOOD);
    let (authid, grant) = sealed(folder.path(), "onedrivev2");
    let wrapped = authid.as_bytes().chunks(40).map(|line| str::from_utf8(line).unwrap()).collect::<Vec<_>>();
    for pasted in [
        format!("\"{authid}\"\n"),
        format!("\u{feff}X-AuthID: {authid}\r\n"),
        format!("authid={}&x=y", authid.replace(':', "%3A")),
        wrapped.join("\r\n"),
        wrapped.join("\n> "),
        authid.replace('-', "\u{2013}"),
    ] {
        let done = run_with_input(folder.path(), &["authid", "inspect"], &pasted);
        assert!(done.code == 0 && done.out.contains(&grant.to_string()), "{pasted:?}: {done:?}");
    }
    let keyring = Keyring::parse(&fs::read_to_string(folder.path().join("keys.toml")).unwrap()).unwrap();
    let service = authseal::authid::ServiceId::parse("onedrivev2").unwrap();
    let code = RevokeCode::new(keyring.primary(), &service, grant).encode();
    let code = code.expose_secret();
    let pasted = format!("Revoke code:\n„{}\r\n {}“", &code[..30], &code[30..]);
    let done = run_with_input(folder.path(), &["authid", "revoke"], &pasted);
    assert!(done.code == 0 && done.out.contains("yes, durably"), "{done:?}");
    let damaged = run_with_input(folder.path(), &["authid", "inspect"], &authid[..authid.len() - 3]);
    assert_eq!(damaged.code, 1, "{damaged:?}");
}

#[test]
fn a_keyring_on_one_line_is_printed_and_taken() {
    let folder = folder(GOOD);
    assert_eq!(run(folder.path(), &["denylist", "init"]).code, 0);
    let made = run(folder.path(), &["keys", "new", "--one-line"]);
    assert_eq!((made.code, made.out.lines().count()), (0, 1), "{made:?}");
    assert!(!folder.path().join("keys.toml").exists());
    let one_line = made.out.trim_end();
    let variables = [("AUTHSEAL_KEYRING__TEXT", one_line)];
    let listed = with(folder.path(), &["keys", "list"], &variables);
    assert!(listed.code == 0 && listed.out.contains("primary"), "{listed:?}");
    let staged = with(folder.path(), &["keys", "stage", "--print"], &variables);
    assert!(staged.code == 0 && staged.out.contains("[[key]]"), "{staged:?}");
    let escaped = staged.out.trim_end().replace('\n', "\\n");
    assert_eq!(with(folder.path(), &["check"], &[("AUTHSEAL_KEYRING__TEXT", &escaped)]).code, 0);
    assert_eq!(run_with_input(folder.path(), &["keys", "list", "--keyring", "-"], one_line).code, 0);
    let cut = with(folder.path(), &["check"], &[("AUTHSEAL_KEYRING__TEXT", "primary = 1 [[key]] epoch = 1")]);
    assert!(cut.err.contains("`authseal keys new --one-line`"), "{cut:?}");
}

#[test]
fn check_names_the_variable_that_was_meant_and_what_is_hardly_meant() {
    let folder = ready(GOOD);
    let done = with(folder.path(), &["check"], &[("AUTHSEAL_SERVER_DRAIN_SECONDS", "5")]);
    let expected = "(in AUTHSEAL_SERVER_DRAIN_SECONDS) is not a known key; did you mean AUTHSEAL_SERVER__DRAIN_SECONDS (two underscores)?";
    assert!(done.code == 2 && done.err.contains(expected), "{done:?}");
    let google = [
        ("AUTHSEAL_CLIENTS__GOOGLE__ID", "1234567890-abc.apps.googleusercontent.com"),
        ("AUTHSEAL_CLIENTS__GOOGLE__SECRET", "hunter2 Zw3"),
    ];
    let done = with(folder.path(), &["check"], &google);
    assert_eq!(done.code, 0, "{done:?}");
    for expected in [
        "warning: public_url (in ",
        "names a host that is reserved for examples",
        "warning: clients.google.id (in AUTHSEAL_CLIENTS__GOOGLE__ID) is the example of the documentation",
        "warning: clients.google.secret (in AUTHSEAL_CLIENTS__GOOGLE__SECRET) holds a space",
    ] {
        assert!(done.out.contains(expected), "{expected}: {done:?}");
    }
    assert!(!done.out.contains("hunter2"));
}

/// A script in a mount namespace of its own, with `outside/keys.toml` and `outside/denylist` mounted alone into `folder`;
/// `None` where this machine does not let its users have one.
fn mounted(folder: &Path, script: &str) -> Option<Command> {
    let may = Command::new("unshare").args(["-Urm", "true"]).status().is_ok_and(|status| status.success());
    fs::create_dir(folder.join("outside")).unwrap();
    for name in ["keys.toml", "denylist"] {
        fs::copy(folder.join(name), folder.join("outside").join(name)).unwrap();
    }
    let mount = "mount --bind outside/keys.toml keys.toml && mount --bind outside/denylist denylist";
    may.then(|| {
        let mut command = shell(folder, &format!("exec unshare -Urm sh -c '{mount} && {script}' \"$0\""));
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    })
}

/// As an editor saves a file.
fn replace(path: &Path) {
    let aside = path.with_extension("aside");
    fs::copy(path, &aside).unwrap();
    fs::rename(aside, path).unwrap();
}

#[test]
fn a_single_mounted_file_that_was_replaced_outside_is_told_of_once_by_the_server() {
    let folder = ready(GOOD);
    let Some(mut command) = mounted(folder.path(), "exec \"$0\" serve") else { return };
    let served = Served::by(&mut command);
    for name in ["denylist", "keys.toml"] {
        replace(&folder.path().join("outside").join(name));
        let line = served.logged(
            "this file was replaced or removed outside this container, which goes by the old one; mount its folder instead",
        );
        assert!(line["level"] == "WARN" && line["file"].as_str().unwrap().ends_with(name), "{line}");
    }
}

#[test]
fn check_tells_of_single_mounted_files_that_were_replaced_outside() {
    let folder = ready(GOOD);
    let script = "cp outside/denylist a && mv a outside/denylist && cp outside/keys.toml a && mv a outside/keys.toml && \
                  \"$0\" check && \"$0\" denylist check";
    let Some(mut command) = mounted(folder.path(), script) else { return };
    let done = done(command.spawn().unwrap());
    assert_eq!(done.code, 0, "{done:?}");
    let told = |name: &str| {
        let file = format!("{} was replaced or removed outside", folder.path().join(name).display());
        done.out.lines().filter(|line| line.starts_with("warning: ") && line.contains(&file)).count()
    };
    assert_eq!((told("denylist"), told("keys.toml")), (2, 1), "{done:?}");
}
