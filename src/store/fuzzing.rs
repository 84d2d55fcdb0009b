//! What must hold of where a store is said to be, whatever that text is; see `crate::fuzzing`.

#![allow(clippy::unwrap_used, reason = "what cannot fail here and does is a finding")]

use super::StorePlace;
use super::server::ListUrl;
use crate::fuzzing::lossy;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use std::path::Path;

/// What is taken is what it looks like and shows no password, and a password comes out of a URL as it was put in.
pub(crate) fn store_place(data: &[u8]) {
    let text = lossy(data);
    match StorePlace::parse(&text, Path::new("/etc/authseal"), None, 0) {
        Ok(place) => {
            assert_eq!(place.is_shared(), text.starts_with("redis"), "{place:?}");
            assert!(!place.is_shared() || !format!("{place:?}").contains(&text), "a URL is shown");
            assert_eq!(place.is_durable(), text != "memory");
        }
        Err(said) => assert!(!said.is_empty() && !said.contains('\n')),
    }
    let password = percent_encode(text.as_bytes(), NON_ALPHANUMERIC);
    let url = format!("redis+sentinel://user:{password}@one,[::1]:7/main/4");
    let url = ListUrl::parse(&url, 26379).unwrap();
    assert_eq!((url.user.as_deref(), url.password.as_deref()), (Some("user"), Some(&*text)));
    assert_eq!(url.hosts, [("one".to_owned(), 26379), ("::1".to_owned(), 7)]);
}
