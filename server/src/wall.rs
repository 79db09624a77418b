//! The database roles that row-level security holds: those that the settings name, or ones made here.

use eventlog::vault::scram;
use eventlog::wall::WallError;
use identity::wall::Wall;
use projections::wall::Readers;
use secrecy::ExposeSecret;
use sqlx::postgres::PgConnectOptions;

use crate::config::Database;
use crate::parts::{Parts, kind};

/// A role that owns nothing.
struct Walled {
    /// What it is for, in its name where it is made here.
    purpose: &'static str,
    /// What it does.
    does: &'static str,
    /// The setting that names another one.
    setting: &'static str,
    given: fn(&Database) -> &str,
    /// Grants it what it needs.
    let_in: &'static str,
}

const READER: Walled = Walled {
    purpose: "reader",
    does: "reads the read models",
    setting: "database.read_url",
    given: |settings| settings.read_url.expose(),
    let_in: "select rm_let_read($1)",
};

const IDENTITY: Walled = Walled {
    purpose: "identity",
    does: "uses the tables of logins, sessions and keys",
    setting: "database.identity_url",
    given: |settings| settings.identity_url.expose(),
    let_in: "select identity.let_in($1)",
};

/// Connections of the role that reads, which may read every read model. It is refused if it can pass the
/// wall between companies.
///
/// # Errors
/// Says what is missing or wrong, and what to do.
pub async fn readers(parts: &Parts) -> anyhow::Result<Readers> {
    let max_connections = parts.config.database.max_connections;
    let connect = |options| Readers::new(options, max_connections);
    READER.connect(parts, connect, Readers::check).await
}

/// Connections of the role that uses identity's tables. It is refused if it can pass the wall between
/// companies and people.
///
/// # Errors
/// Says what is missing or wrong, and what to do.
pub async fn identity(parts: &Parts) -> anyhow::Result<Wall> {
    let max_connections = parts.config.database.max_connections;
    let connect = |options| Wall::new(options, max_connections);
    IDENTITY.connect(parts, connect, Wall::check).await
}

impl Walled {
    /// Connections of the role that is given, else of one that is made.
    async fn connect<C>(
        &self,
        parts: &Parts,
        connect: impl Fn(PgConnectOptions) -> C,
        check: impl AsyncFn(&C) -> Result<(), WallError>,
    ) -> anyhow::Result<C> {
        let let_in = async |options: PgConnectOptions| {
            let allow = sqlx::query(self.let_in).bind(options.get_username());
            allow.execute(&parts.pool).await.map_err(|error| {
                anyhow::anyhow!("the role of {} cannot be let in: {}", self.setting, kind(&error))
            })?;
            let connections = connect(options);
            anyhow::Ok(check(&connections).await.map(|()| connections))
        };
        let given = (self.given)(&parts.config.database);
        if !given.is_empty() {
            let options = given.parse();
            let options = options.map_err(|_| anyhow::anyhow!("{} is no address", self.setting))?;
            return let_in(options).await?.map_err(|error| self.explained(error));
        }
        let options = self.made(parts, false).await?;
        match let_in(options).await? {
            // The password follows from the installation's secret, and that was another one.
            Err(WallError::Unreachable(error)) if is_wrong_password(&error) => {
                let_in(self.made(parts, true).await?).await?
            }
            connections => connections,
        }
        .map_err(|error| self.explained(error))
    }

    /// The role that is made where none is given. The statement has what the database keeps of its
    /// password, and not the password: statements can be logged.
    async fn made(&self, parts: &Parts, anew: bool) -> anyhow::Result<PgConnectOptions> {
        let role: String = sqlx::query_scalar("select product_role($1)")
            .bind(self.purpose)
            .fetch_one(&parts.pool)
            .await?;
        let password = parts.role_password(&role);
        sqlx::query("select make_product_role($1, $2, $3)")
            .bind(self.purpose)
            .bind(scram::verifier(password.expose_secret()))
            .bind(anew)
            .execute(&parts.pool)
            .await
            .map_err(|error| {
                let Self { purpose, does, setting, .. } = self;
                anyhow::anyhow!(
                    "the role {role}, which {does}, cannot be made: {}; make one, such as create role \
                     colloquy_{purpose} login password '…', and give its address as {setting}",
                    kind(&error)
                )
            })?;
        let options = parts.pool.connect_options().as_ref().clone();
        Ok(options.username(&role).password(password.expose_secret()))
    }

    /// What to do about it.
    fn explained(&self, error: WallError) -> anyhow::Error {
        let Self { does, setting, .. } = self;
        match error {
            WallError::Unreachable(error) => anyhow::anyhow!(
                "the role that {does} cannot connect: {}; give an address at which one can as {setting}",
                kind(&error)
            ),
            open @ WallError::Open { .. } => anyhow::Error::new(open)
                .context(format!("{setting} must be of a role that row-level security holds")),
        }
    }
}

fn is_wrong_password(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "28P01")
}
