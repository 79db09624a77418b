//! Whatever makes a topic another thing than the log is found and named.

use bytes::Bytes;
use eventlog::kafka::KafkaSettings;
use eventlog::kafka::check::Report;
use eventlog::kafka::message::Record;
use eventlog::kafka::topics::{Topic, ensure};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::world::{
    DEADLINE, Switch, append, append_many, check, client, complete, events_of, log, parts,
    report_of, settings, start, stream, topic,
};

/// Writes a record as somebody does who is not the relay.
async fn write(settings: &KafkaSettings, topic: Topic, record: &Record) {
    let (name, record) = (topic.name(&settings.prefix), record.clone());
    let producer: BaseProducer =
        client(settings).set("partitioner", "murmur2_random").create().expect("a producer");
    tokio::task::spawn_blocking(move || {
        let headers = record.client_headers();
        let record = BaseRecord::to(&name).key(&record.key).payload(&record.value[..]);
        producer.send(record.headers(headers)).map_err(|(error, _)| error).expect("sent");
        producer.flush(DEADLINE).expect("written");
    })
    .await
    .expect("written");
}

async fn each_fault_is_found_in(topic: Topic) {
    let (settings, log) = (settings(), log());
    ensure(&settings, &[topic]).await.expect("the topics are made");
    append_many(&*log, topic.aggregate, 6).await;
    let relay = start(parts(&settings, &log, Switch::on()), topic);
    let mut expected = complete(6);
    assert_eq!(report_of(&settings, topic, &log, 6).await, expected);
    relay.stop().await;
    let found = async |expected: &Report| {
        let report = check(&settings, topic, &log).await;
        assert_eq!(&report, expected);
        assert!(!report.is_complete(), "{report}");
    };
    let base = &settings.schema_base;
    let last = events_of(&*log, topic.aggregate).await.pop().expect("an event");
    let record = topic.record(&last, base);

    write(&settings, topic, &record).await;
    (expected.in_topic, expected.duplicates) = (7, 1);
    found(&expected).await;

    let forged = Bytes::from_static(br#"{"text":"forged"}"#);
    write(&settings, topic, &Record { value: forged, ..record.clone() }).await;
    (expected.in_topic, expected.duplicates, expected.hash_mismatches) = (8, 2, 1);
    found(&expected).await;

    write(&settings, topic, &Record { key: "k".to_owned(), ..record.clone() }).await;
    (expected.in_topic, expected.undecodable) = (9, 1);
    found(&expected).await;

    append(&*log, &stream("member", 1), "of another topic").await;
    let mut elsewhere = record;
    for (header, value) in &mut elsewhere.headers {
        if *header == "ce_position" {
            *value = "7".to_owned();
        }
    }
    write(&settings, topic, &elsewhere).await;
    (expected.in_topic, expected.foreign) = (10, 1);
    found(&expected).await;

    for text in ["left out", "published"] {
        append(&*log, &last.stream, text).await;
    }
    let [left_out, published] = &events_of(&*log, topic.aggregate).await[6..] else {
        panic!("two more events");
    };
    write(&settings, topic, &topic.record(published, base)).await;
    (expected.in_topic, expected.events_in_log, expected.missing) = (11, 8, 1);
    found(&expected).await;

    write(&settings, topic, &topic.record(left_out, base)).await;
    (expected.in_topic, expected.missing, expected.out_of_order) = (12, 0, 1);
    found(&expected).await;
}

#[tokio::test]
async fn each_fault_of_a_topic_is_found() {
    each_fault_is_found_in(topic("job")).await;
}

#[tokio::test]
async fn each_fault_of_a_topic_without_personal_data_is_found() {
    each_fault_is_found_in(topic("job").public()).await;
}
