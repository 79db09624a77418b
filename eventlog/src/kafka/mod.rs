//! Kafka: the relay that copies the log into topics, the feed that reads them, and their comparison.
//!
//! The log is the truth and every topic is derived from it, so nothing here can lose an event: what
//! a topic lacks is still in the log. The relay publishes each event once for whoever reads
//! committed. librdkafka does so by default; Java clients need `isolation.level=read_committed`.

pub mod check;
pub mod feed;
pub mod lease;
pub mod mark;
pub mod message;
mod publisher;
pub mod relay;
mod scan;
mod tail;
pub mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer};

pub use feed::KafkaFeed;

/// Where Kafka is and how our names in it begin.
///
/// There is no `Debug` on purpose: `properties` may hold a password.
#[derive(Clone)]
pub struct KafkaSettings {
    /// Brokers to begin with, `host:port`, separated by commas.
    pub bootstrap: String,
    /// First part of topics, transactional ids and consumer groups, so that environments can share
    /// a broker.
    pub prefix: String,
    /// What `ce_dataschema` begins with, without a slash at the end.
    pub schema_base: String,
    /// Copies of each partition; `None` leaves it to the broker.
    pub replication: Option<i32>,
    /// Further librdkafka properties for every client, such as `security.protocol`.
    pub properties: BTreeMap<String, String>,
}

impl KafkaSettings {
    /// Settings for these brokers, the rest as it is by default.
    #[must_use]
    pub fn new(bootstrap: &str) -> Self {
        Self {
            bootstrap: bootstrap.to_owned(),
            prefix: "colloquy".to_owned(),
            schema_base: "https://schemas.colloquy.dev/events".to_owned(),
            replication: None,
            properties: BTreeMap::new(),
        }
    }

    /// Configuration that all our clients share.
    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", &self.prefix)
            // A broker that comes back is to be found within a second or so.
            .set("reconnect.backoff.max.ms", "1000")
            // A client that was told of a partition without a leader, as by a broker that has just come
            // back, asks again so soon.
            .set("topic.metadata.refresh.interval.ms", "10000");
        config
    }
}

/// Asks the brokers whether they answer within `patience`.
///
/// # Errors
/// What kind of fault it is.
pub async fn ping(settings: &KafkaSettings, patience: Duration) -> Result<(), String> {
    let config = settings.client();
    blocking(move || {
        let client: BaseProducer = config.create().map_err(|error| error.to_string())?;
        let asked = client.client().fetch_metadata(None, patience);
        asked.map(drop).map_err(|error| error.to_string())
    })
    .await
}

/// Runs a blocking librdkafka call where it holds up no other task.
///
/// # Panics
/// When the call panics, which is passed on.
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(call).await {
        Ok(answer) => answer,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Cancelled: the runtime is shutting down and will not poll this task again.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Holds the last reference to a client whose drop blocks, and drops it where it holds up no other
/// task. To be declared so that it is dropped after the other references.
struct DropsAside<T: Send + Sync + 'static>(Option<Arc<T>>);

impl<T: Send + Sync + 'static> DropsAside<T> {
    fn new(client: &Arc<T>) -> Self {
        Self(Some(Arc::clone(client)))
    }
}

impl<T: Send + Sync + 'static> Drop for DropsAside<T> {
    fn drop(&mut self) {
        let client = self.0.take();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || drop(client));
        }
    }
}
