//! Signing keys: Ed25519, derived from the installation's secret by number, so that no private key
//! lies anywhere and every replica has the same. A new key is published before it signs, and the one
//! before it verifies until no token of its can still run.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use commands::Bus;
use jsonwebtoken::{DecodingKey, EncodingKey};
use moka::sync::Cache;
use serde_json::json;
use tokio::sync::Mutex;

use crate::lifetimes::LONGEST_ACCESS;
use crate::wall::{About, Wall};
use crate::{FRESH, IdentityError};

/// How long a key is published before it signs: whoever checks tokens may keep the key set so long.
pub const PUBLISHED_BEFORE: TimeDelta = TimeDelta::minutes(5);

/// How long a token may run after the key that signed it stopped to sign, told a little late.
const LONGEST_LIFE: TimeDelta = TimeDelta::seconds(LONGEST_ACCESS.num_seconds() + 60);

/// The keys that tokens are signed and verified with, as the database has them, read again each second.
#[derive(Clone)]
pub(crate) struct KeyRing {
    wall: Wall,
    bus: Arc<Bus>,
    known: Cache<(), Arc<Keys>>,
    /// Held by the one who reads for all.
    reading: Arc<Mutex<()>>,
}

impl KeyRing {
    pub(crate) fn new(wall: Wall, bus: Arc<Bus>) -> Self {
        let known = Cache::builder().max_capacity(1).time_to_live(FRESH).build();
        Self { wall, bus, known, reading: Arc::default() }
    }

    /// The keys that are not retired, as they were within the last second.
    ///
    /// # Errors
    /// [`IdentityError::Unavailable`] when they cannot be read or there is none.
    pub(crate) async fn keys(&self) -> Result<Arc<Keys>, IdentityError> {
        if let Some(keys) = self.known.get(&()) {
            return Ok(keys);
        }
        let _reading = self.reading.lock().await;
        if let Some(keys) = self.known.get(&()) {
            return Ok(keys);
        }
        let keys = Arc::new(Keys::load(&self.wall, &self.bus).await?);
        self.known.insert((), Arc::clone(&keys));
        Ok(keys)
    }
}

/// The keys at one moment, by key id.
pub(crate) struct Keys {
    by_id: BTreeMap<String, Key>,
    signing: i32,
}

struct Key {
    encoding: EncodingKey,
    decoding: DecodingKey,
    public: String,
}

impl Keys {
    async fn load(wall: &Wall, bus: &Bus) -> Result<Self, IdentityError> {
        let listed = listed(wall).await?;
        let signing = listed.iter().find(|key| key.signs).ok_or_else(|| {
            tracing::error!("there is no signing key");
            IdentityError::Unavailable
        })?;
        let mut by_id = BTreeMap::new();
        for SigningKey { number, .. } in listed.iter().filter(|key| key.retired_at.is_none()) {
            let seed = bus.derived_secret("token-signing-key", &number.to_be_bytes());
            let key = Key::from_seed(&seed).ok_or(IdentityError::Unavailable)?;
            by_id.insert(id(*number), key);
        }
        Ok(Self { by_id, signing: signing.number })
    }

    /// The key that signs, with its id.
    pub(crate) fn signing(&self) -> Option<(String, &EncodingKey)> {
        let id = id(self.signing);
        let key = self.by_id.get(&id)?;
        Some((id, &key.encoding))
    }

    /// The key of this id, if it verifies.
    pub(crate) fn verifying(&self, id: &str) -> Option<&DecodingKey> {
        self.by_id.get(id).map(|key| &key.decoding)
    }

    /// The public keys as a JSON Web Key Set.
    pub(crate) fn jwks(&self) -> serde_json::Value {
        let key = |(id, key): (&String, &Key)| {
            json!({
                "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA",
                "kid": id, "x": key.public,
            })
        };
        json!({ "keys": self.by_id.iter().map(key).collect::<Vec<_>>() })
    }
}

fn id(number: i32) -> String {
    format!("k{number}")
}

/// A signing key as operators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKey {
    /// Its number; tokens name it `k` and the number.
    pub number: i32,
    /// Since when it is published, UTC.
    pub published_at: DateTime<Utc>,
    /// When it stopped to verify.
    pub retired_at: Option<DateTime<Utc>>,
    /// Whether it signs the tokens that are made now.
    pub signs: bool,
}

/// Why a key stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// No key of this number is in use.
    #[error("no key of this number is in use")]
    NoKey,
    /// Nothing would be left to sign with.
    #[error("it is the only key; make another one first")]
    LastKey,
    /// Tokens that it signed may still run.
    #[error("tokens that it signed may run until {0}; those can be cut off by retiring it now")]
    InUse(DateTime<Utc>),
    /// It signs, and no key that was published long enough is there to take over.
    #[error("it signs at present; it can be cut off by retiring it now")]
    Signs,
    /// The database does not answer.
    #[error("the keys cannot be read or written")]
    Unavailable(#[from] sqlx::Error),
}

/// All keys, oldest first. The newest that was published long enough signs; the oldest where none was.
///
/// # Errors
/// When the database does not answer.
pub async fn listed(wall: &Wall) -> sqlx::Result<Vec<SigningKey>> {
    type Row = (i32, DateTime<Utc>, Option<DateTime<Utc>>, bool);
    let rows: Vec<Row> = sqlx::query_as(
        "select key_number, created_at, retired_at, created_at <= now() - make_interval(secs => $1)
           from identity.signing_key order by key_number",
    )
    .bind(PUBLISHED_BEFORE.as_seconds_f64())
    .fetch_all(&mut *wall.of(About::nobody()).await?)
    .await?;
    let alive = || rows.iter().filter(|(.., retired_at, _)| retired_at.is_none());
    let known = alive().rfind(|(.., is_known)| *is_known);
    let signing = known.or_else(|| alive().next()).map(|key| key.0);
    let key = |&(number, published_at, retired_at, _): &Row| SigningKey {
        number,
        published_at,
        retired_at,
        signs: signing == Some(number),
    };
    Ok(rows.iter().map(key).collect())
}

/// Makes and publishes another key, which signs from [`PUBLISHED_BEFORE`] on.
///
/// # Errors
/// When the database does not answer.
pub async fn rotate(wall: &Wall) -> sqlx::Result<SigningKey> {
    let (number, published_at) = sqlx::query_as(
        "insert into identity.signing_key (key_number)
         select max(key_number) + 1 from identity.signing_key
         returning key_number, created_at",
    )
    .fetch_one(&mut *wall.of(About::nobody()).await?)
    .await?;
    Ok(SigningKey { number, published_at, retired_at: None, signs: false })
}

/// Lets a key verify no more, on every replica within a second. With `at_once` also one whose tokens may
/// still run, for a key that others may know: people renew theirs then by their sessions.
///
/// # Errors
/// [`RotationError`]
pub async fn retire(wall: &Wall, number: i32, at_once: bool) -> Result<(), RotationError> {
    let mut transaction = wall.begin(About::nobody()).await?;
    // Two who retire at a time would each leave the other's key to sign with.
    sqlx::query("lock table identity.signing_key in share row exclusive mode")
        .execute(&mut *transaction)
        .await?;
    let keys = listed(wall).await?;
    let mut alive = keys.iter().filter(|key| key.retired_at.is_none());
    let key = alive.clone().find(|key| key.number == number).ok_or(RotationError::NoKey)?;
    if alive.clone().count() == 1 {
        return Err(RotationError::LastKey);
    }
    if !at_once {
        if key.signs {
            return Err(RotationError::Signs);
        }
        // One that never signed has no successor, and no tokens.
        let successor = alive.find(|other| other.number > number);
        if let Some(successor) = successor {
            let until = successor.published_at + PUBLISHED_BEFORE + LONGEST_LIFE;
            let now: DateTime<Utc> =
                sqlx::query_scalar("select now()").fetch_one(&mut *transaction).await?;
            if now < until {
                return Err(RotationError::InUse(until));
            }
        }
    }
    sqlx::query("update identity.signing_key set retired_at = now() where key_number = $1")
        .bind(number)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}

impl Key {
    fn from_seed(seed: &[u8; 32]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        let pkcs8 = pair.to_pkcs8().ok()?;
        let public = pair.public_key().as_ref();
        Some(Self {
            encoding: EncodingKey::from_ed_der(pkcs8.as_ref()),
            decoding: DecodingKey::from_ed_der(public),
            public: URL_SAFE_NO_PAD.encode(public),
        })
    }
}
