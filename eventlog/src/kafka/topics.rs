//! The table of topics: the one source for creating them, checking them, and `schemas/topics.toml`.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::message::Record;
use super::{KafkaSettings, blocking};
use crate::envelope::StoredEvent;

/// What one aggregate's topic looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topic {
    /// The aggregate's stored name, such as `interview`.
    pub aggregate: &'static str,
    /// The name of all its instances in `ce_source`, such as `interviews`.
    pub collection: &'static str,
    /// Number of partitions. Never changed, because the keys' places depend on it.
    pub partitions: i32,
    /// Whether it holds the events without the data of persons.
    pub is_public: bool,
}

const BUSY: i32 = 12;
const CALM: i32 = 3;

const fn topic(aggregate: &'static str, collection: &'static str, partitions: i32) -> Topic {
    Topic { aggregate, collection, partitions, is_public: false }
}

/// Every aggregate's topic, by name.
pub const TOPICS: &[Topic] = &[
    topic("access", "accesses", BUSY),
    topic("account", "accounts", CALM),
    topic("ai_call", "ai-calls", BUSY),
    topic("application", "applications", BUSY),
    topic("availability", "availabilities", CALM),
    topic("candidate", "candidates", BUSY),
    topic("company", "companies", CALM),
    topic("company_request", "company-requests", CALM),
    topic("interview", "interviews", BUSY),
    topic("job", "jobs", CALM),
    topic("member", "members", CALM),
    topic("notification", "notifications", BUSY),
    topic("observation", "observations", BUSY),
    topic("privacy", "privacy-cases", CALM),
    topic("resume", "resumes", BUSY),
    topic("task", "tasks", CALM),
    topic("verdict", "verdicts", BUSY),
    topic("webhook", "webhooks", CALM),
];

impl Topic {
    /// The topic of an aggregate.
    #[must_use]
    pub fn of(aggregate: &str) -> Option<Self> {
        TOPICS.iter().copied().find(|topic| topic.aggregate == aggregate)
    }

    /// Its twin without the data of persons: same keys, same number of partitions.
    #[must_use]
    pub fn public(self) -> Self {
        Self { is_public: true, ..self }
    }

    /// Its name in Kafka.
    #[must_use]
    pub fn name(self, prefix: &str) -> String {
        format!("{prefix}.{}.v1", self.label())
    }

    /// What tells it from all other topics of the same prefix.
    #[must_use]
    pub fn label(self) -> Cow<'static, str> {
        match self.is_public {
            true => Cow::Owned(format!("public.{}", self.aggregate)),
            false => Cow::Borrowed(self.aggregate),
        }
    }

    /// What it holds for an event. `schema_base` is what `ce_dataschema` begins with.
    #[must_use]
    pub fn record(self, event: &StoredEvent, schema_base: &str) -> Record {
        match self.is_public {
            true => Record::public(event, schema_base),
            false => Record::of(event, schema_base),
        }
    }
}

/// The topics that a relay publishes: every aggregate's, and their twins where they are wanted.
#[must_use]
pub fn published(with_public: bool) -> Vec<Topic> {
    let twins = TOPICS.iter().map(|topic| topic.public()).filter(|_| with_public);
    TOPICS.iter().copied().chain(twins).collect()
}

/// Name of the topic that holds every topic's mark: one partition, compacted.
#[must_use]
pub fn marks_name(prefix: &str) -> String {
    format!("{prefix}.relay.v1")
}

/// The records' own time is the broker's: a broker refuses records whose sender's clock is far ahead
/// of its own, and a wrong clock must not stop a relay. When something happened is in the headers.
const BROKERS_TIME: (&str, &str) = ("message.timestamp.type", "LogAppendTime");

/// Settings of an event topic: nothing in it is ever dropped or replaced.
const KEPT_FOREVER: &[(&str, &str)] =
    &[("cleanup.policy", "delete"), ("retention.ms", "-1"), BROKERS_TIME];

/// Settings of the marks' topic: small segments, so that a start reads little of what is outdated.
const LAST_PER_KEY: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("segment.bytes", "16777216"),
    ("segment.ms", "3600000"),
    BROKERS_TIME,
];

/// How long one answer of the broker may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why the topics cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The keys of a topic would be placed differently from before or from other environments.
    /// Way out: stop the relay, delete the topic, start again; it is rebuilt from the log.
    #[error("topic {topic} has {found} partitions and must have {expected}")]
    Partitions {
        /// The topic's name.
        topic: String,
        /// What the table says.
        expected: i32,
        /// What the broker says.
        found: i32,
    },
    /// A setting of a topic would lose or replace records. Way out: set it as said.
    #[error("topic {topic} has {setting}={found} and must have {expected}")]
    Setting {
        /// The topic's name.
        topic: String,
        /// The setting's name, such as `cleanup.policy`.
        setting: &'static str,
        /// What the table says.
        expected: &'static str,
        /// What the broker says.
        found: String,
    },
    /// The broker refused or could not be reached; trying again is right.
    #[error("the topics could not be created or checked: {0}")]
    Kafka(#[from] KafkaError),
}

struct Wanted {
    name: String,
    partitions: i32,
    settings: &'static [(&'static str, &'static str)],
}

fn wanted(prefix: &str, topics: &[Topic]) -> Vec<Wanted> {
    let events = topics.iter().map(|topic| Wanted {
        name: topic.name(prefix),
        partitions: topic.partitions,
        settings: KEPT_FOREVER,
    });
    let marks = Wanted { name: marks_name(prefix), partitions: 1, settings: LAST_PER_KEY };
    events.chain([marks]).collect()
}

/// Creates these topics and that of the marks where they are missing, and checks them.
///
/// # Errors
/// [`TopicError`]; a topic that differs from the table is left as it is.
pub async fn ensure(settings: &KafkaSettings, topics: &[Topic]) -> Result<(), TopicError> {
    let admin: AdminClient<DefaultClientContext> = settings.client().create()?;
    let wanted = wanted(&settings.prefix, topics);
    let n_copies = settings.replication.unwrap_or(-1);
    let options =
        AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));

    let (admin, found) = partitions(admin, &wanted).await?;
    let missing = wanted.iter().zip(&found).filter(|(_, found)| found.is_none());
    let new: Vec<_> = missing
        .map(|(topic, _)| {
            let copies = TopicReplication::Fixed(n_copies);
            let new = NewTopic::new(&topic.name, topic.partitions, copies);
            topic.settings.iter().fold(new, |new, (name, value)| new.set(name, value))
        })
        .collect();
    if !new.is_empty() {
        for answer in admin.create_topics(&new, &options).await? {
            match answer {
                // Another process may have been first.
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => return Err(KafkaError::AdminOp(code).into()),
            }
        }
    }
    let admin = check_partitions(admin, &wanted).await?;
    check_settings(&admin, &wanted, &options).await
}

/// Numbers of partitions, `None` for a topic that does not exist.
async fn partitions(
    admin: AdminClient<DefaultClientContext>,
    wanted: &[Wanted],
) -> Result<(AdminClient<DefaultClientContext>, Vec<Option<i32>>), KafkaError> {
    let (admin, metadata) = blocking(move || {
        let metadata = admin.inner().fetch_metadata(None, PATIENCE);
        (admin, metadata)
    })
    .await;
    let metadata = metadata?;
    let count = |topic: &Wanted| {
        let found = metadata.topics().iter().find(|found| found.name() == topic.name)?;
        i32::try_from(found.partitions().len()).ok().filter(|n| *n > 0 && found.error().is_none())
    };
    Ok((admin, wanted.iter().map(count).collect()))
}

async fn check_partitions(
    mut admin: AdminClient<DefaultClientContext>,
    wanted: &[Wanted],
) -> Result<AdminClient<DefaultClientContext>, TopicError> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let (same, found) = partitions(admin, wanted).await?;
        admin = same;
        if found.iter().all(Option::is_some) {
            for (topic, found) in wanted.iter().zip(found) {
                let found = found.unwrap_or_default();
                if found != topic.partitions {
                    let (topic, expected) = (topic.name.clone(), topic.partitions);
                    return Err(TopicError::Partitions { topic, expected, found });
                }
            }
            return Ok(admin);
        }
        // A new topic is known to each broker only a moment after it was created.
        if tokio::time::Instant::now() > deadline {
            return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopic).into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn check_settings(
    admin: &AdminClient<DefaultClientContext>,
    wanted: &[Wanted],
    options: &AdminOptions,
) -> Result<(), TopicError> {
    let resources: Vec<_> =
        wanted.iter().map(|topic| ResourceSpecifier::Topic(&topic.name)).collect();
    let answers = admin.describe_configs(&resources, options).await?;
    for (topic, answer) in wanted.iter().zip(answers) {
        let found = answer.map_err(KafkaError::AdminOp)?;
        for (setting, expected) in topic.settings {
            let value = found.get(setting).and_then(|entry| entry.value.clone());
            // Small segments are a convenience; the others decide whether records stay.
            if value.as_deref() != Some(*expected) && !setting.starts_with("segment.") {
                let found = value.unwrap_or_default();
                let topic = topic.name.clone();
                return Err(TopicError::Setting { topic, setting, expected, found });
            }
        }
    }
    Ok(())
}

/// The table as TOML, with the default prefix: what `schemas/topics.toml` must hold.
#[must_use]
pub fn render_toml() -> String {
    let mut toml = String::from(
        "# Every Kafka topic of Colloquy. Generated from the table in eventlog/src/kafka/topics.rs.\n\
         # The first part of the names is a setting; `colloquy` is its default. The public ones are\n\
         # there where kafka.public_topics is set.\n",
    );
    let mut row = |name: &str, holds: &str, key: &str, wanted: &Wanted| {
        let value = |setting| {
            wanted.settings.iter().find(|(name, _)| *name == setting).map(|(_, value)| *value)
        };
        // Writing into a string cannot fail.
        let _ = write!(
            toml,
            "\n[[topic]]\nname = \"{name}\"\nholds = \"{holds}\"\nkey = \"{key}\"\n\
             partitions = {}\ncleanup_policy = \"{}\"\n",
            wanted.partitions,
            value("cleanup.policy").unwrap_or_default(),
        );
        if let Some(retention) = value("retention.ms") {
            let _ = writeln!(toml, "retention_ms = {retention}");
        }
        let _ = writeln!(toml, "owner = \"relay\"");
    };
    let published = published(true);
    for wanted in wanted("colloquy", &published) {
        match published.iter().find(|topic| topic.name("colloquy") == wanted.name) {
            Some(topic) => {
                let personal = if topic.is_public { " without personal data" } else { "" };
                let holds = format!("{} events{personal}", topic.aggregate);
                row(&wanted.name, &holds, "stream id", &wanted);
            }
            None => row(&wanted.name, "last published position of each topic", "topic", &wanted),
        }
    }
    toml
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_stands_in_the_table_once_and_in_order() {
        assert!(TOPICS.windows(2).all(|pair| pair[0].aggregate < pair[1].aggregate));
    }

    #[test]
    fn the_committed_table_is_the_one_in_the_code() {
        assert_eq!(include_str!("../../../schemas/topics.toml"), render_toml());
    }
}
