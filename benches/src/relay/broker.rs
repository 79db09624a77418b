//! Topics of their own for each turn, and consumers of what is committed in them.

use std::time::Duration;

use anyhow::Context;
use eventlog::kafka::KafkaSettings;
use eventlog::kafka::topics::{Topic, ensure, marks_name};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// Topics that are there for one turn.
pub struct Topics {
    /// How they are reached; their prefix is of this turn alone.
    pub settings: KafkaSettings,
    /// Those that hold events.
    pub topics: Vec<Topic>,
}

impl Topics {
    /// Makes them, and the topic of their marks.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    pub async fn create(bootstrap: &str, turn: &str, topics: Vec<Topic>) -> anyhow::Result<Self> {
        let mut settings = KafkaSettings::new(bootstrap);
        settings.prefix = format!("bench-{}-{turn}", std::process::id());
        ensure(&settings, &topics).await.context("the topics cannot be made")?;
        Ok(Self { settings, topics })
    }

    /// What every client of these topics has set.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.settings.bootstrap);
        config
    }

    /// A consumer of what is committed in all partitions of one topic, from the first record on.
    ///
    /// # Errors
    /// The client refuses its settings.
    pub fn consumer(&self, topic: &str, n_partitions: i32) -> anyhow::Result<BaseConsumer> {
        let consumer: BaseConsumer = self
            .client()
            // The group is never joined: partitions are assigned by hand.
            .set("group.id", format!("{}.bench", self.settings.prefix))
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .create()?;
        let mut from_start = TopicPartitionList::new();
        for partition in 0..n_partitions {
            from_start.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&from_start)?;
        Ok(consumer)
    }

    /// Removes them, so that the broker does not carry them through the turns that follow.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    pub async fn remove(self) -> anyhow::Result<()> {
        let admin: AdminClient<DefaultClientContext> = self.client().create()?;
        let prefix = &self.settings.prefix;
        let events = self.topics.iter().map(|topic| topic.name(prefix));
        let names: Vec<String> = events.chain([marks_name(prefix)]).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
        for removed in admin.delete_topics(&names, &options).await? {
            removed.map_err(|(name, code)| anyhow::anyhow!("{name} is not removed: {code}"))?;
        }
        Ok(())
    }
}
