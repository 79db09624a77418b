//! What a read model is: the keys of the rows that an event touches, and a pure fold of each row.

use std::collections::{BTreeMap, BTreeSet};

use eventlog::codec::Recorded;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Which rows an event touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys<K> {
    /// These, each whether it exists already or not; none means that the event is of no interest.
    These(Vec<K>),
    /// Every row that the event's stream owns at present.
    AllOfStream,
}

impl<K> Keys<K> {
    /// One row.
    #[must_use]
    pub fn one(key: K) -> Self {
        Self::These(vec![key])
    }

    /// No row.
    #[must_use]
    pub fn none() -> Self {
        Self::These(vec![])
    }
}

/// A read model. `keys` and `fold` are pure and are all the logic there is: they serve the live
/// table, a rebuild, the entity in a mutation's answer, and "as of".
///
/// Each row is owned by exactly one stream. Names of tables and columns stand in constants only:
/// the row's fields are the table's columns, under the names that serde gives them.
pub trait Projector: Send + Sync + 'static {
    /// The model's name, such as `interviews`.
    const NAME: &'static str;
    /// The version of the fold: another fold or shape needs the next one. Rows of the new version are
    /// filled from the log, beside those of the old one, which older programs go on with.
    const VERSION: u32;
    /// The table that gives each generation its shape, see `migrations/0008_generations.sql`.
    const TABLE: &'static str;
    /// Where queries find the rows: the view of this version's live generation.
    const VIEW: &'static str = const { &view_name(Self::TABLE, Self::VERSION) }.as_str();
    /// The columns of the primary key, which are the fields of [`Projector::Key`].
    const KEY: &'static [&'static str];
    /// The column that holds the id of the owning stream; its company is in `company_id`.
    const STREAM: &'static str;
    /// The aggregates it listens to.
    const AGGREGATES: &'static [&'static str];

    /// Names a row. Serializes as an object of the key's columns.
    type Key: Clone + Ord + Serialize + DeserializeOwned + Send + Sync;
    /// A row. Serializes as an object of all the table's columns.
    type Row: Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync + Unpin;

    /// The rows that an event touches.
    fn keys(recorded: &Recorded) -> Keys<Self::Key>;

    /// The row after the event; `None` is no row.
    fn fold(key: &Self::Key, row: Option<Self::Row>, recorded: &Recorded) -> Option<Self::Row>;

    /// The row without what only a query of its own may show.
    #[must_use]
    fn redact(row: Self::Row) -> Self::Row {
        row
    }
}

/// The longest name that the database has.
const MAX_NAME_BYTES: usize = 63;

/// A name put together when the program is compiled.
struct Name {
    bytes: [u8; MAX_NAME_BYTES],
    n_bytes: usize,
}

impl Name {
    const fn and(mut self, part: &[u8]) -> Self {
        let mut i = 0;
        while i < part.len() {
            self.bytes[self.n_bytes] = part[i];
            self.n_bytes += 1;
            i += 1;
        }
        self
    }

    const fn as_str(&self) -> &str {
        match std::str::from_utf8(self.bytes.split_at(self.n_bytes).0) {
            Ok(name) => name,
            Err(_) => panic!("names of tables are UTF-8"),
        }
    }
}

/// `rm_job_v1`, as the database's functions call it.
const fn view_name(table: &str, version: u32) -> Name {
    let mut digits = [0; 10];
    let mut start = digits.len();
    let mut rest = version;
    while start == digits.len() || rest > 0 {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let name = Name { bytes: [0; MAX_NAME_BYTES], n_bytes: 0 };
    name.and(table.as_bytes()).and(b"_v").and(digits.split_at(start).1)
}

/// The rows of one stream while its events are folded; `None` is a row that does not exist.
pub(crate) type StreamRows<P> = BTreeMap<<P as Projector>::Key, Option<<P as Projector>::Row>>;

/// The keys to load before these events of one stream are folded; `None` means all of the stream.
pub(crate) fn keys_of<P: Projector>(events: &[Recorded]) -> Option<BTreeSet<P::Key>> {
    let mut wanted = BTreeSet::new();
    for recorded in events {
        match P::keys(recorded) {
            Keys::These(keys) => wanted.extend(keys),
            Keys::AllOfStream => return None,
        }
    }
    Some(wanted)
}

/// Folds one event into the rows of its stream.
pub(crate) fn fold_into<P: Projector>(rows: &mut StreamRows<P>, recorded: &Recorded) {
    let keys = match P::keys(recorded) {
        Keys::These(keys) => keys,
        Keys::AllOfStream => rows.keys().cloned().collect(),
    };
    for key in keys {
        let row = rows.remove(&key).flatten();
        let folded = P::fold(&key, row, recorded);
        rows.insert(key, folded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jobs::Jobs;

    #[test]
    fn a_view_is_named_after_its_table_and_version() {
        assert_eq!(Jobs::VIEW, format!("{}_v{}", Jobs::TABLE, Jobs::VERSION));
        for version in [0, 7, 10, 4_294_967_295] {
            assert_eq!(view_name("rm_job", version).as_str(), format!("rm_job_v{version}"));
        }
    }
}
