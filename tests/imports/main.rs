//! The shape of the source, checked: a room of `src/` imports only rooms above it in `src/lib.rs`, no two files of a
//! room import each other, a file stays short enough to be read in one go, and no code knows a built-in provider or
//! service by its id.
//!
//! Tests at the foot of a file are left out: they may look anywhere. The source is read as text with comments and
//! string contents blanked, which is exact enough here and needs no parser.

#![allow(clippy::unwrap_used)] // a source file that cannot be read fails the test

mod loops;
mod source;

use loops::{Loop, loops};
use source::{Source, before_tests, blank, is_name, line, sources};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A file may have this many lines before its tests.
const LONGEST: usize = 300;

/// The loops that are left: whoever takes one apart strikes it here, and nothing is added.
const LOOPS_LEFT: &[&[&str]] = &[];

#[test]
fn a_room_imports_only_rooms_above_it() {
    let rooms = rooms(&fs::read_to_string("src/lib.rs").unwrap());
    assert!(rooms.len() > 5, "src/lib.rs lists the rooms as `pub mod x;` lines, found {rooms:?}");
    let faults: Vec<_> = sources().iter().flat_map(|file| bad_imports(&rooms, &file.path, &file.code)).collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn no_files_of_a_room_import_each_other() {
    let faults = not_as_known(&loops(&sources()), LOOPS_LEFT);
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
fn files_that_import_each_other_are_found_in_every_spelling() {
    let one = "use super::two::Two;";
    for two in [
        "use super::one;",
        "use super::one::One;",
        "use super::{\n    one::{One, other as another},\n    three,\n};",
        "use crate::{clock::Clock, room::one::One};",
        "fn f(one: &super::one::One) {}",
        "use crate::room;\nfn f() { room::one::g() }",
        "use super as room;\nfn f() { room::one::g() }",
        "fn f() { use super::one::g; }",
    ] {
        let found = found(&[("src/room/mod.rs", ""), ("src/room/one.rs", one), ("src/room/two.rs", two)]);
        assert_eq!(found, [["room/one", "room/two"]], "{two}");
    }
    let ring = [("src/a/one.rs", one), ("src/a/two.rs", "use super::three;"), ("src/a/three.rs", "use super::one;")];
    assert_eq!(found(&ring), [["a/one", "a/three", "a/two"]]);
}

#[test]
fn a_loop_through_names_that_a_module_passes_on_is_found() {
    for passed_on in
        ["mod one;\npub use one::One;", "mod one;\nuse one::{One, g};", "pub(crate) use self::one::Far as One;"]
    {
        let files = [
            ("src/room/mod.rs", passed_on),
            ("src/room/one.rs", "use super::two::Two;\npub struct One;"),
            ("src/room/two.rs", "use super::One;"),
        ];
        assert_eq!(found(&files), [["room/one", "room/two"]], "{passed_on}");
    }
    let through_a_folder = [
        ("src/room/mod.rs", "pub use inner::Deep;"),
        ("src/room/inner/mod.rs", "mod deep;\npub use deep::Deep;"),
        ("src/room/inner/deep.rs", "use crate::room::other::Other;\npub struct Deep;"),
        ("src/room/other.rs", "use super::Deep;\npub struct Other;"),
    ];
    assert_eq!(found(&through_a_folder), [["room/inner", "room/other"]]);
}

#[test]
fn a_loop_inside_a_folder_of_a_room_is_found() {
    let files = [
        ("src/room/mod.rs", "mod inner;"),
        ("src/room/inner/mod.rs", "mod one;\nmod two;"),
        ("src/room/inner/one.rs", "use super::two::Two;"),
        ("src/room/inner/two.rs", "use crate::room::inner::one::One;"),
    ];
    assert_eq!(found(&files), [["room/inner/one", "room/inner/two"]]);
}

#[test]
fn a_loop_is_excused_by_its_whole_name_and_an_excuse_without_a_loop_is_a_fault() {
    let found = [Loop { entries: vec!["a/one".into(), "a/two".into()], imports: vec!["a/one imports a/two".into()] }];
    assert!(not_as_known(&found, &[&["a/one", "a/two"]]).is_empty());
    assert!(not_as_known(&found, &[]).join("").contains("import each other"));
    assert_eq!(not_as_known(&found, &[&["a/one", "a/three", "a/two"]]).len(), 2, "one that shrank is written again");
    assert!(not_as_known(&[], &[&["a/one", "a/two"]]).join("").contains("strike it"));
}

#[test]
fn files_that_import_in_one_direction_are_no_loop() {
    let files = [
        ("src/lib.rs", "pub mod room;\npub mod later;"),
        ("src/room/mod.rs", "mod one;\nmod two;\npub use one::One;\nuse two::Two;\npub struct Own;"),
        (
            "src/room/one.rs",
            "use super::Own;\nuse serde;\nuse serde::Two;\nfn f(two: u8) { two::<u8>() }\npub struct One;",
        ),
        ("src/room/two.rs", "use super::{One, Own};\nuse super::one::*;\n// super::three"),
        ("src/room/two/below.rs", "use super::super::one::One;\nuse super::Two;\nuse crate::room::two;"),
        ("src/room/three.rs", "use super::two::{self, Two};\nconst TEXT: &str = \"super::one\";"),
        ("src/later/one.rs", "use crate::room::One;"),
    ];
    assert!(found(&files).is_empty());
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
    let elsewhere = "a\n#[cfg(test)]\nmod testing;\nmod b;\n";
    assert_eq!(before_tests(&format!("{elsewhere}#[cfg(test)]\nmod tests {{\n}}\n")), elsewhere);
}

/// What is wrong where the loops `found` are not the ones that are `known`, in whatever order their files are named.
fn not_as_known(found: &[Loop], known: &[&[&str]]) -> Vec<String> {
    let same = |found: &Loop, known: &[&str]| {
        found.entries.len() == known.len() && found.entries.iter().all(|entry| known.contains(&entry.as_str()))
    };
    let new = found.iter().filter(|found| !known.iter().any(|known| same(found, known))).map(|found| {
        format!(
            "{:?} import each other; what two of them share goes into a file of its own:\n{}",
            found.entries,
            found.imports.join("\n")
        )
    });
    let gone = known.iter().filter(|known| !found.iter().any(|found| same(found, known)));
    new.chain(gone.map(|known| format!("{known:?} is no loop any more: strike it"))).collect()
}

/// The loops between `files`, each given by its path and its text.
fn found(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let files: Vec<_> =
        files.iter().map(|(path, code)| Source { path: path.into(), code: (*code).to_owned() }).collect();
    loops(&files).into_iter().map(|found| found.entries).collect()
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
        return Vec::new(); // lib.rs and main.rs are above the rooms
    };
    let code = blank(code, true);
    let own_name = &rooms[own];
    let mut faults = Vec::new();
    for (at, name) in crate_paths(&code) {
        let place = format!("{}:{}", file.display(), line(&code, at));
        match rooms.iter().position(|room| *room == name) {
            Some(other) if other > own => faults.push(format!("{place}: {own_name} imports {name}, which is below it")),
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
