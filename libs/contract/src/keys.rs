//! API keys: their text, the record that is kept of each, and whether the one fits the other.
//!
//! A key is `ayk_ID_SECRET`: `ID` names its record, `SECRET` ends with a checksum, so that a key that was cut off or
//! mistyped is told apart from one that nobody issued. The record has a salted SHA-256 of the secret. A slow hash is for
//! passwords, which people choose: 256 random bits cannot be guessed, however fast the hash, and a gateway checks a key
//! with every request.
//!
//! `meshctl keys` writes records to Consul's KV, the `api-gateway` application reads them.
//!
//! **Invariants**: a secret is in no `Debug` output; it is compared in constant time, and an unknown id costs as much as
//! a wrong secret.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

mod folder;

pub use folder::{FolderError, KeyFolder, ROOT};

/// How a key's text begins.
const PREFIX: &str = "ayk_";
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const ID_LENGTH: usize = 10;
/// 43 of 62 letters: 256 bits.
const RANDOM_LENGTH: usize = 43;
const CHECKSUM_LENGTH: usize = 4;

/// A key, as its owner has it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    id: String,
    secret: String,
}

/// Why a text is no [`Key`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It has not the form of a key.
    #[error("no key of this mesh: keys begin with ayk_")]
    Foreign,
    /// It has the form, but a letter is wrong or missing.
    #[error("mistyped or cut off: its checksum does not fit")]
    Mistyped,
}

impl Key {
    /// A new key; `random` fills its argument with random bytes.
    ///
    /// # Errors
    /// Those of `random`.
    pub fn generate<E>(mut random: impl FnMut(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let id = letters(ID_LENGTH, &mut random)?;
        let mut secret = letters(RANDOM_LENGTH, &mut random)?;
        secret.push_str(&checksum(&id, &secret));
        Ok(Self { id, secret })
    }

    /// Names its record; no secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The text that the owner gets. This is the only way to see the secret.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}_{}", self.id, self.secret)
    }

    /// Whether a key stands anywhere in a text, such as a query string.
    pub fn is_in(text: &str) -> bool {
        text.match_indices(PREFIX).any(|(at, _)| {
            let length = PREFIX.len() + ID_LENGTH + 1 + RANDOM_LENGTH + CHECKSUM_LENGTH;
            text.get(at..at + length).is_some_and(|text| text.parse::<Self>().is_ok())
        })
    }
}

/// Without the secret.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let rest = text.strip_prefix(PREFIX).ok_or(KeyError::Foreign)?;
        let (id, secret) = rest.split_once('_').ok_or(KeyError::Mistyped)?;
        if !is_of_alphabet(id, ID_LENGTH)
            || !is_of_alphabet(secret, RANDOM_LENGTH + CHECKSUM_LENGTH)
        {
            return Err(KeyError::Mistyped);
        }
        let (random, sum) = secret.split_at_checked(RANDOM_LENGTH).ok_or(KeyError::Mistyped)?;
        if checksum(id, random) != sum {
            return Err(KeyError::Mistyped);
        }
        Ok(Self { id: id.to_owned(), secret: secret.to_owned() })
    }
}

/// What is kept of a key, as JSON. Times are seconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Whom it was given to: what services are told, and what limits count by.
    pub consumer: String,
    /// What it may be used for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// 16 random bytes, in hexadecimal.
    pub salt: String,
    /// SHA-256 of the salt and the secret, in hexadecimal.
    pub hash: String,
    /// When it was made.
    pub created: u64,
    /// From when on it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<u64>,
}

/// Whether a key may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It may.
    Valid,
    /// No longer.
    Expired,
    /// Never again.
    Revoked,
}

impl KeyRecord {
    /// The record of a new key.
    pub fn new(key: &Key, salt: [u8; 16], consumer: String, created: u64) -> Self {
        let salt = hex(&salt);
        let hash = hash(&salt, key);
        let (scopes, expires, revoked) = (Vec::new(), None, None);
        Self { consumer, scopes, salt, hash, created, expires, revoked }
    }

    /// Whether the record is that of this key, in constant time.
    pub fn fits(&self, key: &Key) -> bool {
        hash(&self.salt, key).as_bytes().ct_eq(self.hash.as_bytes()).into()
    }

    /// What looking at a record costs when there is none, so that an unknown id cannot be told by its time.
    pub fn fits_none(key: &Key) -> bool {
        let nobody = "00000000000000000000000000000000";
        hash(nobody, key).as_bytes().ct_eq("0".repeat(64).as_bytes()).into()
    }

    /// Whether the key may be used at `now`.
    pub fn state(&self, now: u64) -> KeyState {
        match (self.revoked, self.expires) {
            (Some(_), _) => KeyState::Revoked,
            (None, Some(expires)) if expires <= now => KeyState::Expired,
            _ => KeyState::Valid,
        }
    }
}

fn hash(salt: &str, key: &Key) -> String {
    hex(&Sha256::new().chain_update(salt).chain_update(&key.secret).finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Random letters, each as likely as the others: what does not fit a whole number of times into a byte is thrown away.
fn letters<E>(
    count: usize,
    random: &mut impl FnMut(&mut [u8]) -> Result<(), E>,
) -> Result<String, E> {
    let mut text = String::new();
    while text.len() < count {
        let mut bytes = [0; 64];
        random(&mut bytes)?;
        let fair = bytes.iter().filter(|byte| usize::from(**byte) < 4 * ALPHABET.len());
        let fair = fair.filter_map(|byte| ALPHABET.get(usize::from(*byte) % ALPHABET.len()));
        text.extend(fair.take(count - text.len()).map(|letter| char::from(*letter)));
    }
    Ok(text)
}

fn checksum(id: &str, random: &str) -> String {
    let sum = Sha256::new().chain_update(id).chain_update("_").chain_update(random).finalize();
    let letters = sum.iter().filter_map(|byte| ALPHABET.get(usize::from(*byte) % ALPHABET.len()));
    letters.take(CHECKSUM_LENGTH).map(|letter| char::from(*letter)).collect()
}

fn is_of_alphabet(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// A key of which every random byte is this.
    fn key(byte: u8) -> Key {
        Key::generate(|bytes| {
            bytes.fill(byte);
            Ok::<_, Infallible>(())
        })
        .unwrap()
    }

    #[test]
    fn a_key_reads_back_from_its_text_and_hides_its_secret_otherwise() {
        let key = key(11);
        let text = key.reveal();
        assert_eq!(text.parse(), Ok(key.clone()));
        assert_eq!(key.id(), "BBBBBBBBBB");
        assert_eq!(format!("{key:?}"), "Key { id: \"BBBBBBBBBB\", .. }");
        assert!(text.starts_with("ayk_BBBBBBBBBB_BBBB"), "{text}");
        assert_eq!(text.len(), 4 + 10 + 1 + 43 + 4);
    }

    #[test]
    fn a_mistyped_key_is_told_apart_from_something_else() {
        let text = key(11).reveal();
        let mut wrong = text.clone();
        wrong.replace_range(20..21, "x");
        let cut = text.get(..text.len() - 1).unwrap();
        let twice = format!("{text},{text}");
        for (text, error) in [
            (wrong.as_str(), KeyError::Mistyped),
            (cut, KeyError::Mistyped),
            (&twice, KeyError::Mistyped),
            ("ayk_", KeyError::Mistyped),
            ("ayk_äöü_x", KeyError::Mistyped),
            ("", KeyError::Foreign),
            ("secret", KeyError::Foreign),
        ] {
            assert_eq!(text.parse::<Key>(), Err(error), "{text}");
        }
    }

    #[test]
    fn a_key_is_found_wherever_it_stands() {
        let text = key(11).reveal();
        for (place, is_in) in [
            (format!("/orders?key={text}&x=1"), true),
            (format!("Bearer {text}"), true),
            (format!("ayk_ayk_{text}"), true),
            (text.replace("BBBBB_", "BBBBA_"), false),
            ("/orders?key=ayk_".to_owned(), false),
            ("ayk_ä".to_owned(), false),
        ] {
            assert_eq!(Key::is_in(&place), is_in, "{place}");
        }
    }

    #[test]
    fn random_bytes_that_would_favour_letters_are_thrown_away() {
        let mut next = 0_u8;
        let key = Key::generate(|bytes| {
            bytes.fill_with(|| {
                next = next.wrapping_sub(1);
                next
            });
            Ok::<_, Infallible>(())
        })
        .unwrap();
        // 255 down to 248 have no letter of their own; 247 is the last one of the alphabet.
        assert_eq!(key.id(), "zyxwvutsrq");
    }

    #[test]
    fn a_record_fits_its_key_alone_and_says_whether_it_may_be_used() {
        let record = KeyRecord::new(&key(11), [7; 16], "acme".to_owned(), 100);
        assert!(record.fits(&key(11)));
        assert!(!record.fits(&key(12)) && !KeyRecord::fits_none(&key(11)));
        let other = KeyRecord::new(&key(11), [8; 16], "acme".to_owned(), 100);
        assert_ne!(record.hash, other.hash, "the salt is part of the hash");
        assert_eq!(record.state(u64::MAX), KeyState::Valid);
        let expiring = KeyRecord { expires: Some(200), ..record };
        assert_eq!(expiring.state(199), KeyState::Valid);
        assert_eq!(expiring.state(200), KeyState::Expired);
        let revoked = KeyRecord { revoked: Some(150), ..expiring };
        assert_eq!(revoked.state(10), KeyState::Revoked);
        let json = serde_json::to_string(&revoked).unwrap();
        assert!(!json.contains(&key(11).reveal()));
        assert_eq!(serde_json::from_str::<KeyRecord>(&json).unwrap(), revoked);
    }
}
