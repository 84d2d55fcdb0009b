//! The shape of the source, checked: a room of `src/` imports only rooms above it in `src/lib.rs`, a file stays short
//! enough to be read in one go, and no code knows a built-in provider or service by its id.
//!
//! Tests at the foot of a file are left out: they may look anywhere. The source is read as text with comments and
//! string contents blanked, which is exact enough here and needs no parser.

#![allow(clippy::unwrap_used)] // a source file that cannot be read fails the test

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A file may have this many lines before its tests.
const LONGEST: usize = 300;

#[test]
fn a_room_imports_only_rooms_above_it() {
    let rooms = rooms(&fs::read_to_string("src/lib.rs").unwrap());
    assert!(rooms.len() > 5, "src/lib.rs lists the rooms as `pub mod x;` lines, found {rooms:?}");
    let faults: Vec<_> = sources().iter().flat_map(|file| bad_imports(&rooms, &file.path, &file.code)).collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn no_file_is_long() {
    let faults: Vec<_> = sources()
        .iter()
        .map(|file| (file.path.display().to_string(), file.code.lines().count()))
        .filter(|(_, lines)| *lines > LONGEST)
        .map(|(path, lines)| format!("{path}: {lines} lines before its tests, {LONGEST} at most: divide it"))
        .collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn no_code_knows_a_built_in_provider_or_service_by_its_id() {
    let ids = built_in_ids(&fs::read_to_string("config/providers.toml").unwrap());
    assert!(ids.contains("google") && ids.contains("box.com"), "ids read from config/providers.toml: {ids:?}");
    let faults: Vec<_> = sources().iter().flat_map(|file| named_ids(&ids, &file.path, &file.code)).collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn an_import_from_below_is_found_in_every_spelling() {
    let rooms = ["seal", "authid", "web"].map(str::to_owned);
    let check = |path: &str, code: &str| bad_imports(&rooms, Path::new(path), code).join("\n");
    assert!(check("src/seal/key.rs", "\nuse crate::web::Page;").starts_with("src/seal/key.rs:2: seal imports web"));
    assert!(
        check("src/seal.rs", "use crate::{\n    seal::Key,\n    web::{self, Page},\n};")
            .contains(":3: seal imports web")
    );
    assert!(check("src/authid/mod.rs", "fn f() -> crate::web::Page {}").contains("authid imports web"));
    assert!(check("src/authid/mod.rs", "use super::web;").contains("climbs out of authid"));
    assert!(check("src/authid/text.rs", "use super::super::web;").contains("climbs out of authid"));
    assert!(check("src/web/mod.rs", "use crate::nowhere;").contains("no room"));
}

#[test]
fn an_import_from_above_or_from_the_same_room_is_fine() {
    let rooms = ["seal", "authid", "web"].map(str::to_owned);
    let check = |path: &str, code: &str| bad_imports(&rooms, Path::new(path), code);
    assert!(check("src/web/response/page.rs", "use crate::{authid, seal::Key};\nuse super::Page;").is_empty());
    assert!(check("src/web/response/page/form.rs", "use super::super::Page;\nuse crate::web::Page;").is_empty());
    assert!(check("src/seal/mod.rs", "// see crate::web\n/* crate::web */ const A: &str = \"crate::web\";").is_empty());
    assert!(check("src/main.rs", "use authseal::web;").is_empty());
}

#[test]
fn an_id_in_code_is_found_and_one_in_a_comment_is_not() {
    let ids = built_in_ids("[providers.box]\n[services.\"box.com\"]\naliases = [\"boxed\"]\n");
    let check = |code: &str| named_ids(&ids, Path::new("src/a.rs"), code).join("\n");
    assert!(check("\nif id == \"box\" {}").starts_with("src/a.rs:2: \"box\""));
    assert!(check("match id { \"box.com\" => {} }").contains("\"box.com\""));
    assert!(check("matches!(id, \"boxed\")").contains("\"boxed\""));
    assert!(check("// \"box\"\nlet text = \"a box\"; let quote = '\\'';").is_empty());
}

#[test]
fn only_the_tests_at_the_foot_of_a_file_are_left_out() {
    assert_eq!(before_tests("a\n#[cfg(test)]\nstatic B: u8 = 1;\nc\n"), "a\n#[cfg(test)]\nstatic B: u8 = 1;\nc\n");
    assert_eq!(before_tests("a\n#[cfg(test)]\nmod tests {\n}\n"), "a\n");
}

/// One file of `src/`, up to its tests.
struct Source {
    path: PathBuf,
    code: String,
}

/// Every file below `src/` but those that hold nothing but tests.
fn sources() -> Vec<Source> {
    let mut folders = vec![PathBuf::from("src")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap_or_default();
            if name == "tests" {
            } else if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let code = before_tests(&fs::read_to_string(&path).unwrap()).to_owned();
                files.push(Source { path, code });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(files.len() > 10, "the tests run in the package's folder");
    files
}

fn before_tests(code: &str) -> &str {
    code.find("#[cfg(test)]\nmod ").map_or(code, |end| &code[..end])
}

/// The rooms in the order of `src/lib.rs`.
fn rooms(lib: &str) -> Vec<String> {
    lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).map(str::to_owned).collect()
}

/// What `file` imports though it must not.
fn bad_imports(rooms: &[String], file: &Path, code: &str) -> Vec<String> {
    let inside: Vec<_> =
        file.with_extension("").iter().skip(1).map(|part| part.to_string_lossy().into_owned()).collect();
    let Some(own) = rooms.iter().position(|room| *room == inside[0]) else {
        return Vec::new(); // lib.rs and main.rs stand above the rooms
    };
    let code = blank(code, true);
    let own_name = &rooms[own];
    let mut faults = Vec::new();
    for (at, name) in crate_paths(&code) {
        let place = format!("{}:{}", file.display(), line(&code, at));
        match rooms.iter().position(|room| *room == name) {
            Some(other) if other > own => {
                faults.push(format!("{place}: {own_name} imports {name}, which stands below it"))
            }
            Some(_) => {}
            None => {
                faults.push(format!("{place}: {own_name} imports crate::{name}, and there is no room of that name"))
            }
        }
    }
    // How many modules deep the file's own module lies: as many `super::` reach the crate's root.
    let depth = inside.iter().filter(|part| *part != "mod").count();
    for (at, _) in code.match_indices("super::") {
        let chain = code[at..].split("super::").take_while(|between| between.is_empty()).count();
        if !code[..at].ends_with("super::") && chain >= depth {
            faults.push(format!(
                "{}:{}: this climbs out of {own_name}: write crate::",
                file.display(),
                line(&code, at)
            ));
        }
    }
    faults
}

/// The first name after each `crate::`, with its place: one for `crate::a::b`, two for `crate::{a::b, c}`.
fn crate_paths(code: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (at, prefix) in code.match_indices("crate::") {
        if code[..at].ends_with(is_name) {
            continue;
        }
        let mut depth = 0;
        let mut expect_name = true;
        for (offset, char) in code[at + prefix.len()..].char_indices() {
            let here = at + prefix.len() + offset;
            match char {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => expect_name = true,
                _ if expect_name && depth < 2 && is_name(char) => {
                    let length = code[here..].find(|next| !is_name(next)).unwrap_or(code.len() - here);
                    found.push((here, &code[here..here + length]));
                    expect_name = false;
                }
                _ => {}
            }
            if depth == 0 && !(expect_name && char.is_whitespace()) {
                break;
            }
        }
    }
    found
}

fn is_name(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

/// Names and aliases of the built-in providers and services.
fn built_in_ids(providers: &str) -> BTreeSet<String> {
    let file: toml::Table = providers.parse().unwrap();
    let mut ids = BTreeSet::new();
    for (name, entry) in ["providers", "services"].iter().filter_map(|table| file.get(*table)?.as_table()).flatten() {
        ids.insert(name.clone());
        let aliases = entry.get("aliases").and_then(toml::Value::as_array);
        ids.extend(aliases.into_iter().flatten().filter_map(toml::Value::as_str).map(str::to_owned));
    }
    ids
}

/// Each string in `code` that is one of `ids` and nothing else.
fn named_ids(ids: &BTreeSet<String>, file: &Path, code: &str) -> Vec<String> {
    let code = blank(code, false);
    ids.iter()
        .map(|id| format!("\"{id}\""))
        .flat_map(|text| code.match_indices(&text).map(|(at, _)| (at, text.clone())).collect::<Vec<_>>())
        .map(|(at, text)| {
            let place = format!("{}:{}", file.display(), line(&code, at));
            format!("{place}: {text} is a built-in id; what differs for it is a field in config/providers.toml")
        })
        .collect()
}

fn line(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// `code` with comments, and where `strings` is set also the contents of strings, turned into spaces; lines stay.
fn blank(code: &str, strings: bool) -> String {
    let mut left = code;
    let mut out = String::with_capacity(code.len());
    while let Some(char) = left.chars().next() {
        let (length, keep) = if left.starts_with("//") {
            (left.find('\n').unwrap_or(left.len()), false)
        } else if left.starts_with("/*") {
            (left.find("*/").map_or(left.len(), |end| end + 2), false)
        } else if char == 'r' && !out.ends_with(is_name) && left[1..].trim_start_matches('#').starts_with('"') {
            let hashes = left[1..].find('"').unwrap_or_default();
            let end = format!("\"{}", "#".repeat(hashes));
            let open = hashes + 2;
            (left[open..].find(&end).map_or(left.len(), |at| open + at + end.len()), !strings)
        } else if char == '"' {
            (quoted(left), !strings)
        } else if left.starts_with("'\"'") || left.starts_with("'\\") {
            (left[3..].find('\'').map_or(left.len(), |end| end + 4), false)
        } else {
            (char.len_utf8(), true)
        };
        let (piece, rest) = left.split_at(length);
        if keep {
            out.push_str(piece);
        } else {
            out.extend(piece.chars().map(|char| if char == '\n' { '\n' } else { ' ' }));
        }
        left = rest;
    }
    out
}

/// The length of the string literal that `code` begins with.
fn quoted(code: &str) -> usize {
    let mut escaped = false;
    for (at, char) in code.char_indices().skip(1) {
        match char {
            '"' if !escaped => return at + 1,
            _ => escaped = char == '\\' && !escaped,
        }
    }
    code.len()
}
