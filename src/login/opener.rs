//! Who opened the login page, and whether an AuthID may go to them by itself: the target origin of `postMessage` (RFC 9700
//! section 4.17) and who may use the mailbox.
//!
//! The origin is learned from the `Referer` of the first request only, never from a parameter. Other programs than
//! browsers can forge it, so it counts together with the browser cookie alone, and for `postMessage` the browser
//! enforces it.

use crate::mitigation::{self, Mitigation};
use crate::net::Origin;

/// Who opened the login page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opener {
    /// A page that the AuthID may be sent to: on this machine's loopback, or listed by the operator.
    Trusted(Origin),
    /// A page that is neither; it is told nothing.
    Unknown(Origin),
    /// Nobody that can be told.
    None(Silence),
}

/// Why nobody can be told, so that the person is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// No page led here: a typed address, a bookmark.
    ByHand,
    /// A page led here and its browser does not say which: it leaves that out from https to http, and where an extension
    /// or that page's own policy wants it.
    Hidden,
    /// Our own pages led here, with a link that does not know any more who opened the first one.
    Forgotten,
    /// Who opened the page is not to be trusted with this AuthID.
    Distrusted,
}

/// Which openers get AuthIDs by themselves.
#[derive(Clone, Debug)]
pub struct DeliveryRules {
    /// Our own origin, which is never an opener.
    pub own: Origin,
    /// Whether loopback origins count as trusted.
    pub loopback: bool,
    /// Further trusted ones, compared exactly.
    pub listed: Vec<Origin>,
}

impl DeliveryRules {
    /// Classifies the opener of a page by the `Referer` and `Sec-Fetch-Site` headers of its request.
    pub fn opener(&self, referer: Option<&str>, sec_fetch_site: Option<&str>) -> Opener {
        let Some(origin) = referer.and_then(Origin::parse) else {
            return Opener::None(match sec_fetch_site {
                _ if referer.is_some() => Silence::Hidden,
                Some("cross-site" | "same-site") => Silence::Hidden,
                Some("same-origin") => Silence::Forgotten,
                _ => Silence::ByHand,
            });
        };
        // A browser that says "from your own pages" contradicts a foreign Referer. One that says "nobody led here" does
        // not: WebKit does so when a page is reloaded or gone back to, and keeps the Referer of the first time. No page
        // can have that sent with somebody else's Referer.
        let contradiction = sec_fetch_site == Some("same-origin");
        if contradiction || origin == self.own {
            Opener::None(Silence::Forgotten)
        } else if !mitigation::on(Mitigation::TrustedOpener) || self.trusts(&origin) {
            Opener::Trusted(origin)
        } else {
            Opener::Unknown(origin)
        }
    }

    /// Whether an AuthID may go to pages of this origin by itself.
    pub(super) fn trusts(&self, origin: &Origin) -> bool {
        self.listed.contains(origin) || (self.loopback && origin.is_loopback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> DeliveryRules {
        DeliveryRules {
            own: Origin::parse("https://oauth.example.com").unwrap(),
            loopback: true,
            listed: vec![Origin::parse("https://nas.lan:8200").unwrap()],
        }
    }

    #[test]
    fn only_loopback_and_listed_openers_are_trusted() {
        let trusted = |referer: &str| matches!(rules().opener(Some(referer), Some("cross-site")), Opener::Trusted(_));
        for referer in [
            "http://localhost:8200/",
            "https://localhost/ngax/index.html?x=1",
            "http://127.0.0.1:8200/",
            "http://127.9.9.9/",
            "http://[::1]:8200/",
            "https://nas.lan:8200/some/page",
        ] {
            assert!(trusted(referer), "{referer}");
        }
        for referer in [
            "http://nas.lan:8200/",
            "https://nas.lan/",
            "https://nas.lan:8200.evil.test/",
            "http://localhost.evil.test:8200/",
            "http://evil.localhost:8200/",
            "http://localhost.:8200/",
            "http://localhost:8200@evil.test/",
            "http://128.0.0.1/",
            "https://evil.test/http://localhost:8200/",
        ] {
            assert!(!trusted(referer), "{referer}");
        }
    }

    #[test]
    fn no_opener_is_made_out_of_nothing_or_of_ourselves() {
        let none = |referer, site| matches!(rules().opener(referer, site), Opener::None(_));
        assert!(none(None, Some("cross-site")));
        assert!(none(Some("https://oauth.example.com/"), None));
        assert!(none(Some("http://localhost:8200/"), Some("same-origin")));
        assert!(none(Some("file:///home/me/evil.html"), None));
        assert!(none(Some("null"), None));
        assert!(none(Some(&format!("https://{}.test/", "a.".repeat(100))), None));
    }

    #[test]
    fn it_is_known_why_there_is_no_opener() {
        let why = |referer, site| match rules().opener(referer, site) {
            Opener::None(why) => why,
            opener => panic!("{opener:?}"),
        };
        assert_eq!([why(None, None), why(None, Some("none"))], [Silence::ByHand; 2]);
        assert_eq!([why(None, Some("cross-site")), why(None, Some("same-site"))], [Silence::Hidden; 2]);
        assert_eq!(why(Some("android-app://com.example/"), Some("cross-site")), Silence::Hidden);
        let own = Some("https://oauth.example.com/");
        assert_eq!([why(own, Some("same-origin")), why(None, Some("same-origin"))], [Silence::Forgotten; 2]);
    }

    #[test]
    fn a_reload_keeps_the_opener_in_engines_that_then_say_that_nobody_led_here() {
        for site in [None, Some("none"), Some("same-site"), Some("cross-site"), Some("")] {
            assert!(matches!(rules().opener(Some("http://localhost:8200/"), site), Opener::Trusted(_)), "{site:?}");
            assert!(matches!(rules().opener(Some("https://evil.test/"), site), Opener::Unknown(_)), "{site:?}");
        }
    }

    #[test]
    fn loopback_can_be_switched_off() {
        let rules = DeliveryRules { loopback: false, ..rules() };
        assert!(matches!(rules.opener(Some("http://localhost:8200/"), None), Opener::Unknown(_)));
    }
}
