//! The second wall between companies: rows are read as a database role that owns nothing and cannot
//! bypass row-level security, which shows it the rows of the company that its connection names.
//!
//! The first wall is the condition that every query has. This one holds where a query forgets it. The
//! policies are made with the tables, see `rm_wall` in the migrations.

use std::time::Duration;

use domain::ids::CompanyId;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool, Postgres, Row as _};

/// Why rows cannot be read behind the wall.
#[derive(Debug, thiserror::Error)]
pub enum WallError {
    /// The role cannot connect, or may not ask the catalog.
    #[error("the role that reads the read models cannot connect")]
    Unreachable(#[source] sqlx::Error),
    /// The role can pass the wall.
    #[error("the role {role} must not read the read models: {hole}")]
    Open {
        /// The role.
        role: String,
        /// What it can do.
        hole: &'static str,
    },
}

/// Connections of the role that reads. There is no other way to rows than [`Readers::of`].
#[derive(Clone)]
pub struct Readers {
    pool: PgPool,
    options: PgConnectOptions,
}

impl Readers {
    /// At most so many connections, made when they are needed. Each is checked when it is made, and not
    /// used if its role could pass the wall.
    #[must_use]
    pub fn new(options: PgConnectOptions, max_connections: u32) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(Duration::from_secs(10))
            // Naming the company tells as well whether a connection still works.
            .test_before_acquire(false)
            .after_connect(|conn, _| {
                Box::pin(async move {
                    let refused = |open| sqlx::Error::Configuration(Box::new(open));
                    find_hole(conn).await?.map_or(Ok(()), |open| Err(refused(open)))
                })
            })
            .connect_lazy_with(options.clone());
        Self { pool, options }
    }

    /// Whether the role can connect and the wall stands before it.
    ///
    /// # Errors
    /// [`WallError`].
    pub async fn check(&self) -> Result<(), WallError> {
        let connected = PgConnection::connect_with(&self.options).await;
        let mut conn = connected.map_err(WallError::Unreachable)?;
        match find_hole(&mut conn).await.map_err(WallError::Unreachable)? {
            None => conn.close().await.map_err(WallError::Unreachable),
            Some(open) => Err(open),
        }
    }

    /// A connection that sees this company's rows alone. What it was used for before does not matter:
    /// the company is named anew each time.
    pub(crate) async fn of(&self, company: CompanyId) -> sqlx::Result<PoolConnection<Postgres>> {
        // All that lay idle may have been cut meanwhile; one more is new.
        let mut tries_left = self.pool.options().get_max_connections();
        loop {
            let mut conn = self.pool.acquire().await?;
            let named = sqlx::query("select set_config('colloquy.company_id', $1, false)")
                .bind(company.0.to_string())
                .execute(&mut *conn)
                .await;
            match named {
                Ok(_) => return Ok(conn),
                Err(error) => {
                    // Not given back: whoever came next would meet the same fault.
                    drop(conn.detach());
                    tries_left = tries_left.checked_sub(1).ok_or(error)?;
                }
            }
        }
    }
}

/// What lets this connection's role pass the wall, if anything does. Being a member of another role is
/// as good as being that one.
async fn find_hole(conn: &mut PgConnection) -> sqlx::Result<Option<WallError>> {
    let row = sqlx::query(
        "with mine as (
            select r.* from pg_roles r where pg_has_role(session_user, r.oid, 'member')),
         held as (
            select c.oid, c.relkind, c.relowner, c.relrowsecurity,
                   coalesce('security_invoker=true' = any(c.reloptions), false) as asks_as_caller,
                   exists (select from pg_attribute a
                            where a.attrelid = c.oid and not a.attisdropped
                              and a.attname in ('company_id', 'tenant_id')) as of_companies
              from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where c.relkind in ('r', 'p', 'v', 'm') and n.nspname <> 'information_schema'
               and n.nspname not like 'pg\\_%')
         select session_user::text as role,
                exists (select from mine where rolsuper or rolbypassrls or rolcreaterole or rolreplication
                            or rolname in ('pg_read_all_data', 'pg_write_all_data', 'pg_read_server_files',
                                           'pg_write_server_files', 'pg_execute_server_program')) as is_above,
                exists (select from held where relowner in (select oid from mine))
                    or exists (select from pg_database d where d.datname = current_database()
                                  and d.datdba in (select oid from mine)) as owns,
                exists (select from held where of_companies
                           and has_table_privilege(oid, 'insert, update, delete, truncate')) as writes,
                exists (select from held where of_companies
                           and has_table_privilege(oid, 'select')
                           and case when relkind = 'v' then not asks_as_caller else not relrowsecurity end)
                    as sees_all",
    )
    .fetch_one(conn)
    .await?;
    let holes = [
        ("is_above", "it is, or can become, a superuser or a role that reads everything"),
        ("owns", "it owns the database or tables in it, or can become their owner"),
        ("writes", "it may change tables of companies"),
        ("sees_all", "it may read a table of companies that has no row-level security"),
    ];
    for (column, hole) in holes {
        if row.try_get(column)? {
            return Ok(Some(WallError::Open { role: row.try_get("role")?, hole }));
        }
    }
    Ok(None)
}
