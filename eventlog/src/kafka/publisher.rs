//! One topic's transactional producer: a batch of events and the topic's mark, both or neither.
//!
//! A producer whose transaction failed is never used again, and does not abort it: the next one with
//! the same transactional id does that by starting, under an epoch of its own. The client library
//! (librdkafka 2.12) gives the numbers of records that wait to be sent anew when a transaction is
//! aborted to the records after them, though the broker may have taken those already; it would then
//! take the batch's repetition for theirs, say that it has it, and never hold it.
//!
//! Everything here blocks and belongs on a thread that may.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{
    BaseRecord, NoCustomPartitioner, Producer, ProducerContext, ThreadedProducer,
};

use super::KafkaSettings;
use super::mark::Mark;
use super::message::Record;
use super::topics::marks_name;
use crate::fail_point::FailPoint;

/// An open transaction holds back every reader of committed records, so the broker ends it soon
/// when its producer is gone.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one call may block. A call that runs into it is repeated on the same producer.
const CALL: Duration = Duration::from_secs(2);

/// How long a call is repeated before a new producer finds out what became of it.
const ENDING: Duration = Duration::from_secs(30);

/// Why a batch is not known to be in the topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The producer is of no more use, and what became of the batch is not known: a new producer
    /// has to read the mark.
    #[error("the producer is of no more use: {0}")]
    Broken(KafkaError),
    /// Another producer has taken the transactional id.
    #[error("another relay has taken over")]
    Fenced,
}

/// Counts what the broker took and keeps the first refusal.
#[derive(Default)]
pub struct Deliveries {
    told: Mutex<Told>,
    is_enough: Condvar,
}

#[derive(Default)]
struct Told {
    n_taken: usize,
    /// How many somebody waits for, 0 while nobody does.
    n_wanted: usize,
    refused: Option<KafkaError>,
}

impl ClientContext for Deliveries {}

impl ProducerContext<NoCustomPartitioner> for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut told = self.told();
        match result {
            Ok(_) => told.n_taken += 1,
            Err((error, _)) => {
                told.refused.get_or_insert_with(|| error.clone());
            }
        }
        // Not for each record: whoever waits would be woken for nothing.
        let is_enough = told.n_taken >= told.n_wanted || told.refused.is_some();
        if told.n_wanted > 0 && is_enough {
            self.is_enough.notify_all();
        }
    }
}

impl Deliveries {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget(&self) {
        *self.told() = Told::default();
    }

    /// Waits until the broker has taken all of `n_sent` or refused one, at most so long.
    fn wait(&self, n_sent: usize, longest: Duration) -> Result<(), KafkaError> {
        let mut told = self.told();
        told.n_wanted = n_sent;
        let is_missing = |told: &mut Told| told.n_taken < n_sent && told.refused.is_none();
        let waited = self.is_enough.wait_timeout_while(told, longest, is_missing);
        let (mut told, _) = waited.unwrap_or_else(PoisonError::into_inner);
        told.n_wanted = 0;
        match &told.refused {
            Some(error) => Err(error.clone()),
            None if told.n_taken == n_sent => Ok(()),
            None => Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut)),
        }
    }
}

/// The producer of one topic.
pub struct Publisher {
    producer: ThreadedProducer<Deliveries>,
    topic: String,
    marks: String,
    fail_points: FailPoint,
    is_abandoned: Arc<AtomicBool>,
}

impl Publisher {
    /// A producer that holds the topic's transactional id: the one before can commit no more, and
    /// a transaction that it left open has been ended. Once `is_abandoned`, calls are not repeated.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn start(
        settings: &KafkaSettings,
        topic: String,
        transactional_id: &str,
        fail_points: FailPoint,
        is_abandoned: Arc<AtomicBool>,
    ) -> Result<Self, Fault> {
        let mut config = settings.client();
        config
            .set("transactional.id", transactional_id)
            .set("transaction.timeout.ms", TRANSACTION_TIMEOUT.as_millis().to_string())
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "lz4")
            .set("linger.ms", "1")
            // Where Java clients place keys, so that Kafka Streams and Connect can join by them.
            .set("partitioner", "murmur2_random");
        let producer = ThreadedProducer::from_config_and_context(&config, Deliveries::default())
            .map_err(Fault::Broken)?;
        let marks = marks_name(&settings.prefix);
        let publisher = Self { producer, topic, marks, fail_points, is_abandoned };
        publisher.repeat(|producer| producer.init_transactions(CALL))?;
        Ok(publisher)
    }

    /// Publishes the records and the mark in one transaction.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn publish(&self, records: &[Record], mark: &Mark) -> Result<(), Fault> {
        self.producer.context().forget();
        self.producer.begin_transaction().map_err(|error| self.fault(error))?;
        self.fill(records, mark).map_err(|error| self.fault(error))?;
        (self.fail_points)("after_mark_before_commit");
        self.repeat(|producer| producer.commit_transaction(CALL))?;
        (self.fail_points)("after_commit");
        Ok(())
    }

    /// Sends all and waits until the broker has taken each, which flushing would not tell; and the
    /// client library's flush looks only every tenth of a second.
    fn fill(&self, records: &[Record], mark: &Mark) -> Result<(), KafkaError> {
        (self.fail_points)("before_produce");
        for record in records {
            let message = BaseRecord::to(&self.topic)
                .key(record.key.as_str())
                .payload(&*record.value)
                .headers(record.client_headers());
            self.producer.send(message).map_err(|(error, _)| error)?;
        }
        self.producer.context().wait(records.len(), TRANSACTION_TIMEOUT)?;
        (self.fail_points)("after_produce_before_mark");
        let value = mark.encode();
        let message = BaseRecord::to(&self.marks).key(self.topic.as_str()).payload(value.as_str());
        self.producer.send(message).map_err(|(error, _)| error)?;
        self.producer.context().wait(records.len() + 1, TRANSACTION_TIMEOUT)
    }

    /// Repeats a call of the transaction's protocol as long as it says that it may be repeated: it
    /// then goes on where it was, so that a commit that timed out is not decided twice.
    fn repeat(
        &self,
        call: impl Fn(&ThreadedProducer<Deliveries>) -> Result<(), KafkaError>,
    ) -> Result<(), Fault> {
        let began_at = Instant::now();
        loop {
            let error = match call(&self.producer) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let may_repeat = match &error {
                KafkaError::Transaction(answer) => answer.is_retriable(),
                KafkaError::Flush(code) => *code == RDKafkaErrorCode::OperationTimedOut,
                _ => false,
            };
            let is_over = began_at.elapsed() > ENDING || self.is_abandoned.load(Ordering::Acquire);
            if !may_repeat || is_over {
                return Err(self.fault(error));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn fault(&self, error: KafkaError) -> Fault {
        let fatal = self.producer.client().fatal_error().map(|(code, _)| code);
        let code = fatal.or(match &error {
            KafkaError::Transaction(answer) => Some(answer.code()),
            other => other.rdkafka_error_code(),
        });
        match code {
            Some(
                RDKafkaErrorCode::Fenced
                | RDKafkaErrorCode::ProducerFenced
                | RDKafkaErrorCode::InvalidProducerEpoch,
            ) => Fault::Fenced,
            _ => Fault::Broken(error),
        }
    }
}
