//! What of the server's protocol the stand-in speaks: package `event_store.client`, files
//! `streams.proto` and `shared.proto` as the MIT-licensed crate `kurrentdb` 1.2.0 ships them. Written by
//! hand, without what the log never sends.

use std::collections::HashMap;

use bytes::Bytes;

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Empty {}

#[derive(Clone, PartialEq, prost::Message)]
pub struct StreamIdentifier {
    #[prost(bytes = "bytes", tag = "3")]
    pub stream_name: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Uuid {
    #[prost(oneof = "uuid::Value", tags = "1, 2")]
    pub value: Option<uuid::Value>,
}

pub mod uuid {
    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub struct Structured {
        #[prost(int64, tag = "1")]
        pub most_significant_bits: i64,
        #[prost(int64, tag = "2")]
        pub least_significant_bits: i64,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Value {
        #[prost(message, tag = "1")]
        Structured(Structured),
        #[prost(string, tag = "2")]
        String(String),
    }
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Position {
    #[prost(uint64, tag = "1")]
    pub commit_position: u64,
    #[prost(uint64, tag = "2")]
    pub prepare_position: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ReadReq {
    #[prost(message, optional, tag = "1")]
    pub options: Option<read_req::Options>,
}

pub mod read_req {
    use super::{Empty, Position, StreamIdentifier};

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Options {
        #[prost(oneof = "StreamOption", tags = "1, 2")]
        pub stream_option: Option<StreamOption>,
        /// 0 is forwards, 1 backwards.
        #[prost(int32, tag = "3")]
        pub read_direction: i32,
        #[prost(oneof = "CountOption", tags = "5, 6")]
        pub count_option: Option<CountOption>,
        #[prost(oneof = "FilterOption", tags = "7, 8")]
        pub filter_option: Option<FilterOption>,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum StreamOption {
        #[prost(message, tag = "1")]
        Stream(StreamOptions),
        #[prost(message, tag = "2")]
        All(AllOptions),
    }

    #[derive(Clone, Copy, PartialEq, prost::Oneof)]
    pub enum CountOption {
        #[prost(uint64, tag = "5")]
        Count(u64),
        #[prost(message, tag = "6")]
        Subscription(Empty),
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum FilterOption {
        #[prost(message, tag = "7")]
        Filter(FilterOptions),
        #[prost(message, tag = "8")]
        NoFilter(Empty),
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct StreamOptions {
        #[prost(message, optional, tag = "1")]
        pub stream_identifier: Option<StreamIdentifier>,
        #[prost(oneof = "RevisionOption", tags = "2, 3, 4")]
        pub revision_option: Option<RevisionOption>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Oneof)]
    pub enum RevisionOption {
        #[prost(uint64, tag = "2")]
        Revision(u64),
        #[prost(message, tag = "3")]
        Start(Empty),
        #[prost(message, tag = "4")]
        End(Empty),
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub struct AllOptions {
        #[prost(oneof = "AllOption", tags = "1, 2, 3")]
        pub all_option: Option<AllOption>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Oneof)]
    pub enum AllOption {
        #[prost(message, tag = "1")]
        Position(Position),
        #[prost(message, tag = "2")]
        Start(Empty),
        #[prost(message, tag = "3")]
        End(Empty),
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct FilterOptions {
        #[prost(oneof = "Filter", tags = "1, 2")]
        pub filter: Option<Filter>,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Filter {
        #[prost(message, tag = "1")]
        StreamIdentifier(Expression),
        #[prost(message, tag = "2")]
        EventType(Expression),
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Expression {
        #[prost(string, tag = "1")]
        pub regex: String,
        #[prost(string, repeated, tag = "2")]
        pub prefix: Vec<String>,
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ReadResp {
    #[prost(oneof = "read_resp::Content", tags = "1, 4")]
    pub content: Option<read_resp::Content>,
}

pub mod read_resp {
    use super::{Bytes, HashMap, StreamIdentifier, Uuid};

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Content {
        #[prost(message, tag = "1")]
        Event(ReadEvent),
        #[prost(message, tag = "4")]
        StreamNotFound(StreamNotFound),
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct StreamNotFound {
        #[prost(message, optional, tag = "1")]
        pub stream_identifier: Option<StreamIdentifier>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ReadEvent {
        #[prost(message, optional, tag = "1")]
        pub event: Option<RecordedEvent>,
        #[prost(oneof = "EventPosition", tags = "3")]
        pub position: Option<EventPosition>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Oneof)]
    pub enum EventPosition {
        #[prost(uint64, tag = "3")]
        Commit(u64),
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct RecordedEvent {
        #[prost(message, optional, tag = "1")]
        pub id: Option<Uuid>,
        #[prost(message, optional, tag = "2")]
        pub stream_identifier: Option<StreamIdentifier>,
        #[prost(uint64, tag = "3")]
        pub stream_revision: u64,
        #[prost(uint64, tag = "4")]
        pub prepare_position: u64,
        #[prost(uint64, tag = "5")]
        pub commit_position: u64,
        #[prost(map = "string, string", tag = "6")]
        pub metadata: HashMap<String, String>,
        #[prost(bytes = "bytes", tag = "7")]
        pub custom_metadata: Bytes,
        #[prost(bytes = "bytes", tag = "8")]
        pub data: Bytes,
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct AppendReq {
    #[prost(oneof = "append_req::Content", tags = "1, 2")]
    pub content: Option<append_req::Content>,
}

pub mod append_req {
    use super::{Bytes, Empty, HashMap, StreamIdentifier, Uuid};

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Content {
        #[prost(message, tag = "1")]
        Options(Options),
        #[prost(message, tag = "2")]
        ProposedMessage(ProposedMessage),
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Options {
        #[prost(message, optional, tag = "1")]
        pub stream_identifier: Option<StreamIdentifier>,
        #[prost(oneof = "Expected", tags = "2, 3, 4, 5")]
        pub expected: Option<Expected>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Oneof)]
    pub enum Expected {
        #[prost(uint64, tag = "2")]
        Revision(u64),
        #[prost(message, tag = "3")]
        NoStream(Empty),
        #[prost(message, tag = "4")]
        Any(Empty),
        #[prost(message, tag = "5")]
        StreamExists(Empty),
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct ProposedMessage {
        #[prost(message, optional, tag = "1")]
        pub id: Option<Uuid>,
        #[prost(map = "string, string", tag = "2")]
        pub metadata: HashMap<String, String>,
        #[prost(bytes = "bytes", tag = "3")]
        pub custom_metadata: Bytes,
        #[prost(bytes = "bytes", tag = "4")]
        pub data: Bytes,
    }
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct AppendResp {
    #[prost(oneof = "append_resp::Result", tags = "1, 2")]
    pub result: Option<append_resp::Result>,
}

pub mod append_resp {
    use super::{Empty, Position};

    #[derive(Clone, Copy, PartialEq, prost::Oneof)]
    pub enum Result {
        #[prost(message, tag = "1")]
        Success(Success),
        #[prost(message, tag = "2")]
        WrongExpectedVersion(WrongExpectedVersion),
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub struct Success {
        #[prost(oneof = "SuccessRevision", tags = "1")]
        pub current_revision: Option<SuccessRevision>,
        #[prost(oneof = "SuccessPosition", tags = "3")]
        pub position: Option<SuccessPosition>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Oneof)]
    pub enum SuccessRevision {
        #[prost(uint64, tag = "1")]
        Revision(u64),
    }

    #[derive(Clone, Copy, PartialEq, prost::Oneof)]
    pub enum SuccessPosition {
        #[prost(message, tag = "3")]
        Position(Position),
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub struct WrongExpectedVersion {
        #[prost(oneof = "Current", tags = "6, 7")]
        pub current: Option<Current>,
        #[prost(oneof = "Expected", tags = "8, 9, 10, 11")]
        pub expected: Option<Expected>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Oneof)]
    pub enum Current {
        #[prost(uint64, tag = "6")]
        Revision(u64),
        #[prost(message, tag = "7")]
        NoStream(Empty),
    }

    #[derive(Clone, Copy, PartialEq, prost::Oneof)]
    pub enum Expected {
        #[prost(uint64, tag = "8")]
        Revision(u64),
        #[prost(message, tag = "9")]
        Any(Empty),
        #[prost(message, tag = "10")]
        StreamExists(Empty),
        #[prost(message, tag = "11")]
        NoStream(Empty),
    }
}
