//! Documents that are named instead of sent: automatic persisted queries, as Apollo's clients ask for
//! them (`extensions.persistedQuery`, a hash first and the text only if it is not known), and trusted
//! documents, where nothing else is carried out.

use std::collections::HashMap;
use std::sync::Arc;

use moka::sync::Cache;
use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};

use super::codes::{self, Refusal};

/// What all remembered documents may take, in bytes. What is forgotten is sent again.
const REMEMBERED_BYTES: u64 = 16 * 1024 * 1024;
/// The only version of the protocol.
const VERSION: u64 = 1;

/// The SHA-256 of a document's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DocumentHash([u8; 32]);

impl DocumentHash {
    /// That of this text.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// What `persistedQuery` in a request's `extensions` names; `None` without it.
    ///
    /// # Errors
    ///
    /// `MALFORMED_REQUEST`.
    pub fn from_extensions(extensions: &Map<String, Json>) -> Result<Option<Self>, Refusal> {
        let named = match extensions.get("persistedQuery") {
            None | Some(Json::Null) => return Ok(None),
            Some(named) => named,
        };
        let hash = (named["version"] == VERSION).then(|| named["sha256Hash"].as_str()).flatten();
        hash.and_then(Self::parse).map(Some).ok_or_else(|| {
            let message =
                "extensions.persistedQuery must be {version: 1, sha256Hash: 64 hex digits}";
            Refusal::new(&codes::MALFORMED_REQUEST, message)
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return None;
        }
        let mut hash = [0; 32];
        for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
            *byte = u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?;
        }
        Some(Self(hash))
    }
}

/// The only documents that are carried out.
#[derive(Clone, Debug, Default)]
pub struct Trusted(Arc<HashMap<DocumentHash, Arc<str>>>);

impl Trusted {
    /// Reads a manifest: a JSON object whose values are the documents; its names are the client's
    /// business. A request names one by its SHA-256, or sends its text.
    ///
    /// # Errors
    ///
    /// The text of what is wrong with it.
    pub fn parse(manifest: &str) -> Result<Self, String> {
        let documents: HashMap<String, String> =
            serde_json::from_str(manifest).map_err(|error| error.to_string())?;
        let by_hash = documents.into_values().map(|text| (DocumentHash::of(&text), text.into()));
        Ok(Self(Arc::new(by_hash.collect())))
    }
}

/// What is known of documents by their hash.
#[derive(Clone)]
pub(super) struct Documents {
    trusted: Option<Trusted>,
    remembered: Cache<DocumentHash, Arc<str>>,
}

/// A document's text, and under which hash to remember it once it was found to be a document.
pub(super) struct Found {
    pub(super) text: String,
    pub(super) remember: Option<DocumentHash>,
}

impl Documents {
    pub(super) fn new(trusted: Option<Trusted>) -> Self {
        let weigh =
            |_: &DocumentHash, text: &Arc<str>| u32::try_from(text.len()).unwrap_or(u32::MAX);
        let remembered = Cache::builder().max_capacity(REMEMBERED_BYTES).weigher(weigh).build();
        Self { trusted, remembered }
    }

    /// The text that a request means by what it sent.
    ///
    /// # Errors
    ///
    /// `PERSISTED_QUERY_NOT_FOUND`, `PERSISTED_QUERY_HASH_MISMATCH`, `DOCUMENT_NOT_TRUSTED`,
    /// `MALFORMED_REQUEST` for a request that names no document at all.
    pub(super) fn find(
        &self,
        text: Option<String>,
        named: Option<DocumentHash>,
    ) -> Result<Found, Refusal> {
        if let (Some(text), Some(named)) = (&text, named)
            && DocumentHash::of(text) != named
        {
            let message = "the hash in extensions.persistedQuery is not that of the query";
            return Err(Refusal::new(&codes::PERSISTED_QUERY_HASH_MISMATCH, message));
        }
        if let Some(Trusted(trusted)) = &self.trusted {
            let hash = named.or_else(|| text.as_deref().map(DocumentHash::of));
            let known = hash.and_then(|hash| trusted.get(&hash)).ok_or_else(|| {
                let message = "only documents that the operator has listed are carried out";
                Refusal::new(&codes::DOCUMENT_NOT_TRUSTED, message)
            })?;
            return Ok(Found { text: known.as_ref().to_owned(), remember: None });
        }
        match (text, named) {
            (Some(text), remember) => Ok(Found { text, remember }),
            (None, Some(named)) => match self.remembered.get(&named) {
                Some(known) => Ok(Found { text: known.as_ref().to_owned(), remember: None }),
                // Clients of the protocol look for this very text.
                None => {
                    let message = "PersistedQueryNotFound";
                    Err(Refusal::new(&codes::PERSISTED_QUERY_NOT_FOUND, message))
                }
            },
            (None, None) => {
                Err(Refusal::new(&codes::MALFORMED_REQUEST, "the member query is missing"))
            }
        }
    }

    /// Keeps a document for who names it next.
    pub(super) fn remember(&self, hash: DocumentHash, text: &str) {
        self.remembered.insert(hash, text.into());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = "{__typename}";
    const HASH: &str = "ecf4edb46db40b5132295c0291d62fb65d6759a9eedfa4d5d612dd5ec54a6b38";

    fn named(extension: Json) -> Result<Option<DocumentHash>, Refusal> {
        let extensions = Map::from_iter([("persistedQuery".to_owned(), extension)]);
        DocumentHash::from_extensions(&extensions)
    }

    #[test]
    fn a_document_is_named_by_the_hash_of_its_text() {
        let of_client = named(json!({ "version": 1, "sha256Hash": HASH })).expect("a name");
        assert_eq!(of_client, Some(DocumentHash::of(TEXT)));
        assert_eq!(named(Json::Null).expect("no name"), None);
        for malformed in [
            json!(7),
            json!({}),
            json!({ "version": 2, "sha256Hash": HASH }),
            json!({ "version": 1, "sha256Hash": &HASH[1..] }),
            json!({ "version": 1, "sha256Hash": HASH.replace('e', "x") }),
            json!({ "version": 1, "sha256Hash": [HASH] }),
        ] {
            let refused = named(malformed.clone()).expect_err("no name");
            assert_eq!(refused.code, &codes::MALFORMED_REQUEST, "{malformed}");
        }
    }

    #[test]
    fn where_documents_are_trusted_no_other_is_carried_out() {
        let manifest = json!({ "Name": TEXT }).to_string();
        let documents = Documents::new(Some(Trusted::parse(&manifest).expect("a manifest")));
        let hash = DocumentHash::of(TEXT);
        for (text, named) in [(Some(TEXT), None), (None, Some(hash)), (Some(TEXT), Some(hash))] {
            let found = documents.find(text.map(str::to_owned), named).expect("it is trusted");
            assert_eq!(found.text, TEXT);
        }
        let other = "{ viewer { __typename } }";
        for (text, named) in [(Some(other), None), (None, Some(DocumentHash::of(other)))] {
            let refused = documents.find(text.map(str::to_owned), named).err();
            assert_eq!(refused.map(|refused| refused.code), Some(&codes::DOCUMENT_NOT_TRUSTED));
        }
        assert!(Trusted::parse("[]").is_err());
    }
}
