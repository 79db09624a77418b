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
    /// The generation: another fold or table needs another one.
    const VERSION: u32;
    /// Where the rows are.
    const TABLE: &'static str;
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
