//! Pages by keyset: cursors are opaque, bound to their list, its order, filter and company, and hold
//! nothing personal.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use chrono::{DateTime, Datelike, Utc};
use domain::ids::CompanyId;
use serde::de::DeserializeOwned;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{Postgres, Row as _};
use uuid::Uuid;

use crate::query::{QueryError, Reads, Sql};

/// Items of a page where nothing is asked for.
pub const DEFAULT_SIZE: u16 = 20;
/// Most items of a page.
pub const MAX_SIZE: u16 = 100;

/// A page that cannot be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// The cursor was damaged, or is of another list, order, filter or company.
    #[error("the cursor is not one of this list")]
    CursorInvalid,
    /// `first` or `last` is out of range.
    #[error("a page has 1 to {MAX_SIZE} items")]
    SizeInvalid,
    /// Both `first` and `last` were given.
    #[error("a page is asked for with either first or last")]
    BothEnds,
}

impl PageError {
    /// The public code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::CursorInvalid => "CURSOR_INVALID",
            Self::SizeInvalid | Self::BothEnds => "PAGE_INVALID",
        }
    }
}

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Smallest or oldest first.
    Ascending,
    /// Greatest or newest first.
    Descending,
}

/// From which end of what lies between the cursors the items are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    First,
    Last,
}

/// Which page is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    size: u16,
    end: End,
    after: Option<String>,
    before: Option<String>,
    order: Option<Order>,
    of: Option<Uuid>,
    filter: Option<[u8; 8]>,
}

impl Default for PageRequest {
    fn default() -> Self {
        let (after, before, order, of, filter) = (None, None, None, None, None);
        Self { size: DEFAULT_SIZE, end: End::First, after, before, order, of, filter }
    }
}

impl PageRequest {
    /// Reads the four arguments of a connection.
    ///
    /// # Errors
    /// [`PageError`]; cursors are checked later, by the list they are used on.
    pub fn parse(
        first: Option<i64>,
        after: Option<String>,
        last: Option<i64>,
        before: Option<String>,
    ) -> Result<Self, PageError> {
        let (size, end) = match (first, last) {
            (Some(_), Some(_)) => return Err(PageError::BothEnds),
            (None, None) => (i64::from(DEFAULT_SIZE), End::First),
            (Some(first), None) => (first, End::First),
            (None, Some(last)) => (last, End::Last),
        };
        let size = u16::try_from(size).ok().filter(|size| (1..=MAX_SIZE).contains(size));
        let size = size.ok_or(PageError::SizeInvalid)?;
        Ok(Self { size, end, after, before, ..Self::default() })
    }

    /// The same page of the list of what belongs to this one: its cursors are good for no other.
    #[must_use]
    pub(crate) fn within(self, of: Uuid) -> Self {
        Self { of: Some(of), ..self }
    }

    /// The same page of what a filter leaves of the list: its cursors are good for no other filter. That
    /// of nothing is as none.
    #[must_use]
    pub(crate) fn filtered<F: Debug + Default + PartialEq>(self, filter: &F) -> Self {
        let is_none = *filter == F::default();
        let filter = (!is_none).then(|| checksum(&[format!("{filter:?}").as_bytes()]));
        Self { filter, ..self }
    }

    /// The same page of the list in another order than its usual one.
    #[must_use]
    pub fn ordered(self, order: Order) -> Self {
        Self { order: Some(order), ..self }
    }
}

/// An item and where it stands.
#[derive(Clone)]
pub struct Edge<T> {
    /// Its cursor.
    pub cursor: String,
    /// The item.
    pub node: T,
}

/// A piece of a list.
#[derive(Clone)]
pub struct Page<T> {
    /// The items, in the list's order.
    pub edges: Vec<Edge<T>>,
    /// Whether more follow.
    pub has_next: bool,
    /// Whether more come before.
    pub has_previous: bool,
}

/// What a list is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SortKind {
    Time,
    Number,
}

/// A list: a table with an order that is total, because the id decides among equals.
#[derive(Clone, Copy, Debug)]
pub(crate) struct List {
    /// Bound into cursors.
    pub(crate) name: &'static str,
    /// The table, which goes by the name `t`.
    pub(crate) table: &'static str,
    /// The row as jsonb.
    pub(crate) row: &'static str,
    /// What it is sorted by.
    pub(crate) sort: &'static str,
    /// The type of that.
    pub(crate) kind: SortKind,
    /// The id's column.
    pub(crate) id: &'static str,
    /// The usual order.
    pub(crate) order: Order,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) sort: i64,
    pub(crate) id: Uuid,
}

/// What a cursor is good for, beside the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) company: CompanyId,
    pub(crate) order: Order,
    /// What the items belong to, where the list is one of such.
    pub(crate) of: Option<Uuid>,
    /// Which items of the list are shown, see [`PageRequest::filtered`].
    pub(crate) filter: Option<[u8; 8]>,
}

const CURSOR_VERSION: u8 = 1;

impl List {
    /// Eight bytes that tell the list and what else a cursor is bound to, and find damage.
    fn seal(&self, bound: Bound, place: Place) -> [u8; 8] {
        let order = match bound.order {
            Order::Ascending => [0, 0],
            Order::Descending => [0, 1],
        };
        let sort = place.sort.to_be_bytes();
        let mut parts: Vec<&[u8]> = vec![
            self.name.as_bytes(),
            &order,
            bound.company.0.as_bytes(),
            &sort,
            place.id.as_bytes(),
        ];
        parts.extend(bound.of.as_ref().map(|of| &of.as_bytes()[..]));
        parts.extend(bound.filter.as_ref().map(|filter| &filter[..]));
        checksum(&parts)
    }

    pub(crate) fn cursor(&self, bound: Bound, place: Place) -> String {
        let seal = self.seal(bound, place);
        let sort = place.sort.to_be_bytes();
        BASE64.encode([&[CURSOR_VERSION], &sort[..], place.id.as_bytes(), &seal].concat())
    }

    pub(crate) fn place(&self, bound: Bound, cursor: &str) -> Result<Place, PageError> {
        let read = || {
            let bytes = BASE64.decode(cursor).ok()?;
            let (version, rest) = bytes.split_first()?;
            let (sort, rest) = rest.split_first_chunk::<8>()?;
            let (id, seal) = rest.split_first_chunk::<16>()?;
            let place = Place { sort: i64::from_be_bytes(*sort), id: Uuid::from_bytes(*id) };
            let whole = *version == CURSOR_VERSION && seal == self.seal(bound, place);
            (whole && (self.kind == SortKind::Number || time(place.sort).is_some()))
                .then_some(place)
        };
        read().ok_or(PageError::CursorInvalid)
    }

    fn push_beyond(&self, sql: &mut Sql, place: Place, sign: &'static str) {
        sql.push(" and (").push(self.sort).push(", t.").push(self.id).push(") ").push(sign);
        sql.push(" (");
        match self.kind {
            SortKind::Time => {
                sql.push_bind(time(place.sort));
            }
            SortKind::Number => {
                sql.push_bind(place.sort);
            }
        }
        sql.push(", ").push_bind(place.id).push(")");
    }

    fn edge<R: DeserializeOwned + Send + Unpin + 'static>(
        &self,
        row: &PgRow,
        bound: Bound,
    ) -> sqlx::Result<Edge<R>> {
        let sort = match self.kind {
            SortKind::Time => row.try_get::<DateTime<Utc>, _>("sort")?.timestamp_micros(),
            SortKind::Number => row.try_get("sort")?,
        };
        let place = Place { sort, id: row.try_get("id")? };
        let Json(node) = row.try_get("row")?;
        Ok(Edge { cursor: self.cursor(bound, place), node })
    }
}

/// The time of a place, if the database has it.
fn time(micros: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros).filter(|at| (0..=9999).contains(&at.year()))
}

/// Eight bytes over some parts, each with its length; finds accidents, keeps no secret.
pub(crate) fn checksum(parts: &[&[u8]]) -> [u8; 8] {
    // FNV-1a.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut take = |byte: u8| {
        hash ^= u64::from(byte);
        hash = hash.wrapping_mul(0x0100_0000_01b3);
    };
    for part in parts {
        (part.len() as u64).to_be_bytes().into_iter().for_each(&mut take);
        part.iter().copied().for_each(&mut take);
    }
    hash.to_be_bytes()
}

/// One page of a company's list. `restrict` says which rows belong to it at all.
pub(crate) async fn page<R: DeserializeOwned + Send + Unpin + 'static>(
    reads: &Reads,
    list: &List,
    company: CompanyId,
    request: &PageRequest,
    restrict: impl Fn(&mut Sql),
) -> Result<Page<R>, QueryError> {
    page_by(reads.of(company).await?, list, company, request, restrict).await
}

/// The same, read by this connection.
pub(crate) async fn page_by<R: DeserializeOwned + Send + Unpin + 'static>(
    mut conn: PoolConnection<Postgres>,
    list: &List,
    company: CompanyId,
    request: &PageRequest,
    restrict: impl Fn(&mut Sql),
) -> Result<Page<R>, QueryError> {
    let order = request.order.unwrap_or(list.order);
    let bound = Bound { company, order, of: request.of, filter: request.filter };
    let place = |cursor: &Option<String>| {
        cursor.as_deref().map(|cursor| list.place(bound, cursor)).transpose()
    };
    let (after, before) = (place(&request.after)?, place(&request.before)?);
    let (behind, ahead) = match order {
        Order::Ascending => (">", "<"),
        Order::Descending => ("<", ">"),
    };
    let mut sql = Sql::new("select ");
    sql.push(list.row).push(" as row, ").push(list.sort).push(" as sort, t.").push(list.id);
    sql.push(" as id from ").push(list.table).push(" t where ");
    restrict(&mut sql);
    if let Some(after) = after {
        list.push_beyond(&mut sql, after, behind);
    }
    if let Some(before) = before {
        list.push_beyond(&mut sql, before, ahead);
    }
    let direction = match (order, request.end) {
        (Order::Ascending, End::First) | (Order::Descending, End::Last) => "asc",
        (Order::Descending, End::First) | (Order::Ascending, End::Last) => "desc",
    };
    sql.push(" order by ").push(list.sort).push(" ").push(direction);
    sql.push(", t.").push(list.id).push(" ").push(direction);
    sql.push(" limit ").push_bind(i64::from(request.size) + 1);
    let mut found = sql.build().fetch_all(&mut *conn).await?;
    let more = found.len() > usize::from(request.size);
    found.truncate(usize::from(request.size));
    let edges = found.iter().map(|row| list.edge(row, bound));
    let mut edges = edges.collect::<sqlx::Result<Vec<_>>>()?;
    // Whoever came from a cursor came from an item on its other side.
    let (has_next, has_previous) = match request.end {
        End::First => (more || before.is_some(), after.is_some()),
        End::Last => {
            edges.reverse();
            (before.is_some(), more || after.is_some())
        }
    };
    Ok(Page { edges, has_next, has_previous })
}

/// How many items a company's list has.
pub(crate) async fn count(
    reads: &Reads,
    list: &List,
    company: CompanyId,
    restrict: impl Fn(&mut Sql),
) -> Result<u64, QueryError> {
    count_by(reads.of(company).await?, list, restrict).await
}

/// The same, read by this connection.
pub(crate) async fn count_by(
    mut conn: PoolConnection<Postgres>,
    list: &List,
    restrict: impl Fn(&mut Sql),
) -> Result<u64, QueryError> {
    let mut sql = Sql::new("select count(*) from ");
    sql.push(list.table).push(" t where ");
    restrict(&mut sql);
    let n: i64 = sql.build_query_scalar().fetch_one(&mut *conn).await?;
    Ok(u64::try_from(n).unwrap_or_default())
}

/// Rows whose `column` is one of `ids`, in the list's order.
pub(crate) async fn batch<R: DeserializeOwned + Send + Unpin + 'static>(
    reads: &Reads,
    list: &List,
    company: CompanyId,
    column: &'static str,
    ids: Vec<Uuid>,
    restrict: impl Fn(&mut Sql),
) -> Result<Vec<R>, QueryError> {
    if ids.is_empty() {
        return Ok(vec![]);
    }
    let mut sql = Sql::new("select ");
    sql.push(list.row).push(" as row from ").push(list.table).push(" t where ");
    restrict(&mut sql);
    sql.push(" and t.").push(column).push(" = any(").push_bind(ids).push(")");
    let direction = match list.order {
        Order::Ascending => "asc",
        Order::Descending => "desc",
    };
    sql.push(" order by ").push(list.sort).push(" ").push(direction);
    sql.push(", t.").push(list.id).push(" ").push(direction);
    let found = sql.build().fetch_all(&mut *reads.of(company).await?).await?;
    let rows = found.iter().map(|row| row.try_get("row").map(|Json(row)| row));
    Ok(rows.collect::<sqlx::Result<_>>()?)
}

/// Rows by what they are asked for.
pub(crate) fn by_key<K: Eq + Hash, R>(rows: Vec<R>, key: impl Fn(&R) -> K) -> HashMap<K, R> {
    rows.into_iter().map(|row| (key(&row), row)).collect()
}

/// Rows grouped by what they belong to, each group in the list's order.
pub(crate) fn grouped<K: Eq + Hash, R>(rows: Vec<R>, key: impl Fn(&R) -> K) -> HashMap<K, Vec<R>> {
    let mut groups: HashMap<K, Vec<R>> = HashMap::new();
    for row in rows {
        groups.entry(key(&row)).or_default().push(row);
    }
    groups
}
