//! `colloquy doctor`: says what is missing, one line for each thing that is needed.

use std::sync::Arc;
use std::time::Duration;

use eventlog::clock::SystemClock;
use eventlog::fail_point::no_fail_point;
use eventlog::kafka::topics::{ensure, published};
use eventlog::store::ReadError;
use eventlog::vault::MasterKey;
use reactors::ai::quota::{Quota, Unlimited};
use secrecy::SecretString;
use sqlx::Connection;

use crate::config::Config;
use crate::store::{Opened, Place, StoreError};
use crate::{embedded, parts, secrets_file};

/// One thing that was looked at.
#[derive(Debug)]
pub struct Finding {
    /// What.
    pub what: &'static str,
    /// How it is, or what is wrong and what to do.
    pub how: Result<String, String>,
}

/// Looks at everything that the settings ask for. Changes nothing but missing topics.
pub async fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = vec![];
    if config.is_embedded() {
        let bin = Some(config.embedded.pg_bin.as_str()).filter(|bin| !bin.is_empty());
        let found = embedded::find_programs(bin.map(Into::into));
        let how = found.map(|folder| format!("found in {}", folder.display()));
        findings.push(Finding { what: "PostgreSQL programs", how: how.map_err(|e| e.to_string()) });
    } else {
        findings.push(Finding { what: "database", how: database(config).await });
    }
    if !config.event_store.url.is_empty() {
        findings.push(Finding { what: "event store", how: event_store(config).await });
    }
    let key = match secrets_file::master_key_present(config) {
        Ok(()) => Ok("present and well formed".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    findings.push(Finding { what: "master key", how: key });
    if let Some(settings) = parts::kafka(config) {
        let topics = published(config.kafka.public_topics);
        let ensured = ensure(&settings, &topics);
        let how = match tokio::time::timeout(Duration::from_secs(15), ensured).await {
            Ok(Ok(())) => Ok(format!("reached, {} topics as they should be", topics.len())),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer within 15 seconds; is kafka.bootstrap right?".to_owned()),
        };
        findings.push(Finding { what: "Kafka", how });
    }
    let writable = std::fs::create_dir_all(config.files_dir())
        .and_then(|()| std::fs::metadata(config.files_dir()))
        .map(|_| config.files_dir().display().to_string());
    findings.push(Finding { what: "files folder", how: writable.map_err(|e| e.to_string()) });
    let unlimited: Arc<dyn Quota> = Arc::new(Unlimited);
    let ai = crate::ai::chain(&config.ai, &unlimited).map(|_| config.ai.providers.join(", then "));
    findings.push(Finding { what: "AI providers", how: ai.map_err(|e| e.to_string()) });
    findings
}

async fn event_store(config: &Config) -> Result<String, String> {
    // Only the log itself is asked; the pool stays without a connection.
    let pool = sqlx::postgres::PgPoolOptions::new().connect_lazy_with(Default::default());
    let place = Place {
        url: SecretString::default(),
        pool: &pool,
        fail_point: no_fail_point(),
        clock: Arc::new(SystemClock),
    };
    let opened = Opened::start(&config.event_store, place, MasterKey::new([0; 32]));
    let opened = opened.map_err(|error| error.to_string())?;
    let head = opened.store().head().await;
    opened.stop().await;
    match head {
        Ok(_) if config.event_store.is_memory() => Ok("this process, for development".to_owned()),
        Ok(_) => Ok("reached".to_owned()),
        Err(ReadError) => Err(StoreError::Unreachable.to_string()),
    }
}

async fn database(config: &Config) -> Result<String, String> {
    let connect = sqlx::PgConnection::connect(config.database.url.expose());
    let connected = tokio::time::timeout(Duration::from_secs(10), connect).await;
    let mut connection = match connected {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Err(parts::kind(&error)),
        Err(_) => return Err("no answer within 10 seconds".to_owned()),
    };
    let version: i32 = sqlx::query_scalar("select current_setting('server_version_num')::int")
        .fetch_one(&mut connection)
        .await
        .map_err(|error| parts::kind(&error))?;
    if version < 150_000 {
        return Err(format!("PostgreSQL 15 or later is needed, this is {}", version / 10_000));
    }
    Ok(format!("reached, PostgreSQL {}", version / 10_000))
}
