//! `authseal import oauth-server` over set-ups as they are found: each folder of tests/oauth-server/ with a file
//! `arguments` is one, and `expected` in it is what a dry run says. `TESTS_EXPECTED=1` writes these again: read them.

use crate::{Done, Served, authseal, done, run};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What is a secret in these set-ups.
const SECRETS: &[&str] = &["hush", "gd-secret-1", "dbxsecret", "boxsecret", "msgraph~secret", "correct horse"];

fn set_ups() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oauth-server");
    let folders = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<_> = folders.filter(|folder| folder.join("arguments").exists()).collect();
    folders.sort();
    assert!(folders.len() >= 9, "{folders:?}");
    folders
}

/// The import of a set-up, with more options.
fn import(set_up: &Path, more: &[&str]) -> Done {
    let arguments = fs::read_to_string(set_up.join("arguments")).unwrap();
    let words = shell_words::split(&arguments).unwrap();
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    let at = words.iter().position(|word| *word == "--").unwrap_or(words.len());
    words.splice(at..at, more.iter().copied());
    run(set_up, &[&["import", "oauth-server"], words.as_slice()].concat())
}

#[test]
fn each_set_up_is_taken_over_as_expected() {
    for set_up in set_ups() {
        let done = import(&set_up, &["--dry-run"]);
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{set_up:?}: {done:?}");
        let said = done.out.replace(env!("CARGO_MANIFEST_DIR"), "…");
        let expected = set_up.join("expected");
        if std::env::var_os("TESTS_EXPECTED").is_some() {
            fs::write(&expected, &said).unwrap();
        }
        assert_eq!(said, fs::read_to_string(&expected).unwrap(), "{set_up:?}");
    }
}

#[test]
fn what_is_written_is_good_and_no_secret_is_shown() {
    for set_up in set_ups() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("etc");
        let at = dir.to_str().unwrap();
        let made = import(&set_up, &["--dir", at]);
        assert_eq!((made.code, made.err.as_str()), (0, ""), "{set_up:?}: {made:?}");
        let check = run(folder.path(), &["check", "--config", dir.join("authseal.toml").to_str().unwrap()]);
        assert_eq!(check.code, 0, "{set_up:?}: {check:?}");
        let configuration = fs::read_to_string(dir.join("authseal.toml")).unwrap();
        let json = import(&set_up, &["--dir", at, "--dry-run", "--json"]);
        for secret in SECRETS {
            for text in [&made.out, &made.err, &check.out, &configuration, &json.out, &json.err] {
                assert!(!text.contains(secret), "{set_up:?}: {secret} in {text}");
            }
        }
        let mut secrets = 0;
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode & 0o007, 0, "{path:?}");
            if path.to_str().unwrap().ends_with("-secret") {
                assert_eq!(mode, 0o600, "{path:?}");
                secrets += 1;
            }
        }
        assert!(secrets > 0, "{set_up:?}");
    }
}

#[test]
fn nothing_that_is_there_is_overwritten() {
    let set_up = &set_ups()[0];
    for there in ["authseal.toml", "google-own-secret"] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(there), "mine").unwrap();
        let done = import(set_up, &["--dir", folder.path().to_str().unwrap()]);
        assert_eq!(done.code, 1, "{done:?}");
        assert!(done.err.contains(&format!("{there} is there already, and an import overwrites nothing")), "{done:?}");
        assert_eq!(fs::read_to_string(folder.path().join(there)).unwrap(), "mine");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

/// A folder to take over from, and what a try in it says: one sentence, and nothing is written.
fn refused(files: &[(&str, &[u8])], arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let done = run(folder.path(), &[&["import", "oauth-server", "--dir", "etc"], arguments].concat());
    assert_eq!(done.code, 2, "{arguments:?}: {done:?}");
    assert!(!folder.path().join("etc").exists(), "{arguments:?}");
    for secret in SECRETS {
        assert!(!done.err.contains(secret) && !done.out.contains(secret), "{secret}: {done:?}");
    }
    assert!(!done.err.contains("panicked"), "{done:?}");
    done.err
}

#[test]
fn a_compose_file_that_cannot_be_used_is_told_in_one_sentence() {
    let laughs: String =
        (1..40).map(|n| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(","))).collect();
    let laughs = format!("a0: &a0 hush\n{laughs}services: {{o: {{image: oauth-server}}}}\n");
    let deep = format!("services: {}", "[".repeat(100_000));
    let huge = "# hush\n".repeat(200_000);
    let two = "services: {a: {image: x}, b: {image: y}}";
    let cases: &[(&[u8], &str)] = &[
        (b"services: [hush", "is no compose file that can be read"),
        (b"services:\n  o: {image: oauth-server, command: \"run 'hush\"}", "is no compose file that can be read"),
        (b"services:\n  o: {image: oauth-server, environment: {A: {b: hush}}}", "is no compose file that can be read"),
        (b"hush: 1\n", "has no services: is it a compose file?"),
        (b"services: {}\n", "has no services: is it a compose file?"),
        (two.as_bytes(), "say which service is the oauth-server, with `--service`; there are `a`, `b`"),
        (b"services: {o: {image: oauth-server, extends: {service: hush}}}", "its service extends another"),
        (b"services: {o: {image: oauth-server, env_file: none.env}}", "none.env: there is no such file"),
        (b"services: {o: {image: oauth-server, env_file: bad.env}}", "bad.env: is no file of variables"),
        (
            b"services: {o: {image: oauth-server, environment: {A: \"${B:?hush}\"}}}",
            "is no compose file that can be read",
        ),
        (b"services: {o: {image: oauth-server, environment: [SECRETS=/hush/s.json]}}", "-- --secrets PATH"),
        (b"services: {o: {image: oauth-server}}", "no service that there can be here"),
        (b"\xff\xfes\0e\0", "UTF-16"),
        (b"\0\x01\x02", "is no compose file that can be read"),
        (laughs.as_bytes(), "is no compose file that can be read"),
        (deep.as_bytes(), "is no compose file that can be read"),
        (huge.as_bytes(), "is longer than"),
    ];
    for (content, sentence) in cases {
        let files: &[(&str, &[u8])] = &[("compose.yaml", content), ("bad.env", b"A='hush\n")];
        let said = refused(files, &["--compose", "compose.yaml"]);
        assert!(said.contains(sentence), "{sentence}: {said}");
    }
    assert!(refused(&[], &["--compose", "none.yaml"]).contains("none.yaml: there is no such file"));
    let other = refused(&[("c.yaml", two.as_bytes())], &["--compose", "c.yaml", "--service", "c"]);
    assert!(other.contains("has no service `c`; there are `a`, `b`"), "{other}");
}

#[test]
fn files_of_services_and_secrets_that_cannot_be_used_are_told_in_one_sentence() {
    let encrypted =
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oauth-server/secrets.json.aes")).unwrap();
    let deep = "[".repeat(100_000);
    let huge = format!("[\"{}\"]", "hush".repeat(300_000));
    let services: &[(&[u8], &str)] = &[
        (b"", "is no list of services in JSON"),
        (b"{\"id\": \"hush\"}", "line 1, column"),
        (b"[1]", "is no list of services in JSON"),
        (b"[{\"id\": 7}]", "`id` of entry 1 must be a text in quotation marks"),
        (b"[{\"id\": \"a\", \"Hidden\": \"hush\"}]", "`Hidden` of entry 1 must be true or false"),
        (b"[{\"name\": \"hush\"}]", "entry 1 has no `id`"),
        (deep.as_bytes(), "is no list of services in JSON"),
        (huge.as_bytes(), "is longer than"),
    ];
    for (content, sentence) in services {
        let said = refused(&[("c.json", content)], &["--", "--configfile", "c.json", "--hostname", "o.example.com"]);
        assert!(said.contains(sentence), "{sentence}: {said}");
    }
    let cut = &encrypted[..encrypted.len() - 40];
    let secrets: &[(&[u8], &[&str], &str)] = &[
        (b"hush", &[], "is no JSON object with texts in it"),
        (b"{\"A\": 1}", &[], "is no JSON object with texts in it"),
        (&encrypted, &[], "is a file of AES Crypt; give its passphrase"),
        (&encrypted, &["--secrets-passphrase", "hush"], "does not open: the password is another one"),
        (cut, &["--secrets-passphrase", "correct horse"], "is damaged"),
        (b"{\"A\": \"hush\"}", &["--secrets-passphrase", "hush"], "is not a file of AES Crypt"),
    ];
    for (content, more, sentence) in secrets {
        let said = refused(&[("s.json", content)], &[&["--", "--secrets", "s.json"], *more].concat());
        assert!(said.contains(sentence), "{sentence}: {said}");
    }
    for (line, sentence) in [
        (["--secrets", "none.json"], "none.json: there is no such file"),
        (["--secrets", "."], "it is no regular file"),
        (["--secrets", "base64:hush!"], "is not base64 after `base64:`"),
        (["--services", "--hostname"], "--services has no value"),
    ] {
        let said = refused(&[], &[&["--"], line.as_slice()].concat());
        assert!(said.contains(sentence), "{sentence}: {said}");
    }
    let config =
        b"[{\"id\": \"dropbox\", \"serviceId\": \"DROPBOX\", \"clientId\": \"a\", \"clientSecret\": \"hush\"}]";
    for host in ["o.example.com/path", "o example", "user:hush@o.example.com"] {
        let said = refused(&[("c.json", config)], &["--", "--configfile", "c.json", "--hostname", host]);
        assert!(said.contains("public_url"), "{said}");
    }
}

#[test]
fn a_server_runs_from_the_same_settings_at_once() {
    let set_up = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oauth-server");
    let folder: TempDir = tempfile::tempdir().unwrap();
    let secrets = set_up.join("secrets.json");
    let line =
        ["run", "--hostname", "oauth.example.com", "--listen-urls", "http://127.0.0.1:0", "--services", "gd,box"];
    let tokens = set_up.join("tokens");
    let more = ["--storage", tokens.to_str().unwrap()];
    let words = [&["serve", "--oauth-server-env", "--dir", "data", "--"], line.as_slice(), &more].concat();
    let command = || {
        let mut command = authseal(folder.path(), &words);
        command.env("Secrets", &secrets);
        command
    };
    let without = done(command().spawn().unwrap());
    assert_eq!(without.code, 2, "{without:?}");
    let keys = folder.path().join("data/keys.toml");
    let sentence = format!("there is no keyring {0}: `authseal keys new {0}` makes one", keys.display());
    assert!(without.err.contains(&sentence), "{without:?}");
    fs::create_dir(folder.path().join("data")).unwrap();
    assert_eq!(run(folder.path(), &["keys", "new", "data/keys.toml"]).code, 0);
    for _ in 0..2 {
        let served = Served::by(&mut command());
        let mut stream = TcpStream::connect(&served.address).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        assert!(page.contains("Google Drive") && page.contains("Box") && !page.contains("Dropbox"), "{page}");
    }
    assert!(folder.path().join("data/denylist/denylist").exists());
    let in_text = run(folder.path(), &["keys", "new", "--one-line"]).out;
    let mut given = command();
    fs::remove_file(keys).unwrap();
    drop(Served::by(given.env("AUTHSEAL_KEYRING__TEXT", in_text.trim())));
    let both = run(folder.path(), &["serve", "--oauth-server-env", "--config", "x.toml"]);
    assert_eq!(both.code, 2, "{both:?}");
}

#[test]
fn more_hostile_files_are_told_in_one_sentence_too() {
    let zeros = vec![0; 100_000];
    let bomb = format!("{}{}", "{\"a\":".repeat(200), "1");
    let twice = b"{\"A\": \"hush\", \"A\": 7}";
    let services: &[&[u8]] = &[
        &zeros,
        bomb.as_bytes(),
        b"null",
        b"[null]",
        b"[[]]",
        b"[{}]",
        b"[{\"id\": \"\"}]",
        b"[{\"id\": null, \"serviceId\": \"GD\"}]",
        b"[{\"id\": {\"a\": \"hush\"}}]",
        b"[{\"id\": \"a\"}, ]",
        b"[{\"id\": \"a\"}] [",
        b"[{\"id\": \"\xff\xfe\"}]",
        b"[{\"id\": \"a\", \"scope\": [\"hush\"]}]",
        b"\xff\xfe[\0]\0",
        b"[{\"id\": \"dropbox\", \"serviceId\": \"DROPBOX\", \"clientId\": \"a\", \"clientSecret\": 1e400}]",
    ];
    for content in services {
        let said = refused(&[("c.json", content)], &["--", "--configfile", "c.json", "--hostname", "o.example.com"]);
        assert!(said.lines().filter(|line| !line.trim().is_empty()).count() <= 3 && said.len() < 600, "{said}");
    }
    let secrets: &[&[u8]] = &[
        &zeros,
        bomb.as_bytes(),
        twice,
        b"[]",
        b"\"hush\"",
        b"{\"A\": null}",
        b"{\"A\": \"hush\"",
        b"AES",
        b"AES\x02",
    ];
    for content in secrets {
        let said = refused(&[("s.json", content)], &["--", "--secrets", "s.json"]);
        assert!(said.lines().filter(|line| !line.trim().is_empty()).count() <= 3 && said.len() < 600, "{said}");
    }
    let compose: &[&[u8]] = &[
        b"services: &a {o: *a}",
        b"services:\n  o:\n    image: oauth-server\n    command: [run, {a: hush}]\n",
        b"services: {o: {image: oauth-server, env_file: [{path: none.env, required: true}]}}",
        b"services: {o: {image: oauth-server, env_file: /dev/zero}}",
        b"services: {o: {image: oauth-server, env_file: .}}",
        b"services: {o: {image: oauth-server, environment: 7}}",
        b"- services\n",
        b"services: {o: null}",
        b"services: {1: {image: x}, 1: {image: y}}",
        b"!!python/object/apply:os.system [hush]",
        b"%YAML 9.9\n---\nservices: [",
        &zeros,
    ];
    for content in compose {
        let said = refused(&[("compose.yaml", content)], &["--compose", "compose.yaml"]);
        assert!(said.lines().filter(|line| !line.trim().is_empty()).count() <= 3 && said.len() < 600, "{said}");
    }
    for (name, content) in
        [("a.env", &zeros[..]), ("b.env", b"=hush"), ("c.env", b"A B=hush\n"), ("d.env", b"\xff\xfe")]
    {
        let said = refused(&[(name, content)], &["--env-file", name]);
        assert!(said.len() < 600, "{said}");
    }
}
