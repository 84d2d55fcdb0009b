//! The files of texts against each other, and against the templates and the source that ask for them.

use super::*;
use actix_web::test::TestRequest;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn words(tag: &str) -> BTreeMap<String, String> {
    flat(FILES.iter().find(|(language, ..)| language.tag() == tag).unwrap().2).unwrap()
}

/// What a text has filled in.
fn holes(text: &str) -> BTreeSet<String> {
    let environment = Environment::new();
    environment.template_from_str(text).unwrap().undeclared_variables(false).into_iter().collect()
}

/// The tags of a text, sorted: what a translator must leave as it is.
fn tags(text: &str) -> Vec<&str> {
    let mut tags: Vec<_> = text.split('<').skip(1).map(|rest| rest.split('>').next().unwrap()).collect();
    tags.sort_unstable();
    tags
}

#[test]
fn each_language_has_the_same_texts_with_the_same_filled_in_and_the_same_markup() {
    let english = words("en");
    assert!(english.len() > 300, "{}", english.len());
    for (language, file, _) in FILES {
        let words = words(language.tag());
        let keys = |words: &BTreeMap<String, String>| words.keys().cloned().collect::<BTreeSet<_>>();
        let differ: Vec<_> = keys(&words).symmetric_difference(&keys(&english)).cloned().collect();
        assert!(differ.is_empty(), "only in one of en and {file}: {differ:?}");
        for (key, text) in &words {
            assert_eq!(holes(text), holes(&english[key]), "{file}: {key}");
            assert_eq!(tags(text), tags(&english[key]), "{file}: {key}");
            assert!(!text.trim().is_empty(), "{file}: {key}");
        }
    }
}

#[test]
fn no_text_was_left_in_english() {
    let (english, german) = (words("en"), words("de"));
    // Names, and what is only filled in.
    let same = [
        "authid.label",
        "demo.provider",
        "demo.title",
        "error.unavailable.message",
        "inspect.label",
        "privacy.cookies",
    ];
    let left: Vec<_> =
        english.iter().filter(|(key, text)| german[*key] == **text).map(|(key, _)| key.as_str()).collect();
    let left: Vec<_> = left.into_iter().filter(|key| !same.contains(key)).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_end_of_each_built_in_service_is_told_in_each_language() {
    let facts: toml::Table = include_str!("../../config/providers.toml").parse().unwrap();
    let texts = Texts::built_in().unwrap();
    let mut seen = 0;
    for provider in facts["providers"].as_table().unwrap().values() {
        let Some(reason) = provider.get("gone").and_then(|gone| gone["reason"].as_str()) else { continue };
        let text = Text::new("unavailable.gone").with("reason", reason);
        let told = FILES.map(|(language, ..)| texts.say(language, &text).unwrap());
        assert_eq!(told[0], reason);
        assert!(told[1..].iter().all(|text| text != reason && text.trim() == text), "{told:?}");
        seen += 1;
    }
    assert!(seen > 0);
    let own = Text::new("unavailable.gone").with("reason", "It ended. Use another.");
    assert!(FILES.iter().all(|(language, ..)| texts.say(*language, &own).unwrap() == "It ended. Use another."));
}

/// Each `t("key", name=…)` of the templates: the key, which ends in a dot when the rest of it is a value; what is filled in.
fn calls(template: &str) -> Vec<(String, BTreeSet<String>)> {
    let mut calls = Vec::new();
    for (at, _) in template.match_indices("t(") {
        if template[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let (mut depth, mut quoted, mut parts) = (0, false, vec![String::new()]);
        for c in template[at + 2..].chars() {
            match c {
                '"' => quoted = !quoted,
                '(' if !quoted => depth += 1,
                ')' if !quoted && depth == 0 => break,
                ')' if !quoted => depth -= 1,
                _ => {}
            }
            if c == ',' && !quoted && depth == 0 {
                parts.push(String::new())
            } else {
                parts.last_mut().unwrap().push(c)
            }
        }
        let key = parts[0].split('"').nth(1).unwrap_or_default().to_owned();
        let names = parts[1..].iter().map(|part| part.split('=').next().unwrap().trim().to_owned());
        calls.push((key, names.collect()));
    }
    calls
}

/// The files below a folder of the source, with their texts.
fn files(folder: &str, extensions: &[&str]) -> Vec<(PathBuf, String)> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let extension = path.extension().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if extensions.contains(&extension.as_str()) {
                let text = fs::read_to_string(&path).unwrap();
                files.push((path, text.split("#[cfg(test)]\nmod ").next().unwrap().to_owned()));
            }
        }
    }
    assert!(files.len() > 10, "{folder}");
    files
}

#[test]
fn each_text_is_asked_for_with_what_it_has_filled_in_and_none_is_missing() {
    let english = words("en");
    let mut unused: BTreeSet<_> = english.keys().cloned().collect();
    for (path, template) in files("templates", &["html", "txt"]) {
        for (key, names) in calls(&template) {
            let keys: Vec<_> = english
                .keys()
                .filter(|known| **known == key || key.ends_with('.') && known.starts_with(&key))
                .collect();
            assert!(key.is_empty() || !keys.is_empty(), "{}: there is no text {key}", path.display());
            for key in keys {
                assert_eq!(names, holes(&english[key]), "{}: {key}", path.display());
                unused.remove(key);
            }
        }
    }
    let sections: BTreeSet<_> =
        english.keys().filter_map(|key| key.split_once('.')).map(|(section, _)| section).collect();
    for (path, code) in files("src/web", &["rs"]) {
        for literal in code.split('"').skip(1).step_by(2) {
            let parts = ["title", "message", "next"].map(|part| format!("error.{literal}.{part}"));
            let is_key = literal.split_once('.').is_some_and(|(section, rest)| {
                sections.contains(section)
                    && !matches!(rest, "html" | "txt")
                    && rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            });
            assert!(!is_key || english.contains_key(literal), "{}: there is no text {literal}", path.display());
            unused.remove(literal);
            unused.retain(|key| !parts.contains(key));
        }
        for page in code.split("ErrorPage::new(\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(english.contains_key(&format!("error.{page}.title")), "{}: {page}", path.display());
        }
    }
    assert!(unused.is_empty(), "nothing asks for {unused:?}");
}

/// What is left of a template when its tags, comments and everything in braces are taken out; and what of its attributes
/// people read.
fn read_by_people(template: &str) -> String {
    let mut rest = template.to_owned();
    for (open, close) in [("{#", "#}"), ("{%", "%}"), ("{{", "}}")] {
        while let Some(begin) = rest.find(open) {
            let end = begin + rest[begin..].find(close).unwrap() + close.len();
            rest.replace_range(begin..end, "");
        }
    }
    let mut read = String::new();
    for part in rest.split('<') {
        let (tag, text) = part.split_once('>').unwrap_or(("", part));
        read.push_str(text);
        for name in [
            "alt=\"",
            "title=\"",
            "aria-label=\"",
            "placeholder=\"",
            "data-copied=\"",
            "data-failed=\"",
            "data-saved=\"",
        ] {
            read.extend(tag.split(name).skip(1).map(|value| value.split('"').next().unwrap()));
        }
    }
    read
}

#[test]
fn no_template_and_no_script_has_a_text_of_its_own() {
    for (path, template) in files("templates", &["html", "txt"]) {
        let read = read_by_people(&template).replace("authseal", "");
        assert!(!read.contains(char::is_alphabetic), "{}: {}", path.display(), read.trim());
    }
    assert!(read_by_people("<p title=\"x\">{{ t(\"a\") }} {# b #}<b>c</b>").contains("xc"));
    let script = include_str!("../../templates/static/authseal.js");
    for line in script.lines().filter(|line| !line.trim_start().starts_with("//")) {
        let mut quoted = line.split(['\'', '`']).skip(1).step_by(2);
        let sentence = quoted.find(|text| text.contains(' ') && text.starts_with(|c: char| c.is_ascii_uppercase()));
        assert_eq!(sentence, None, "{line}");
    }
}

#[test]
fn a_browser_gets_the_language_that_it_likes_best_of_those_there_are() {
    for (accept, language) in [
        ("de", "de"),
        ("de-AT", "de"),
        ("DE-ch, fr;q=0.9", "de"),
        ("en-GB,en;q=0.9,de;q=0.8", "en"),
        ("en;q=0.5, de;q=0.7", "de"),
        ("en;q=0.5, de;q=0.5", "en"),
        ("de;q=0.5, en;q=0.5", "de"),
        ("fr-FR, fr;q=0.9, de;q=0.2", "de"),
        ("fr, es", "en"),
        ("*", "en"),
        ("fr, *;q=0.1", "en"),
        ("en;q=0, *", "de"),
        ("en;q=0", "en"),
        ("de;q=0", "en"),
        ("de;q=0, *;q=0.5", "en"),
        ("*;q=0.5, de", "de"),
        ("en;q=0.1, *", "de"),
        ("deu", "en"),
        ("den-DE", "en"),
        ("", "en"),
        (";;;,,,q=,de;q=", "en"),
        ("de;q=2", "en"),
        ("de;q=abc, en-US;q=0.3", "en"),
        ("\u{7f}\u{1}, de", "en"),
        ("de_DE", "en"),
        ("i-klingon, x-private, de", "de"),
    ] {
        let Ok(value) = actix_web::http::header::HeaderValue::from_str(accept) else { continue };
        let request = TestRequest::default().insert_header(("accept-language", value)).to_http_request();
        assert_eq!(Language::from_request(&request).tag(), language, "{accept:?}");
    }
    for (others, language) in [(50, "de"), (5000, "en")] {
        let list = format!("{}de", "fr, ".repeat(others));
        let request = TestRequest::default().insert_header(("accept-language", list)).to_http_request();
        assert_eq!(Language::from_request(&request).tag(), language, "after {others} others");
    }
    let twice =
        TestRequest::default().append_header(("accept-language", "fr")).append_header(("accept-language", "de"));
    assert_eq!(Language::from_request(&twice.to_http_request()).tag(), "de");
    assert_eq!(Language::from_request(&TestRequest::default().to_http_request()).tag(), "en");
    let bytes = actix_web::http::header::HeaderValue::from_bytes(b"de, \xff\xfe").unwrap();
    let request = TestRequest::default().insert_header(("accept-language", bytes)).to_http_request();
    assert_eq!(Language::from_request(&request).tag(), "en");
}

#[test]
fn what_is_filled_in_is_escaped_in_a_page_and_the_texts_own_markup_is_not() {
    let texts = Arc::new(Texts::built_in().unwrap());
    let mut pages = Environment::new();
    texts.teach(&mut pages);
    let page = "{{ t(\"logged_in.waiting_for\", receiver=\"<i>\") }}";
    let context = minijinja::context! { language => "de" };
    let shown = |name| pages.render_named_str(name, page, &context).unwrap();
    assert!(shown("page.html").contains("bei <b>&lt;i&gt;</b>."), "{}", shown("page.html"));
    assert!(shown("page.txt").contains("<b><i></b>"));
    let missing = pages.render_named_str("page.html", "{{ t(\"logged_in.waiting_for\") }}", &context);
    assert!(missing.is_err(), "{missing:?}");
    assert!(pages.render_named_str("page.html", "{{ t(\"no.such\") }}", &context).is_err());
}

#[test]
fn an_operators_text_takes_the_place_of_a_built_in_one_and_nothing_elses() {
    let mut texts = Texts::built_in().unwrap();
    let german = FILES[1].0;
    texts.replace(german, "[index]\nconnect = \"Los: {{ service }}!\"\n").unwrap();
    let text = Text::new("index.connect").with("service", "S");
    assert_eq!(texts.say(german, &text).unwrap(), "Los: S!");
    assert_eq!(texts.say(FILES[0].0, &text).unwrap(), "Connect S");
    for (file, says) in [
        ("[index]\nconect = \"x\"", "`index.conect` takes the place of no text"),
        ("[index]\nconnect = 3", "`index.connect` takes the place of no text"),
        ("index = \"x\"", "`index` takes the place of no text"),
        ("[index]\nconnect = \"{{ servce }}\"", "`index.connect` cannot be filled in: there is no `servce`"),
        ("[index]\nconnect = \"{{ service\"", "`index.connect` cannot be filled in: "),
        ("[index", "TOML parse error"),
    ] {
        let error = texts.replace(german, file).unwrap_err().to_string();
        assert!(error.starts_with(says), "{error}");
    }
    assert_eq!(texts.say(german, &text).unwrap(), "Los: S!", "what was refused changes nothing");
}

#[test]
fn a_reason_has_filled_in_what_the_pages_know() {
    for (key, text) in words("en").iter().filter(|(key, _)| key.starts_with("reason.")) {
        let known = if key == "reason.unclear" { &["provider", "status"][..] } else { &["provider"] };
        let holes = holes(text);
        assert!(holes.iter().all(|name| known.contains(&name.as_str())), "{key}: {holes:?}");
    }
}
