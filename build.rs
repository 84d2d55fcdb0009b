//! What `authseal --version` says of the build. Nothing of it depends on the time or the place of the build, and all of it
//! can be missing: a source archive has no git.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=AUTHSEAL_COMMIT");
    let given = env::var("AUTHSEAL_COMMIT").ok().filter(|given| !given.is_empty());
    let commit = given.or_else(of_git).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=BUILD_COMMIT={commit}");
    println!("cargo::rustc-env=BUILD_TARGET={}", env::var("TARGET").unwrap_or_default());
    let rustc = env::var("RUSTC").ok().and_then(|rustc| said(&rustc, &["--version"]));
    println!("cargo::rustc-env=BUILD_RUSTC={}", rustc.as_deref().unwrap_or("unknown"));
    println!("cargo::rerun-if-changed=build.rs");
}

/// The commit of this folder and its date, if it is the top of a repository: an archive may lie inside another one.
fn of_git() -> Option<String> {
    if !said("git", &["rev-parse", "--show-cdup"])?.is_empty() {
        return None;
    }
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = said("git", &["rev-parse", "--git-path", file]) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    said("git", &["show", "--no-patch", "--no-show-signature", "--abbrev=12", "--format=%h of %cs"])
}

fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
