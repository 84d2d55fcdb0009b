//! What must hold of cookies and forms, whatever a request carries; see `crate::fuzzing`.

#![allow(clippy::unwrap_used, reason = "what cannot fail here and does is a finding")]

use super::cookie::only;
use super::request::form::Form;

const NAME: &str = "__Host-authseal";

/// Headers are parted by newlines. Only one cookie of the name counts, whatever is around it.
pub(crate) fn cookie(data: &[u8]) {
    let headers = || data.split(|byte| *byte == b'\n');
    let read = |more: &'static [&'static [u8]]| only(headers().chain(more.iter().copied()), NAME);
    let found = read(&[]);
    if let Some(value) = found {
        assert!(!value.contains(';') && value.trim_matches([' ', '\t']) == value);
        let whole = format!("{NAME}={value}");
        assert_eq!(only([whole.as_bytes()].into_iter(), NAME), Some(value));
        assert_eq!(read(&[b"__Host-authseal=planted"]), None);
    }
    let named = data.windows(NAME.len()).any(|window| window == NAME.as_bytes());
    if !named {
        assert_eq!(found, None);
        assert_eq!(read(&[b"__Host-authseal=own"]), Some("own"));
        let joined = [data, b"; __Host-authseal=own"].concat();
        assert_eq!(only([joined.as_slice()].into_iter(), NAME), Some("own"));
    }
}

/// A field that is there twice is none; what is read and written again is read as the same, and never grows beyond what
/// bytes that are no UTF-8 become.
pub(crate) fn form(data: &[u8]) {
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(data).into_owned().collect();
    assert!(pairs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() <= 3 * data.len());
    let written = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
    assert!(url::form_urlencoded::parse(written.as_bytes()).into_owned().eq(pairs.iter().cloned()));
    let form = Form(pairs);
    for (name, _) in &form.0 {
        let mut values = form.0.iter().filter(|(other, _)| other == name);
        match (form.only(name), values.next(), values.next()) {
            (Ok(Some(found)), Some((_, value)), None) => assert_eq!(found, value),
            (found, ..) => assert!(found.is_err(), "{name:?} counts, though it is there twice"),
        }
    }
}
