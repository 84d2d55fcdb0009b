//! `authseal support-bundle`: what somebody who helps would ask for, as one text. Secrets are masked where the configuration
//! is shown, and nothing else that goes in has any: of files only their rights and sizes, of the log only its fixed text.

use super::config_args::ConfigFile;
use super::counted::counted;
use super::replicas::{self, Replica};
use super::{BUILD, status};
use crate::clock::{Clock, rfc3339};
use crate::config::{Config, show};
use clap::Args;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

pub(super) const EXAMPLES: &str = "\
Examples:
  authseal support-bundle > bundle.txt

Look through it before you send it: addresses, paths, client ids and what you say
of yourself in [site] are in it.";

#[derive(Args)]
pub(super) struct SupportBundle {
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn support_bundle(bundle: &SupportBundle) -> anyhow::Result<()> {
    heading("authseal");
    println!("{BUILD}\nmade: {}", rfc3339(Clock::system().now()));
    heading("machine");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let system = system.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or_default();
    println!("kernel: {}\nsystem: {}", kernel.trim(), system.trim_matches('"'));
    heading("configuration");
    let sources = bundle.config.sources(Vec::new())?;
    match show(&sources) {
        Err(faults) => println!("{faults}"),
        Ok(shown) => {
            for key in shown.into_iter().filter(|key| !key.is_built_in_fact) {
                println!("{} = {}  # {}", key.key, key.value, key.origin.escape_debug());
            }
        }
    }
    let Ok(config) = bundle.config.load() else { return Ok(()) };
    for line in config.warnings.iter().chain(&config.doubts) {
        println!("warning: {line}");
    }
    heading("files");
    config.inputs().for_each(file);
    heading("server");
    server(&config);
    Ok(())
}

fn heading(name: &str) {
    println!("\n== {name}");
}

/// A file's rights and size; what is in it is not read.
fn file(path: &Path) {
    let found = fs::metadata(path);
    let path = path.display();
    match found {
        Err(error) => println!("{path}: {error}"),
        Ok(found) => {
            let (mode, changed) = (found.mode() & 0o7777, rfc3339(found.mtime()));
            println!(
                "{path}: mode {mode:o}, owner {}:{}, {}, changed {changed}",
                found.uid(),
                found.gid(),
                counted(found.size(), "byte")
            );
        }
    }
}

/// What the running server says of itself.
fn server(config: &Config) {
    let Some(own) = replicas::own_listener(config) else {
        return println!("not asked: there is no `admin.listen`");
    };
    let asked = replicas::ask::<status::Answer>(std::slice::from_ref(&own));
    for Replica { url, answer } in asked.into_iter().flatten() {
        match answer.map(|answer| serde_json::to_string_pretty(&answer)) {
            Ok(Ok(said)) => println!("{url}\n{said}"),
            Ok(Err(_)) => println!("{url} says nothing that can be shown"),
            Err(error) => println!("{url} {error}"),
        }
    }
}
