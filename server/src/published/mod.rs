//! What consumers of the events rely on: schemas at their addresses, the document of the topics, and
//! that neither ever changes under them.

pub mod asyncapi;
pub mod compatibility;
pub mod released;
pub mod serve;

/// Every committed schema of an event, of every version, by its path behind the base of all `$id`s.
pub const SCHEMAS: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/event_schemas.rs"));
