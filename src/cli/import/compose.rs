//! The one service of a compose file that is a duplicati/oauth-server: its command line, its environment and what is
//! mounted into it. `${NAME}` is filled in as compose does, from `.env` beside the file and this process's environment.
//! Errors of the parser are told by their line alone, since its own words quote the file, which may hold secrets.

use super::report::{Became, Report, shown};
use super::settings::{Given, Word};
use super::shapes::{OneOrMore, Pairs, Several, Words};
use crate::cli::UsageError;
use crate::files::{self, Readers, Unread};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_saphyr::PropertySyntax;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The longest file that is read, in bytes. They have a few hundred lines at most.
pub(super) const LIMIT: u64 = 1024 * 1024;

/// What there is to know of a compose file.
#[derive(Default, serde::Deserialize)]
struct Compose {
    #[serde(default)]
    services: BTreeMap<String, Service>,
    #[serde(default)]
    secrets: BTreeMap<String, Named>,
    #[serde(default)]
    configs: BTreeMap<String, Named>,
}

/// A secret or a config that is a file of this machine.
#[derive(serde::Deserialize)]
struct Named {
    file: Option<String>,
}

#[derive(Default)]
struct Service {
    image: String,
    entrypoint: Words,
    command: Words,
    environment: Pairs,
    env_file: Vec<Several>,
    volumes: Vec<Several>,
    secrets: Vec<Several>,
    configs: Vec<Several>,
    working_dir: Option<String>,
    extends: bool,
    others: Vec<String>,
}

/// Reads the service that is called `name`, or the only one that can be meant.
///
/// # Errors
/// Says what is wrong with the file, without its content.
pub(super) fn read(path: &Path, name: Option<&str>, report: &mut Report) -> anyhow::Result<Given> {
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let text = text(path)?;
    let mut outer: Vec<(String, String)> = match folder.join(".env") {
        env if env.is_file() => env_file(&env)?,
        _ => Vec::new(),
    };
    outer.extend(own());
    let options = serde_saphyr::options! { property_syntax: PropertySyntax::DockerCompose };
    let options = options.with_properties(outer.iter().cloned().collect::<HashMap<_, _>>());
    let compose: Compose = serde_saphyr::from_str_with_options(&text, options).map_err(|error| {
        let line = error.location().map(|at| format!(", line {}", at.line())).unwrap_or_default();
        UsageError(format!("{}{line}: is no compose file that can be read", path.display()))
    })?;
    let (name, service) = choose(&compose.services, name, path)?;
    if service.extends {
        let advice = "its service extends another; give the whole of it, which `docker compose config` prints";
        return Err(UsageError(format!("{}: {advice}", path.display())).into());
    }
    report.add(Became::Taken, format!("service {} of {}", shown(name), path.display()));
    if !service.others.is_empty() {
        let names: Vec<_> = service.others.iter().map(|name| shown(name)).collect();
        report.add(Became::Left, format!("{} of its service: a matter of the compose file", names.join(", ")));
    }
    let mut variables = Vec::new();
    for file in &service.env_file {
        let (file, required) = match file {
            Several::Text(file) => (Some(file), true),
            Several::Table(table) => {
                (table.get("path"), table.get("required").is_none_or(|required| required != "false"))
            }
        };
        let Some(file) = file.map(|file| folder.join(file)) else { continue };
        if required || file.exists() {
            variables.extend(env_file(&file)?);
        }
    }
    for (name, value) in &service.environment.0 {
        let outer = || outer.iter().rev().find(|(other, _)| other == name).map(|(_, value)| value.clone());
        variables.extend(value.clone().or_else(outer).map(|value| (name.clone(), value)));
    }
    let words = service.entrypoint.0.iter().chain(&service.command.0);
    Ok(Given {
        words: words.map(|text| Word { text: text.clone(), here: false }).collect(),
        variables,
        meant: true,
        here: false,
        mounts: mounts(&compose, service, folder),
        working_dir: service.working_dir.clone().unwrap_or_else(|| "/App".to_owned()).into(),
    })
}

fn choose<'a>(
    services: &'a BTreeMap<String, Service>,
    name: Option<&str>,
    path: &Path,
) -> anyhow::Result<(&'a str, &'a Service)> {
    let known = || services.keys().take(20).map(|name| shown(name)).collect::<Vec<_>>().join(", ");
    if let Some(name) = name {
        let found = services.get_key_value(name).map(|(name, service)| (name.as_str(), service));
        return found.ok_or_else(|| {
            UsageError(format!("{} has no service {}; there are {}", path.display(), shown(name), known())).into()
        });
    }
    let likely: Vec<_> = services.iter().filter(|(_, service)| service.image.contains("oauth-server")).collect();
    let all: Vec<_> = services.iter().collect();
    match (likely.as_slice(), all.as_slice()) {
        ([(name, service)], _) | ([], [(name, service)]) => Ok((name.as_str(), *service)),
        (_, []) => Err(UsageError(format!("{} has no services: is it a compose file?", path.display())).into()),
        _ => {
            let sentence = "say which service is the oauth-server, with `--service`; there are";
            Err(UsageError(format!("{}: {sentence} {}", path.display(), known())).into())
        }
    }
}

/// What of this machine is where in the container.
fn mounts(compose: &Compose, service: &Service, folder: &Path) -> Vec<(PathBuf, PathBuf)> {
    let volumes = service.volumes.iter().filter_map(|volume| {
        let (source, target) = match volume {
            Several::Text(text) => {
                let mut parts = text.split(':');
                (parts.next()?.to_owned(), parts.next()?.to_owned())
            }
            Several::Table(table) => (table.get("source")?.clone(), table.get("target")?.clone()),
        };
        // A name alone is a volume of the engine's.
        let source = match source.strip_prefix("~/") {
            Some(rest) => PathBuf::from(std::env::var_os("HOME")?).join(rest),
            None => PathBuf::from(source.starts_with(['.', '/']).then_some(source)?),
        };
        Some((folder.join(source), target.into()))
    });
    let named = |used: &Several, kinds: &BTreeMap<String, Named>, usual: &str| {
        let (source, target) = match used {
            Several::Text(name) => (name.clone(), None),
            Several::Table(table) => (table.get("source")?.clone(), table.get("target").cloned()),
        };
        let file = kinds.get(&source)?.file.clone()?;
        Some((folder.join(file), Path::new(usual).join(target.unwrap_or(source))))
    };
    let secrets = service.secrets.iter().filter_map(|used| named(used, &compose.secrets, "/run/secrets"));
    let configs = service.configs.iter().filter_map(|used| named(used, &compose.configs, "/"));
    volumes.chain(secrets).chain(configs).collect()
}

/// The variables of a file as `--env-file` takes it.
///
/// # Errors
/// Says what is wrong with it, without its content.
pub(super) fn env_file(path: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let text = text(path)?;
    let pairs: Result<Vec<_>, _> = dotenvy::from_read_iter(text.as_bytes()).collect();
    // What it says quotes the line.
    pairs.map_err(|_| {
        let advice = "is no file of variables: each line is NAME=value, and a value with blanks is in quotation marks";
        UsageError(format!("{}: {advice}", path.display())).into()
    })
}

/// The variables of this process.
pub(super) fn own() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// # Errors
/// Says why the file cannot be read.
fn text(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let read = files::read_text(path, LIMIT, Readers::All);
    read.map(|(text, _)| text).map_err(|error: Unread| UsageError(format!("{}: {error}", path.display())).into())
}

impl<'de> Deserialize<'de> for Service {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Service;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a service")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Service, A::Error> {
                let mut service = Service::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "image" => service.image = map.next_value()?,
                        "entrypoint" => service.entrypoint = map.next_value()?,
                        "command" => service.command = map.next_value()?,
                        "environment" => service.environment = map.next_value()?,
                        "env_file" => service.env_file = map.next_value::<OneOrMore>()?.0,
                        "volumes" => service.volumes = map.next_value::<OneOrMore>()?.0,
                        "secrets" => service.secrets = map.next_value::<OneOrMore>()?.0,
                        "configs" => service.configs = map.next_value::<OneOrMore>()?.0,
                        "working_dir" => service.working_dir = map.next_value()?,
                        other => {
                            service.extends |= other == "extends";
                            service.others.push(other.to_owned());
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(service)
            }
        }
        deserializer.deserialize_map(Keys)
    }
}
