//! Our cookies (RFC 6265): the binding of a login to its user agent (login CSRF, RFC 9700 section 4.7), `state` for
//! providers that drop it, and the shared password's pass. They are read and written byte for byte: a browser guards
//! the literal prefix `__Host-` and no other spelling of it, so a library that decodes or trims names lets every host
//! of the same domain set our cookies. Nothing is decoded here; values are base64url.
//!
//! Two cookies of one name count as none: a browser that does not guard the prefix sends a planted one beside ours, and
//! whoever planted it chooses which comes first.

use crate::app::App;
use crate::login::{BROWSER_COOKIE_LIFETIME, BrowserCookie, STATE_LIFETIME};
use crate::password::PASS_LIFETIME;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use std::str;

/// A cookie of ours.
#[derive(Clone, Copy)]
pub(in crate::web) enum Cookie {
    /// Ties a login to the browser in which it began.
    Browser,
    /// Holds the login under way at a provider that may drop `state`.
    State,
    /// Remembers that the shared password was given.
    Pass,
}

impl Cookie {
    /// Its value, if the request has exactly one cookie of that name.
    pub(in crate::web) fn read<'a>(self, request: &'a HttpRequest, app: &App) -> Option<&'a str> {
        let headers = request.headers().get_all(header::COOKIE);
        only(headers.map(HeaderValue::as_bytes), &self.name(app))
    }

    /// Sends it along. `Lax`, not `Strict`: it must be there when the provider sends the browser back.
    pub(in crate::web) fn set(self, value: &str, response: &mut HttpResponse, app: &App) {
        if let Some((name, value)) = self.header(value, app) {
            response.headers_mut().append(name, value);
        }
    }

    /// The header that does so.
    pub(in crate::web) fn header(self, value: &str, app: &App) -> Option<(HeaderName, HeaderValue)> {
        let (name, lifetime) = (self.name(app), self.lifetime());
        let secure = if is_https(app) { "; Secure" } else { "" };
        let cookie = format!("{name}={value}; Path=/; Max-Age={lifetime}; HttpOnly; SameSite=Lax{secure}");
        // Fails only for what is no header text.
        Some((header::SET_COOKIE, HeaderValue::try_from(cookie).ok()?))
    }

    // Browsers want https for the prefix, and plain http is for loopback.
    fn name(self, app: &App) -> String {
        let name = match self {
            Self::Browser => "authseal",
            Self::State => "authseal-state",
            Self::Pass => "authseal-access",
        };
        format!("{}{name}", if is_https(app) { "__Host-" } else { "" })
    }

    /// In seconds.
    fn lifetime(self) -> i64 {
        match self {
            Self::Browser => BROWSER_COOKIE_LIFETIME,
            Self::State => STATE_LIFETIME,
            Self::Pass => PASS_LIFETIME,
        }
    }
}

/// What ties a login to this browser, if its cookie holds that.
pub(in crate::web) fn browser_cookie(request: &HttpRequest, app: &App) -> Option<BrowserCookie> {
    BrowserCookie::parse(Cookie::Browser.read(request, app)?)
}

fn is_https(app: &App) -> bool {
    app.public_url().scheme() == "https"
}

/// The value of the one cookie of this name in all `Cookie` headers, whatever else is in them.
pub(super) fn only<'a>(headers: impl Iterator<Item = &'a [u8]>, name: &str) -> Option<&'a str> {
    let pairs = headers.flat_map(|header| header.split(|byte| *byte == b';'));
    let mut values = pairs.filter_map(|pair| {
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        (trim(&pair[..equals]) == name.as_bytes()).then(|| trim(&pair[equals + 1..]))
    });
    let value = values.next().filter(|_| values.next().is_none())?;
    str::from_utf8(value).ok()
}

/// Without the spaces and tabs around it, as browsers do (RFC 6265 section 5.2); no other white space is any.
fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "__Host-authseal";

    fn read(headers: &[&[u8]]) -> Option<String> {
        only(headers.iter().copied(), NAME).map(str::to_owned)
    }

    #[test]
    fn a_cookie_is_found_among_foreign_ones_whatever_they_are() {
        for header in [
            &b"__Host-authseal=own"[..],
            b" \t__Host-authseal \t= own\t ;",
            b";;; ;__Host-authseal=own;=;;",
            b"city=M\xfcnchen; __Host-authseal=own; caf\xe9=\xff\xfe",
            b"\xff\xfe\x80; __Host-authseal=own",
            b"a=\"; __Host-authseal=own; b=\"",
            b"x=%; y=%zz; __Host-authseal=own; z=a=b=c",
            b"__Host-authseal-state=x; __Host-authseal=own; __Host-authseal2=y",
        ] {
            assert_eq!(read(&[header]).as_deref(), Some("own"), "{}", String::from_utf8_lossy(header));
        }
        assert_eq!(read(&[b"a=b", b"__Host-authseal=own", b"\xff"]).as_deref(), Some("own"));
        assert_eq!(read(&[b"__Host-authseal="]).as_deref(), Some(""));
        assert_eq!(read(&[b"__Host-authseal=\"own\""]).as_deref(), Some("\"own\""), "quotes are part of a value");
        assert_eq!(read(&[b"__Host-authseal=a%20b=c"]).as_deref(), Some("a%20b=c"));
    }

    #[test]
    fn no_other_spelling_of_a_name_is_that_name() {
        for name in [
            &b"__%48ost-authseal"[..],
            b"__Host%2dauthseal",
            b"__Host%2Dauthseal",
            b"%5F%5FHost-authseal",
            b"__Host-authsea%6c",
            b"__Host-authseal%20",
            b"%20__Host-authseal",
            b"__host-authseal",
            b"__HOST-authseal",
            b"__Host-Authseal",
            b"\"__Host-authseal\"",
            b"=__Host-authseal",
            b"$__Host-authseal",
            b"__Host-authseal[]",
            b"__Host-authseal.",
            b"__Host_authseal",
            b"\0__Host-authseal",
            b"\x0b__Host-authseal",
            b"\x0c__Host-authseal",
            b"__Host-authseal\x0c",
            b"\r\n__Host-authseal",
            b"\x85__Host-authseal",
            b"\xa0__Host-authseal",
            "\u{85}__Host-authseal".as_bytes(),
            "\u{a0}__Host-authseal".as_bytes(),
            "\u{2000}__Host-authseal".as_bytes(),
            "\u{2028}__Host-authseal".as_bytes(),
            "\u{3000}__Host-authseal".as_bytes(),
            "\u{feff}__Host-authseal".as_bytes(),
            "__Host-authseal\u{2000}".as_bytes(),
            "__Host\u{2010}authseal".as_bytes(),
            "\u{ff3f}_Host-authseal".as_bytes(),
            b"a __Host-authseal",
            b"a,__Host-authseal",
            b"",
        ] {
            let planted = [name, b"=planted"].concat();
            let shown = String::from_utf8_lossy(&planted).into_owned();
            assert_eq!(read(&[&planted]), None, "{shown}");
            let before = [&planted, &b"; __Host-authseal=own"[..]].concat();
            assert_eq!(read(&[&before]).as_deref(), Some("own"), "{shown}");
        }
        assert_eq!(read(&[b"__Host-authseal"]), None, "a cookie without `=` has no name");
    }

    #[test]
    fn two_cookies_of_one_name_count_as_none() {
        let twice: [&[&[u8]]; 5] = [
            &[b"__Host-authseal=planted; __Host-authseal=own"],
            &[b"__Host-authseal=own;__Host-authseal=own"],
            &[b"__Host-authseal=own", b"__Host-authseal=planted"],
            &[b"__Host-authseal=; a=b; __Host-authseal=own"],
            &[b"__Host-authseal=own; __Host-authseal=\xff"],
        ];
        for headers in twice {
            assert_eq!(read(headers), None, "{}", String::from_utf8_lossy(&headers.concat()));
        }
    }
}
