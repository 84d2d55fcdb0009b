//! The layers (built in, file, environment, command line), merged by figment into one tree of values that still knows, for
//! each value, where it was set.

use super::error::{ConfigErrors, Place};
use super::lines::{Lines, Unparsed, parse_toml};
use super::sources::Sources;
use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The lowest layer. What is absent here has no default.
const DEFAULTS: &str = r#"
listen = ["127.0.0.1:8080"]
server.drain_seconds = 5
acme = { domains = [], directory = "letsencrypt" }
denylist.create = false
denylist.replicate = true
denylist.follow = []
state.store = "memory"
delivery.loopback = true
refresh.wait_seconds = 20
refresh.brake_logins = 100
refresh.brake_refused = 20
refresh.allow_query_authid = false
limits = { invalid_authids = 120, provider_calls = 10, provider_calls_in_all = 600 }
log.level = "info"
log.format = "auto"
"#;
/// The built-in providers and services.
const PROVIDERS: &str = include_str!("../../config/providers.toml");
/// The name of the lowest layer; all others begin with `in` or `on`.
const BUILT_IN: &str = "built in";

/// The merged layers.
pub(super) struct Layers {
    figment: Figment,
    root: Value,
    /// The configuration file, if there was one.
    pub(super) file: Option<PathBuf>,
    /// Whether every user of this machine can read that file.
    pub(super) everybody_reads: bool,
    working_dir: PathBuf,
    /// Of the configuration file.
    lines: Lines,
    /// Which entries were taken out of which list, by their first numbers: the others are still called by theirs.
    taken: BTreeMap<String, BTreeSet<usize>>,
}

/// One layer. Each variable and each flag is a layer of its own, so that figment remembers it by its name.
struct Layer {
    metadata: Metadata,
    dict: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}

impl Layers {
    /// Reads and merges all layers.
    pub(super) fn stack(sources: &Sources) -> Result<Self, ConfigErrors> {
        let mut figment = Figment::new();
        for text in [DEFAULTS, PROVIDERS] {
            let dict = parse_toml(text).map_err(|Unparsed { line, sentence }| {
                let mut faults = ConfigErrors::default();
                faults.add("what is built in", &Place::in_line(line), sentence);
                faults
            })?;
            figment = figment.merge(Layer { metadata: Metadata::from(BUILT_IN, BUILT_IN), dict });
        }
        let mut file = None;
        let mut everybody_reads = false;
        let mut lines = Lines::new();
        if let Some(found) = sources.read_file()? {
            let metadata = found.metadata();
            figment = figment.merge(Layer { metadata, dict: found.dict });
            (file, everybody_reads, lines) = (found.path, found.everybody_reads, found.lines);
        }
        let below = tree(&figment);
        for (name, mut path, text) in sources.variables() {
            spell_id(&mut path, &below);
            figment = figment.merge(Layer::of_text(format!("in {name}"), &path, text));
        }
        for (key, text) in &sources.flags {
            let path: Vec<String> = key.split('.').map(str::to_owned).collect();
            figment = figment.merge(Layer::of_text("on the command line".to_owned(), &path, text));
        }
        let working_dir = sources.working_dir.clone();
        Ok(Self { root: tree(&figment), figment, file, everybody_reads, working_dir, lines, taken: BTreeMap::new() })
    }

    /// Where paths start that no file names.
    pub(super) fn working_dir(&self) -> &Path {
        &self.working_dir
    }

    /// The whole tree.
    pub(super) fn root(&self) -> &Value {
        &self.root
    }

    /// The value at `path`; entries of lists are numbered from 0.
    pub(super) fn at<S: AsRef<str>>(&self, path: &[S]) -> Option<&Value> {
        path.iter().try_fold(&self.root, |value, key| match value {
            Value::Dict(_, dict) => dict.get(key.as_ref()),
            Value::Array(_, list) => list.get(key.as_ref().parse::<usize>().ok()?),
            _ => None,
        })
    }

    fn at_mut<S: AsRef<str>>(&mut self, path: &[S]) -> Option<&mut Value> {
        path.iter().try_fold(&mut self.root, |value, key| match value {
            Value::Dict(_, dict) => dict.get_mut(key.as_ref()),
            Value::Array(_, list) => list.get_mut(key.as_ref().parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// Takes the value at `path` out.
    pub(super) fn remove<S: AsRef<str>>(&mut self, path: &[S]) -> Option<Value> {
        let (key, parent) = path.split_last()?;
        if let Some(Value::Array(..)) = self.at(parent) {
            let first = self.first_number(parent, key.as_ref());
            self.taken.entry(self.name(parent)).or_default().insert(first);
        }
        match self.at_mut(parent)? {
            Value::Dict(_, dict) => dict.remove(key.as_ref()),
            Value::Array(_, list) => {
                let at = key.as_ref().parse().ok().filter(|at| *at < list.len())?;
                Some(list.remove(at))
            }
            _ => None,
        }
    }

    /// The number, from 0, that the entry `at` of a list had before others were taken out.
    fn first_number<S: AsRef<str>>(&self, list: &[S], at: &str) -> usize {
        let at = at.parse().unwrap_or_default();
        let taken = self.taken.get(&self.name(list));
        taken.into_iter().flatten().fold(at, |at, taken| if *taken <= at { at + 1 } else { at })
    }

    /// Puts `value` at `path`, in place of another or as a new key of a table.
    pub(super) fn put<S: AsRef<str>>(&mut self, path: &[S], value: Value) {
        if let Some(old) = self.at_mut(path) {
            *old = value;
        } else if let Some((key, parent)) = path.split_last()
            && let Some(Value::Dict(_, dict)) = self.at_mut(parent)
        {
            dict.insert(key.as_ref().to_owned(), value);
        }
    }

    /// Whether a value comes from the lowest layer.
    pub(super) fn is_built_in(&self, tag: Tag) -> bool {
        self.figment.get_metadata(tag).is_none_or(|layer| layer.name == BUILT_IN)
    }

    /// Whether a value was given as raw text: in a variable or a flag.
    pub(super) fn is_raw(&self, tag: Tag) -> bool {
        self.figment.get_metadata(tag).is_some_and(|layer| layer.source.is_none())
    }

    /// Whether a value is from the configuration file.
    pub(super) fn is_in_file(&self, tag: Tag) -> bool {
        self.file_of(tag).is_some()
    }

    /// The folder from which a value's relative path starts.
    pub(super) fn folder(&self, tag: Tag) -> &Path {
        self.file_of(tag).and_then(Path::parent).unwrap_or(&self.working_dir)
    }

    fn file_of(&self, tag: Tag) -> Option<&Path> {
        self.figment.get_metadata(tag).and_then(|layer| layer.source.as_ref()?.file_path())
    }

    /// Where the value at `path` was set.
    pub(super) fn place<S: AsRef<str>>(&self, path: &[S]) -> Place {
        let mut places = Vec::new();
        if let Some(value) = self.at(path) {
            self.collect_places(value, &mut places);
        }
        let in_file = self.file.as_ref().is_some_and(|file| places == [format!("in {}", file.display())]);
        Place { origin: places.join(" and "), line: self.line(path).filter(|_| in_file) }
    }

    /// The line of the file in which the key at `path` is, or the `_file` key in its place.
    fn line<S: AsRef<str>>(&self, path: &[S]) -> Option<usize> {
        let first = |(depth, key): (usize, &S)| {
            let above = path.get(..depth).unwrap_or_default();
            match self.at(above) {
                Some(Value::Array(..)) => self.first_number(above, key.as_ref()).to_string(),
                _ => key.as_ref().to_owned(),
            }
        };
        let mut path: Vec<String> = path.iter().enumerate().map(first).collect();
        let line = self.lines.get(&path);
        line.or_else(|| {
            path.last_mut()?.push_str("_file");
            self.lines.get(&path)
        })
        .copied()
    }

    /// Where the key is that is called `name`, with dots; an id in it may have some, too.
    pub(super) fn place_of_name(&self, name: &str) -> Place {
        let mut path = Vec::new();
        let mut rest = name;
        while let Some(Value::Dict(_, dict)) = self.at(&path).filter(|_| !rest.is_empty()) {
            let left = |key: &String| Some((key.clone(), rest.strip_prefix(key.as_str())?));
            let ends = |(_, left): &(String, &str)| left.is_empty() || left.starts_with('.');
            let Some((key, left)) = dict.keys().filter_map(left).find(ends) else { break };
            path.push(key);
            rest = left.trim_start_matches('.');
        }
        match (self.at(&path), &self.file) {
            // Of a table, and of what is missing in one: where the file has it, though more of it may be built in.
            (Some(Value::Dict(..)), Some(file)) => match self.line(&path) {
                Some(line) => Place { origin: format!("in {}", file.display()), line: Some(line) },
                None => Place::default(),
            },
            (Some(_), _) if rest.is_empty() => self.place(&path),
            _ => Place::default(),
        }
    }

    /// Where a value was set, for people.
    pub(super) fn place_of(&self, tag: Tag) -> String {
        self.figment.get_metadata(tag).map(|layer| layer.name.to_string()).unwrap_or_default()
    }

    fn collect_places(&self, value: &Value, places: &mut Vec<String>) {
        match value {
            Value::Dict(_, dict) if !dict.is_empty() => {
                dict.values().for_each(|value| self.collect_places(value, places));
            }
            value => {
                let layer = self.figment.get_metadata(value.tag()).map(|layer| layer.name.to_string());
                places.extend(layer.filter(|layer| !places.contains(layer)));
            }
        }
    }

    /// `path` for people: dots between keys, and `, entry 2` for the second of a list.
    pub(super) fn name<S: AsRef<str>>(&self, path: &[S]) -> String {
        let mut name = String::new();
        for (depth, key) in path.iter().enumerate() {
            let above = path.get(..depth).unwrap_or_default();
            match self.at(above) {
                Some(Value::Array(..)) => name += &format!(", entry {}", self.first_number(above, key.as_ref()) + 1),
                _ if depth == 0 => name += key.as_ref(),
                _ => name += &format!(".{}", key.as_ref()),
            }
        }
        name
    }
}

impl Layer {
    /// A layer that sets the one key at `path`, whose type is not known yet, to a text.
    fn of_text(name: String, path: &[String], text: &str) -> Self {
        let nest = |value, key: &String| Value::from(Dict::from([(key.clone(), value)]));
        let dict = match path.iter().rev().fold(Value::from(text), nest) {
            Value::Dict(_, dict) => dict,
            _ => Dict::new(), // a path has at least one key
        };
        Self { metadata: Metadata::named(name), dict }
    }
}

fn tree(figment: &Figment) -> Value {
    let dict = figment.data().ok().and_then(|mut profiles| profiles.remove(&Profile::Default));
    Value::from(dict.unwrap_or_default())
}

/// Shells take no `.` and no `-` in a variable's name: `_` stands for them where that spells an id that is known from
/// the layers below.
fn spell_id(path: &mut [String], below: &Value) {
    let [table, id, ..] = path else { return };
    let tables: &[&str] = match table.as_str() {
        "services" => &["services"],
        "providers" | "clients" => &["providers", "clients"],
        _ => return,
    };
    let known: Vec<&String> =
        tables.iter().filter_map(|table| below.find_ref(table)?.as_dict()).flat_map(Dict::keys).collect();
    if !known.contains(&&*id)
        && let Some(spelled) = known.into_iter().find(|known| known.replace(['.', '-'], "_") == *id)
    {
        *id = spelled.clone();
    }
}
