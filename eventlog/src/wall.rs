//! Connections of a database role that owns nothing and that row-level security holds: what it is shown
//! and may change is what the policies allow by what a connection names, in settings. It names them anew
//! each time it is handed out, so that what it was used for before does not matter.

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool, Postgres, Row as _, Transaction};

/// Why rows cannot be reached behind the wall.
#[derive(Debug, thiserror::Error)]
pub enum WallError {
    /// The role cannot connect, or may not ask the catalog.
    #[error("the role cannot connect")]
    Unreachable(#[source] sqlx::Error),
    /// The role can pass the wall.
    #[error("the role {role} is not held by row-level security: {hole}")]
    Open {
        /// The role.
        role: String,
        /// What it can do.
        hole: &'static str,
    },
}

/// What a role may do to tables of companies and of accounts, as far as policies let it.
#[derive(Clone, Copy, Debug)]
pub enum Reach {
    /// Read them.
    Reads,
    /// Read them, and change rows of those in this schema.
    ChangesIn(&'static str),
}

/// A setting that policies ask for, and its value; an empty one names nothing.
pub type Named<'n> = (&'static str, &'n str);

/// Connections of one role. There is no other way to one than naming what it is about.
#[derive(Clone)]
pub struct Walled {
    pool: PgPool,
    options: PgConnectOptions,
    reach: Reach,
}

impl Walled {
    /// At most so many connections, made when they are needed. Each is checked when it is made, and not
    /// used if its role could pass the wall.
    #[must_use]
    pub fn new(options: PgConnectOptions, max_connections: u32, reach: Reach) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(Duration::from_secs(10))
            // Naming tells as well whether a connection still works.
            .test_before_acquire(false)
            .after_connect(move |conn, _| {
                Box::pin(async move {
                    let refused = |open| sqlx::Error::Configuration(Box::new(open));
                    find_hole(conn, reach).await?.map_or(Ok(()), |open| Err(refused(open)))
                })
            })
            .connect_lazy_with(options.clone());
        Self { pool, options, reach }
    }

    /// Connections of the same role that are nobody else's.
    #[must_use]
    pub fn apart(&self, max_connections: u32) -> Self {
        Self::new(self.options.clone(), max_connections, self.reach)
    }

    /// Whether the role can connect and the wall stands before it.
    ///
    /// # Errors
    /// [`WallError`].
    pub async fn check(&self) -> Result<(), WallError> {
        let connected = PgConnection::connect_with(&self.options).await;
        let mut conn = connected.map_err(WallError::Unreachable)?;
        match find_hole(&mut conn, self.reach).await.map_err(WallError::Unreachable)? {
            None => conn.close().await.map_err(WallError::Unreachable),
            Some(open) => Err(open),
        }
    }

    /// A connection that names this.
    ///
    /// # Errors
    /// When there is none to be had within ten seconds.
    pub async fn naming(&self, named: &[Named<'_>]) -> sqlx::Result<PoolConnection<Postgres>> {
        let mut tries_left = self.pool.options().get_max_connections();
        loop {
            let mut conn = self.pool.acquire().await?;
            match name(&mut conn, named, false).await {
                Ok(()) => return Ok(conn),
                Err(error) if is_cut(&error) => {
                    // Not given back: whoever came next would meet the same fault.
                    drop(conn.detach());
                    // All that lay idle may have been cut meanwhile; one more is new.
                    tries_left = tries_left.checked_sub(1).ok_or(error)?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A transaction that names this.
    ///
    /// # Errors
    /// As [`Walled::naming`].
    pub async fn begin(&self, named: &[Named<'_>]) -> sqlx::Result<Transaction<'static, Postgres>> {
        let mut tries_left = self.pool.options().get_max_connections();
        loop {
            match self.begun(named).await {
                // It lay idle and was cut meanwhile, and is not given to anybody again.
                Err(error) if is_cut(&error) => {
                    tries_left = tries_left.checked_sub(1).ok_or(error)?;
                }
                begun => return begun,
            }
        }
    }

    async fn begun(&self, named: &[Named<'_>]) -> sqlx::Result<Transaction<'static, Postgres>> {
        let mut transaction = self.pool.begin().await?;
        name(&mut transaction, named, true).await?;
        Ok(transaction)
    }
}

/// Names what a transaction is about from now on, until it ends.
///
/// # Errors
/// When the database does not answer.
pub async fn rename(transaction: &mut PgConnection, named: Named<'_>) -> sqlx::Result<()> {
    name(transaction, &[named], true).await
}

async fn name(conn: &mut PgConnection, named: &[Named<'_>], is_local: bool) -> sqlx::Result<()> {
    let (settings, values): (Vec<&str>, Vec<&str>) = named.iter().copied().unzip();
    sqlx::query(
        "select set_config(setting, value, $3)
           from unnest($1::text[], $2::text[]) as named (setting, value)",
    )
    .bind(settings)
    .bind(values)
    .bind(is_local)
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether the server has let go of the connection.
fn is_cut(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) => true,
        // Connection exceptions, and operator intervention such as an end of the session from outside.
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            code.starts_with("08") || code.starts_with("57P")
        }
        _ => false,
    }
}

/// What lets this connection's role pass the wall, if anything does. Being a member of another role is
/// as good as being that one.
async fn find_hole(conn: &mut PgConnection, reach: Reach) -> sqlx::Result<Option<WallError>> {
    let changes_in = match reach {
        Reach::Reads => None,
        Reach::ChangesIn(schema) => Some(schema),
    };
    let row = sqlx::query(
        "with mine as (
            select r.* from pg_roles r where pg_has_role(session_user, r.oid, 'member')),
         held as (
            select c.oid, c.relkind, c.relowner, c.relrowsecurity,
                   c.relrowsecurity and n.nspname is not distinct from $1 as is_changed,
                   coalesce('security_invoker=true' = any(c.reloptions), false) as asks_as_caller,
                   exists (select from pg_attribute a
                            where a.attrelid = c.oid and not a.attisdropped
                              and a.attname in ('company_id', 'tenant_id', 'account_id')) as is_somebodys
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
                -- No policy is asked by the first two.
                exists (select from held where is_somebodys
                           and (has_table_privilege(oid, 'truncate, trigger')
                                or not is_changed and has_table_privilege(oid, 'insert, update, delete')))
                    as writes,
                exists (select from held where is_somebodys
                           and has_table_privilege(oid, 'select')
                           and case when relkind = 'v' then not asks_as_caller else not relrowsecurity end)
                    as sees_all",
    )
    .bind(changes_in)
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
