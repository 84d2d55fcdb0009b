//! What `authseal --version` says of the build, and how it is linked. Nothing of it depends on the time or the place of the
//! build, and all that is said can be missing: a source archive has no git.

use std::env;
use std::fs;
use std::path::Path;
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
    let released = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    // What is tried has to start here.
    if released && env::var("HOST").ok() == env::var("TARGET").ok() {
        for argument in SMALLER.into_iter().filter(|argument| links(argument)) {
            println!("cargo::rustc-link-arg-bins={argument}");
        }
    }
}

/// What makes the file smaller, where linker and C library have it: equal functions once, relocations packed.
const SMALLER: [&str; 2] = ["-Wl,--icf=all", "-Wl,-z,pack-relative-relocs"];

/// Whether a program that does nothing links with this argument, and starts. It is built as we are.
fn links(argument: &str) -> bool {
    let (Ok(rustc), Ok(folder)) = (env::var("RUSTC"), env::var("OUT_DIR")) else { return false };
    let (source, program) = (Path::new(&folder).join("nothing.rs"), Path::new(&folder).join("nothing"));
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let linker = env::var("RUSTC_LINKER").map(|linker| format!("-Clinker={linker}"));
    let mut command = Command::new(rustc);
    command.args(flags.split('\u{1f}').filter(|flag| !flag.is_empty())).args(linker.ok());
    command.arg(format!("-Clink-arg={argument}")).arg("-o").arg(&program).arg(&source);
    let built = fs::write(source, "fn main() {}").is_ok() && command.output().is_ok_and(|done| done.status.success());
    built && Command::new(program).status().is_ok_and(|done| done.success())
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
