//! Logins of rclone taken over, and given back.

use crate::{run, run_with_input};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const CONFIGURATION: &str = r#"
public_url = "https://oauth.example.com"
[state]
store = "dir:state"
[clients.google]
id = "ours.apps.googleusercontent.com"
secret = "client-hush"
[clients.dropbox]
id = "dropbox-ours"
secret = "client-hush"
[clients.box]
id = "box-ours"
secret = "client-hush"
[clients.pcloud]
id = "pcloud-ours"
secret = "client-hush"
"#;

const REMOTES: &str = r#"
# of a user
[drive]
type = drive
client_id = ours.apps.googleusercontent.com
client_secret = client-hush
scope = drive.file
token = {"access_token":"at","token_type":"Bearer","refresh_token":"drive;#=token","expiry":"2020-01-01T00:00:00Z"}

[full drive]
type = drive
client_id = ours.apps.googleusercontent.com
token = {"access_token":"at","refresh_token":"full-token"}

[read only]
type = drive
client_id = ours.apps.googleusercontent.com
scope = drive.readonly
token = {"access_token":"at","refresh_token":"token"}

[boxed]
type = box
client_id = box-ours
token = {"access_token":"at","refresh_token":"box-token"}

[cloud]
type = pcloud
client_id = pcloud-ours
token = {"access_token":"raw-token","expiry":"0001-01-01T00:00:00Z"}

[others]
type = dropbox
client_id = theirs
token = {"access_token":"at","refresh_token":"token-hush"}

[default]
type = dropbox
token = {"access_token":"at","refresh_token":"token-hush"}

[empty]
type = dropbox
client_id = dropbox-ours

[broken]
type = dropbox
client_id = dropbox-ours
token = {"refresh_token": hush

[microsoft]
type = onedrive
client_id = none
token = {"refresh_token":"token-hush"}

[disk]
type = local
"#;

fn ready() -> TempDir {
    let folder = crate::ready(CONFIGURATION);
    fs::write(folder.path().join("rclone.conf"), REMOTES).unwrap();
    folder
}

fn made(at: &Path, more: &[&str]) -> crate::Done {
    run(at, &[&["import", "rclone", "rclone.conf"], more].concat())
}

#[test]
fn logins_come_from_rclone_and_go_back_to_it() {
    let folder = ready();
    let at = folder.path();
    let done = made(at, &[]);
    assert_eq!(done.code, 0, "{done:?}");
    let authids: Vec<_> = done.out.lines().map(|line| line.split_once('\t').unwrap()).collect();
    let names: Vec<_> = authids.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["boxed", "cloud", "drive", "full drive"], "{done:?}");
    for sentence in [
        "`boxed`: an AuthID for box.com; its token works once: from now on rclone must not use this remote",
        "`cloud`: an AuthID for pcloud; it is the provider's own token",
        "`drive`: an AuthID for googledrive; rclone goes on working",
        "`full drive`: an AuthID for googledocs",
        "`read only`: no service here is what it is for",
        "`others`: it was made with a client id that is none of dropbox's here",
        "`default`: it was made with rclone's own client id",
        "`empty`: it has no token",
        "`broken`: it has no token",
        "`microsoft`: onedrivev2 is not offered here",
        "`disk`: no service here is what it is for",
    ] {
        assert!(done.err.contains(sentence), "{sentence}: {done:?}");
    }
    assert!(!done.err.contains("hush") && !done.out.contains("hush"), "{done:?}");
    assert_eq!(authids[1].1, "raw-token");
    for (name, authid, token) in
        [("googledrive", authids[2].1, "drive;#=token"), ("box.com", authids[0].1, "box-token")]
    {
        let inspected = run_with_input(at, &["authid", "inspect"], authid);
        assert!(inspected.out.contains(name), "{inspected:?}");
        let exported = run_with_input(at, &["authid", "export", "--json"], authid);
        assert_eq!(exported.code, 0, "{exported:?}");
        let json: serde_json::Value = serde_json::from_str(&exported.out).unwrap();
        assert_eq!((&json["service"], &json["refresh_token"]), (&name.into(), &token.into()), "{json}");
        assert!(exported.err.contains("warning: what follows is"), "{exported:?}");
        assert_eq!(exported.err.contains("it works once"), name == "box.com", "{exported:?}");
    }
    let back = run_with_input(at, &["authid", "export", "--rclone"], authids[2].1);
    assert_eq!(back.code, 0, "{back:?}");
    fs::write(at.join("rclone.conf"), &back.out).unwrap();
    let again = made(at, &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&again.out).unwrap();
    assert_eq!(json["remotes"][0]["service"], "googledrive", "{again:?}");
    let exported = run_with_input(at, &["authid", "export", "--json"], json["remotes"][0]["authid"].as_str().unwrap());
    assert!(exported.out.contains("drive;#=token"), "{exported:?}");
    let revoked = run_with_input(at, &["authid", "revoke"], authids[2].1);
    assert_eq!(revoked.code, 0, "{revoked:?}");
    let refused = run_with_input(at, &["authid", "export", "--json"], authids[2].1);
    assert!(refused.code == 1 && refused.out.is_empty() && refused.err.contains("revoked"), "{refused:?}");
    assert_eq!(run_with_input(at, &["authid", "export"], authids[2].1).code, 2);
}

#[test]
fn a_login_of_a_further_registration_is_marked_with_that_one() {
    let others = "[clients.dropbox.other.old]\nid = \"theirs\"\nsecret = \"other-hush\"\n";
    let folder = crate::ready(&format!("{CONFIGURATION}{others}"));
    let at = folder.path();
    fs::write(at.join("rclone.conf"), REMOTES).unwrap();
    let done = made(at, &["--remote", "others"]);
    assert_eq!(done.code, 0, "{done:?}");
    // The mark says which client goes back to rclone.
    let authid = done.out.trim().split_once('\t').unwrap().1;
    let back = run_with_input(at, &["authid", "export", "--rclone"], authid);
    assert!(back.out.contains("client_id = theirs\nclient_secret = other-hush\n"), "{back:?}");
    let listed = run(at, &["providers", "dropbox", "--json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed.out).unwrap();
    let apps = listed[0]["apps"].as_array().unwrap();
    let row = |app: &serde_json::Value| (app["client_id"].as_str().unwrap().to_owned(), app["makes_logins"] == true);
    let rows: Vec<_> = apps.iter().map(row).collect();
    assert_eq!(rows, [("dropbox-ours".to_owned(), true), ("theirs".to_owned(), false)], "{listed}");
    assert!(!listed.to_string().contains("hush"), "{listed}");
}

#[test]
fn an_rclone_conf_that_cannot_be_used_is_told_in_one_sentence() {
    let folder = ready();
    let at = folder.path();
    assert_eq!(made(at, &["--remote", "others"]).code, 1);
    let none = made(at, &["--remote", "drive", "--remote", "nothing"]);
    assert!(none.code == 1 && none.err.contains("`nothing`: there is no such remote in the file"), "{none:?}");
    let huge = "# hush\n".repeat(200_000);
    for (content, sentence) in [
        ("# Encrypted rclone configuration File\n\nRCLONE_ENCRYPT_V0:\nhush\n", "is encrypted by rclone"),
        ("", "has no remote in it"),
        ("hush\n", "has no remote in it"),
        ("[a\ntype = hush\n", "is no configuration of rclone"),
        ("[a]\nkey = hush\n", "has no remote in it"),
        (&huge, "is longer than"),
    ] {
        fs::write(at.join("rclone.conf"), content).unwrap();
        let done = made(at, &[]);
        assert!(done.code == 2 && done.out.is_empty(), "{done:?}");
        assert!(done.err.contains(sentence) && !done.err.contains("hush"), "{sentence}: {done:?}");
    }
}
