//! Help, version and manual pages: what is shown can be pasted, and says what it is.

use crate::{done, empty, run};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// All commands, each as its words.
fn commands(folder: &Path, words: &[String], found: &mut Vec<Vec<String>>) {
    let help = help(folder, words);
    let listed = help.split_once("\nCommands:\n").map_or("", |(_, rest)| rest.split("\n\n").next().unwrap());
    let names = listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    for name in names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
        let words = [words, &[name.to_owned()]].concat();
        commands(folder, &words, found);
        found.push(words);
    }
}

fn help(folder: &Path, words: &[String]) -> String {
    let arguments: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
    let mut command = crate::authseal(folder, &arguments);
    let done = done(command.env("COLUMNS", "80").spawn().unwrap());
    assert_eq!(done.code, 0, "{done:?}");
    done.out
}

/// The lines below `Examples:`, as a shell would read them.
fn examples(help: &str) -> Vec<String> {
    let Some((_, rest)) = help.split_once("\nExamples:\n") else { return Vec::new() };
    let block = rest.split("\n\n").next().unwrap();
    block.replace("\\\n", " ").lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn every_example_can_be_pasted_from_a_terminal_of_80_columns() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = vec![Vec::new()];
    commands(folder.path(), &[], &mut all);
    assert!(all.len() > 20, "{all:?}");
    let mut seen = 0;
    // A shell reads each example; what it would run is asked for its help, which comes after what is wrong with it.
    let programs = "set -e -o pipefail; HOME=$PWD; mkdir -p .zfunc .config/fish/completions\n\
                    mkdir -p .local/share/bash-completion/completions; touch file old lines\n\
                    authseal() { local words=() word; for word; do [[ $word != -- ]] || words+=(--help); words+=(\"$word\"); done; \"$0\" \"${words[@]}\" --help > /dev/null; }; kubectl() { :; }; jq() { :; }; grep() { :; }; pass() { :; }\n";
    let shell = |example: &str| {
        let script = format!("{programs}{example}");
        let mut command = empty(folder.path(), "bash", &["-c", &script, env!("CARGO_BIN_EXE_authseal")]);
        done(command.env("PATH", "/usr/bin:/bin").spawn().unwrap())
    };
    assert_ne!(shell("authseal serve nonsense").code, 0);
    for words in all {
        let help = help(folder.path(), &words);
        let examples = examples(&help);
        assert!(
            !examples.is_empty() || !help.contains("\nArguments:") && !help.contains("--json"),
            "{words:?}: {help}"
        );
        for line in help.lines() {
            assert!(line.chars().count() <= 80 || line.contains("https://"), "{words:?}: {line}");
        }
        for example in examples {
            seen += 1;
            let begins =
                ["authseal ", "pass ", "AUTHSEAL_", "export AUTHSEAL_"].iter().any(|word| example.starts_with(word));
            assert!(begins, "{words:?}: not a command on its own: {example}");
            let done = shell(&example);
            assert_eq!(done.code, 0, "{example}: {done:?}");
        }
    }
    assert!(seen > 35, "{seen}");
}

#[test]
fn the_version_says_what_was_built_and_the_short_one_stays_short() {
    let folder = tempfile::tempdir().unwrap();
    let version = concat!("authseal ", env!("CARGO_PKG_VERSION"));
    assert_eq!(run(folder.path(), &["-V"]).out, format!("{version}\n"));
    let long = run(folder.path(), &["--version"]).out;
    let lines: Vec<_> = long.lines().map(|line| line.split_once(": ").unwrap_or((line, ""))).collect();
    assert_eq!(
        lines.iter().map(|(label, _)| *label).collect::<Vec<_>>(),
        [version, "commit", "target", "rustc", "docs"]
    );
    assert!(lines[1..].iter().all(|(_, what)| !what.is_empty()), "{long}");
    assert!(lines[3].1.starts_with("rustc 1.") && lines[2].1.contains("-linux-"), "{long}");
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(folder.path(), &["man", "pages/man1"]).code, 0);
    let names = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let pages: BTreeSet<_> =
        fs::read_dir(folder.path().join("pages/man1")).unwrap().map(Result::unwrap).map(names).collect();
    let mut all = vec![Vec::new()];
    commands(folder.path(), &[], &mut all);
    for words in all {
        let page = ["authseal".to_owned()].into_iter().chain(words.clone()).collect::<Vec<_>>().join("-") + ".1";
        assert!(pages.contains(&page), "{page}: {pages:?}");
        let text = fs::read_to_string(folder.path().join("pages/man1").join(&page)).unwrap();
        let help = help(folder.path(), &words);
        assert!(text.contains(".TH ") && text.contains(concat!("authseal ", env!("CARGO_PKG_VERSION"))), "{text}");
        // Examples stay commands, line by line.
        for line in help.split_once("\nExamples:\n").map_or("", |(_, rest)| rest.split("\n\n").next().unwrap()).lines()
        {
            let line = line.replace('\\', "\\e").replace('-', "\\-");
            assert!(text.contains(&format!("\n{line}\n")), "{page}: {line}");
        }
    }
    let taken = run(folder.path(), &["man", "pages/man1/authseal.1"]);
    assert!(taken.code == 1 && taken.err.contains("cannot write the manual pages to"), "{taken:?}");
    // A page takes the place of what is there: of an older one, or of a link that somebody put there.
    let (page, precious) = (folder.path().join("pages/man1/authseal.1"), folder.path().join("precious"));
    fs::write(&precious, "mine").unwrap();
    fs::remove_file(&page).unwrap();
    symlink(&precious, &page).unwrap();
    assert_eq!(run(folder.path(), &["man", "pages/man1"]).code, 0);
    assert_eq!(fs::read_to_string(&precious).unwrap(), "mine");
    assert!(fs::symlink_metadata(&page).unwrap().is_file());
}
