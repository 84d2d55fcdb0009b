//! What a duplicati/oauth-server went by: its command line over its environment, but for the command line's defaults,
//! which overwrite some variables, whatever its README says. Names of variables count without case.

use super::report::{Became, Report};
use crate::cli::UsageError;
use crate::cli::counted::counted;
use secrecy::SecretString;
use std::path::{Path, PathBuf};

/// A setting: its option, its variable, and whether the option's default overwrites that variable.
struct Setting {
    option: &'static str,
    variable: &'static str,
    overwritten: bool,
}

const fn setting(option: &'static str, variable: &'static str, overwritten: bool) -> Setting {
    Setting { option, variable, overwritten }
}

const SETTINGS: &[Setting] = &[
    setting("--hostname", "HOSTNAME", true),
    setting("--redirect-hostname", "REDIRECT_HOSTNAME", false),
    setting("--appname", "APPNAME", true),
    setting("--displayname", "DISPLAYNAME", true),
    setting("--services", "SERVICES", false),
    setting("--secrets", "SECRETS", false),
    setting("--secrets-passphrase", "SECRETS_PASSPHRASE", false),
    setting("--configfile", "CONFIGFILE", false),
    setting("--storage", "STORAGE", true),
    setting("--privacy-policy", "PRIVACY_POLICY_URL", false),
    setting("--seq-url", "SEQ_URL", false),
    setting("--seq-apikey", "SEQ_APIKEY", false),
    setting("--listen-ports", "ASPNETCORE_HTTP_PORTS", false),
    setting("--listen-urls", "ASPNETCORE_URLS", true),
    setting("--certificate-path", "ASPNETCORE_Kestrel__Certificates__Default__Path", false),
    setting("--certificate-password", "ASPNETCORE_Kestrel__Certificates__Default__Password", false),
];

/// A text with where it was set.
#[derive(Clone)]
pub(super) struct Value {
    pub(super) text: String,
    /// `--secrets`, or `SECRETS` of the environment.
    pub(super) from: String,
    /// Whether a path in it is one of this machine, and not of a container.
    pub(super) here: bool,
}

/// A word of a command line.
#[derive(Clone)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) here: bool,
}

/// Where settings come from.
#[derive(Default)]
pub(super) struct Given {
    pub(super) words: Vec<Word>,
    pub(super) variables: Vec<(String, String)>,
    /// Whether the variables were written down for that server, so that each is meant.
    pub(super) meant: bool,
    /// Whether the variables' paths are this machine's.
    pub(super) here: bool,
    /// Folders and files of this machine, and where a container finds them.
    pub(super) mounts: Vec<(PathBuf, PathBuf)>,
    /// Where its relative paths start.
    pub(super) working_dir: PathBuf,
}

/// Settings, by what is asked for.
pub(super) struct Settings {
    given: Given,
    options: Vec<(&'static str, Value)>,
}

impl Settings {
    /// Reads the command line.
    ///
    /// # Errors
    /// When an option has no value: that server would not have started.
    pub(super) fn read(given: Given, report: &mut Report) -> anyhow::Result<Self> {
        let mut words = program(&given.words).iter().peekable();
        let mut options: Vec<(&'static str, Value)> = Vec::new();
        let mut others = 0;
        while let Some(word) = words.next() {
            let Some(name) = word.text.strip_prefix("--").and_then(|rest| rest.split(['=', ':']).next()) else {
                others += 1;
                continue;
            };
            let inside = word.text.get(name.len() + 3..).map(str::to_owned);
            let next = words.peek().filter(|_| inside.is_none()).filter(|next| !next.text.starts_with("--"));
            let value = inside.or(next.map(|next| next.text.clone()));
            let consumed = next.is_some();
            let here = word.here;
            if consumed {
                words.next();
            }
            let Some(setting) = SETTINGS.iter().find(|setting| &setting.option[2..] == name) else {
                report.add(
                    Became::Left,
                    format!("{}: that server has no such option", super::report::shown(&format!("--{name}"))),
                );
                continue;
            };
            let Some(text) = value else {
                return Err(
                    UsageError(format!("{} has no value; that server does not start so", setting.option)).into()
                );
            };
            options.retain(|(option, _)| *option != setting.option);
            options.push((setting.option, Value { text, from: setting.option.to_owned(), here }));
        }
        if others > 0 {
            let belong = if others == 1 { "belongs" } else { "belong" };
            let line = format!("{} of the command line that {belong} to no option", counted(others, "word"));
            report.add(Became::Left, line);
        }
        Ok(Self { given, options })
    }

    /// The value of an option or of its variable, whichever that server went by. A blank one is none.
    pub(super) fn value(&self, option: &str, report: &mut Report) -> Option<Value> {
        let setting = SETTINGS.iter().find(|setting| setting.option == option)?;
        let typed = self.typed(option);
        let variable = self.variable(setting.variable);
        if variable.is_some() && (self.given.meant || setting.variable != "HOSTNAME") {
            let name = setting.variable;
            if typed.is_some() {
                report.add(Became::Idle, format!("{name} of the environment: {option} goes before it"));
            } else if setting.overwritten {
                let line = format!("{name} of the environment: the default of {option} goes before it");
                report.add(Became::Idle, line);
            }
        }
        let here = self.given.here;
        let variable = variable.filter(|_| !setting.overwritten);
        let variable = variable.map(|text| Value { text, from: setting.variable.to_owned(), here });
        typed.cloned().or(variable).filter(|value| !value.text.trim().is_empty())
    }

    /// What the command line says, blank or not.
    pub(super) fn typed(&self, option: &str) -> Option<&Value> {
        self.options.iter().find(|(name, _)| *name == option).map(|(_, value)| value)
    }

    /// A variable, spelled as here if there is one, else in any case.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        let variables = &self.given.variables;
        let exact = variables.iter().rev().find(|(other, _)| other == name);
        let any = || variables.iter().rev().find(|(other, _)| other.eq_ignore_ascii_case(name));
        exact.or_else(any).map(|(_, text)| text.clone())
    }

    /// `%NAME%` becomes that variable where there is one.
    pub(super) fn expand(&self, text: &str, used: &mut Vec<String>) -> String {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            expanded.push_str(before);
            let named = after.split_once('%').and_then(|(name, after)| Some((name, self.variable(name)?, after)));
            match named.filter(|(name, ..)| !name.is_empty()) {
                Some((name, value, after)) => {
                    used.push(name.to_owned());
                    expanded.push_str(&value);
                    rest = after;
                }
                None => {
                    expanded.push('%');
                    rest = after;
                }
            }
        }
        expanded + rest
    }

    /// Names what was set for that server and is nothing of its.
    pub(super) fn name_unknown(&self, used: &[String], report: &mut Report) {
        for (name, _) in self.given.variables.iter().filter(|_| self.given.meant) {
            let is = |other: &str| other.eq_ignore_ascii_case(name);
            let known = SETTINGS.iter().any(|setting| is(setting.variable));
            if !known && !used.iter().any(|used| is(used)) {
                let name = super::report::shown(name);
                report.add(Became::Left, format!("{name} of the environment: that server has no use for it"));
            }
        }
    }

    /// The file or folder that a setting names, as it is reached on this machine.
    ///
    /// # Errors
    /// When it is in a container, where nothing of this machine is.
    pub(super) fn path(&self, value: &Value) -> anyhow::Result<PathBuf> {
        let named = PathBuf::from(self.expand(&value.text, &mut Vec::new()));
        if value.here {
            return Ok(named);
        }
        let inside = self.given.working_dir.join(named);
        let found = self.given.mounts.iter().filter_map(|(outside, mount)| {
            let rest = inside.strip_prefix(mount).ok()?;
            let path = if rest == Path::new("") { outside.clone() } else { outside.join(rest) };
            Some((mount.components().count(), path))
        });
        let nearest = found.max_by_key(|(depth, _)| *depth).map(|(_, path)| path);
        nearest.ok_or_else(|| {
            let Value { from, .. } = value;
            let option = SETTINGS.iter().find(|it| it.variable == from || it.option == from).map_or("", |it| it.option);
            UsageError(format!(
                "{from} names a place in the container that no folder of this machine is mounted at; copy it out with \
                 `docker cp`, and say where it is with `-- {option} PATH`"
            ))
            .into()
        })
    }

    /// The passphrase of the file with secrets.
    pub(super) fn passphrase(&self, report: &mut Report) -> Option<SecretString> {
        self.value("--secrets-passphrase", report).map(|value| value.text.into())
    }
}

/// A command line without what starts the program.
fn program(words: &[Word]) -> &[Word] {
    let starts = |word: &Word| {
        let name = word.text.rsplit('/').next().unwrap_or_default();
        ["dotnet", "OAuthServer", "OAuthServer.dll", "run"].contains(&name)
    };
    let begin = words.iter().position(|word| !starts(word)).unwrap_or(words.len());
    words.get(begin..).unwrap_or_default()
}
