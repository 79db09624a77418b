//! Signed notes and their Ed25519 keys, as C2SP signed-note defines them.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::merkle::Hash;

/// Stands before key and signature: this is Ed25519 over the note's text.
const ED25519_NOTE: u8 = 1;
const SIGNATURE_BYTES: usize = 64;

/// A public key with the name under which it signs. As text it is a verifier key of the
/// specification: `name+id+base64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    bytes: [u8; 32],
}

/// A text that is no public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a public key is written name+id+base64, such as colloquy/…+1a2b3c4d+AX…")]
pub struct BadKey;

impl PublicKey {
    /// The key with these bytes.
    ///
    /// # Errors
    /// [`BadKey`] when the name cannot be one, see [`is_name`].
    pub fn new(name: &str, bytes: [u8; 32]) -> Result<Self, BadKey> {
        match is_name(name) {
            true => Ok(Self { name: name.to_owned(), bytes }),
            false => Err(BadKey),
        }
    }

    /// The name under which it signs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key itself.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// First four bytes of SHA-256(name ‖ newline ‖ 0x01 ‖ key).
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        let hash = Sha256::new()
            .chain_update(&self.name)
            .chain_update([b'\n', ED25519_NOTE])
            .chain_update(self.bytes)
            .finalize();
        [hash[0], hash[1], hash[2], hash[3]]
    }
}

/// Whether a key or a log can be called so: some text without spaces, controls and plus signs.
#[must_use]
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = u32::from_be_bytes(self.id());
        let key = STANDARD.encode([&[ED25519_NOTE], &self.bytes[..]].concat());
        write!(f, "{}+{id:08x}+{key}", self.name)
    }
}

impl FromStr for PublicKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let (name, rest) = text.split_once('+').ok_or(BadKey)?;
        let (_, key) = rest.split_once('+').ok_or(BadKey)?;
        let key = STANDARD.decode(key).map_err(|_| BadKey)?;
        let [ED25519_NOTE, bytes @ ..] = key.as_slice() else { return Err(BadKey) };
        let key = Self::new(name, bytes.try_into().map_err(|_| BadKey)?)?;
        // The id is that of the key, and there is one way only to write it.
        if key.to_string() == text { Ok(key) } else { Err(BadKey) }
    }
}

/// A private key with its public half.
pub struct SigningKey {
    public: PublicKey,
    pair: Ed25519KeyPair,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public)
    }
}

impl SigningKey {
    /// The key that is made from this seed.
    ///
    /// # Errors
    /// [`BadKey`] when the name cannot be one.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, BadKey> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| BadKey)?;
        let bytes = pair.public_key().as_ref().try_into().map_err(|_| BadKey)?;
        Ok(Self { public: PublicKey::new(name, bytes)?, pair })
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }
}

/// The text, which ends with a newline, with a signature of each key below it.
#[must_use]
pub fn sign(text: &str, keys: &[&SigningKey]) -> String {
    let mut note = format!("{text}\n");
    for key in keys {
        let mut signature = key.public.id().to_vec();
        signature.extend(key.pair.sign(text.as_bytes()).as_ref());
        note.push_str(&format!("— {} {}\n", key.public.name, STANDARD.encode(signature)));
    }
    note
}

/// A text that is no signed note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a signed note")]
pub struct BadNote;

/// A signed note. Its signatures are not checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note<'a> {
    /// What is signed; ends with a newline.
    pub text: &'a str,
    signatures: Vec<Signature<'a>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Signature<'a> {
    name: &'a str,
    key_id: [u8; 4],
    bytes: Vec<u8>,
}

impl<'a> Note<'a> {
    /// Takes a note apart.
    ///
    /// # Errors
    /// [`BadNote`].
    pub fn parse(note: &'a str) -> Result<Self, BadNote> {
        let end = note.rfind("\n\n").ok_or(BadNote)? + 1;
        let (text, below) = (&note[..end], &note[end + 1..]);
        if text.chars().any(|c| c.is_control() && c != '\n') {
            return Err(BadNote);
        }
        let lines = below.strip_suffix('\n').ok_or(BadNote)?;
        let signatures = lines.split('\n').map(signature).collect::<Option<_>>().ok_or(BadNote)?;
        Ok(Self { text, signatures })
    }

    /// Whether one of the signatures is this key's. Those of keys that nobody asked for do not matter.
    #[must_use]
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        self.signatures.iter().any(|signature| signature.is_of(key, self.text))
    }

    /// Whether there is one signature, this key's. Then the note is the only one with this text and
    /// key: Ed25519 signs the same text always the same.
    #[must_use]
    pub fn is_signed_only_by(&self, key: &PublicKey) -> bool {
        self.signatures.len() == 1 && self.is_signed_by(key)
    }
}

impl Signature<'_> {
    fn is_of(&self, key: &PublicKey, text: &str) -> bool {
        self.name == key.name
            && self.key_id == key.id()
            && UnparsedPublicKey::new(&ED25519, key.bytes)
                .verify(text.as_bytes(), &self.bytes)
                .is_ok()
    }
}

fn signature(line: &str) -> Option<Signature<'_>> {
    let (name, bytes) = line.strip_prefix("— ")?.split_once(' ')?;
    let bytes = STANDARD.decode(bytes).ok()?;
    let (key_id, bytes) = bytes.split_first_chunk()?;
    let is_complete = is_name(name) && bytes.len() == SIGNATURE_BYTES;
    is_complete.then(|| Signature { name, key_id: *key_id, bytes: bytes.to_vec() })
}

/// A hash as notes write it.
pub(super) fn base64(hash: &Hash) -> String {
    STANDARD.encode(hash)
}

/// A hash that a note wrote.
pub(super) fn hash(text: &str) -> Option<Hash> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed("example.com/log", &[seed; 32]).expect("a key")
    }

    #[test]
    fn a_note_is_signed_by_its_keys_and_no_others() {
        let note = sign("one\n\ntwo\n", &[&key(1), &key(2)]);
        let parsed = Note::parse(&note).expect("a note");
        assert_eq!(parsed.text, "one\n\ntwo\n");
        assert!(parsed.is_signed_by(key(1).public()) && parsed.is_signed_by(key(2).public()));
        assert!(!parsed.is_signed_by(key(3).public()));
        assert!(!parsed.is_signed_only_by(key(1).public()));
        let other = note.replace("two", "too");
        assert!(!Note::parse(&other).expect("a note").is_signed_by(key(1).public()));
    }

    #[test]
    fn no_byte_of_a_note_with_one_signature_is_free() {
        let (key, note) = (key(1), sign("one\ntwo\n", &[&key(1)]));
        assert!(Note::parse(&note).expect("a note").is_signed_only_by(key.public()));
        for at in 0..note.len() {
            for bit in 0..8 {
                let mut bytes = note.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let Ok(text) = String::from_utf8(bytes) else { continue };
                let accepted =
                    Note::parse(&text).is_ok_and(|note| note.is_signed_only_by(key.public()));
                assert!(!accepted, "byte {at}, bit {bit}");
            }
        }
        assert_eq!(Note::parse(&note[..note.len() - 1]), Err(BadNote));
    }

    #[test]
    fn a_public_key_is_read_as_it_is_written() {
        // The key that the specification's reference implementation shows.
        let known = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let key: PublicKey = known.parse().expect("a key");
        assert_eq!((key.name(), key.to_string().as_str()), ("PeterNeumann", known));
        let note = "If you think cryptography is the answer to your problem,\n\
                    then you don't know what your problem is.\n\n\
                    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2\
                    pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        assert!(Note::parse(note).expect("a note").is_signed_by(&key));
        for wrong in ["", "name", "a+b", "a b+c74f20a3+AQ==", "PeterNeumann+c74f20a3+ARpc2Q=="] {
            assert_eq!(wrong.parse::<PublicKey>(), Err(BadKey), "{wrong}");
        }
        assert_eq!(known.replace("c74", "c75").parse::<PublicKey>(), Err(BadKey));
    }
}
