//! What must hold of what an import reads, whatever is in it; see `crate::fuzzing`. Nothing of the machine is mounted, so
//! that settings lead to no file; a compose file's `env_file` is the one thing beside that is looked for.

#![allow(clippy::unwrap_used, reason = "what cannot fail here and does is a finding")]

use super::report::Report;
use super::settings::{Given, Settings, Word};
use super::site::{self, Instead};
use super::tables::Secrets;
use super::translate::translate;
use super::{compose, services};
use crate::cli::remotes;
use crate::config::{Config, Sources};
use crate::fuzzing::{CANARY, lossy};
use crate::provider::Catalogue;
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;
use tempfile::TempDir;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let text = Some(String::new().into());
    Config::load(&Sources { text, working_dir: "/".into(), ..Sources::default() }).unwrap().catalogue
});

/// A compose file: what is said of it takes one line, and what comes of it can be imported or is refused with a sentence.
pub(crate) fn import_compose(data: &[u8]) {
    let (_folder, path) = written("compose.yaml", data);
    let mut report = Report::default();
    match compose::read(&path, None, &mut report) {
        Ok(given) => drop(translated(Given { mounts: Vec::new(), ..given }, report)),
        Err(error) => is_a_line(&error.to_string()),
    }
}

/// Variables, a `NAME=value` each line, and the words of the command line, those with two dashes in front. A secret gets
/// into the configuration alone, where it is one.
pub(crate) fn import_settings(data: &[u8]) {
    let text = lossy(data);
    let (words, variables): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.starts_with("--"));
    let words = words.iter().flat_map(|line| line.splitn(2, ' '));
    let words = words.map(|word| Word { text: word.to_owned(), here: false }).collect();
    let variables = variables.iter().filter_map(|line| line.split_once('='));
    let variables: Vec<_> = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let is_secret = |name: &str| ["_SECRET", "PASSPHRASE"].iter().any(|end| name.ends_with(end));
    let is_there = |line: &str| match line.split_once('=') {
        Some((name, _)) if is_secret(name) && !line.starts_with("--") => name.contains(CANARY),
        _ => line.contains(CANARY),
    };
    let elsewhere = text.lines().any(is_there);
    // `%NAME%` is meant to bring a variable's value to where it is.
    let hidden = !elsewhere && !text.contains('%');
    let (said, made) = translated(Given { words, variables, meant: true, ..Given::default() }, Report::default());
    assert!(!hidden || !said.contains(CANARY), "{said}");
    assert!(made.is_none_or(|text| text.parse::<toml::Table>().is_ok()));
}

/// What an import says, and the configuration that it would judge next.
fn translated(given: Given, mut report: Report) -> (String, Option<String>) {
    let made = (|| {
        let settings = Settings::read(given, &mut report)?;
        let site = site::read(&settings, Instead { public_url: None, v1_dir: None }, &mut report);
        let services = services::read(&settings, &site.hostname, &mut report)?;
        let made = translate(&site, &services, &BTreeMap::new(), &CATALOGUE, Secrets::Files, &mut report);
        Ok::<_, anyhow::Error>(made.tables.text())
    })();
    let said = made.as_ref().err().map(ToString::to_string);
    let lines = report.lines().map(|(_, line)| line).chain(said).inspect(|line| is_a_line(line));
    (lines.collect::<Vec<_>>().join("\n"), made.ok())
}

fn is_a_line(said: &str) {
    assert!(!said.is_empty() && !said.contains(char::is_control), "{said:?}");
}

/// An `rclone.conf`: a fault quotes nothing of it, and a remote that is written is read as it was.
pub(crate) fn import_rclone(data: &[u8]) {
    let (_folder, path) = written("rclone.conf", data);
    let known = remotes::known().unwrap();
    match remotes::read(&path) {
        Ok(all) => all.iter().for_each(|remote| {
            let read = (remote.kind(&known).is_some(), remote.client_id(), remote.token().is_some());
            assert!(read.1.is_none_or(|id| !id.is_empty()));
        }),
        Err(error) => {
            is_a_line(&error.to_string());
            assert!(!error.to_string().contains(CANARY));
        }
    }
    let text = lossy(data);
    let kind = &known[data.len() % known.len()];
    fs::write(&path, kind.section(("id", None), &text.clone().into(), true).as_bytes()).unwrap();
    let again = remotes::read(&path).unwrap();
    let [remote] = again.as_slice() else { panic!("{} remotes", again.len()) };
    assert_eq!(remote.token().unwrap().refresh_token.expose_secret(), text);
    assert_eq!(remote.kind(&known).map(|again| &again.service), Some(&kind.service));
}

fn written(name: &str, data: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, data).unwrap();
    (folder, path)
}
