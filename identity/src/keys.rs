//! Signing keys: Ed25519, derived from the installation's secret by number, so that no private key
//! lies anywhere and every replica has the same. The newest signs; those not retired verify.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use commands::Bus;
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde_json::json;
use sqlx::PgPool;

use crate::IdentityError;

/// The keys that tokens are signed and verified with, by key id.
#[derive(Clone)]
pub struct KeyRing(Arc<BTreeMap<String, Key>>);

struct Key {
    number: i32,
    encoding: EncodingKey,
    decoding: DecodingKey,
    public: String,
}

impl KeyRing {
    /// The keys that are not retired.
    ///
    /// # Errors
    /// [`IdentityError::Unavailable`] when they cannot be read or made.
    pub async fn load(pool: &PgPool, bus: &Bus) -> Result<Self, IdentityError> {
        let numbers: Vec<i32> = sqlx::query_scalar(
            "select key_number from identity.signing_key where retired_at is null",
        )
        .fetch_all(pool)
        .await?;
        let mut keys = BTreeMap::new();
        for number in numbers {
            let seed = bus.derived_secret("token-signing-key", &number.to_be_bytes());
            let key = Key::from_seed(number, &seed).ok_or(IdentityError::Unavailable)?;
            keys.insert(format!("k{number}"), key);
        }
        if keys.is_empty() {
            tracing::error!("there is no signing key");
            return Err(IdentityError::Unavailable);
        }
        Ok(Self(Arc::new(keys)))
    }

    /// The key that signs, with its id.
    pub fn signing(&self) -> Option<(&str, &EncodingKey)> {
        let newest = self.0.iter().max_by_key(|(_, key)| key.number)?;
        Some((newest.0, &newest.1.encoding))
    }

    /// The key of this id, if it verifies.
    pub fn verifying(&self, id: &str) -> Option<&DecodingKey> {
        self.0.get(id).map(|key| &key.decoding)
    }

    /// The public keys as a JSON Web Key Set.
    pub fn jwks(&self) -> serde_json::Value {
        let key = |(id, key): (&String, &Key)| {
            json!({
                "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA",
                "kid": id, "x": key.public,
            })
        };
        json!({ "keys": self.0.iter().map(key).collect::<Vec<_>>() })
    }
}

impl Key {
    fn from_seed(number: i32, seed: &[u8; 32]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        let pkcs8 = pair.to_pkcs8().ok()?;
        let public = pair.public_key().as_ref();
        Some(Self {
            number,
            encoding: EncodingKey::from_ed_der(pkcs8.as_ref()),
            decoding: DecodingKey::from_ed_der(public),
            public: URL_SAFE_NO_PAD.encode(public),
        })
    }
}
