//! The files of `src/` as text: without their tests, and with comments and the contents of strings blanked where asked.

use std::fs;
use std::path::PathBuf;

/// One file of `src/`, up to its tests.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) code: String,
}

/// Every file below `src/` but those that hold nothing but tests, or the properties that tests and fuzz targets check.
pub(crate) fn sources() -> Vec<Source> {
    let mut folders = vec![PathBuf::from("src")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap_or_default();
            if name == "tests" || name == "fuzzing" {
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

/// `code` up to its tests. A module of tests that lies in a file of its own ends nothing.
pub(crate) fn before_tests(code: &str) -> &str {
    const HEAD: &str = "#[cfg(test)]\nmod ";
    let inline = |at: &usize| code[at + HEAD.len()..].trim_start_matches(is_name).starts_with(" {");
    code.match_indices(HEAD).map(|(at, _)| at).find(inline).map_or(code, |end| &code[..end])
}

pub(crate) fn is_name(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

pub(crate) fn line(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// `code` with comments, and where `strings` is set also the contents of strings, turned into spaces; lines stay.
pub(crate) fn blank(code: &str, strings: bool) -> String {
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
