//! Which files of one room import each other.
//!
//! An arrow leads from a file to each file whose names it writes, in a `use` or in a path. A name that another file only
//! passes on, as a `mod.rs` does with `pub use` and with `use`, leads to the file that declares it. A module and what
//! lies below it may know each other, so such arrows do not count. Between two files of different folders the arrow is
//! drawn between the entries of the folder that holds both: `web/page/form.rs` to `web/index.rs` is `page` to `index`.

use crate::source::{Source, blank, is_name, line};
use std::collections::{BTreeMap, BTreeSet};

/// A module's place: `["web", "page"]` for `src/web/page.rs`; the crate itself has none.
type Place = Vec<String>;

/// Files, or folders, of which each reaches each other one.
#[derive(Debug)]
pub(crate) struct Loop {
    /// As `web/page`, sorted.
    pub(crate) entries: Vec<String>,
    /// One place of each import inside the loop.
    pub(crate) imports: Vec<String>,
}

/// The loops between the entries of each folder of `files`, first by folder.
pub(crate) fn loops(files: &[Source]) -> Vec<Loop> {
    let modules: BTreeMap<Place, Module> = files.iter().map(|file| (place(file), Module::parse(&file.code))).collect();
    let mut arrows: BTreeMap<Place, BTreeSet<Place>> = BTreeMap::new();
    let mut imports = BTreeMap::new();
    for file in files {
        let from = place(file);
        for path in &modules[&from].paths {
            for to in resolve(&modules, &from, path).passed {
                let Some((start, end)) = arrow(&from, &to) else { continue };
                let text =
                    format!("{}:{}: {} imports {}", file.path.display(), path.line, start.join("/"), end.join("/"));
                arrows.entry(start.clone()).or_default().insert(end.clone());
                imports.entry((start, end)).or_insert(text);
            }
        }
    }
    let reached: BTreeMap<&Place, BTreeSet<&Place>> =
        arrows.keys().map(|start| (start, reached_from(&arrows, start))).collect();
    let joined = |a: &Place, b: &Place| {
        reached.get(a).is_some_and(|ends| ends.contains(b)) && reached.get(b).is_some_and(|ends| ends.contains(a))
    };
    let groups: BTreeSet<Vec<&Place>> = arrows
        .keys()
        .filter(|start| joined(start, start))
        .map(|start| arrows.keys().filter(|other| joined(start, other)).collect())
        .collect();
    groups
        .into_iter()
        .map(|group| Loop {
            entries: group.iter().map(|place| place.join("/")).collect(),
            imports: imports
                .iter()
                .filter(|((start, end), _)| group.contains(&start) && group.contains(&end))
                .map(|(_, text)| text.clone())
                .collect(),
        })
        .collect()
}

/// What counts of an import: nothing between rooms, and nothing between a module and what lies below it.
fn arrow(from: &Place, to: &Place) -> Option<(Place, Place)> {
    let shared = from.iter().zip(to).take_while(|(a, b)| a == b).count();
    let counts = shared > 0 && shared < from.len() && shared < to.len();
    counts.then(|| (from[..=shared].to_vec(), to[..=shared].to_vec()))
}

fn reached_from<'a>(arrows: &'a BTreeMap<Place, BTreeSet<Place>>, start: &Place) -> BTreeSet<&'a Place> {
    let mut reached = BTreeSet::new();
    let mut left: Vec<_> = arrows[start].iter().collect();
    while let Some(place) = left.pop() {
        if reached.insert(place) {
            left.extend(arrows.get(place).into_iter().flatten());
        }
    }
    reached
}

fn place(file: &Source) -> Place {
    file.path
        .with_extension("")
        .iter()
        .skip(1)
        .map(|part| part.to_string_lossy().into_owned())
        .filter(|part| part != "mod" && part != "lib")
        .collect()
}

/// What a file names.
struct Module {
    /// Those of a `use` one by one.
    paths: Vec<Path>,
    /// The names that a `use` brings.
    brought: BTreeMap<String, Path>,
}

#[derive(Clone)]
struct Path {
    line: usize,
    names: Vec<String>,
    /// Outside of a `use` the last name is an item's, even where a module has the same one.
    may_be_module: bool,
}

impl Module {
    fn parse(code: &str) -> Module {
        let code = &*blank(code, true);
        let mut module = Module { paths: Vec::new(), brought: BTreeMap::new() };
        let mut at = 0;
        while let Some(offset) = code[at..].find(is_name) {
            let start = at + offset;
            let path = path(&code[start..]);
            at = start + path.len();
            if path == "use" {
                let length = code[at..].find(';').unwrap_or(code.len() - at);
                for (name, names) in use_tree(&[], &code[at..at + length]) {
                    let path = Path { line: line(code, start), names, may_be_module: true };
                    module.paths.push(path.clone());
                    module.brought.insert(name, path);
                }
                at += length;
            } else if !code[..start].ends_with("::") {
                module.paths.push(Path { line: line(code, start), names: names(path), may_be_module: false });
            }
        }
        module
    }
}

/// The path that `code` begins with: `a::b` of `a::b(c)`.
fn path(code: &str) -> &str {
    let mut end = 0;
    loop {
        end += code[end..].find(|char| !is_name(char)).unwrap_or(code.len() - end);
        match code[end..].strip_prefix("::") {
            Some(next) if next.starts_with(is_name) => end += 2,
            _ => return &code[..end],
        }
    }
}

fn names(path: &str) -> Vec<String> {
    path.split("::").map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// Each name that `tree` brings, with its path: `a::{self, b as c}` is `a` and `a::b` as `c`.
fn use_tree(before: &[String], tree: &str) -> Vec<(String, Vec<String>)> {
    let (head, list) = match tree.split_once('{') {
        Some((head, list)) => (head, list.rsplit_once('}').map(|(list, _)| list)),
        None => (tree, None),
    };
    let (head, renamed) = match head.split_once(" as ") {
        Some((head, name)) => (head, Some(name.trim().to_owned())),
        None => (head, None),
    };
    let mut path = [before, &names(head)].concat();
    if let Some(list) = list {
        return split(list).into_iter().flat_map(|part| use_tree(&path, part)).collect();
    }
    if path.len() > 1 {
        path.pop_if(|last| last == "self");
    }
    renamed.or_else(|| path.last().cloned()).map(|name| (name, path)).into_iter().collect()
}

/// `list` at those commas that are in no inner list.
fn split(list: &str) -> Vec<&str> {
    let mut depth = 0;
    list.split(|char| {
        match char {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        char == ',' && depth == 0
    })
    .collect()
}

/// Where a path leads.
struct Resolved {
    /// Each module that it passes, the one that declares its end last.
    passed: Vec<Place>,
    /// The module that it is, where it ends in a module.
    module: Option<Place>,
}

/// Follows `path`, written in `from`. Nothing is passed by one that leads out of the crate.
fn resolve(modules: &BTreeMap<Place, Module>, from: &Place, path: &Path) -> Resolved {
    let mut resolved = Resolved { passed: Vec::new(), module: Some(from.clone()) };
    for (at, name) in path.names.iter().enumerate() {
        let Some(mut here) = resolved.module.take() else { break };
        match name.as_str() {
            "crate" => here.clear(),
            "self" => {}
            "super" => _ = here.pop(),
            _ => {
                let child = [&here[..], std::slice::from_ref(name)].concat();
                let brought = modules.get(&here).and_then(|module| module.brought.get(name));
                if modules.contains_key(&child) && (path.may_be_module || at + 1 < path.names.len()) {
                    here = child;
                    resolved.passed.push(here.clone());
                } else if let Some(brought) = brought.filter(|brought| brought.names[0] != *name) {
                    let followed = resolve(modules, &here, brought);
                    resolved.passed.extend(followed.passed);
                    resolved.module = followed.module;
                    continue;
                } else {
                    resolved.passed.push(here);
                    break;
                }
            }
        }
        resolved.module = Some(here);
    }
    resolved
}
