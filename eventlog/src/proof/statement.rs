//! What the log signs, each as a note: checkpoints, heads of streams, new keys, exports.
//!
//! A checkpoint begins with the log's origin, which has no space in it, all others begin with a line
//! that has: so none can be taken for another one.

use chrono::{DateTime, SecondsFormat, Utc};

use super::merkle::Hash;
use super::note::{self, PublicKey};
use crate::envelope::{StreamId, Version};

const STREAM_HEAD: &str = "colloquy stream head v1";
const NEW_KEY: &str = "colloquy log key v1";

/// The tree as it stood: everything recorded up to `signed_at` is in it, and nothing else.
///
/// As text it is a checkpoint of C2SP tlog-checkpoint: origin, size in decimal, root in Base64, and
/// the extension line `time 2026-01-31T12:00:00.000000Z`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many events.
    pub size: u64,
    /// Root of the tree over them.
    pub root: Hash,
    /// As of when, by the database's clock, which also gives `recorded_at`.
    pub signed_at: DateTime<Utc>,
}

impl Checkpoint {
    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { origin, size, root, signed_at } = self;
        let (root, time) = (note::base64(root), time(*signed_at));
        format!("{origin}\n{size}\n{root}\ntime {time}\n")
    }

    /// The checkpoint that this text states; `None` if it states none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let checkpoint = Self {
            origin: lines.next()?.to_owned(),
            size: lines.next()?.parse().ok()?,
            root: note::hash(lines.next()?)?,
            signed_at: parse_time(lines.next()?.strip_prefix("time ")?)?,
        };
        // The same text again: there is one way only to write it.
        (note::is_name(&checkpoint.origin) && checkpoint.text() == text).then_some(checkpoint)
    }
}

/// States that `version` is the stream's last one in the tree of a checkpoint.
#[must_use]
pub fn stream_head(stream: &StreamId, version: Version, checkpoint: &Checkpoint) -> String {
    let (company, aggregate, id) = (stream.company.0, &stream.aggregate, stream.id);
    format!("{STREAM_HEAD}\n{company} {aggregate} {id}\n{version}\n{}", checkpoint.text())
}

/// The version that such a statement gives for this stream and this checkpoint.
#[must_use]
pub fn stated_head(text: &str, stream: &StreamId, checkpoint: &Checkpoint) -> Option<Version> {
    let version = Version(text.lines().nth(2)?.parse().ok()?);
    (stream_head(stream, version, checkpoint) == text).then_some(version)
}

/// States that from now on this key signs for the log. The key before and the key itself sign it.
#[must_use]
pub fn new_key(key: &PublicKey, at: DateTime<Utc>) -> String {
    format!("{NEW_KEY}\n{}\n{key}\ntime {}\n", key.name(), time(at))
}

/// The key that such a statement introduces.
#[must_use]
pub fn stated_key(text: &str) -> Option<PublicKey> {
    let mut lines = text.lines().skip(2);
    let key: PublicKey = lines.next()?.parse().ok()?;
    let at = parse_time(lines.next()?.strip_prefix("time ")?)?;
    (new_key(&key, at) == text).then_some(key)
}

/// UTC with six digits after the second's point, as everything signed or exported writes it.
#[must_use]
pub fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The time written so; `None` for any other way of writing it.
#[must_use]
pub fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    let at = DateTime::parse_from_rfc3339(text).ok()?.to_utc();
    // A leap second counts as the same microseconds as the second after it: two ways to write one.
    let is_leap = at.timestamp_subsec_nanos() >= 1_000_000_000;
    (time(at) == text && !is_leap).then_some(at)
}

#[cfg(test)]
mod tests {
    use domain::ids::CompanyId;
    use uuid::Uuid;

    use super::*;

    fn checkpoint() -> Checkpoint {
        let signed_at = parse_time("2026-01-31T12:00:00.000001Z").expect("a time");
        Checkpoint { origin: "example.com/log".to_owned(), size: 7, root: [9; 32], signed_at }
    }

    #[test]
    fn statements_are_read_as_they_are_written_and_never_taken_for_another() {
        let checkpoint = checkpoint();
        let text = checkpoint.text();
        assert_eq!(Checkpoint::parse(&text).as_ref(), Some(&checkpoint));
        for other in [
            text.replace("\n7\n", "\n07\n"),
            text.replace("01Z", "01+00:00"),
            text.replace("12:00:00", "11:59:60"),
        ] {
            assert_eq!(Checkpoint::parse(&other), None, "{other}");
        }
        let stream = StreamId::new(CompanyId(Uuid::from_u128(1)), "interview", Uuid::from_u128(2));
        let head = stream_head(&stream, Version(3), &checkpoint);
        assert_eq!(stated_head(&head, &stream, &checkpoint), Some(Version(3)));
        assert_eq!(Checkpoint::parse(&head), None);
        let later = Checkpoint { size: 8, ..checkpoint.clone() };
        assert_eq!(stated_head(&head, &stream, &later), None);
        let key = PublicKey::new("example.com/log", [1; 32]).expect("a key");
        let introduction = new_key(&key, checkpoint.signed_at);
        assert_eq!(stated_key(&introduction), Some(key));
        assert_eq!((stated_key(&head), Checkpoint::parse(&introduction)), (None, None));
    }
}
