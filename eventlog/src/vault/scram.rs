//! What a database keeps instead of a password, RFC 5803, so that the password itself stands in no
//! statement: statements can be logged.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// As many as PostgreSQL takes by itself.
const ITERATIONS: u32 = 4096;

/// The verifier of a password of ASCII letters and digits, for `alter role … password`.
#[must_use]
pub fn verifier(password: &str) -> String {
    with_salt(password, rand::random())
}

fn with_salt(password: &str, salt: [u8; 16]) -> String {
    let salted = salted(password.as_bytes(), salt);
    let stored_key = Sha256::digest(mac(&*salted, &[b"Client Key"]));
    let server_key = mac(&*salted, &[b"Server Key"]);
    let text = |bytes: &[u8]| BASE64.encode(bytes);
    let (salt, stored_key, server_key) = (text(&salt), text(&stored_key), text(&server_key));
    format!("SCRAM-SHA-256${ITERATIONS}:{salt}${stored_key}:{server_key}")
}

/// RFC 5802 section 2.2, `Hi`: the only block of PBKDF2.
fn salted(password: &[u8], salt: [u8; 16]) -> Zeroizing<[u8; 32]> {
    let mut last = mac(password, &[&salt, &1_u32.to_be_bytes()]);
    let mut sum = Zeroizing::new(last);
    for _ in 1..ITERATIONS {
        last = mac(password, &[&last]);
        sum.iter_mut().zip(last).for_each(|(sum, byte)| *sum ^= byte);
    }
    sum
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // The hash's block, as HMAC itself defines it: longer keys hashed, shorter ones filled with zeros.
    let mut block = Zeroizing::new([0; 64]);
    match block.get_mut(..key.len()) {
        Some(start) => start.copy_from_slice(key),
        None => block[..32].copy_from_slice(&Sha256::digest(key)),
    }
    let mut mac = Hmac::<Sha256>::new(&(*block).into());
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_is_what_postgres_makes_itself() {
        // `create role … password 'pencil'` of PostgreSQL 15, as pg_authid shows it.
        let made = "SCRAM-SHA-256$4096:Ri4UrVtLfRlL0Otr8KOdcQ==\
                    $wrdGkCR/ugwkbaQtqsg6XTBD1dbEGAasbc1R96tOK9k=\
                    :unnW8z/5MjRi7gDE+3NXlukwi/Dvojs+Gn4agrKa2Tw=";
        let salt = BASE64.decode("Ri4UrVtLfRlL0Otr8KOdcQ==").expect("base64");
        assert_eq!(with_salt("pencil", salt.try_into().expect("16 bytes")), made);
    }
}
