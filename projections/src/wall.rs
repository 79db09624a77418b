//! The second wall between companies: rows are read as a database role that owns nothing and cannot
//! bypass row-level security, which shows it the rows of the company that its connection names.
//!
//! The first wall is the condition that every query has. This one holds where a query forgets it. The
//! policies are made with the tables, see `rm_wall` in the migrations.

use domain::ids::CompanyId;
pub use eventlog::wall::WallError;
use eventlog::wall::{Reach, Walled};
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnectOptions;

/// Connections of the role that reads. There is no other way to rows than [`Readers::of`].
#[derive(Clone)]
pub struct Readers(Walled);

impl Readers {
    /// At most so many connections, made when they are needed. Each is checked when it is made, and not
    /// used if its role could pass the wall.
    #[must_use]
    pub fn new(options: PgConnectOptions, max_connections: u32) -> Self {
        Self(Walled::new(options, max_connections, Reach::Reads))
    }

    /// Whether the role can connect and the wall stands before it.
    ///
    /// # Errors
    /// [`WallError`].
    pub async fn check(&self) -> Result<(), WallError> {
        self.0.check().await
    }

    /// A connection that sees this company's rows alone.
    pub(crate) async fn of(&self, company: CompanyId) -> sqlx::Result<PoolConnection<Postgres>> {
        self.0.naming(&[("colloquy.company_id", &company.0.to_string())]).await
    }
}
