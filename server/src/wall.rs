//! The database role that reads the read models: the one that the settings name, or one made here.

use eventlog::vault::scram;
use projections::wall::{Readers, WallError};
use secrecy::ExposeSecret;
use sqlx::postgres::PgConnectOptions;

use crate::parts::{Parts, kind};

/// Connections of the role, which may read every read model. It is refused if it can pass the wall
/// between companies.
///
/// # Errors
/// Says what is missing or wrong, and what to do.
pub async fn readers(parts: &Parts) -> anyhow::Result<Readers> {
    let settings = &parts.config.database;
    let given = settings.read_url.expose();
    if !given.is_empty() {
        let options = given.parse();
        let options = options.map_err(|_| anyhow::anyhow!("database.read_url is no address"))?;
        return behind_the_wall(parts, options).await?.map_err(explained);
    }
    let options = made(parts, false).await?;
    match behind_the_wall(parts, options).await? {
        // The password follows from the installation's secret, and that was another one.
        Err(WallError::Unreachable(error)) if is_wrong_password(&error) => {
            let options = made(parts, true).await?;
            behind_the_wall(parts, options).await?
        }
        readers => readers,
    }
    .map_err(explained)
}

async fn behind_the_wall(
    parts: &Parts,
    options: PgConnectOptions,
) -> anyhow::Result<Result<Readers, WallError>> {
    let allow = sqlx::query("select rm_let_read($1)").bind(options.get_username());
    let allowed = allow.execute(&parts.pool).await;
    allowed.map_err(|error| anyhow::anyhow!("a role cannot be let read: {}", kind(&error)))?;
    let readers = Readers::new(options, parts.config.database.max_connections);
    Ok(readers.check().await.map(|()| readers))
}

/// The role that is made where none is given. The statement has what the database keeps of its
/// password, and not the password: statements can be logged.
async fn made(parts: &Parts, anew: bool) -> anyhow::Result<PgConnectOptions> {
    let role: String = sqlx::query_scalar("select rm_reader()").fetch_one(&parts.pool).await?;
    let password = parts.role_password(&role);
    sqlx::query("select rm_make_reader($1, $2)")
        .bind(scram::verifier(password.expose_secret()))
        .bind(anew)
        .execute(&parts.pool)
        .await
        .map_err(|error| {
            anyhow::anyhow!(
                "the role {role}, which reads the read models, cannot be made: {}; make one, such as \
                 create role colloquy_reader login password '…', and give its address as \
                 database.read_url",
                kind(&error)
            )
        })?;
    let options = parts.pool.connect_options().as_ref().clone();
    Ok(options.username(&role).password(password.expose_secret()))
}

/// What to do about it.
fn explained(error: WallError) -> anyhow::Error {
    match error {
        WallError::Unreachable(error) => anyhow::anyhow!(
            "the role that reads the read models cannot connect: {}; give an address at which one can \
             as database.read_url",
            kind(&error)
        ),
        open @ WallError::Open { .. } => anyhow::Error::new(open)
            .context("database.read_url must be of a role that row-level security holds"),
    }
}

fn is_wrong_password(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "28P01")
}
