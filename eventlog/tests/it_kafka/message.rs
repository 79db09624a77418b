use std::borrow::Cow;

use bytes::Bytes;
use chrono::DateTime;
use domain::ids::CompanyId;
use eventlog::envelope::{
    Cause, EventHash, NewEvent, Position, StoredEvent, StreamId, Version, event_hash,
};
use eventlog::kafka::message::{DecodeError, Record, decode, place};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use rdkafka::Timestamp;
use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};
use uuid::Uuid;

const BASE: &str = "https://schemas.example.org/events";

fn received(record: &Record) -> OwnedMessage {
    OwnedMessage::new(
        Some(record.value.to_vec()),
        Some(record.key.clone().into_bytes()),
        "topic".to_owned(),
        Timestamp::NotAvailable,
        0,
        0,
        Some(record.client_headers()),
    )
}

fn uuid() -> impl Strategy<Value = Uuid> {
    prop_oneof![Just(Uuid::nil()), any::<u128>().prop_map(Uuid::from_u128)]
}

prop_compose! {
    fn cause()(
        command_id in uuid(),
        fingerprint in vec(any::<u8>(), 0..40),
        correlation_id in uuid(),
        causation_id in option::of(uuid()),
        actor in ".*",
        trace_parent in option::of(".*"),
    ) -> Cause {
        Cause { command_id, fingerprint, correlation_id, causation_id, actor, trace_parent }
    }
}

prop_compose! {
    fn event()(
        aggregate in prop_oneof![Just("interview".to_owned()), Just("account".to_owned()), ".*"],
        fact in ".*",
        (company, id, event_id) in (uuid(), uuid(), uuid()),
        (version, position) in (any::<u64>(), any::<u64>()),
        schema_version in any::<u16>(),
        // The years 0001 to 9999, which RFC 3339 can write.
        (occurred, recorded) in (
            -62_135_596_800_000_000_i64..253_402_300_800_000_000,
            -62_135_596_800_000_000_i64..253_402_300_800_000_000,
        ),
        cause in cause(),
        payload in vec(any::<u8>(), 0..200),
    ) -> StoredEvent {
        let time = |micros| DateTime::from_timestamp_micros(micros).expect("in range");
        let name = format!("{aggregate}.{fact}");
        let stream =
            StreamId { company: CompanyId(company), aggregate: Cow::Owned(aggregate), id };
        let new = NewEvent {
            event_id,
            name: Cow::Owned(name.clone()),
            schema_version,
            occurred_at: time(occurred),
            payload: Bytes::from(payload),
        };
        let hash = event_hash(&stream, Version(version), &cause, &new);
        StoredEvent {
            position: Position(position),
            recorded_at: time(recorded),
            stream,
            version: Version(version),
            event_id,
            name,
            schema_version,
            occurred_at: new.occurred_at,
            cause,
            payload: new.payload,
            hash,
        }
    }
}

proptest! {
    #[test]
    fn an_event_is_the_same_after_its_way_through_kafka(event in event()) {
        let read = decode(&received(&Record::of(&event, BASE)));
        prop_assert_eq!(read.as_ref(), Ok(&event));
        prop_assert!(read.is_ok_and(|event| event.is_intact()));
    }

    #[test]
    fn whatever_stands_in_a_record_is_an_event_or_an_error(
        event in event(),
        value in option::of(vec(any::<u8>(), 0..20)),
        key in option::of(vec(any::<u8>(), 0..20)),
        damaged in 0_usize..19,
        junk in option::of(vec(any::<u8>(), 0..40)),
    ) {
        let record = Record::of(&event, BASE);
        let mut headers = OwnedHeaders::new();
        for (n, (name, text)) in record.headers.iter().enumerate() {
            let bytes = if n == damaged { junk.as_deref() } else { Some(text.as_bytes()) };
            headers = headers.insert(Header { key: name, value: bytes });
        }
        let whole = received(&record).replace_headers(Some(headers));
        let _ = decode(&whole);
        let _ = decode(&whole.set_payload(value).set_key(key));
    }
}

fn sample() -> StoredEvent {
    let id = Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0001);
    StoredEvent {
        position: Position(42),
        recorded_at: DateTime::from_timestamp_micros(1_790_000_000_654_321).expect("valid"),
        stream: StreamId::new(CompanyId(Uuid::from_u128(7)), "interview", id),
        version: Version(3),
        event_id: Uuid::from_u128(9),
        name: "interview.answer_recorded".to_owned(),
        schema_version: 1,
        occurred_at: DateTime::from_timestamp_micros(1_790_000_000_123_456).expect("valid"),
        cause: Cause {
            command_id: Uuid::from_u128(10),
            fingerprint: vec![0, 255],
            correlation_id: Uuid::from_u128(11),
            causation_id: Some(Uuid::from_u128(12)),
            actor: "candidate:cand_1".to_owned(),
            trace_parent: Some("00-1-2-01".to_owned()),
        },
        payload: Bytes::from_static(b"{}"),
        hash: EventHash([0xab; 32]),
    }
}

#[test]
fn a_record_is_a_cloud_event_in_binary_mode() {
    let record = Record::of(&sample(), BASE);
    let headers: Vec<_> =
        record.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    assert_eq!(record.key, "01980000-0000-7000-8000-000000000001");
    assert_eq!(&*record.value, b"{}");
    assert_eq!(
        headers,
        [
            "content-type: application/json",
            "ce_specversion: 1.0",
            "ce_id: 00000000-0000-0000-0000-000000000009",
            "ce_type: colloquy.interview.answer_recorded.v1",
            "ce_source: /companies/00000000-0000-0000-0000-000000000007/interviews",
            "ce_subject: 01980000-0000-7000-8000-000000000001",
            "ce_time: 2026-09-21T14:13:20.123456Z",
            "ce_dataschema: https://schemas.example.org/events/interview.answer_recorded.v1.json",
            "ce_streamversion: 3",
            "ce_position: 42",
            "ce_hash: abababababababababababababababababababababababababababababababab",
            "ce_correlationid: 00000000-0000-0000-0000-00000000000b",
            "ce_actor: candidate:cand_1",
            "ce_aggregate: interview",
            "ce_commandid: 00000000-0000-0000-0000-00000000000a",
            "ce_fingerprint: 00ff",
            "ce_recordedtime: 2026-09-21T14:13:20.654321Z",
            "ce_causationid: 00000000-0000-0000-0000-00000000000c",
            "traceparent: 00-1-2-01",
        ]
    );
}

#[test]
fn what_belongs_to_no_company_comes_from_the_platform() {
    let mut event = sample();
    event.stream = StreamId::new(CompanyId::NONE, "account", event.stream.id);
    let source =
        Record::of(&event, BASE).headers.into_iter().find(|(name, _)| *name == "ce_source");
    assert_eq!(source, Some(("ce_source", "/platform/accounts".to_owned())));
}

#[test]
fn a_changed_byte_is_noticed_by_the_reader() {
    let record = Record::of(&sample(), BASE);
    let read = decode(&received(&record).set_payload(Some(b"{ }".to_vec()))).expect("an event");
    assert!(!read.is_intact());
}

#[test]
fn a_record_under_another_key_or_without_a_value_is_refused() {
    let record = Record::of(&sample(), BASE);
    let other_key = received(&record).set_key(Some(b"x".to_vec()));
    assert_eq!(decode(&other_key), Err(DecodeError::Key));
    assert_eq!(decode(&received(&record).set_payload(None)), Err(DecodeError::NoValue));
    let bare = received(&record).replace_headers(None);
    assert_eq!(decode(&bare), Err(DecodeError::Missing("ce_specversion")));
}

#[test]
fn a_public_record_is_the_same_cloud_event_without_the_person() {
    let mut event = sample();
    let sealed = r#"{"ciphertext":"x","commitment":"c","key":"k","nonce":"n"}"#;
    event.payload = format!(r#"{{"n":1,"text":{sealed}}}"#).into();
    let record = Record::public(&event, BASE);
    assert_eq!(&*record.value, br#"{"n":1}"#);
    let own = Record::of(&event, BASE);
    let differing: Vec<_> =
        record.headers.iter().filter(|header| !own.headers.contains(header)).cloned().collect();
    let schema =
        "https://schemas.example.org/events/public/interview.answer_recorded.v1.json".to_owned();
    assert_eq!(
        differing,
        [
            ("ce_type", "colloquy.public.interview.answer_recorded.v1".to_owned()),
            ("ce_dataschema", schema),
            ("ce_actorkind", "candidate".to_owned()),
        ]
    );
    let dropped = ["ce_actor", "ce_commandid", "ce_fingerprint", "traceparent"];
    assert!(dropped.iter().all(|name| own.header(name).is_some()));
    assert!(dropped.iter().all(|name| record.header(name).is_none()));

    let found = place(&received(&record)).expect("a public record");
    assert_eq!(
        (found.position, found.version, found.hash),
        (event.position, event.version, event.hash)
    );
    assert_eq!((found.company, found.stream_id), (event.stream.company, event.stream.id));
    assert_eq!(place(&received(&own)), Err(DecodeError::Malformed("ce_type")));
    assert!(decode(&received(&record)).is_err(), "it is no event of the log");
}
