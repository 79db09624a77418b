//! The whole schema, merged from its areas, and what spans them: global ids.
//!
//! One rule for errors, see [`crate::error`]: in a mutation, what another input can mend stands in
//! the payload's `errors`; everything else is a top-level error with `extensions {code, kind,
//! status, requestId, timestamp, retryAfter}`.

use async_graphql::dataloader::{DataLoader, Loader};
use async_graphql::{Context, ID, Interface, MergedObject, MergedSubscription, Object, Schema};
use domain::ids::{
    ApplicationId, CandidateId, CompanyId, InterviewId, JobId, MemberId, ResumeId, VerdictId,
};
use domain::permission::Action;
use projections::{companies, verdicts};

use crate::ApiState;
use crate::access_log::AccessLogQuery;
use crate::account::{AccountMutation, AccountQuery};
use crate::api_keys::{ApiKeyMutation, ApiKeyQuery};
use crate::candidate::{Application, Candidate, CandidateMutation, CandidateQuery, Resume};
use crate::candidate_account::CandidateAccountMutation;
use crate::companies::CompaniesQuery;
use crate::company::{Company, CompanyMutation, CompanyQuery, Member};
use crate::custom_role::{RoleMutation, RoleQuery};
use crate::dashboard::DashboardQuery;
use crate::error::ApiError;
use crate::history::HistoryQuery;
use crate::interview::Interview;
use crate::interview::events::{InterviewEvent, LiveSubscription};
use crate::interview::mutation::InterviewMutation;
use crate::interview::query::InterviewQuery;
use crate::job::{Job, JobMutation, JobQuery};
use crate::observation::ObservationQuery;
use crate::operations::{OperationsMutation, OperationsQuery};
use crate::rate_limits::RateLimitQuery;
use crate::registration::{RegistrationMutation, RegistrationQuery};
use crate::scalars::Judged;
use crate::scope::Scoped;
use crate::second_factor::SecondFactorMutation;
use crate::sign_on::{SignOnMutation, SignOnQuery};
use crate::verdict::{Verdict, VerdictMutation, VerdictQuery};

/// Something with a global id.
#[derive(Interface)]
#[graphql(field(
    name = "id",
    ty = "ID",
    desc = "Global id; its first four letters name the kind."
))]
pub enum Node {
    /// A tenant.
    Company(Company),
    /// A person of a company.
    Member(Member),
    /// A job.
    Job(Job),
    /// A candidate's record.
    Candidate(Candidate),
    /// One candidate for one job.
    Application(Application),
    /// An uploaded résumé.
    Resume(Resume),
    /// An interview round.
    Interview(Interview),
    /// A verdict on an interview.
    Verdict(Verdict),
}

/// Queries by global id.
#[derive(Default)]
pub struct NodeQuery;

/// Most ids that `nodes` takes.
const MAX_NODES: usize = 100;

#[Object]
impl NodeQuery {
    /// Whatever has this global id, as far as the caller may see it; null for anything else.
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id, such as `intv_…`.")] id: ID,
    ) -> async_graphql::Result<Option<Node>> {
        Ok(node(ctx, &id).await?)
    }

    /// Whatever has these global ids, in their order; null for what the caller cannot see.
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global ids, at most 100.")] ids: Vec<ID>,
    ) -> async_graphql::Result<Vec<Option<Node>>> {
        if ids.len() > MAX_NODES {
            return Err(ApiError::invalid("ids", "has more than 100 ids").into());
        }
        let nodes = ids.iter().map(|id| node(ctx, id));
        Ok(futures::future::try_join_all(nodes).await?)
    }
}

async fn node(ctx: &Context<'_>, id: &ID) -> Result<Option<Node>, ApiError> {
    ctx.caller()?;
    let (loaders, id) = (ctx.loaders()?, id.as_str());
    Ok(match id.split('_').next() {
        Some(CompanyId::PREFIX) => company(ctx, id).await?.map(Node::Company),
        Some(MemberId::PREFIX) if ctx.view_if_any(Action::ReadMembers).is_some() => {
            load::<MemberId, _>(&loaders.members, id).await?.map(|row| Node::Member(Member(row)))
        }
        Some(JobId::PREFIX) => {
            load::<JobId, _>(&loaders.jobs, id).await?.map(|row| Node::Job(Job(row)))
        }
        Some(CandidateId::PREFIX) => load::<CandidateId, _>(&loaders.candidates, id)
            .await?
            .map(|row| Node::Candidate(Candidate(row))),
        Some(ApplicationId::PREFIX) => load::<ApplicationId, _>(&loaders.applications, id)
            .await?
            .map(|row| Node::Application(Application(row))),
        Some(ResumeId::PREFIX) => {
            load::<ResumeId, _>(&loaders.resumes, id).await?.map(|row| Node::Resume(Resume(row)))
        }
        Some(InterviewId::PREFIX) => load::<InterviewId, _>(&loaders.interviews, id)
            .await?
            .map(|row| Node::Interview(Interview::now(row))),
        Some(VerdictId::PREFIX) => verdict(ctx, id).await?.map(Node::Verdict),
        _ => None,
    })
}

async fn load<K, L>(loader: &DataLoader<L>, id: &str) -> Result<Option<L::Value>, ApiError>
where
    K: std::str::FromStr + Send + Sync + std::hash::Hash + Eq + Clone + 'static,
    L: Loader<K, Error = ApiError>,
{
    crate::loaders::one(loader, id.parse::<K>().ok()).await
}

async fn company(ctx: &Context<'_>, id: &str) -> Result<Option<Company>, ApiError> {
    let (Some(view), Ok(id)) = (ctx.view_if_any(Action::ReadCompany), id.parse()) else {
        return Ok(None);
    };
    let mut rows = companies::by_ids(&ctx.state()?.reads, &view, &[id]).await?;
    Ok(rows.remove(&id).map(Company))
}

async fn verdict(ctx: &Context<'_>, id: &str) -> Result<Option<Verdict>, ApiError> {
    let (Some(view), Ok(id)) = (ctx.view_if_any(Action::ReadVerdict), id.parse()) else {
        return Ok(None);
    };
    Ok(verdicts::get(&ctx.state()?.reads, &view, id).await?.map(Verdict))
}

/// What can be asked. Lists are Relay connections: `first` is 1 to 100, 20 without it. Times are
/// UTC. What belongs to another company looks the same as what is absent. `consistentWith` takes the
/// cursors of mutations and live events, and the answer waits, at most five seconds, until it shows
/// those changes.
#[derive(MergedObject, Default)]
pub struct Query(
    NodeQuery,
    AccountQuery,
    RegistrationQuery,
    ApiKeyQuery,
    SignOnQuery,
    CompaniesQuery,
    CompanyQuery,
    RoleQuery,
    JobQuery,
    CandidateQuery,
    InterviewQuery,
    ObservationQuery,
    VerdictQuery,
    HistoryQuery,
    AccessLogQuery,
    DashboardQuery,
    OperationsQuery,
    RateLimitQuery,
);

/// What can be ordered. Each mutation takes one `input` with a `commandId`: a repeat with the same
/// body takes effect once and answers the same, another body under the same id is refused. The
/// payload has the entity as it stood right after the command, its `version` and `cursor`; what
/// another input can mend stands in its `errors`, and everything else is a top-level error.
#[derive(MergedObject, Default)]
pub struct Mutation(
    AccountMutation,
    SecondFactorMutation,
    RegistrationMutation,
    CandidateAccountMutation,
    ApiKeyMutation,
    SignOnMutation,
    CompanyMutation,
    RoleMutation,
    JobMutation,
    CandidateMutation,
    InterviewMutation,
    VerdictMutation,
    OperationsMutation,
);

/// What comes by itself, over graphql-transport-ws or Server-Sent Events. Each event comes once and
/// in order; reconnect with the last `cursor` as `after`.
#[derive(MergedSubscription, Default)]
#[graphql(name = "Subscription")]
pub struct Subscriptions(LiveSubscription);

/// The schema that the transports execute.
pub type ApiSchema = Schema<Query, Mutation, Subscriptions>;

/// The schema over these parts.
#[must_use]
pub fn schema(state: ApiState) -> ApiSchema {
    builder().data(state).finish()
}

/// The schema in the schema definition language: the contract that is committed as
/// `schemas/api.graphql`.
#[must_use]
pub fn sdl() -> String {
    builder().finish().sdl()
}

fn builder() -> async_graphql::SchemaBuilder<Query, Mutation, Subscriptions> {
    Schema::build(Query::default(), Mutation::default(), Subscriptions::default())
        .register_output_type::<InterviewEvent>()
        .register_input_type::<Judged>()
        // A stranger learns nothing of the schema from a misspelt field.
        .disable_suggestions()
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_schema;
    use async_graphql::parser::types::{TypeKind, TypeSystemDefinition};
    use async_graphql::{InputType, Name};
    use domain::values::Spelled;

    use super::*;

    /// Everything in the schema that has no description.
    fn undescribed() -> Vec<String> {
        let document = parse_schema(sdl()).expect("the schema is well-formed");
        let mut bare = vec![];
        for definition in document.definitions {
            let TypeSystemDefinition::Type(definition) = definition else { continue };
            let (name, definition) = (definition.node.name.node.to_string(), definition.node);
            let mut check = |described: bool, path: String| {
                if !described {
                    bare.push(path);
                }
            };
            check(definition.description.is_some(), name.clone());
            let fields = match &definition.kind {
                TypeKind::Object(object) => object.fields.as_slice(),
                TypeKind::Interface(interface) => interface.fields.as_slice(),
                TypeKind::Enum(kind) => {
                    for value in &kind.values {
                        let described = value.node.description.is_some();
                        check(described, format!("{name}.{}", value.node.value.node));
                    }
                    continue;
                }
                TypeKind::InputObject(input) => {
                    for field in &input.fields {
                        let described = field.node.description.is_some();
                        check(described, format!("{name}.{}", field.node.name.node));
                    }
                    continue;
                }
                TypeKind::Scalar | TypeKind::Union(_) => continue,
            };
            for field in fields {
                let path = format!("{name}.{}", field.node.name.node);
                check(field.node.description.is_some(), path.clone());
                for argument in &field.node.arguments {
                    let described = argument.node.description.is_some();
                    check(described, format!("{path}({})", argument.node.name.node));
                }
            }
        }
        bare
    }

    #[test]
    fn a_frontend_developer_can_work_from_the_schema_alone() {
        assert_eq!(undescribed(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_value_that_is_no_uuid_or_date_is_told_with_its_place() {
        let schema = builder().finish();
        for (document, place, kind) in [
            (
                r#"mutation { closeJob(input: { jobId: "a", commandId: "7" }) { version } }"#,
                "input.commandId",
                "UUID",
            ),
            (
                r#"{ interview(id: "a", asOf: { time: "2026-02-30T00:00:00Z" }) { id } }"#,
                "asOf.time",
                "DateTime",
            ),
        ] {
            let answer = schema.execute(document).await;
            let message = &answer.errors[0].message;
            let expected =
                format!("Invalid value for argument \"{place}\", expected type \"{kind}\"");
            assert_eq!(*message, expected);
            assert!(answer.errors[0].path.is_empty(), "nothing was executed");
        }
    }

    #[test]
    fn every_mutation_takes_one_input_and_answers_with_errors() {
        let document = parse_schema(sdl()).expect("the schema is well-formed");
        let mut n_mutations = 0;
        let types: std::collections::HashMap<_, _> = document
            .definitions
            .into_iter()
            .filter_map(|definition| match definition {
                TypeSystemDefinition::Type(t) => Some((t.node.name.node.to_string(), t.node.kind)),
                _ => None,
            })
            .collect();
        let Some(TypeKind::Object(mutation)) = types.get("Mutation") else { panic!("mutations") };
        for field in &mutation.fields {
            let field = &field.node;
            let names: Vec<_> = field.arguments.iter().map(|a| a.node.name.node.as_str()).collect();
            assert_eq!(names, ["input"], "{}", field.name.node);
            let payload = field.ty.node.to_string().trim_end_matches('!').to_owned();
            let Some(TypeKind::Object(payload)) = types.get(&payload) else { panic!("{payload}") };
            assert!(payload.fields.iter().any(|f| f.node.name.node == "errors"));
            n_mutations += 1;
        }
        assert!(n_mutations > 40);
    }

    /// Whether every value of a domain enum has in the schema the spelling that is stored.
    fn spelled_alike<D: Spelled, G: InputType + From<D>>() {
        for value in D::ALL {
            let shown = G::from(*value).to_value();
            assert_eq!(shown, async_graphql::Value::Enum(Name::new(value.as_str())));
        }
    }

    #[test]
    fn enums_are_spelled_in_the_schema_as_in_the_log() {
        spelled_alike::<domain::interview::Status, crate::interview::InterviewStatus>();
        spelled_alike::<domain::interview::Mode, crate::interview::InterviewMode>();
        spelled_alike::<domain::interview::RoundType, crate::interview::RoundType>();
        spelled_alike::<domain::interview::ConsentPurpose, crate::interview::ConsentPurpose>();
        spelled_alike::<domain::interview::CompletionReason, crate::interview::CompletionReason>();
        spelled_alike::<domain::interview::Party, crate::interview::Party>();
        spelled_alike::<domain::application::Status, crate::candidate::ApplicationStatus>();
        spelled_alike::<domain::job::Difficulty, crate::job::Difficulty>();
        spelled_alike::<domain::job::QuestionType, crate::job::QuestionType>();
        spelled_alike::<domain::verdict::Decision, crate::verdict::Decision>();
        spelled_alike::<domain::verdict::Recommendation, crate::verdict::Recommendation>();
        spelled_alike::<domain::verdict::ScoreKind, crate::verdict::ScoreKind>();
        spelled_alike::<domain::observation::InsightType, crate::observation::InsightType>();
        spelled_alike::<domain::observation::Severity, crate::observation::Severity>();
        spelled_alike::<domain::access::What, crate::access_log::AccessSubject>();
        spelled_alike::<domain::access::Fields, crate::access_log::AccessFields>();
        spelled_alike::<domain::access::Purpose, crate::access_log::AccessPurpose>();
        spelled_alike::<domain::ai_call::Purpose, crate::observation::AiPurpose>();
        for role in domain::Role::ALL {
            let shown = crate::company::Role::from(role).to_value();
            assert_eq!(shown, async_graphql::Value::Enum(Name::new(role.as_str())));
        }
    }
}
