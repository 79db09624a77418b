//! The sum of all events, and the stored name and version of each.

use crate::{
    access, account, ai_call, application, candidate, company, company_request, interview, job,
    member, observation, resume, verdict,
};

macro_rules! aggregates {
    ($($(#[$doc:meta])* $kind:ident($module:ident) = $name:literal;)*) => {
        /// Anything that has happened, by aggregate.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Event {
            $($(#[$doc])* $kind($module::Event),)*
        }

        /// The stored names of all aggregates.
        pub const AGGREGATES: &[&str] = &[$($name,)*];

        $(
            impl From<$module::Event> for Event {
                fn from(event: $module::Event) -> Self {
                    Self::$kind(event)
                }
            }
        )*

        impl Event {
            /// The stored name of the aggregate it belongs to.
            #[must_use]
            pub fn aggregate(&self) -> &'static str {
                match self {
                    $(Self::$kind(_) => $name,)*
                }
            }

            /// The event with its own type and content, as serde sees it: `{"type", "data"}`.
            ///
            /// # Errors
            /// Those of the serializer.
            pub fn serialize_tagged<S: serde::Serializer>(
                &self,
                serializer: S,
            ) -> Result<S::Ok, S::Error> {
                match self {
                    $(Self::$kind(event) => serde::Serialize::serialize(event, serializer),)*
                }
            }

            /// Reads `{"type", "data"}` as an event of `aggregate`; `None` for an unknown aggregate.
            pub fn deserialize_tagged<'de, D: serde::Deserializer<'de>>(
                aggregate: &str,
                deserializer: D,
            ) -> Option<Result<Self, D::Error>> {
                match aggregate {
                    $($name => Some(
                        <$module::Event as serde::Deserialize>::deserialize(deserializer)
                            .map(Self::$kind),
                    ),)*
                    _ => None,
                }
            }
        }

        /// The JSON Schema of one aggregate's tagged events, by aggregate.
        #[cfg(feature = "schema")]
        #[must_use]
        pub fn schemas() -> Vec<(&'static str, schemars::Schema)> {
            vec![$(($name, schemars::schema_for!($module::Event)),)*]
        }
    };
}

aggregates! {
    /// Of reads of persons' data, by one process in one company on one day.
    Access(access) = "access";
    /// Of a login.
    Account(account) = "account";
    /// Of the calls to models about one interview, résumé or task.
    AiCall(ai_call) = "ai_call";
    /// Of one candidate for one job.
    Application(application) = "application";
    /// Of a candidate's record.
    Candidate(candidate) = "candidate";
    /// Of a company.
    Company(company) = "company";
    /// Of a company that asks to be let in.
    CompanyRequest(company_request) = "company_request";
    /// Of an interview round.
    Interview(interview) = "interview";
    /// Of a job.
    Job(job) = "job";
    /// Of a person of a company.
    Member(member) = "member";
    /// Of what was observed in an interview.
    Observation(observation) = "observation";
    /// Of an uploaded résumé.
    Resume(resume) = "resume";
    /// Of a verdict.
    Verdict(verdict) = "verdict";
}

/// The version in which events of this stored name are written today. A shape that changes gets the
/// next number here, an upcaster in `eventlog`, and a golden sample; old versions are never edited.
#[must_use]
pub fn current_version(_name: &str) -> u16 {
    1
}
