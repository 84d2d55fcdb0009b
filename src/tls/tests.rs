//! Pairs made on the spot, good and bad in every way.

use super::*;
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair, date_time_ymd};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use tempfile::TempDir;

const HOST: &str = "oauth.example.com";

/// A certificate for these names that ends in that year, and its key.
fn issue(names: &[&str], year: i32) -> (String, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(year, 1, 1));
    (params.self_signed(&key).unwrap().pem(), key)
}

/// A folder with a pair.
struct Folder(TempDir);

impl Folder {
    fn new(cert: &str, key: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.put(cert, key);
        folder
    }

    fn files(&self) -> PairFiles {
        PairFiles { cert: self.0.path().join("cert.pem"), key: self.0.path().join("key.pem"), acme: false }
    }

    fn put(&self, cert: impl AsRef<[u8]>, key: impl AsRef<[u8]>) {
        fs::write(self.files().cert, cert).unwrap();
        fs::write(self.files().key, key).unwrap();
        fs::set_permissions(self.files().key, Permissions::from_mode(0o600)).unwrap();
    }

    fn open(&self) -> Result<LiveCertificate, TlsFaults> {
        LiveCertificate::open(self.files(), Host::Domain(HOST.to_owned()), Clock::system())
    }
}

fn good() -> (Folder, LiveCertificate) {
    let (cert, key) = issue(&[HOST], 2200);
    let folder = Folder::new(&cert, &key.serialize_pem());
    let live = folder.open().unwrap();
    (folder, live)
}

fn served(live: &LiveCertificate) -> Vec<u8> {
    live.live.load().served.cert[0].to_vec()
}

#[test]
fn a_good_pair_takes_the_old_ones_place_and_a_bad_one_is_refused_by_its_fault() {
    let (folder, live) = good();
    let first = served(&live);
    let (cert, key) = issue(&[HOST], 2201);
    let (other, other_key) = issue(&[HOST], 2202);
    let key = key.serialize_pem();
    let not_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let not_a_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let locked = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let locked_before =
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let (cut_cert, cut_key) = (&cert[..cert.len() / 2], &key[..key.len() / 2]);
    let (reversed, whole) = (format!("{other}{cert}"), format!("{cert}{other}"));
    let long = "#".repeat(1024 * 1024 + 1);
    let bad: &[(&str, &str, &str)] = &[
        ("", &key, "`tls.cert_file`, DIR/cert.pem: there is no certificate in it"),
        ("hunter2", &key, "cert.pem: there is no certificate in it"),
        (&key, &key, "cert.pem: there is no certificate in it"),
        (cut_cert, &key, "cert.pem: its PEM is damaged"),
        (not_der, &key, "cert.pem: the certificate in it cannot be read"),
        (&reversed, &key, "cert.pem: its certificates are in the wrong order"),
        (&long, &key, "cert.pem: it is longer than 1048576 bytes"),
        (&other, &key, "`tls.key_file`, DIR/key.pem: this is not the key of the certificate"),
        (&cert, "", "key.pem: there is no private key in it"),
        (&cert, "hunter2", "key.pem: there is no private key in it"),
        (&cert, &cert, "key.pem: there is no private key in it"),
        (&cert, cut_key, "key.pem: its PEM is damaged"),
        (&cert, not_a_key, "key.pem: the key in it cannot be used"),
        (&cert, locked, "key.pem: the key in it is locked with a passphrase"),
        (&cert, locked_before, "key.pem: the key in it is locked with a passphrase"),
    ];
    let refused = |expected: &str| {
        live.live.hold().reload();
        assert!(live.load_status().failed() && served(&live) == first, "{expected}");
        let faults = folder.open().unwrap_err().to_string();
        let expected = expected.replace("DIR", folder.0.path().to_str().unwrap());
        assert!(faults.contains(&expected) && faults.lines().count() == 1, "{faults}");
        assert!(!faults.contains("hunter2") && !faults.contains("AAAA"), "{faults}");
    };
    for (cert, key, expected) in bad {
        folder.put(cert, key);
        refused(expected);
    }
    folder.put(&cert, &key);
    fs::set_permissions(folder.files().key, Permissions::from_mode(0o644)).unwrap();
    refused("key.pem: it lets every user of this machine in (mode 0644); run `chmod o-rwx` on it");
    fs::remove_file(folder.files().key).unwrap();
    refused("key.pem: there is no such file");
    fs::create_dir(folder.files().key).unwrap();
    refused("key.pem: it is no regular file");
    fs::remove_dir(folder.files().key).unwrap();

    folder.put(&whole, &key);
    live.live.hold().reload();
    assert!(!live.load_status().failed() && served(&live) != first);
    folder.put(&other, other_key.serialize_pem());
    live.live.hold().reload();
    assert_eq!(rfc3339(live.ends()), "2202-01-01T00:00:00Z");
}

#[test]
fn the_faults_of_both_files_are_told_at_once() {
    let folder = Folder::new("", "");
    let faults = folder.open().unwrap_err().to_string();
    let lines: Vec<_> = faults.lines().map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(lines, ["`tls.cert_file`", "`tls.key_file`"]);
}

#[test]
fn a_chain_is_served_whole_and_ends_with_its_first_certificate() {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.not_after = date_time_ymd(2300, 1, 1);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let mut params = CertificateParams::new([HOST.to_owned()]).unwrap();
    params.not_after = date_time_ymd(2200, 1, 1);
    let cert = params.signed_by(&key, &authority).unwrap();
    let folder = Folder::new(&format!("{}{}", cert.pem(), authority.pem()), &key.serialize_pem());
    let live = folder.open().unwrap();
    assert_eq!((live.live.load().served.cert.len(), rfc3339(live.ends())), (2, "2200-01-01T00:00:00Z".to_owned()));
    assert_eq!(live.warnings(), Vec::<String>::new());
}

#[test]
fn an_operator_is_warned_of_what_clients_will_refuse() {
    let warnings = |host: &str, names: &[&str], year| {
        let (cert, key) = issue(names, year);
        let folder = Folder::new(&cert, &key.serialize_pem());
        let host = Host::parse(host).unwrap();
        LiveCertificate::open(folder.files(), host, Clock::system()).unwrap().warnings()
    };
    for (host, names) in [
        (HOST, &["x.test", HOST][..]),
        (HOST, &["OAuth.Example.COM"]),
        (HOST, &["*.example.com"]),
        ("127.0.0.1", &["127.0.0.1"]),
        ("[::1]", &["::1"]),
        ("xn--bcher-kva.example", &["xn--bcher-kva.example"]),
    ] {
        assert_eq!(warnings(host, names, 2200), Vec::<String>::new(), "{host} {names:?}");
    }
    for (host, names) in [
        (HOST, &["example.com"][..]),
        (HOST, &["*.com", "*.oauth.example.com", "th.example.com"]),
        ("a.oauth.example.com", &["*.example.com"]),
        ("127.0.0.1", &["127.0.0.2", "localhost"]),
        ("localhost", &[]),
    ] {
        let warnings = warnings(host, names, 2200);
        assert!(
            warnings.len() == 1 && warnings[0].contains(&format!("is not for {host}, the host of")),
            "{warnings:?}"
        );
    }
    let ended = warnings(HOST, &[HOST], 2021);
    assert!(ended.len() == 1 && ended[0].contains("ended at 2021-01-01T00:00:00Z"), "{ended:?}");
}

#[test]
fn pem_is_read_with_a_byte_order_mark_and_refused_as_utf_16() {
    let (cert, key) = issue(&[HOST], 2200);
    let key = key.serialize_pem();
    let marked = |text: &str| format!("\u{feff}{text}");
    let windows = |text: &str| text.replace('\n', "\r\n");
    let indented = |text: &str| text.lines().map(|line| format!("  {line}\n")).collect::<String>();
    for (cert, key) in [
        (marked(&cert), marked(&key)),
        (windows(&marked(&cert)), windows(&key)),
        (indented(&cert), indented(&key)),
        (format!("subject=/CN=x\n{cert}"), format!("Bag Attributes\n{key}")),
    ] {
        let folder = Folder::new(&cert, &key);
        assert_eq!(
            folder.open().map(|live| live.warnings()).map_err(|faults| faults.to_string()),
            Ok(Vec::new()),
            "{cert}"
        );
    }
    let folder = Folder::new(&cert, &key);
    folder.put(cert.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>(), &key);
    let faults = folder.open().unwrap_err().to_string();
    assert!(faults.contains("cert.pem: it is text in UTF-16"), "{faults}");
}

#[test]
fn a_key_in_the_certificates_place_and_the_other_way_round_are_named() {
    let (cert, key) = issue(&[HOST], 2200);
    let key = key.serialize_pem();
    for (cert_file, key_file, expected) in [
        (
            &*key,
            &*cert,
            &[
                "cert.pem: there is no certificate in it but a private key",
                "key.pem: there is no private key in it but a certificate",
            ][..],
        ),
        (
            &*format!("{cert}{key}"),
            "",
            &[
                "key.pem: there is no private key in it, but one is in the file of `tls.cert_file`; name that file for both",
            ],
        ),
        (&*format!("{key}{cert}"), &*cert, &["name that file for both"]),
    ] {
        let folder = Folder::new(cert_file, key_file);
        fs::set_permissions(folder.files().cert, Permissions::from_mode(0o600)).unwrap();
        let faults = folder.open().unwrap_err().to_string();
        assert_eq!(faults.lines().count(), expected.len(), "{faults}");
        for (line, expected) in faults.lines().zip(expected) {
            assert!(line.contains(expected), "{line}");
        }
    }
    let folder = Folder::new(&format!("{cert}{key}"), "");
    fs::set_permissions(folder.files().cert, Permissions::from_mode(0o600)).unwrap();
    let both = PairFiles { key: folder.files().cert, ..folder.files() };
    assert!(LiveCertificate::open(both, Host::Domain(HOST.to_owned()), Clock::system()).is_ok());
}

#[test]
fn a_certificate_without_those_that_signed_it_is_warned_of() {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "R0");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    // SEQUENCE of SEQUENCE of the method's OID and a URI: http://ca.lan.
    let access = |method: u8| {
        let uri = b"http://ca.lan";
        let mut der = vec![0x30, 27, 0x30, 25, 6, 8, 0x2b, 6, 1, 5, 5, 7, 48, method, 0x86, uri.len() as u8];
        der.extend_from_slice(uri);
        rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], der)
    };
    let leaf = |extensions: Vec<rcgen::CustomExtension>| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([HOST.to_owned()]).unwrap();
        (params.not_after, params.custom_extensions) = (date_time_ymd(2200, 1, 1), extensions);
        (params.signed_by(&key, &authority).unwrap().pem(), key.serialize_pem())
    };
    let warnings = |cert: &str, key: &str| Folder::new(cert, key).open().unwrap().warnings();
    let (cert, key) = leaf(vec![access(2)]);
    let alone = warnings(&cert, &key);
    assert!(
        alone.len() == 1 && alone[0].contains("cert.pem stands alone") && alone[0].contains("fullchain.pem"),
        "{alone:?}"
    );
    assert_eq!(warnings(&format!("{cert}{}", authority.pem()), &key), Vec::<String>::new());
    // No issuer's place: of a house's own authority, or only one to ask whether it was revoked.
    for extensions in [vec![], vec![access(1)]] {
        let (cert, key) = leaf(extensions);
        assert_eq!(warnings(&cert, &key), Vec::<String>::new());
    }
}

#[test]
fn the_end_is_announced_two_weeks_before() {
    let (folder, _) = good();
    let clock = Clock::system();
    let live = LiveCertificate::open(folder.files(), Host::Domain(HOST.to_owned()), clock.clone()).unwrap();
    let go_to = |seconds: i64| clock.advance(Duration::from_secs((live.ends() - seconds - clock.now()) as u64));
    go_to(SOON + 60);
    assert_eq!(live.warnings(), Vec::<String>::new());
    for (before, left) in [(SOON - 60, "13 days"), (2 * DAY - 1, "1 day"), (DAY - 1, "less than a day")] {
        go_to(before);
        let told = format!("ends at 2200-01-01T00:00:00Z, in {left}; renew it before");
        assert!(live.warnings()[0].contains(&told), "{:?}", live.warnings());
    }
}
