//! The AsyncAPI 3.0 document: which topics there are, how records are keyed, what stands in their
//! headers, and which schema describes each event.

use domain::event::current_version;
use domain::schema;
use eventlog::kafka::topics::{Topic, published};
use serde_json::{Map, Value, json};

/// JSON Schema 2020-12, which AsyncAPI's own schema form is not.
const SCHEMA_FORMAT: &str = "application/schema+json;version=draft-2020-12";

/// What differs from one installation to another.
#[derive(Clone, Debug)]
pub struct Names {
    /// First part of the topics' names.
    pub prefix: String,
    /// What `ce_dataschema` begins with.
    pub schema_base: String,
    /// What references to schemas begin with.
    pub references: String,
    /// Whether the topics without the data of persons are there.
    pub with_public: bool,
}

impl Names {
    /// Those of the committed document: the defaults, and references to the files beside it.
    #[must_use]
    pub fn committed() -> Self {
        Self {
            prefix: "colloquy".to_owned(),
            schema_base: schema::BASE.to_owned(),
            references: "./events".to_owned(),
            with_public: true,
        }
    }
}

/// The document.
#[must_use]
pub fn document(names: &Names) -> Value {
    let (mut channels, mut operations, mut messages) = (Map::new(), Map::new(), Map::new());
    for topic in published(names.with_public) {
        let channel_id = topic.label().into_owned();
        let mut of_channel = Map::new();
        for (file, name, version) in events_of(topic) {
            let id = message_id(topic, &name, version);
            of_channel.insert(id.clone(), json!({ "$ref": format!("#/components/messages/{id}") }));
            messages.insert(id, message(names, topic, &file, &name, version));
        }
        let reference = format!("#/channels/{}", pointer(&channel_id));
        operations.insert(
            format!("publish.{channel_id}"),
            json!({
                "action": "send",
                "channel": { "$ref": reference },
                "summary": "The relay publishes each event once, in the order of its stream.",
            }),
        );
        channels.insert(channel_id, channel(names, topic, of_channel));
    }
    json!({
        "asyncapi": "3.0.0",
        "id": "urn:colloquy:events",
        "info": {
            "title": "Colloquy events",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Everything that happens in interviewing, as CloudEvents 1.0 in Kafka's \
                binary mode. Read committed records only (isolation.level=read_committed); trust \
                ce_streamversion: drop what you have seen, and notice what is missing.",
            "license": { "name": "Apache-2.0" },
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": { "headers": headers(false), "publicHeaders": headers(true) },
        },
    })
}

/// Events of a topic in every version: file of the schema, stored name, version.
fn events_of(topic: Topic) -> Vec<(String, String, u16)> {
    let mut events = vec![];
    for (aggregate, kind) in schema::names() {
        let name = format!("{aggregate}.{kind}");
        for version in 1..=current_version(&name) {
            if aggregate == topic.aggregate {
                let public = if topic.is_public { "public/" } else { "" };
                events.push((format!("{public}{name}.v{version}.json"), name.clone(), version));
            }
        }
    }
    events
}

fn message_id(topic: Topic, name: &str, version: u16) -> String {
    let public = if topic.is_public { "public." } else { "" };
    format!("{public}{name}.v{version}")
}

/// A key as a part of a JSON pointer in a reference.
fn pointer(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

fn channel(names: &Names, topic: Topic, messages: Map<String, Value>) -> Value {
    let personal = match topic.is_public {
        true => "without the data of persons: sealed members are left out, ids are pseudonyms",
        false => "personal members are sealed",
    };
    json!({
        "address": topic.name(&names.prefix),
        "description": format!("Events of `{}`, {personal}. Key: the stream's id.", topic.aggregate),
        "messages": messages,
        "bindings": { "kafka": {
            "topic": topic.name(&names.prefix),
            "partitions": topic.partitions,
            "topicConfiguration": { "cleanup.policy": ["delete"], "retention.ms": -1 },
            "bindingVersion": "0.5.0",
        } },
    })
}

fn message(names: &Names, topic: Topic, file: &str, name: &str, version: u16) -> Value {
    let (headers, public) = match topic.is_public {
        true => ("publicHeaders", "public."),
        false => ("headers", ""),
    };
    json!({
        "name": format!("colloquy.{public}{name}.v{version}"),
        "title": name,
        "contentType": "application/json",
        "headers": { "allOf": [
            { "$ref": format!("#/components/schemas/{headers}") },
            { "type": "object", "properties": {
                "ce_type": { "const": format!("colloquy.{public}{name}.v{version}") },
                "ce_dataschema": { "const": format!("{}/{file}", names.schema_base) },
            } },
        ] },
        "payload": {
            "schemaFormat": SCHEMA_FORMAT,
            "schema": { "$ref": format!("{}/{file}", names.references) },
        },
        "bindings": { "kafka": {
            "key": { "type": "string", "format": "uuid", "description": "The stream's id." },
            "bindingVersion": "0.5.0",
        } },
    })
}

/// The headers of every record of ours: the CloudEvents attributes and the rest of the envelope.
fn headers(is_public: bool) -> Value {
    let text = |what: &str| json!({ "type": "string", "description": what });
    let id = |what: &str| json!({ "type": "string", "format": "uuid", "description": what });
    let number =
        |what: &str| json!({ "type": "string", "pattern": "^[1-9][0-9]*$", "description": what });
    let time = |what: &str| json!({ "type": "string", "format": "date-time", "description": what });
    let mut properties = json!({
        "content-type": { "const": "application/json" },
        "ce_specversion": { "const": "1.0" },
        "ce_id": id("The event's id."),
        "ce_type": text("`colloquy.`, the stored name, and the version of the payload's shape."),
        "ce_source": { "type": "string", "format": "uri-reference", "description":
            "`/companies/{id}/interviews`, or `/platform/accounts` for what belongs to no company." },
        "ce_subject": id("The stream's id, which is also the record's key."),
        "ce_time": time("When it happened, by the writer's clock."),
        "ce_dataschema": { "type": "string", "format": "uri", "description":
            "`$id` and address of the payload's JSON Schema." },
        "ce_streamversion": number("Number of the event in its stream: 1, 2, 3 … without a gap."),
        "ce_position": number("Place in the order of all events, growing within a partition."),
        "ce_hash": { "type": "string", "pattern": "^[0-9a-f]{64}$", "description":
            "SHA-256 of the event's envelope and payload as the log holds them." },
        "ce_correlationid": id("Shared by all that follows from one outside request."),
        "ce_causationid": id("The event that caused this one, where one did."),
        "ce_aggregate": text("The aggregate's stored name."),
        "ce_recordedtime": time("When the log took it in; never falls as positions grow."),
    });
    let mut own = match is_public {
        true => json!({ "ce_actorkind": text("What kind of actor it was, such as `member`.") }),
        false => json!({
            "ce_actor": text("Who acted, as `kind:id`."),
            "ce_commandid": id("The command that it follows from."),
            "ce_fingerprint": { "type": "string", "pattern": "^([0-9a-f]{2})*$", "description":
                "Keyed hash of the command's input." },
            "traceparent": text("W3C trace context of the request, where there is one."),
        }),
    };
    if let (Some(all), Some(own)) = (properties.as_object_mut(), own.as_object_mut()) {
        all.append(own);
    }
    let optional = ["ce_causationid", "traceparent"];
    let required: Vec<&String> = properties
        .as_object()
        .into_iter()
        .flat_map(Map::keys)
        .filter(|name| !optional.contains(&name.as_str()))
        .collect();
    json!({ "type": "object", "required": required, "properties": properties })
}
