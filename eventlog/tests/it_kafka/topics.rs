use eventlog::kafka::topics::{TopicError, ensure, marks_name};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use crate::world::{client, settings, topic};

async fn make(settings: &eventlog::kafka::KafkaSettings, new: NewTopic<'_>) {
    let admin: AdminClient<DefaultClientContext> = client(settings).create().expect("a client");
    let options = AdminOptions::new().operation_timeout(Some(crate::world::DEADLINE));
    let answers = admin.create_topics([&new], &options).await.expect("an answer");
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

#[tokio::test]
async fn missing_topics_are_made_and_a_second_start_finds_them_right() {
    let settings = settings();
    let topics = [topic("interview"), topic("job")];
    ensure(&settings, &topics).await.expect("made");
    ensure(&settings, &topics).await.expect("found");
}

#[tokio::test]
async fn a_topic_with_another_number_of_partitions_is_refused() {
    let settings = settings();
    let name = topic("job").name(&settings.prefix);
    make(&settings, NewTopic::new(&name, 5, TopicReplication::Fixed(1)).set("retention.ms", "-1"))
        .await;
    let refused = ensure(&settings, &[topic("job")]).await.expect_err("five are not three");
    assert!(matches!(refused, TopicError::Partitions { expected: 3, found: 5, .. }), "{refused:?}");
}

#[tokio::test]
async fn a_topic_that_would_lose_records_is_refused() {
    let settings = settings();
    let name = topic("job").name(&settings.prefix);
    make(&settings, NewTopic::new(&name, 3, TopicReplication::Fixed(1))).await;
    let refused = ensure(&settings, &[topic("job")]).await.expect_err("a week is not for ever");
    assert!(matches!(refused, TopicError::Setting { setting: "retention.ms", .. }), "{refused:?}");
}

#[tokio::test]
async fn marks_that_are_not_compacted_are_refused() {
    let settings = settings();
    let name = marks_name(&settings.prefix);
    make(&settings, NewTopic::new(&name, 1, TopicReplication::Fixed(1))).await;
    let refused = ensure(&settings, &[]).await.expect_err("marks are compacted");
    assert!(
        matches!(refused, TopicError::Setting { setting: "cleanup.policy", .. }),
        "{refused:?}"
    );
}
