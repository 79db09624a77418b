//! Brings the database up to the migrations that are compiled in.

use sqlx::PgPool;
use sqlx::migrate::{MigrateError, Migrator};

static MIGRATIONS: Migrator = {
    let mut migrations = sqlx::migrate!("../migrations");
    // A newer release may have expanded the schema already: that must not stop this one.
    migrations.ignore_missing = true;
    migrations
};

/// Runs what is missing, under a lock of the database, so that any number of processes may start
/// at once.
///
/// # Errors
/// [`MigrateError`] when the database cannot be reached, a migration fails (and is undone whole), or
/// one that was applied reads otherwise than the one compiled in.
pub async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    MIGRATIONS.run(pool).await
}
