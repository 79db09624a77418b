//! Sessions of another time, and tokens that say what no session would.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use chrono::TimeDelta;
use commands::{Bus, BusSettings};
use eventlog::clock::ManualClock;
use eventlog::codec::Codec;
use eventlog::store::postgres::{PostgresSettings, PostgresStore};
use eventlog::vault::postgres::PostgresVault;
use eventlog::vault::{MasterKey, secrets};
use identity::wall::Wall;
use identity::{Entrance, Identity};
use jsonwebtoken::{Algorithm, EncodingKey};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::job::now;
use crate::world::World;

/// How long an access token holds.
pub const ACCESS_LIFE: TimeDelta = TimeDelta::minutes(15);

/// An access token that this installation signed so long ago, for who has this address and password.
pub async fn token_of(world: &World, (email, password): (&str, &str), ago: TimeDelta) -> String {
    let (bus, store) = bus(world, ago).await;
    let role = sqlx::query_scalar("select product_role('identity')").fetch_one(&world.pool).await;
    let role: String = role.expect("the role that `serve` has made");
    let options = world.pool.connect_options().as_ref().clone().username(&role);
    let identity = Identity::start(Wall::new(options, 2), Arc::new(bus)).await.expect("identity");
    let session = identity.sign_in(email, SecretString::from(password), &Entrance::default()).await;
    let session = session.expect("a session");
    store.stop().await;
    session.access_token.expose_secret().to_owned()
}

/// The installation's own door to the log, by a clock that is behind by so much.
async fn bus(world: &World, behind: TimeDelta) -> (Bus, Arc<PostgresStore>) {
    let clock = Arc::new(ManualClock::new(now() - behind));
    let master = || {
        let bytes = world.master_key().as_bytes().chunks(2);
        let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16);
        let bytes: Vec<u8> = bytes.map(|pair| byte(pair).expect("hex")).collect();
        MasterKey::new(bytes.try_into().expect("32 bytes"))
    };
    let secrets = secrets::load_or_create(&world.pool, &master()).await.expect("the keys");
    let settings = PostgresSettings::new(world.url.clone().into());
    let store = Arc::new(PostgresStore::start(&settings).expect("a log"));
    let vault = Arc::new(PostgresVault::start(world.pool.clone(), master()));
    let codec = Codec::new(vault);
    (Bus::new(store.clone(), codec, secrets, clock, BusSettings::default()), store)
}

/// Signs tokens that say anything.
pub struct Signer(EncodingKey);

impl Signer {
    /// With a key of one's own.
    pub fn of_seed(seed: [u8; 32]) -> Self {
        // PKCS #8 of an Ed25519 key (RFC 8410) is this and the seed.
        let start = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
        Self(EncodingKey::from_ed_der(&[&start[..], &seed].concat()))
    }

    /// With the key that the installation signs with.
    pub async fn of_world(world: &World) -> Self {
        let newest = "select max(key_number) from identity.signing_key where retired_at is null";
        let number: i32 = sqlx::query_scalar(newest).fetch_one(&world.pool).await.expect("a key");
        let (bus, store) = bus(world, TimeDelta::zero()).await;
        let seed = bus.derived_secret("token-signing-key", &number.to_be_bytes());
        store.stop().await;
        Self::of_seed(seed)
    }

    /// A token of this header and these claims.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let [header, claims] = [header, claims].map(|part| BASE64.encode(part.to_string()));
        let text = format!("{header}.{claims}");
        let signed = jsonwebtoken::crypto::sign(text.as_bytes(), &self.0, Algorithm::EdDSA);
        format!("{text}.{}", signed.expect("a signature"))
    }
}

/// HMAC-SHA-256 (RFC 2104), in base64.
pub fn hmac(key: &[u8], message: &str) -> String {
    let mut block = [0; 64];
    let digest = Sha256::digest(key);
    let key = if key.len() > block.len() { &digest[..] } else { key };
    block[..key.len()].copy_from_slice(key);
    let with = |pad: u8| block.map(|byte| byte ^ pad);
    let inner = Sha256::new().chain_update(with(0x36)).chain_update(message).finalize();
    BASE64.encode(Sha256::new().chain_update(with(0x5c)).chain_update(inner).finalize())
}
