//! `authseal status`: how running servers do, on one screen each, as their admin listeners say.

use super::counted::counted;
use super::json;
use super::keys::span;
use super::replicas::{Asking, Replica, Time, Told};
use crate::clock::UnixTime;
use anyhow::bail;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub(super) const EXAMPLES: &str = "\
Examples:
  authseal status
  authseal status --json
  authseal status --against http://10.0.0.5:9464 http://10.0.0.6:9464";

/// The body of `GET /status`. What another version leaves out is not shown.
#[derive(Deserialize, Serialize)]
#[serde(transparent)]
pub(super) struct Answer(Map<String, Value>);

impl Told for Answer {
    const PATH: &'static str = "/status";
    const WHAT: &'static str = "how it does";
}

pub(super) fn status(asking: &Asking) -> anyhow::Result<()> {
    let advice = "nobody was asked: no server answers at `admin.listen`; or name admin listeners with `--against URL…`";
    let replicas: Vec<Replica<Answer>> = asking.ask(advice)?;
    if asking.json {
        let one = |replica: &Replica<Answer>| match &replica.answer {
            Ok(answer) => json!({ "url": replica.url, "status": answer }),
            Err(error) => json!({ "url": replica.url, "error": error }),
        };
        json::print(&replicas.iter().map(one).collect::<Value>())?;
    } else {
        for Replica { url, answer } in &replicas {
            match answer {
                Ok(answer) => println!("{url}\n{}", screen(&answer.0).join("\n")),
                Err(error) => println!("{url} {error}"),
            }
        }
    }
    match replicas.iter().filter(|replica| replica.answer.is_err()).count() {
        0 => Ok(()),
        silent => bail!("{silent} of {} did not say how they do", counted(replicas.len(), "server")),
    }
}

/// What a server says, a line for each thing.
fn screen(said: &Map<String, Value>) -> Vec<String> {
    let root = Value::Object(said.clone());
    let at = |path: &str| root.pointer(path).filter(|value| !value.is_null());
    let text = |path: &str| at(path).map(shown).unwrap_or_default();
    let now = time(at("/now")).unwrap_or_default();
    let ago = |value: Option<&Value>| time(value).map(|then| format!("{} ago", span(now - then)));
    let ahead = |value: &Value| match time(Some(value)) {
        Some(end) if end > now => format!("ends in {}, {}", span(end - now), shown(value)),
        _ => format!("has ended, {}", shown(value)),
    };
    let entries = |path: &str| at(path).and_then(Value::as_object).into_iter().flatten();
    let file = |name: &str| {
        let stale = ago(at(&format!("/readiness/{name}/stale_since")));
        let since = ago(at(&format!("/readiness/{name}/since"))).unwrap_or_default();
        let stale = stale.map(|stale| format!("; CANNOT BE READ since {stale}")).unwrap_or_default();
        format!("read {since}{stale}")
    };
    let mut lines = Vec::new();
    let mut line = |name: &str, text: String| lines.push(format!("  {name:<14}{text}"));
    line("version", format!("{} ({})", text("/version"), text("/commit")));
    line("started", ago(at("/started")).unwrap_or_default());
    let ready = at("/readiness/ready").and_then(Value::as_bool).unwrap_or_default();
    line("ready", if ready { "yes" } else { "NO, it was told to end" }.to_owned());
    line("public URL", text("/public_url"));
    let origin = at("/configuration").map_or("of the environment alone".to_owned(), shown);
    line("configuration", format!("{origin}; {}", file("configuration")));
    let services = at("/services").and_then(Value::as_array).into_iter().flatten();
    let services: Vec<_> = services.map(shown).collect();
    line("services", if services.is_empty() { "NONE".to_owned() } else { services.join(", ") });
    let epochs = text("/readiness/keyring/entries");
    line("keyring", format!("epoch {} seals, of {epochs}; {}", text("/keyring/primary"), file("keyring")));
    line("denylist", format!("{}; {}", counted(text("/readiness/denylist/entries"), "rule"), file("denylist")));
    let failing = ago(at("/readiness/store/failing_since"));
    line("store", failing.map_or(text("/store"), |since| format!("{}; FAILS since {since}", text("/store"))));
    if let Some(end) = at("/certificate_ends") {
        line("certificate", format!("{}; {}", ahead(end), file("certificate")));
    }
    if let Some(next) = at("/readiness/acme/next_attempt") {
        let failed = at("/readiness/acme/fault").map(|fault| format!("; FAILED: {}", shown(fault)));
        line("acme", format!("next order {}{}", shown(next), failed.unwrap_or_default()));
    }
    if at("/readiness/password").is_some() {
        line("password", file("password"));
    }
    for (client, end) in entries("/secrets_end") {
        line("secret", format!("{client}: {}", ahead(end)));
    }
    for (provider, calls) in entries("/providers") {
        let good = ago(calls.get("last_good")).unwrap_or("never".to_owned());
        let failure = calls.get("failure").map(shown).unwrap_or_default();
        let failed = ago(calls.get("last_failed")).map(|ago| format!("; failed {ago} ({failure})"));
        line("provider", format!("{provider}: answered {good}{}", failed.unwrap_or_default()));
    }
    for row in at("/legacy/seen").and_then(Value::as_array).into_iter().flatten() {
        let [service, version, authids] = ["service", "version", "authids"].map(|key| row.get(key).map(shown));
        let words = [service, version, authids].map(Option::unwrap_or_default).join(" ");
        line("old AuthIDs", format!("{words}; the last one {}", ago(row.get("last_seen")).unwrap_or_default()));
    }
    for alarm in at("/log").and_then(Value::as_array).into_iter().flatten().rev() {
        let [level, times, message] = ["level", "times", "message"].map(|key| alarm.get(key).map(shown));
        let [level, times, message] = [level, times, message].map(Option::unwrap_or_default);
        let times = if times == "1" { String::new() } else { format!(", {times} times") };
        line("log", format!("{level} {message} ({}{times})", ago(alarm.get("last")).unwrap_or_default()));
    }
    lines
}

/// A value as text.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn time(value: Option<&Value>) -> Option<UnixTime> {
    Time::try_from(value?.as_str()?.to_owned()).ok().map(|time| time.0)
}
