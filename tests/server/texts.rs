//! The language of the pages: the browser's, while what programs read is English.

use crate::emulator::{Emulator, Profile};
use crate::spawn::{Answer, TestApp, spawn_app, spawn_for};

async fn get(app: &TestApp, path: &str, languages: &[&str]) -> Answer {
    let request = app.client.get(app.at(path)).header("x-forwarded-for", "203.0.113.7");
    let request = languages.iter().fold(request, |request, language| request.header("accept-language", *language));
    Answer::of(request.send().await.unwrap()).await
}

async fn post(app: &TestApp, path: &str, form: &[(&str, &str)]) -> Answer {
    let request = app.client.post(app.at(path)).header("x-forwarded-for", "203.0.113.7");
    Answer::of(request.header("accept-language", "de-AT, en;q=0.5").form(form).send().await.unwrap()).await
}

#[tokio::test]
async fn pages_are_in_the_language_that_the_browser_asks_for() {
    let emulator = Emulator::start(Profile::google());
    let app = spawn_for(&[&emulator]);
    for (languages, tag, privacy) in [
        (&[][..], "en", ">Privacy<"),
        (&["de"], "de", ">Datenschutz<"),
        (&["de-AT,de;q=0.9,en;q=0.8"], "de", ">Datenschutz<"),
        (&["en-US,en;q=0.9,de;q=0.8"], "en", ">Privacy<"),
        (&["fr", "de;q=0.3"], "de", ">Datenschutz<"),
        (&["fr-FR"], "en", ">Privacy<"),
        (&["*"], "en", ">Privacy<"),
        (&[",;q=,;de"], "en", ">Privacy<"),
    ] {
        for (path, status) in
            [("/", 200), ("/revoke", 200), ("/privacy-policy", 200), ("/nothing", 404), ("/login?id=x", 404)]
        {
            let page = get(&app, path, languages).await;
            assert_eq!(page.status, status, "{path}");
            assert!(page.body.contains(&format!("<html lang=\"{tag}\">")), "{languages:?} {path}: {}", page.body);
            assert!(page.body.contains(privacy), "{languages:?} {path}: {}", page.body);
            assert_eq!(page.header("content-language"), Some(tag), "{path}");
            assert_eq!(page.header("vary"), Some("accept-language"), "{path}");
        }
    }
    let text = get(&app, "/privacy-policy.txt", &["de"]).await;
    assert!(text.body.starts_with("DATENSCHUTZ\n\nKurz gesagt\n") && !text.body.contains('<'), "{}", text.body);
    let asset = get(&app, "/static/authseal.css", &["de"]).await;
    assert_eq!((asset.header("vary"), asset.header("content-language")), (None, None));
}

#[tokio::test]
async fn forms_answer_in_the_persons_language_too() {
    let emulator = Emulator::start(Profile::google());
    let app = spawn_for(&[&emulator]);
    let authid = app.log_in(&emulator);
    let shown = post(&app, "/inspect", &[("authid", &authid)]).await;
    for text in ["Sie ist hier gültig und nicht widerrufen", "3 (der neueste)", " Uhr UTC</time>"] {
        assert!(shown.body.contains(text), "{text}: {}", shown.body);
    }
    let bad = post(&app, "/inspect", &[("authid", "v2:googledrive:hunter2")]).await;
    assert!(bad.status == 400 && bad.body.contains("stammt von einem Server älterer Art"), "{}", bad.body);
    let revoked = post(&app, "/revoked", &[("authid", &authid)]).await;
    assert!(revoked.body.contains("Der Zugriff ist widerrufen") && revoked.body.contains("ja, dauerhaft"));
    let again = post(&app, "/inspect", &[("authid", &authid), ("act", "test")]).await;
    assert!(again.body.contains("Sie ist widerrufen"), "{}", again.body);
}

#[tokio::test]
async fn programs_read_english_whatever_they_ask_for() {
    let emulator = Emulator::start(Profile::google());
    let app = spawn_for(&[&emulator]);
    let ask = |path: &str, authid: &'static str| {
        let request = app.client.get(app.at(path)).header("accept-language", "de").header("x-authid", authid);
        async { Answer::of(request.send().await.unwrap()).await }
    };
    let refused = ask("/refresh", "nonsense").await;
    assert!(refused.reason().is_ascii() && refused.reason().starts_with("This AuthID is not valid here"));
    assert_eq!((refused.header("content-language"), refused.header("vary")), (None, None));
    let program = app.client.post(app.at("/revoked")).header("accept-language", "de").header("x-authid", "nonsense");
    let program = Answer::of(program.send().await.unwrap()).await;
    assert!(program.json()["error"].as_str().unwrap().starts_with("This AuthID is not valid here"));
    let token = post(&app, "/token", &[("grant_type", "password")]).await.json();
    assert!(token["error_description"].as_str().unwrap().starts_with("This server answers"));
}

#[tokio::test]
async fn each_page_says_who_runs_the_server() {
    let site = "[site]\nname = \"Backups of <Example> & Co\"\ncontact = \"help@example.com\"\n";
    let imprint = "imprint_url = \"https://example.com/imprint\"\n[privacy]\nurl = \"https://example.com/privacy\"\n";
    let emulator = Emulator::start(Profile::google());
    let app = spawn_app(&format!("{}{site}{imprint}", emulator.provider_toml()));
    let bare = spawn_for(&[&emulator]);
    for path in ["/", "/?type=googledrive", "/revoke", "/inspect", "/privacy-policy", "/nothing", "/logged-in?error=x"]
    {
        let page = get(&app, path, &[]).await.body;
        let shown =
            ["<span>Backups of &lt;Example&gt; &amp; Co</span>", "· Backups of &lt;Example&gt; &amp; Co</title>"];
        for text in shown.into_iter().chain(["mailto:help@example.com", "https:&#x2f;&#x2f;example.com&#x2f;imprint"]) {
            assert!(page.contains(text), "{path} {text}: {page}");
        }
        let page = get(&bare, path, &[]).await.body;
        assert!(page.contains("<span>authseal</span>") && page.contains("· authseal</title>"), "{page}");
        assert!(!page.contains("Imprint") && !page.contains("mailto") && !page.contains("Who runs"), "{path}: {page}");
    }
    let privacy = get(&app, "/privacy-policy", &[]).await.body;
    assert!(privacy.contains("Who runs this server") && privacy.contains(">help@example.com</a>"), "{privacy}");
    let text = get(&app, "/privacy-policy.txt", &[]).await.body;
    for line in ["Backups of <Example> & Co", "help@example.com", "https://example.com/imprint"] {
        assert!(text.lines().any(|other| other == line), "{text}");
    }
    let error = get(&app, "/nothing", &["de"]).await.body;
    assert!(error.contains("<a href=\"mailto:help@example.com\">help@example.com</a> um Hilfe bitten"), "{error}");
}

#[tokio::test]
async fn a_service_that_is_not_known_is_told_above_the_list_and_not_repeated() {
    let app = spawn_for(&[&Emulator::start(Profile::google())]);
    for (query, told) in [
        ("type=nosuch%3Cb%3E", true),
        ("type=GoogleDrive", true),
        ("redirect=nosuch", true),
        ("type=", false),
        ("", false),
        ("other=x", false),
        ("type=googledrive", false),
        ("type=nosuch&redirect=googledrive", false),
    ] {
        let page = get(&app, &format!("/?{query}"), &[]).await.body;
        assert_eq!(page.contains("asked for a service that this server does not know"), told, "{query}: {page}");
        assert!(!page.contains("nosuch") && page.contains("Google Drive"), "{query}: {page}");
    }
}
