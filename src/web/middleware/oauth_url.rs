//! What Duplicati's pages make of an oauth-url that is not spelled as documented. They put `?type=…` behind it, or
//! `/?type=…`, and ask at `<that>/fetch`, whatever it ends with, a query of its own too. Meant is all the same what the
//! documented spelling says; without this, people would land on the list of services, and nobody would wait for them.
//! The spelling of paths is left to [`crate::web::middleware::https_and_host::fold`].
//!
//! Requests with an AuthID never come here: the backup client sends what it was given.

use actix_web::dev::ServiceRequest;
use actix_web::http::uri::PathAndQuery;
use actix_web::http::{Method, Uri};

/// The parameters that those pages put behind an address, as a text begins with them.
const THEIRS: [&str; 5] = ["type=", "token=", "callback=", "redirect=", "redir="];

/// Gives a request of such a page the address that was meant. Comes before every check, so that all see the same one.
pub(in crate::web) fn read(request: &mut ServiceRequest) {
    if request.method() != Method::GET {
        return;
    }
    let Some((path, query)) = meant(request.match_info().as_str(), request.query_string()) else { return };
    let mut uri = request.uri().clone().into_parts();
    uri.path_and_query = PathAndQuery::try_from(format!("{path}?{query}")).ok();
    if let Ok(uri) = Uri::from_parts(uri) {
        request.match_info_mut().get_mut().update(&uri);
        request.head_mut().uri = uri;
    }
}

/// The address that a page meant by `path`, folded, and `query`, if it is another one.
fn meant<'q>(path: &str, query: &'q str) -> Option<(&'static str, &'q str)> {
    let at = match path {
        "/" => "/",
        "/refresh" => "/refresh",
        "/fetch" | "/refresh/fetch" => "/fetch",
        _ => return None,
    };
    // Their parameters come last, and hold no question mark.
    let theirs = query.rsplit_once('?').filter(|(_, theirs)| THEIRS.iter().any(|name| theirs.starts_with(name)));
    let (at, query) = match theirs {
        Some((own, theirs)) => match own.trim_end_matches('/').rsplit_once('/') {
            Some((_, "fetch")) => ("/fetch", theirs),
            _ => (at, theirs),
        },
        None => (at, query),
    };
    (at != path || theirs.is_some()).then_some((at, query))
}

#[cfg(test)]
mod tests {
    use super::meant;

    #[test]
    fn an_odd_spelling_means_what_the_documented_one_does() {
        let (new, classic, poll) = ("type=dropbox", "type=dropbox&token=t", "callback=angular.callbacks._0&token=t");
        for (path, query, expected) in [
            ("/refresh", format!("tenant=x?{new}"), ("/refresh", new)),
            ("/refresh", format!("tenant=x/?{classic}"), ("/refresh", classic)),
            ("/refresh", format!("tenant=x/fetch?{poll}"), ("/fetch", poll)),
            ("/", format!("a=b?c=d?{new}"), ("/", new)),
            ("/", format!("a=b/fetch?{poll}"), ("/fetch", poll)),
            ("/refresh", format!("?{new}"), ("/refresh", new)),
            ("/refresh", format!("type=box?{new}"), ("/refresh", new)),
            ("/refresh/fetch", poll.to_owned(), ("/fetch", poll)),
        ] {
            let (at, query_meant) = meant(path, &query).unwrap_or_else(|| panic!("{path}?{query}"));
            assert_eq!((at, query_meant), expected, "{path}?{query}");
        }
    }

    #[test]
    fn what_is_spelled_as_documented_or_is_something_else_stays() {
        for (path, query) in [
            ("/", ""),
            ("/", "type=dropbox&token=t"),
            ("/refresh", "type=dropbox"),
            ("/fetch", "token=t"),
            ("/refresh", "authid=a?b"),
            ("/logged-in", "code=4/a?type=x&state=s"),
            ("/refresh/anything", "type=x"),
            ("/login", "a?type=x"),
        ] {
            assert!(meant(path, query).is_none(), "{path}?{query}");
        }
    }
}
