//! What comes over the wire, taken apart strictly: routes, forms, the client's credentials.

use super::Shared;
use super::refusal::Refusal;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::collections::BTreeMap;
use url::form_urlencoded;

/// Parameters, each at most once.
pub(crate) type Form = BTreeMap<String, String>;

/// A request to the token or revocation endpoint as it came.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// The form's parameters in the order they came.
    pub(crate) params: Vec<(String, String)>,
}

impl Call {
    /// The value of a parameter.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The names of all parameters, sorted.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.params.iter().map(|(key, _)| key.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// The body as a form that says it is one.
    pub(crate) fn form(&self) -> Result<Form, Refusal> {
        let kind = self.headers.get("content-type").map(String::as_str).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Refusal::NotAForm);
        }
        once(&self.params)
    }
}

/// Parameters of a query or body.
pub(crate) fn params(encoded: &[u8]) -> Vec<(String, String)> {
    form_urlencoded::parse(encoded).into_owned().collect()
}

/// Refuses a parameter that is there twice (RFC 6749 section 3.1).
pub(crate) fn once(params: &[(String, String)]) -> Result<Form, Refusal> {
    let mut form = Form::new();
    for (name, value) in params {
        if form.insert(name.clone(), value.clone()).is_some() {
            return Err(Refusal::Repeated(name.clone()));
        }
    }
    Ok(form)
}

/// Refuses every parameter that is not listed.
pub(crate) fn only(form: &Form, allowed: &[&str]) -> Result<(), Refusal> {
    match form.keys().find(|name| !allowed.contains(&name.as_str())) {
        Some(name) => Err(Refusal::Unexpected(name.clone())),
        None => Ok(()),
    }
}

/// A parameter that must be there.
pub(crate) fn need<'a>(form: &'a Form, name: &'static str) -> Result<&'a str, Refusal> {
    form.get(name).map(String::as_str).filter(|value| !value.is_empty()).ok_or(Refusal::Missing(name))
}

/// The segments that match the braces of `pattern`, when `path` is of its shape.
pub(crate) fn route<'a>(pattern: &str, path: &'a str) -> Option<Vec<(String, &'a str)>> {
    let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
    if pattern.len() != path.len() || pattern.len() < 2 {
        return None;
    }
    let mut braces = Vec::new();
    for (wanted, segment) in pattern.into_iter().zip(path) {
        match wanted.strip_prefix('{').and_then(|wanted| wanted.strip_suffix('}')) {
            Some(name) => braces.push((name.to_owned(), segment)),
            None if wanted == segment => {}
            None => return None,
        }
    }
    Some(braces)
}

/// Checks who calls, and gives its client id: by the body, or by HTTP Basic where the provider takes it, never both (RFC 6749 section 2.3).
pub(crate) fn authenticate(shared: &Shared, call: &Call, form: &Form, secret_needed: bool) -> Result<String, Refusal> {
    let who = &shared.who;
    let (id, secret) = match call.headers.get("authorization") {
        Some(_) if !who.basic || form.contains_key("client_secret") => {
            return Err(Refusal::Unexpected("authorization".to_owned()));
        }
        Some(header) => basic(header).ok_or(Refusal::Invalid("authorization"))?,
        None => (need(form, "client_id")?.to_owned(), form.get("client_secret").cloned()),
    };
    let ours = shared.clients.lock().unwrap().get(&id).cloned().ok_or(Refusal::ClientUnknown)?;
    match (ours, secret) {
        (Some(ours), Some(theirs)) if ours == theirs => Ok(id),
        (Some(_), Some(_)) => Err(Refusal::SecretWrong),
        (Some(_), None) if secret_needed => Err(Refusal::SecretMissing),
        (None, Some(_)) => Err(Refusal::Unexpected("client_secret".to_owned())),
        (_, None) => Ok(id),
    }
}

/// `Basic base64(form-encoded id : form-encoded secret)`.
fn basic(header: &str) -> Option<(String, Option<String>)> {
    let text = String::from_utf8(BASE64_STANDARD.decode(header.strip_prefix("Basic ")?).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decode =
        |text: &str| form_urlencoded::parse(format!("v={text}").as_bytes()).next().map(|(_, v)| v.into_owned());
    Some((decode(id)?, Some(decode(secret)?)))
}
