//! The AuthID as text: one way to write it, everything else refused. A second spelling would slip past lists of revoked
//! ones.

use super::MAX_LEN;
use super::ids::{GrantId, ServiceId};
use crate::seal::Epoch;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

const VERSION: &str = "v3";
/// Grant id, nonce and tag: the shortest body, around an empty ciphertext.
const MIN_BODY: usize = 16 + 24 + 16;

/// A whole AuthID. A secret: whoever holds it can get access tokens.
#[derive(Clone)]
pub struct AuthId(SecretString);

impl AuthId {
    /// The text, to hand to its owner.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Puts the parts together; `None` when the result would be longer than [`MAX_LEN`].
    pub(super) fn encode(service: &ServiceId, epoch: Epoch, body: &[u8]) -> Option<Self> {
        let mut text = format!("{VERSION}:{service}:{epoch}:");
        BASE64URL.encode_string(body, &mut text);
        (text.len() <= MAX_LEN).then(|| Self(text.into()))
    }
}

/// The parts of an AuthID that can be read without a key. None of them is to be trusted before it opens.
pub struct Envelope {
    /// The service it says it is for.
    pub service: ServiceId,
    /// The epoch whose key sealed it.
    pub epoch: Epoch,
    /// The login it says it is.
    pub grant: GrantId,
    body: Vec<u8>,
}

/// Why a text is not an AuthID of this version.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseError {
    /// Not an AuthID at all, damaged, or not spelled as this server spells it.
    #[error("not an AuthID")]
    Malformed,
    /// An AuthID of the older unsealed form, `v2:<service>:<refresh token>`.
    #[error("an AuthID of version 2, which duplicati/oauth-server makes; `legacy.v2 = true` has them served")]
    Version2(Option<ServiceId>),
    /// An AuthID that refers to another server's database, `<30 to 32 hex digits>:<password>`.
    #[error("an AuthID of version 1, which duplicati/oauth-server makes; `legacy.v1_dir` has them served")]
    Version1,
}

impl Envelope {
    /// Reads an AuthID: outer white space is dropped and `%3A` read as a colon, and nothing else is corrected. What
    /// users paste is read with [`Envelope::find`].
    ///
    /// # Errors
    /// Tells the predecessors' AuthIDs from other text.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let text = text.trim_ascii();
        if text.contains('%') {
            return Self::parse_canonical(&text.replace("%3A", ":").replace("%3a", ":"));
        }
        Self::parse_canonical(text)
    }

    /// Whether this is the one spelling of an AuthID.
    pub fn is_canonical(text: &str) -> bool {
        Self::parse_canonical(text).is_ok()
    }

    fn parse_canonical(text: &str) -> Result<Self, ParseError> {
        if text.len() > MAX_LEN {
            return Err(ParseError::Malformed);
        }
        let Some(rest) = text.strip_prefix("v3:") else {
            return Err(predecessor(text));
        };
        let parse = || {
            let (service, rest) = rest.split_once(':')?;
            let (epoch, body) = rest.split_once(':')?;
            // Strict: no padding, no white space, and the unused bits of the last character are zero.
            let body = BASE64URL.decode(body).ok().filter(|body| body.len() >= MIN_BODY)?;
            let grant = GrantId::new(*body.first_chunk()?);
            Some(Self { service: ServiceId::parse(service)?, epoch: Epoch::parse(epoch)?, grant, body })
        };
        parse().ok_or(ParseError::Malformed)
    }

    /// `nonce (24) | ciphertext | tag (16)`.
    pub(super) fn sealed(&self) -> &[u8] {
        self.body.get(16..).unwrap_or_default()
    }
}

/// What an AuthID that is not ours looks like.
fn predecessor(text: &str) -> ParseError {
    if let Some((service, _)) = text.strip_prefix("v2:").and_then(|rest| rest.split_once(':')) {
        return ParseError::Version2(ServiceId::parse(service));
    }
    match text.split_once(':') {
        Some((id, _)) if (30..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit()) => {
            ParseError::Version1
        }
        _ => ParseError::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Grant, OpenError, SealLoginError, seal};
    use super::*;
    use crate::seal::NoKey;
    use crate::seal::testing::keyring;

    fn grant(token: &str) -> Grant {
        let service = ServiceId::parse("box.com").unwrap();
        Grant { sealed_at: 1_795_428_000, ..Grant::new(service, token.to_owned().into(), 1_795_420_000).unwrap() }
    }

    #[test]
    fn a_login_comes_back_as_it_was_sealed() {
        let keyring = keyring(2, &[1, 2, 3]);
        let grant = grant("M.C1_*!-.\"\\\u{1F511}");
        let authid = seal(keyring.primary(), &grant).unwrap();
        let envelope = Envelope::parse(authid.expose()).unwrap();
        assert_eq!(envelope.epoch.number(), 2);
        let opened = envelope.open(&keyring).unwrap();
        assert_eq!(opened.refresh_token.expose_secret(), grant.refresh_token.expose_secret());
        assert_eq!((opened.service, opened.id), (grant.service, grant.id));
        assert_eq!((opened.sealed_at, opened.login_at), (grant.sealed_at, grant.login_at));
    }

    #[test]
    fn what_people_paste_is_mended_and_nothing_else_is() {
        let keyring = keyring(1, &[1]);
        let authid = seal(keyring.primary(), &grant("token")).unwrap();
        let text = authid.expose();
        for corrected in [format!(" {text}\r\n"), text.replace(':', "%3A"), text.replace(':', "%3a")] {
            assert!(Envelope::parse(&corrected).unwrap().open(&keyring).is_ok(), "{corrected}");
        }
        let (head, body) = text.rsplit_once(':').unwrap();
        let refused = [
            text.replacen("v3", "V3", 1),
            text.replacen("box.com", "BOX.com", 1),
            text.replacen(":1:", ":01:", 1),
            text.replacen(":1:", ":+1:", 1),
            text.replacen(":1:", ":0:", 1),
            text.replacen(":1:", ": 1:", 1),
            text.replacen(":1:", "::", 1),
            format!("{text}="),
            format!("{text}:"),
            format!("{head}:{} {}", &body[..9], &body[9..]),
            format!("{head}:{}\n{}", &body[..9], &body[9..]),
            format!("{head}:{body}A"),
            format!("{head}:{}", &body[..60]),
            format!("{head}:{}", body.replace(['-', '_'], "+") + "+"),
            format!("\u{a0}{text}"),
            "A".repeat(MAX_LEN + 1),
            String::new(),
        ];
        for text in refused {
            assert_eq!(Envelope::parse(&text).err(), Some(ParseError::Malformed), "{text}");
        }
    }

    #[test]
    fn no_character_of_an_authid_can_be_changed() {
        let keyring = keyring(1, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let authid = seal(keyring.primary(), &grant("token")).unwrap();
        for (at, old) in authid.expose().char_indices() {
            for new in "A-_0z9:%b2".chars().filter(|new| *new != old) {
                let mut text = authid.expose().to_owned();
                text.replace_range(at..=at, new.encode_utf8(&mut [0; 4]));
                assert!(
                    Envelope::parse(&text).is_err() || Envelope::parse(&text).is_ok_and(|e| e.open(&keyring).is_err())
                );
            }
        }
    }

    #[test]
    fn an_authid_opens_only_with_the_key_of_its_epoch() {
        let (ours, theirs) = (keyring(1, &[1]), keyring(1, &[1]));
        let envelope = Envelope::parse(seal(theirs.primary(), &grant("token")).unwrap().expose()).unwrap();
        assert_eq!(envelope.open(&ours).err(), Some(OpenError::Forged));
        let newer = keyring(2, &[2]);
        let envelope = Envelope::parse(seal(newer.primary(), &grant("token")).unwrap().expose()).unwrap();
        assert_eq!(envelope.open(&ours).err(), Some(OpenError::NoKey(NoKey::Newer)));
    }

    #[test]
    fn a_token_too_long_for_an_authid_is_refused_at_once() {
        let keyring = keyring(1, &[1]);
        assert!(seal(keyring.primary(), &grant(&"x".repeat(4000))).is_ok());
        assert!(matches!(seal(keyring.primary(), &grant(&"x".repeat(5000))), Err(SealLoginError::TooLong)));
    }

    #[test]
    fn the_longest_authid_is_read_and_a_longer_one_is_neither_made_nor_read() {
        let (service, epoch) = (ServiceId::parse("box.com").unwrap(), Epoch::FIRST);
        let longest = (MAX_LEN - "v3:box.com:1:".len()) * 3 / 4;
        let authid = AuthId::encode(&service, epoch, &vec![0; longest]).unwrap();
        assert_eq!(authid.expose().len(), MAX_LEN);
        assert!(Envelope::is_canonical(authid.expose()) && Envelope::parse(authid.expose()).is_ok());
        assert!(!Envelope::is_canonical(&authid.expose().replace(':', "%3A")), "that is read, and not canonical");
        assert!(AuthId::encode(&service, epoch, &vec![0; longest + 1]).is_none());
        let longer = format!("{}A", authid.expose()); // as well formed as the longest
        assert_eq!(Envelope::parse(&longer).err(), Some(ParseError::Malformed));
    }

    #[test]
    fn a_login_without_a_token_is_not_sealed() {
        let keyring = keyring(1, &[1]);
        assert!(matches!(seal(keyring.primary(), &grant("")), Err(SealLoginError::NoToken)));
    }

    #[test]
    fn the_authids_of_older_servers_are_told_apart() {
        let v2 = Envelope::parse("v2:googledrive:1//refresh").err();
        assert_eq!(v2, Some(ParseError::Version2(ServiceId::parse("googledrive"))));
        assert_eq!(Envelope::parse(&format!("{}:pass", "0aF9".repeat(8))).err(), Some(ParseError::Version1));
        let others = ["raw-access-token", &format!("{}:pass", "0aF9".repeat(9)), &format!("{}:pass", "0aF9".repeat(7))];
        for other in others.into_iter().chain([format!("{}:pass", "0aG9".repeat(8)).as_str()]) {
            assert_eq!(Envelope::parse(other).err(), Some(ParseError::Malformed), "{other}");
        }
    }
}
