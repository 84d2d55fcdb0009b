//! Values as people hand them over: what is cleaned, what is refused, what is warned of.

use super::*;

const ID: &str = "1122334455-k8s1qv9pd0z2x4c6v8b0n2m4a6s8d0f2.apps.googleusercontent.com";
const GUID: &str = "6e74b0d1-8a53-4f6e-9c1d-2f0b7a9e5c44";
const SECRET: &str = "GOCSPX-hunter2-Zw3aB_9x";

/// A configuration file with an own provider, and these keys.
fn file(lines: &str) -> String {
    format!(
        "public_url = \"https://oauth.authseal.org\"\nkeyring.file = \"k\"\n[providers.own]\nname = \"Own\"\nrotation = \"none\"\n\
        authorize_url = \"https://a.lan/a\"\ntoken_url = \"https://a.lan/t\"\n{lines}\n"
    )
}

fn at(lines: &str, env: &[(&str, &str)]) -> (TempDir, Sources) {
    let (folder, sources) = sources(None);
    fs::write(folder.path().join("authseal.toml"), file(lines)).unwrap();
    fs::set_permissions(folder.path().join("authseal.toml"), Permissions::from_mode(0o600)).unwrap();
    (folder, with(sources, env, &[]))
}

fn warnings(lines: &str, env: &[(&str, &str)]) -> Vec<String> {
    Config::load(&at(lines, env).1).map(|config| [config.warnings, config.doubts].concat()).unwrap()
}

#[test]
fn what_is_blank_round_a_value_is_dropped_at_every_door() {
    for blank in ["\u{feff}", " ", "\u{a0}", "\r", "\n", "\r\n", "\t", "\u{200b}", "\u{2060}", "\u{3000}", "\u{7f}"] {
        let round = |text: &str| format!("{blank}{text}{blank}{blank}");
        let (folder, sources) = at("[clients.own]\nid = \"i\"\nsecret_file = \"own\"", &[]);
        fs::write(folder.path().join("own"), round(SECRET)).unwrap();
        let secret = |sources: &Sources, id: &str| written(sources).clients[id].secret.clone().unwrap();
        assert_eq!(secret(&sources, "own").expose_secret(), SECRET, "{blank:?}");

        let (id, text, store) = (round(ID), round(SECRET), round("redis://:pw@127.0.0.1:6379/0"));
        let url = round("https://oauth.authseal.org/");
        let env = [
            ("AUTHSEAL_CLIENTS__GOOGLE__ID", &*id),
            ("AUTHSEAL_CLIENTS__GOOGLE__SECRET", &*text),
            ("AUTHSEAL_STATE__STORE", &*store),
            ("AUTHSEAL_PUBLIC_URL", &*url),
        ];
        let (_folder, sources) = at("", &env);
        let (config, public_url) = Config::load_to_serve(&sources).unwrap();
        assert_eq!((public_url.as_str(), config.store.is_durable()), ("https://oauth.authseal.org/", true));
        let clients = written(&sources).clients;
        let (id, secret_there) = (clients["google"].id.as_deref(), clients["google"].secret.as_ref().unwrap());
        assert_eq!((id, secret_there.expose_secret()), (Some(ID), SECRET), "{blank:?}");

        let escaped: String = blank.chars().map(|char| format!("\\u{:04X}", u32::from(char))).collect();
        let lines = format!("[clients.google]\nid = \"{escaped}{ID}\"\nsecret = \"{SECRET}{escaped}\"");
        assert!(warnings(&lines, &[]).is_empty(), "{blank:?}");
    }
}

/// A text that no provider issues, and how it is refused.
const REFUSED: &[(&str, &str)] = &[
    ("\"VALUE\"", "has quotes around it"),
    ("'VALUE'", "has quotes around it"),
    ("`VALUE`", "has quotes around it"),
    ("“VALUE”", "has quotes around it"),
    ("„VALUE“", "has quotes around it"),
    ("«VALUE»", "has quotes around it"),
    ("\u{feff}\"VALUE\"\n", "has quotes around it"),
    ("VAL\u{200b}UE", "that nobody sees (U+200B)"),
    ("VAL\u{a0}UE", "that nobody sees (U+00A0)"),
    ("VAL\u{ad}UE", "that nobody sees (U+00AD)"),
    ("VAL\tUE", "that nobody sees (U+0009)"),
    ("VAL\u{7}UE", "that nobody sees (U+0007)"),
    ("VAL\u{202e}UE", "that nobody sees (U+202E)"),
    ("VAL\nUE", "has more than one line"),
    ("VALUE\r\nVALUE", "has more than one line"),
    ("{\"web\":{\"client_id\":\"x\",\"client_secret\":\"VALUE\"}}", "holds a whole JSON document"),
    ("{\n  \"installed\": {\n    \"client_secret\": \"VALUE\"\n}}", "holds a whole JSON document"),
    ("client_secret = VALUE", "begins with a name"),
    ("\"client_secret\": \"VALUE\",", "begins with a name"),
    ("Client ID: VALUE", "begins with a name"),
    ("CLIENT_SECRET=VALUE", "begins with a name"),
    ("export OWN_CLIENT_SECRET=\"VALUE\"", "begins with a name"),
    ("AUTHSEAL_CLIENTS__OWN__SECRET=VALUE", "begins with a name"),
    ("secret:VALUE", "begins with a name"),
    ("App key: VALUE", "begins with a name"),
    ("VAL\u{fffd}UE", "is not UTF-8 text"),
];

#[test]
fn what_no_provider_issues_is_refused_by_the_key_and_without_the_value() {
    for (form, expected) in REFUSED {
        let value = form.replace("VALUE", "hunter2-Zw3");
        let in_file = |folder: &TempDir| fs::write(folder.path().join("own"), &value).unwrap();
        let toml = |key: &str| format!("{key} = {}", serde_json::to_string(&value).unwrap());
        let other = "id = \"i\"\n";
        let mut doors = vec![
            (at(&format!("[clients.own]\n{}", toml("id")), &[]), "clients.own.id (in "),
            (at(&format!("[clients.own]\n{other}{}", toml("secret")), &[]), "clients.own.secret (in "),
            (
                at("[clients.own]\nid = \"i\"", &[("AUTHSEAL_CLIENTS__OWN__SECRET", &value)]),
                "clients.own.secret (in AUTHSEAL_",
            ),
            (at("", &[("AUTHSEAL_SERVICES__GCS__CLIENT_ID", &value)]), "services.gcs.client_id (in AUTHSEAL_"),
        ];
        if !form.contains('\u{fffd}') {
            doors.push((at(&format!("[clients.own]\n{other}secret_file = \"own\""), &[]), "clients.own.secret (in "));
        }
        for ((folder, sources), key) in doors {
            in_file(&folder);
            let faults = Config::load(&sources).err().unwrap_or_else(|| panic!("{value:?} was accepted at {key}"));
            let text = faults.to_string();
            assert!(text.contains(&format!("\n  {key}")) && text.contains(expected), "{value:?}: {text}");
            assert!(faults.all().len() == 1 && !text.contains("hunter2"), "{value:?}: {text}");
        }
    }
}

#[test]
fn an_address_or_a_path_in_quotes_or_with_an_escape_in_it_is_refused_too() {
    for (key, value, expected) in [
        (
            "AUTHSEAL_PUBLIC_URL",
            "\"https://oauth.authseal.org\"",
            "public_url (in AUTHSEAL_PUBLIC_URL) has quotes around it",
        ),
        (
            "AUTHSEAL_STATE__STORE",
            "'redis://:hunter2@127.0.0.1/0'",
            "state.store (in AUTHSEAL_STATE__STORE) has quotes",
        ),
        ("AUTHSEAL_LOG__LEVEL", "\"info\"", "log.level (in AUTHSEAL_LOG__LEVEL) has quotes around it"),
        ("AUTHSEAL_DELIVERY__LOOPBACK", "'true'", "delivery.loopback (in AUTHSEAL_DELIVERY__LOOPBACK) has quotes"),
        ("AUTHSEAL_KEYRING__FILE", "\"/run/secrets/keys\"", "hand quotes on as they are"),
        (
            "AUTHSEAL_STATE__STORE_FILE",
            "\"/run/secrets/redis\"",
            "state.store_file (in AUTHSEAL_STATE__STORE_FILE) has quotes",
        ),
        ("AUTHSEAL_STATE__STORE", "redis://:hunter2@127.0.\u{200b}0.1/0", "that nobody sees (U+200B)"),
        ("AUTHSEAL_PRIVACY__URL", "https://authseal.org/\u{2028}x", "that nobody sees (U+2028)"),
        ("AUTHSEAL_OUTBOUND__PROXY", "http://proxy\u{ad}.lan:3128", "that nobody sees (U+00AD)"),
    ] {
        let faults = Config::load_to_serve(&at("", &[(key, value)]).1).err().unwrap().to_string();
        assert!(faults.starts_with("1 fault") && faults.contains(expected), "{key}={value}: {faults}");
        assert!(!faults.contains("hunter2"), "{faults}");
    }
    let faults = Config::load(&at("[denylist]\nfile = \"C:\\new\\tables\"", &[]).1).err().unwrap().to_string();
    assert!(faults.contains("(U+000A)") && faults.contains("'single quotes'"), "{faults}");
    // Names are for people.
    let named =
        "[services.gcs]\nname = \"„Cloud“\"\n[services.googledrive]\nname = \"Drive\u{a0}\u{1f468}\u{200d}\u{1f469}\"";
    assert!(warnings(named, &[]).is_empty());
}

#[test]
fn an_id_and_a_secret_that_were_copied_together_are_refused() {
    for between in [":", " = ", "=", ",", "\t", " ", ";", "/"] {
        let pair = format!("{ID}{between}{SECRET}");
        let toml = |text: &str| serde_json::to_string(text).unwrap();
        let faults = |id: &str, secret: &str| {
            let lines = format!("[clients.google]\nid = {}\nsecret = {}", toml(id), toml(secret));
            Config::load(&at(&lines, &[]).1).err().unwrap().to_string()
        };
        let (of_secret, of_id) = (faults(ID, &pair), faults(&pair, SECRET));
        assert!(of_secret.contains("clients.google.secret (in ") && !of_secret.contains("hunter2"), "{of_secret}");
        assert!(of_id.contains("clients.google.id (in ") && !of_id.contains("hunter2"), "{of_id}");
    }
}

#[test]
fn what_is_hardly_meant_is_warned_of_by_the_key() {
    let google = |id: &str, secret: &str| format!("[clients.google]\nid = \"{id}\"\nsecret = \"{secret}\"");
    let of =
        |provider: &str, id: &str, secret: &str| format!("[clients.{provider}]\nid = \"{id}\"\nsecret = \"{secret}\"");
    for good in [
        google(ID, SECRET),
        google("12345.apps.googleusercontent.com", "oldSecretOf24Characters1"),
        of("microsoft", GUID, "abC8Q~xY1zhunter2-Zw3._~0123456789abcde"),
        of("box", "abcdefghij0123456789abcdefghij01", "abcdefghij0123456789abcdefghij02"),
        of("dropbox", "abc123def456ghi", "zyx987wvu654tsr"),
        of("pcloud", "aBcDeFgHiJ1", "hunter2Zw3hunter2Zw3"),
        of("own", GUID, "hunter2%"),
        of("own", ID, "100% hunter2".replace(' ', "").as_str()),
    ] {
        assert_eq!(warnings(&good, &[]), Vec::<String>::new(), "{good}");
    }
    for (lines, key, says) in [
        (
            google("1234567890-abc.apps.googleusercontent.com", SECRET),
            "clients.google.id",
            "example of the documentation",
        ),
        (of("box", "abcdefghijklmnopqrstuvwxyz012345", SECRET), "clients.box.id", "example of the documentation"),
        (
            google("1122334455-k8s1qv9pd0z2x4c6v8b0n2m4a6s8d0f2", SECRET),
            "clients.google.id",
            "does not look like a client id of Google",
        ),
        (google(GUID, SECRET), "clients.google.id", "but like one of Microsoft"),
        (of("microsoft", ID, "hunter2~1"), "clients.microsoft.id", "but like one of Google"),
        (of("box", ID, "hunter2"), "clients.box.id", "looks like a client id of Google, not of Box"),
        (of("dropbox", GUID, "hunter2"), "clients.dropbox.id", "looks like a client id of Microsoft, not of Dropbox"),
        (of("microsoft", GUID, "7f74b0d1-8a53-4f6e-9c1d-2f0b7a9e5c44"), "clients.microsoft.secret", "looks like an id"),
        (google(ID, "99.apps.googleusercontent.com"), "clients.google.secret", "looks like an id"),
        (of("own", "hunter2-Zw3", "hunter2-Zw3"), "clients.own.secret", "is the same as the client id"),
        (of("own", "i", "hunter2 Zw3"), "clients.own.secret", "holds a space"),
        (of("own", "i", "hunter2%2FZw3"), "clients.own.secret", "looks percent-encoded"),
        (of("own", "i", "hunter2%252FZw3"), "clients.own.secret", "looks percent-encoded"),
        (of("own", "i", "••••••••nter2"), "clients.own.secret", "no provider issues"),
        (of("own", "i", "hunter2–Zw3"), "clients.own.secret", "no provider issues"),
        (of("own", "i", "****hunter2"), "clients.own.secret", "behind stars"),
        (
            "[services.gcs]\nclient_id = \"hunter2\"".to_owned() + "\nclient_secret = \"x\"",
            "services.gcs.client_id",
            "does not look",
        ),
        ("[state]\nstore = \"redis://:hunter2%2540@127.0.0.1/0\"".to_owned(), "state.store", "percent-encoded twice"),
        ("[privacy]\nurl = \"https://www.example.com/privacy\"".to_owned(), "privacy.url", "reserved for examples"),
        (
            "[delivery]\ntrusted_origins = [\"https://nas.test:8200\"]".to_owned(),
            "delivery.trusted_origins, entry 1",
            "reserved",
        ),
    ] {
        let warnings = warnings(&lines, &[]);
        assert!(warnings.len() == 1 && warnings[0].starts_with(&format!("{key} (in ")), "{lines}: {warnings:?}");
        assert!(warnings[0].contains(says) && !warnings[0].contains("hunter2"), "{lines}: {warnings:?}");
    }
    for host in ["oauth.example.com", "example.org", "EXAMPLE.NET", "nas.example", "a.b.test", "x.invalid."] {
        let url = format!("https://{}", host.trim_end_matches('.'));
        let warnings = warnings("", &[("AUTHSEAL_PUBLIC_URL", &url)]);
        assert!(
            warnings.len() == 1 && warnings[0].starts_with("public_url (in AUTHSEAL_PUBLIC_URL) names a host"),
            "{warnings:?}"
        );
    }
    for host in ["oauth.myexample.com", "example.com.de", "test.lan", "examples.org", "localhost:1", "127.0.0.1"] {
        assert!(warnings("", &[("AUTHSEAL_PUBLIC_URL", &format!("https://{host}"))]).is_empty(), "{host}");
    }
}

#[test]
fn a_client_for_a_service_is_told_its_provider() {
    for (table, expected) in [
        ("clients.googledrive", "names a service, and clients belong to providers; write clients.google"),
        ("clients.onedrivev2", "write clients.microsoft"),
        ("clients.\"box.com\"", "write clients.box"),
        ("clients.gogle", "names no provider; did you mean `google`?"),
        ("services.gogledrive", "; or did you mean services.googledrive?"),
        ("services.one_drive_v2", "or did you mean services.onedrivev2?"),
    ] {
        let key = if table.starts_with("clients") { "id" } else { "client_id" };
        let faults = Config::load(&at(&format!("[{table}]\n{key} = \"i\""), &[]).1).err().unwrap().to_string();
        assert!(faults.contains(expected), "{faults}");
    }
}

#[test]
fn a_keyring_is_taken_on_one_line() {
    let text = "primary = 1\n[[key]]\nepoch = 1\n";
    let packed = crate::keyring_file::pack(text);
    for one_line in [&*packed, "primary = 1\\n[[key]]\\nepoch = 1\\n", text] {
        let (_folder, sources) = sources(None);
        let config = Config::load(&with(sources, &[("AUTHSEAL_KEYRING__TEXT", one_line)], &[])).unwrap();
        let KeyringSource::Text(taken) = config.keyring else { panic!("{one_line}") };
        assert_eq!(taken.expose_secret().trim_end(), text.trim_end());
    }
}
