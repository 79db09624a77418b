//! The second wall, around identity's own tables: they are used as a database role that owns nothing and
//! cannot bypass row-level security, by connections that name what they are about. The policies stand in
//! the migrations.
//!
//! The first wall is the condition that every query has. This one holds where a query forgets it.

use domain::ids::{AccountId, CompanyId};
pub use eventlog::wall::WallError;
use eventlog::wall::{Reach, Walled, rename};
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnectOptions;
use sqlx::{PgConnection, Postgres, Transaction};

const COMPANY: &str = "colloquy.company_id";
const ACCOUNT: &str = "colloquy.account_id";
const KEY: &str = "colloquy.key";
const EMAIL: &str = "colloquy.email";
const PLATFORM: &str = "colloquy.platform";

/// Connections of the role that uses identity's tables. There is no other way to them.
#[derive(Clone)]
pub struct Wall(Walled);

impl Wall {
    /// At most so many connections, made when they are needed. Each is checked when it is made, and not
    /// used if its role could pass the wall.
    #[must_use]
    pub fn new(options: PgConnectOptions, max_connections: u32) -> Self {
        Self(Walled::new(options, max_connections, Reach::ChangesIn("identity")))
    }

    /// Connections of the same role that are nobody else's.
    #[must_use]
    pub fn apart(&self, max_connections: u32) -> Self {
        Self(self.0.apart(max_connections))
    }

    /// Whether the role can connect and the wall stands before it.
    ///
    /// # Errors
    /// [`WallError`].
    pub async fn check(&self) -> Result<(), WallError> {
        self.0.check().await
    }

    /// A connection that sees and changes what this is about, and nothing else.
    pub(crate) async fn of(&self, about: About) -> sqlx::Result<PoolConnection<Postgres>> {
        self.0.naming(&about.named()).await
    }

    /// The same, as a transaction.
    pub(crate) async fn begin(&self, about: About) -> sqlx::Result<Transaction<'static, Postgres>> {
        self.0.begin(&about.named()).await
    }
}

/// What a connection is about. Of several things that are named, rows of each are seen; which may be
/// made or changed by which, the policies say.
#[derive(Default)]
pub(crate) struct About {
    company: String,
    account: String,
    key: String,
    email: String,
    platform: &'static str,
}

impl About {
    /// Nobody in particular: what lies open to all, which is nothing of a company or a person.
    pub fn nobody() -> Self {
        Self::default()
    }

    /// A company.
    pub fn company(company: CompanyId) -> Self {
        Self { company: company.0.to_string(), ..Self::default() }
    }

    /// A login.
    pub fn account(account: AccountId) -> Self {
        Self::nobody().and_account(Some(account))
    }

    /// What belongs to a token that was presented, by its hash, or to an address, by its HMAC.
    pub fn key(key: &[u8]) -> Self {
        Self { key: hex(key), ..Self::default() }
    }

    /// The login of an address, in lower case.
    pub fn email(email: &str) -> Self {
        Self { email: email.to_owned(), ..Self::default() }
    }

    /// The platform: what is carried, sent, decided and purged for everybody.
    pub fn platform() -> Self {
        Self { platform: "true", ..Self::default() }
    }

    /// And a login, if there is one.
    pub fn and_account(self, account: Option<AccountId>) -> Self {
        Self { account: account.map(|account| account.0.to_string()).unwrap_or_default(), ..self }
    }

    fn named(&self) -> [(&'static str, &str); 5] {
        [
            (COMPANY, &self.company),
            (ACCOUNT, &self.account),
            (KEY, &self.key),
            (EMAIL, &self.email),
            (PLATFORM, self.platform),
        ]
    }
}

/// Lets a transaction be about this login, too, which it has found; about none with none.
pub(crate) async fn about_account(
    tx: &mut PgConnection,
    account: Option<AccountId>,
) -> sqlx::Result<()> {
    let account = account.map(|account| account.0.to_string()).unwrap_or_default();
    rename(tx, (ACCOUNT, &account)).await
}

/// Lets a transaction be about this key, in the place of another.
pub(crate) async fn about_key(tx: &mut PgConnection, key: &[u8]) -> sqlx::Result<()> {
    rename(tx, (KEY, &hex(key))).await
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
