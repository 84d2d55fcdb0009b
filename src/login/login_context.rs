//! Stateless login: what is known of a visitor, and the OAuth `state`, as sealed URL parameters, so that any replica
//! can continue what another one began and nothing is stored for logins that never finish.
//!
//! Two things are sealed ([`crate::seal::OpenedParam`]) under keys of their own: the [`LoginContext`] in our own page's
//! login links, and the [`State`] that goes to the provider and comes back (RFC 6749 section 10.12). Both hold a hash
//! of the browser cookie, against login CSRF. The PKCE verifier (RFC 7636; authorization code injection, RFC 9700
//! section 4.5) is derived from the key and the state's nonce and travels nowhere.

use super::browser_cookie::CookieHash;
use super::fetch_token::FetchToken;
use super::opener::{Opener, Silence};
use crate::authid::{AppId, ServiceId};
use crate::clock::UnixTime;
use crate::mitigation::{self, Mitigation};
use crate::net::{self, Client, ClientNet, Origin};
use crate::seal::{Keyring, Purpose, SealError};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// How long a login link works, in seconds: as long as the browser cookie.
pub(super) const CONTEXT_LIFETIME: i64 = 3600;
/// How long a user may take at the provider, in seconds.
pub(super) const STATE_LIFETIME: i64 = 600;
/// How far apart two replicas' clocks may be, in seconds.
const CLOCK_SKEW: i64 = 120;
/// The longest `state`, in characters: Dropbox takes 500 bytes.
#[cfg(test)]
const MAX_STATE_LEN: usize = 480;

/// What is known of the visitor of our index page.
#[derive(Clone)]
pub struct LoginContext {
    /// Who opened the page.
    pub opener: Opener,
    /// The token that the opener will ask for the AuthID with.
    pub fetch_token: Option<FetchToken>,
    /// The browser.
    pub browser_cookie: CookieHash,
    /// Where that browser was when this was sealed, if that is known.
    pub client: Option<ClientNet>,
}

/// A login under way at the provider.
pub(super) struct State {
    /// Where.
    pub service: ServiceId,
    /// With which registration there, which another one may have replaced since.
    pub app: Option<AppId>,
    /// For whom.
    pub context: LoginContext,
    /// PKCE code verifier (RFC 7636 section 4.1), 43 characters: derived, not carried.
    pub verifier: Zeroizing<String>,
    /// Names this state, to tell a replay.
    pub nonce: [u8; 24],
    /// Whether the user took longer than [`STATE_LIFETIME`], so that it ends no login any more.
    pub late: bool,
}

impl LoginContext {
    /// Whether this is known to be another place than the one where the context was sealed.
    pub(super) fn has_moved(&self, client: Client) -> bool {
        self.client.zip(client.address).is_some_and(|(sealed, now)| sealed != now)
    }

    /// Seals the context into a login link's parameter.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn seal(&self, keyring: &Keyring, now: UnixTime) -> Result<String, SealError> {
        keyring.seal_param(Purpose::Context, b"", &self.encode(now)).map(|(text, _)| text)
    }

    /// Opens what [`LoginContext::seal`] made in the last hour.
    pub fn open(text: &str, keyring: &Keyring, now: UnixTime) -> Option<Self> {
        let opened = keyring.open_param(text, Purpose::Context, b"")?;
        let mut reader = Reader(&opened.plaintext);
        let context = Self::decode(&mut reader, now, CONTEXT_LIFETIME)?;
        reader.0.is_empty().then_some(context)
    }

    /// Whether somebody who gets the AuthID without a click will ask the mailbox for it.
    pub(super) fn expects_mail(&self) -> bool {
        matches!(self.opener, Opener::Trusted(_)) && self.fetch_token.is_some()
    }

    /// Seals the state of a login at `service` that begins now, with the registration `app` there, and returns it with
    /// its PKCE code challenge (S256, RFC 7636 section 4.2).
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn begin(
        &self,
        service: &ServiceId,
        app: Option<AppId>,
        keyring: &Keyring,
        now: UnixTime,
    ) -> Result<(String, String), SealError> {
        let mut bytes = self.encode(now);
        write(&mut bytes, service.as_str().as_bytes());
        write(&mut bytes, app.map_or_else(String::new, |app| app.to_string()).as_bytes());
        let (text, nonce) = keyring.seal_param(Purpose::State, b"", &bytes)?;
        let verifier = verifier(&keyring.primary().derive(Purpose::PkceVerifier, &nonce));
        Ok((text, BASE64URL.encode(Sha256::digest(verifier.as_bytes()))))
    }

    /// `time (8, big endian) | hash of the browser cookie (16) | client (16) | opener class (1) | origin | fetch
    /// token`, the last two with their lengths (1) before them.
    pub(super) fn encode(&self, now: UnixTime) -> Vec<u8> {
        let (class, origin) = match &self.opener {
            Opener::None(Silence::ByHand) => (0, ""),
            Opener::Trusted(origin) => (1, origin.as_str()),
            Opener::Unknown(origin) => (2, origin.as_str()),
            Opener::None(Silence::Hidden) => (3, ""),
            Opener::None(Silence::Forgotten) => (4, ""),
            Opener::None(Silence::Distrusted) => (5, ""),
        };
        let mut bytes = now.to_be_bytes().to_vec();
        bytes.extend(self.browser_cookie.0);
        bytes.extend(net::to_bytes(self.client));
        bytes.push(class);
        write(&mut bytes, origin.as_bytes());
        write(&mut bytes, self.fetch_token.as_ref().map_or("", FetchToken::expose).as_bytes());
        bytes
    }

    pub(super) fn decode(reader: &mut Reader<'_>, now: UnixTime, lifetime: i64) -> Option<Self> {
        let age = now.checked_sub(i64::from_be_bytes(reader.array()?))?;
        (!mitigation::on(Mitigation::Age) || (-CLOCK_SKEW..lifetime).contains(&age)).then_some(())?;
        let browser_cookie = CookieHash(reader.array()?);
        let client = net::from_bytes(reader.array()?);
        let [class] = reader.array()?;
        let origin = reader.text()?;
        let opener = match class {
            0 => Opener::None(Silence::ByHand),
            1 => Opener::Trusted(Origin::parse(origin)?),
            2 => Opener::Unknown(Origin::parse(origin)?),
            3 => Opener::None(Silence::Hidden),
            4 => Opener::None(Silence::Forgotten),
            5 => Opener::None(Silence::Distrusted),
            _ => return None,
        };
        let fetch_token = match reader.text()? {
            "" => None,
            token => Some(FetchToken::parse(token)?),
        };
        Some(Self { opener, fetch_token, browser_cookie, client })
    }
}

impl State {
    /// Opens what [`LoginContext::begin`] made in the last hour: after ten minutes only to tell who wanted to log in.
    pub(super) fn open(text: &str, keyring: &Keyring, now: UnixTime) -> Option<Self> {
        let opened = keyring.open_param(text, Purpose::State, b"")?;
        let late = LoginContext::decode(&mut Reader(&opened.plaintext), now, STATE_LIFETIME).is_none();
        let mut reader = Reader(&opened.plaintext);
        let context = LoginContext::decode(&mut reader, now, CONTEXT_LIFETIME)?;
        let service = ServiceId::parse(reader.text()?)?;
        let app = AppId::parse(reader.text()?);
        reader.0.is_empty().then_some(())?;
        let keys = keyring.keys(opened.epoch).ok()?;
        let verifier = verifier(&keys.derive(Purpose::PkceVerifier, &opened.nonce));
        Some(Self { service, app, context, verifier, nonce: opened.nonce, late })
    }
}

fn verifier(derived: &[u8; 32]) -> Zeroizing<String> {
    Zeroizing::new(BASE64URL.encode(derived))
}

/// Appends a text and its length; all that is written here is far below 256 bytes.
pub(super) fn write(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.push(text.len() as u8);
    bytes.extend_from_slice(text);
}

pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*head)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        let [len] = self.array()?;
        let (head, rest) = self.0.split_at_checked(len.into())?;
        self.0 = rest;
        std::str::from_utf8(head).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::browser_cookie::BrowserCookie;
    use super::*;
    use crate::seal::testing::keyring;

    fn context(origin: &str, token: &str) -> LoginContext {
        LoginContext {
            opener: Opener::Trusted(Origin::parse(origin).unwrap()),
            fetch_token: FetchToken::parse(token),
            browser_cookie: BrowserCookie::random().unwrap().hash(),
            client: Some(std::net::IpAddr::from([192, 0, 2, 1]).into()),
        }
    }

    const TOKEN: &str = "x7c2mq0z5v9k1hj3bd8f";

    #[test]
    fn a_context_comes_back_for_an_hour() {
        let (keyring, context) = (keyring(1, &[1]), context("http://localhost:8200", TOKEN));
        let text = context.seal(&keyring, 1_000_000).unwrap();
        let opened = LoginContext::open(&text, &keyring, 1_003_599).unwrap();
        assert_eq!(opened.opener, context.opener);
        assert_eq!(opened.fetch_token.unwrap().expose(), TOKEN);
        assert_eq!((opened.browser_cookie.0, opened.client), (context.browser_cookie.0, context.client));
        assert!(LoginContext::open(&text, &keyring, 1_003_600).is_none());
        assert!(LoginContext::open(&text, &keyring, 1_000_000 - 121).is_none());
    }

    #[test]
    fn a_state_comes_back_for_ten_minutes_with_the_verifier_of_its_challenge() {
        let keyring = keyring(1, &[1]);
        let service = ServiceId::parse("box.com").unwrap();
        let (text, challenge) = context("http://[::1]:8200", TOKEN).begin(&service, None, &keyring, 1_000_000).unwrap();
        let state = State::open(&text, &keyring, 1_000_599).unwrap();
        assert_eq!(state.service, service);
        assert_eq!(state.verifier.len(), 43);
        assert_eq!(BASE64URL.encode(Sha256::digest(state.verifier.as_bytes())), challenge);
        assert!(!state.late && State::open(&text, &keyring, 1_000_600).unwrap().late);
        assert!(State::open(&text, &keyring, 1_003_600).is_none());
        assert!(LoginContext::open(&text, &keyring, 1_000_000).is_none(), "a state is no context");
    }

    #[test]
    fn the_longest_state_fits_every_provider() {
        let origin = format!("https://{}.{}.test:65535", "a".repeat(63), "b".repeat(45));
        assert_eq!(origin.len(), 128);
        let context = context(&origin, &format!("{}abcdefgh", "x".repeat(56)));
        let service = ServiceId::parse(&"s".repeat(32)).unwrap();
        let (text, _) = context.begin(&service, AppId::parse("AAAAAAAA"), &keyring(1, &[1]), i64::MAX).unwrap();
        assert!(text.len() <= MAX_STATE_LEN, "{}", text.len());
    }

    #[test]
    fn a_changed_or_foreign_state_does_not_open() {
        let (ours, theirs) = (keyring(1, &[1]), keyring(1, &[1]));
        let service = ServiceId::parse("box.com").unwrap();
        let (text, _) = context("http://localhost:8200", TOKEN).begin(&service, None, &theirs, 1_000_000).unwrap();
        assert!(State::open(&text, &ours, 1_000_000).is_none());
        for at in 0..text.len() {
            let mut broken = text.clone().into_bytes();
            broken[at] = if broken[at] == b'A' { b'B' } else { b'A' };
            assert!(State::open(std::str::from_utf8(&broken).unwrap(), &theirs, 1_000_000).is_none());
        }
    }
}
