//! Tags that name what an answer holds, so that it is not sent again to who has it.

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// The tag of this content, in quotes: its SHA-256, so that nobody can make other content of the
/// same tag. Every build tags it alike.
#[must_use]
pub fn of(content: &[u8]) -> String {
    format!("\"{}\"", BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(content)))
}

/// Whether a request's `If-None-Match` (RFC 9110, 13.1.2) says that the client has what the tag names.
#[must_use]
pub fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter();
    let mut known =
        known.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    known.any(|known| {
        let known = known.trim();
        known == "*" || known.trim_start_matches("W/") == tag
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_client_may_name_several_versions_that_it_has() {
        let tag = of(b"text");
        for (known, is_its) in [
            (tag.clone(), true),
            (format!("W/{tag}"), true),
            (format!("\"other\", {tag}"), true),
            ("*".to_owned(), true),
            (of(b"other text"), false),
            (tag.replace('"', ""), false),
        ] {
            let value = HeaderValue::from_str(&known).expect("a value");
            let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, value)]);
            assert_eq!(is_known(&headers, &tag), is_its, "{known}");
        }
        assert!(!is_known(&HeaderMap::new(), &tag));
    }
}
