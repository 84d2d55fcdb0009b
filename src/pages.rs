//! Pages: templates from the binary, or an operator's own in their place. Knows nothing of what is shown on them.

use minijinja::Environment;
use minijinja::value::Serde;
use serde::Serialize;
use std::path::Path;
use thiserror::Error;

const TEMPLATES: [(&str, &str); 10] = [
    ("base.html", include_str!("../templates/base.html")),
    ("index.html", include_str!("../templates/index.html")),
    ("logged_in.html", include_str!("../templates/logged_in.html")),
    ("password.html", include_str!("../templates/password.html")),
    ("paste.html", include_str!("../templates/paste.html")),
    ("revoke.html", include_str!("../templates/revoke.html")),
    ("revoked.html", include_str!("../templates/revoked.html")),
    ("privacy.html", include_str!("../templates/privacy.html")),
    ("privacy.txt", include_str!("../templates/privacy.txt")),
    ("error.html", include_str!("../templates/error.html")),
];

/// The templates, parsed.
pub struct Pages(Environment<'static>);

/// Why an operator's template was refused.
#[derive(Debug, Error)]
pub enum TemplateError {
    /// It cannot be read.
    #[error("cannot read the template {0}: {1}")]
    Read(String, std::io::Error),
    /// It cannot be parsed.
    #[error("the template {0} has a fault: {1:#}")]
    Parse(String, minijinja::Error),
}

impl Pages {
    /// Parses all templates; one of the same name in `folder` takes the place of the built-in one.
    ///
    /// # Errors
    /// When a template in `folder` cannot be read or parsed.
    pub fn load(folder: Option<&Path>) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        for (name, built_in) in TEMPLATES {
            let path = folder.map(|folder| folder.join(name)).filter(|path| path.exists());
            let shown = path.as_ref().map_or_else(|| name.to_owned(), |path| path.display().to_string());
            let text = match path {
                None => built_in.to_owned(),
                Some(path) => {
                    std::fs::read_to_string(path).map_err(|error| TemplateError::Read(shown.clone(), error))?
                }
            };
            environment.add_template_owned(name, text).map_err(|error| TemplateError::Parse(shown, error))?;
        }
        Ok(Self(environment))
    }

    /// Renders one page. Values are escaped in `.html` templates.
    ///
    /// # Errors
    /// When the template, which may be an operator's, cannot be rendered.
    pub fn render(&self, template: &str, context: impl Serialize) -> Result<String, minijinja::Error> {
        self.0.get_template(template)?.render(Serde(context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operators_template_takes_the_place_of_the_built_in_one_and_a_broken_one_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("error.html"), "mine: {{ heading }}").unwrap();
        let pages = Pages::load(Some(folder.path())).unwrap();
        let context = serde_json::json!({ "heading": "<h>" });
        assert_eq!(pages.render("error.html", context).unwrap(), "mine: &lt;h&gt;");
        std::fs::write(folder.path().join("index.html"), "{% if %}").unwrap();
        let error = Pages::load(Some(folder.path())).err().unwrap().to_string();
        assert!(error.contains("index.html has a fault"), "{error}");
    }
}
