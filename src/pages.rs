//! Pages: HTML templates and texts from the binary, or an operator's own in their place. Knows nothing of what is shown on
//! them.

use crate::config::Site;
use crate::files::{self, Readers, Unread};
use crate::texts::{self, Language, Text, TextFault, Texts};
use minijinja::value::{Serde, Value};
use minijinja::{Environment, context};
use serde::Serialize;
use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::sync::Arc;
use thiserror::Error;

/// The largest template or file of texts, in bytes.
const MAX_LEN: u64 = 1024 * 1024;
const TEMPLATES: [(&str, &str); 17] = [
    ("base.html", include_str!("../templates/base.html")),
    ("index.html", include_str!("../templates/index.html")),
    ("logged_in.html", include_str!("../templates/logged_in.html")),
    ("confirm.html", include_str!("../templates/confirm.html")),
    ("password.html", include_str!("../templates/password.html")),
    ("paste.html", include_str!("../templates/paste.html")),
    ("revoke.html", include_str!("../templates/revoke.html")),
    ("revoked.html", include_str!("../templates/revoked.html")),
    ("inspect.html", include_str!("../templates/inspect.html")),
    ("inspected.html", include_str!("../templates/inspected.html")),
    ("anew.html", include_str!("../templates/anew.html")),
    ("authid.html", include_str!("../templates/authid.html")),
    ("unkept.html", include_str!("../templates/unkept.html")),
    ("login_id.html", include_str!("../templates/login_id.html")),
    ("privacy.html", include_str!("../templates/privacy.html")),
    ("privacy.txt", include_str!("../templates/privacy.txt")),
    ("error.html", include_str!("../templates/error.html")),
];

/// What pages load besides: name, content type, content. `favicon.svg` is the logo too.
const ASSETS: [(&str, &str, &str); 3] = [
    ("static/authseal.css", "text/css; charset=utf-8", include_str!("../templates/static/authseal.css")),
    ("static/authseal.js", "text/javascript; charset=utf-8", include_str!("../templates/static/authseal.js")),
    ("static/favicon.svg", "image/svg+xml", include_str!("../templates/static/favicon.svg")),
];

/// The templates and what goes with them.
pub struct Pages {
    environment: Environment<'static>,
    texts: Arc<Texts>,
    assets: Vec<Asset>,
}

/// A stylesheet, script or image.
pub struct Asset {
    name: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// All of it.
    pub content: Cow<'static, str>,
}

/// Why an operator's template was refused.
#[derive(Debug, Error)]
pub enum TemplateError {
    /// It cannot be read.
    #[error("the template {0} cannot be used: {1}")]
    Read(String, Unread),
    /// It cannot be parsed.
    #[error("the template {0} has a fault: {1}")]
    Parse(String, minijinja::Error),
    /// It is a file of texts with a fault.
    #[error("the texts {0} have a fault: {1}")]
    Texts(String, TextFault),
    /// It would never be shown.
    #[error("{0} takes the place of nothing; there are {names}", names = names())]
    Unknown(String),
}

impl Pages {
    /// All templates, which may name the `site`; a file of the same name in `folder` takes the place of the built-in one, and
    /// is parsed now. Built-in ones are parsed when they are first shown.
    ///
    /// # Errors
    /// When a file in `folder` cannot be read or parsed, has a name that nothing built in has, or could be anybody's, since
    /// what it says is on the page that shows the AuthID.
    pub fn load(folder: Option<&Path>, site: &Site) -> Result<Self, TemplateError> {
        if let Some(folder) = folder {
            refuse_unknown(folder, folder)?;
        }
        let mut environment = Environment::new();
        let texts = Arc::new(texts(folder)?);
        texts.teach(&mut environment);
        environment.add_global("site", Value::from(Serde(site)));
        for (name, _) in TEMPLATES {
            let Some(text) = replaced(folder, name)? else { continue };
            let parsed = environment.add_template_owned(name, text);
            parsed.map_err(|error| TemplateError::Parse(shown(folder, name), error))?;
        }
        // Parsed, all would take half a megabyte, and most servers never show most of them.
        environment
            .set_loader(|name| Ok(TEMPLATES.iter().find(|template| template.0 == name).map(|template| template.1)));
        let asset = |(name, content_type, built_in)| {
            let content = replaced(folder, name)?.map_or(Cow::Borrowed(built_in), Cow::Owned);
            Ok(Asset { name, content_type, content })
        };
        let assets = ASSETS.into_iter().map(asset).collect::<Result<_, _>>()?;
        Ok(Self { environment, texts, assets })
    }

    /// The stylesheet, script or image of this name, like `static/authseal.css`.
    pub fn asset(&self, name: &str) -> Option<&Asset> {
        self.assets.iter().find(|asset| asset.name == name)
    }

    /// Renders one page. Values are escaped in `.html` templates.
    ///
    /// # Errors
    /// When the template, which may be an operator's, cannot be rendered.
    pub fn render(&self, language: Language, template: &str, page: impl Serialize) -> Result<String, minijinja::Error> {
        let page = Value::from(Serde(page));
        self.environment.get_template(template)?.render(context! { language => language.tag(), ..page })
    }

    /// A text without markup, for a page.
    ///
    /// # Errors
    /// When something to be filled in is missing.
    pub fn say(&self, language: Language, text: &Text) -> Result<String, minijinja::Error> {
        self.texts.say(language, text)
    }
}

fn texts(folder: Option<&Path>) -> Result<Texts, TemplateError> {
    let fault = |name| move |fault| TemplateError::Texts(shown(folder, name), fault);
    let mut texts = Texts::built_in().map_err(fault("texts"))?;
    for (language, name, _) in texts::FILES {
        if let Some(file) = replaced(folder, name)? {
            texts.replace(language, &file).map_err(fault(name))?;
        }
    }
    Ok(texts)
}

/// An operator's own file of that name, if there is one.
fn replaced(folder: Option<&Path>, name: &str) -> Result<Option<String>, TemplateError> {
    let Some(path) = folder.map(|folder| folder.join(name)) else { return Ok(None) };
    match files::read_text(&path, MAX_LEN, Readers::All) {
        Ok((text, _)) => Ok(Some(text.to_string())),
        Err(Unread::Missing) => Ok(None),
        Err(error) => Err(TemplateError::Read(shown(folder, name), error)),
    }
}

fn shown(folder: Option<&Path>, name: &str) -> String {
    folder.map_or_else(|| name.to_owned(), |folder| folder.join(name).display().to_string())
}

/// A file with a slip in its name would be left out without a word.
fn refuse_unknown(folder: &Path, below: &Path) -> Result<(), TemplateError> {
    let unreadable = |error: io::Error| TemplateError::Read(below.display().to_string(), error.into());
    let metadata = std::fs::metadata(below).map_err(unreadable)?;
    files::trust(below, &metadata).map_err(|error| TemplateError::Read(below.display().to_string(), error.into()))?;
    for entry in std::fs::read_dir(below).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.strip_prefix(folder).unwrap_or(&path);
        if path.is_dir() && ["static", "texts"].iter().any(|known| Path::new(known) == name) {
            refuse_unknown(folder, &path)?;
        } else if !known().any(|known| Path::new(known) == name) {
            return Err(TemplateError::Unknown(path.display().to_string()));
        }
    }
    Ok(())
}

fn names() -> String {
    known().collect::<Vec<_>>().join(", ")
}

fn known() -> impl Iterator<Item = &'static str> {
    let texts = texts::FILES.iter().map(|file| file.1);
    TEMPLATES.iter().map(|template| template.0).chain(ASSETS.iter().map(|asset| asset.0)).chain(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operators_template_takes_the_place_of_the_built_in_one_and_a_broken_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("error.html"), "mine: {{ heading }}").unwrap();
        let pages = Pages::load(Some(folder.path()), &Site::default()).unwrap();
        let context = serde_json::json!({ "heading": "<h>" });
        let [english, german] = texts::FILES.map(|(language, ..)| language);
        assert_eq!(pages.render(english, "error.html", context).unwrap(), "mine: &lt;h&gt;");
        assert_eq!(pages.asset("static/favicon.svg").unwrap().content_type, "image/svg+xml");
        std::fs::create_dir(folder.path().join("static")).unwrap();
        std::fs::write(folder.path().join("static/favicon.svg"), "<svg>mine</svg>").unwrap();
        let pages = Pages::load(Some(folder.path()), &Site::default()).unwrap();
        assert_eq!(pages.asset("static/favicon.svg").unwrap().content, "<svg>mine</svg>");
        assert!(pages.asset("static/authseal.css").unwrap().content.contains("color-scheme"));

        std::fs::create_dir(folder.path().join("texts")).unwrap();
        let own = folder.path().join("texts/de.toml");
        std::fs::write(&own, "[inspect]\ntitle = \"AuthID ansehen\"\n").unwrap();
        let pages = Pages::load(Some(folder.path()), &Site::default()).unwrap();
        let [english, german] = [english, german].map(|language| pages.render(language, "inspect.html", ()).unwrap());
        assert!(german.contains("<h1>AuthID ansehen</h1>") && german.contains("Diese AuthID prüfen"), "{german}");
        assert!(german.contains("<html lang=\"de\">") && english.contains("<html lang=\"en\">"));
        assert!(english.contains("<h1>Check an AuthID</h1>"), "{english}");
        std::fs::write(&own, "[inspect]\ntitel = \"x\"\n").unwrap();
        let error = Pages::load(Some(folder.path()), &Site::default()).err().unwrap().to_string();
        assert!(error.contains("texts/de.toml have a fault: `inspect.titel` takes the place of no text"), "{error}");
        std::fs::remove_file(own).unwrap();

        std::fs::write(folder.path().join("index.html"), "{% if %}").unwrap();
        let error = Pages::load(Some(folder.path()), &Site::default()).err().unwrap().to_string();
        assert!(error.contains("index.html has a fault"), "{error}");
    }

    #[test]
    fn a_file_that_takes_the_place_of_nothing_is_a_slip() {
        for name in ["logedin.html", "static/style.css", "texts/fr.toml"] {
            let folder = tempfile::tempdir().unwrap();
            ["static", "texts"].iter().for_each(|below| std::fs::create_dir(folder.path().join(below)).unwrap());
            std::fs::write(folder.path().join(name), "x").unwrap();
            let error = Pages::load(Some(folder.path()), &Site::default()).err().unwrap().to_string();
            assert!(error.contains(name) && error.contains("logged_in.html"), "{error}");
        }
    }
}
