//! What mutations answer: the entity as it stood right after the command, the receipt, or errors.

use async_graphql::{Context, SimpleObject};
use commands::{Order, Receipt};
use domain::Aggregate;
use projections::projector::Projector;
use projections::{Token, as_of};
use uuid::Uuid;

use crate::candidate::{Application, Candidate};
use crate::company::{Company, Member};
use crate::custom_role::CustomRole;
use crate::error::{ApiError, UserError};
use crate::inputs::{self, Input};
use crate::interview::Interview;
use crate::job::Job;
use crate::scope::Scoped;
use crate::transport::TraceParent;
use crate::verdict::Verdict;

/// An answer to a mutation.
pub trait Payload: Sized {
    /// The entity that the mutation is about.
    type Node;

    /// What a command that went through answers.
    fn done(node: Option<Self::Node>, receipt: &Receipt) -> Self;

    /// What is answered where the input must change.
    fn refused(error: UserError) -> Self;
}

/// A command that went through: the entity folded at the receipt's version, and the receipt.
pub type Done<T> = (Option<T>, Receipt);

/// The payload of a result: an error that the sender can mend stands in it, any other is top-level.
///
/// # Errors
/// See [`crate::error`].
pub fn answer<P: Payload>(
    ctx: &Context<'_>,
    result: Result<Done<P::Node>, ApiError>,
) -> async_graphql::Result<P> {
    match result {
        Ok((node, receipt)) => Ok(P::done(node, &receipt)),
        Err(error) if error.is_of_input() => Ok(P::refused(user_error(ctx, error))),
        Err(error) => Err(error.into()),
    }
}

/// The error as it stands in the payload of the mutation that is resolved.
#[must_use]
pub fn user_error(ctx: &Context<'_>, error: ApiError) -> UserError {
    error.into_user_error(&ctx.field().arguments().unwrap_or_default())
}

/// The order that an input makes, in the trace that the request belongs to.
///
/// # Errors
/// Those of the input's expected version.
pub fn order(ctx: &Context<'_>, input: &impl Input) -> Result<Order, ApiError> {
    let trace_parent = ctx.data_opt::<TraceParent>().map(ToString::to_string);
    Ok(Order { trace_parent, ..inputs::order(input)? })
}

/// Carries out the command that an input stands for.
///
/// # Errors
/// Those of the bus, and of the input's expected version.
pub async fn execute<A: Aggregate>(
    ctx: &Context<'_>,
    input: &impl Input,
    id: Uuid,
    command: A::Command,
) -> Result<Receipt, ApiError> {
    let order = order(ctx, input)?;
    Ok(ctx.state()?.bus.execute::<A>(&*ctx.caller()?, id, command, order).await?)
}

/// The entity right after a command, folded from the log and never from a read model that may be
/// behind. What the payload nests is read after the read models have caught up with it.
///
/// # Errors
/// `INTERNAL_ERROR` if the schema was built without its parts. A log that cannot be read back leaves
/// the entity null, because the command was carried out.
pub async fn entity<P: Projector>(
    ctx: &Context<'_>,
    receipt: &Receipt,
) -> Result<Option<P::Row>, ApiError> {
    ctx.loaders()?.written.add(token(receipt));
    let reads = &ctx.state()?.reads;
    match as_of::row_at::<P>(reads, &receipt.stream, receipt.version).await {
        Ok(row) => Ok(row),
        Err(error) => {
            tracing::warn!(%error, stream = %receipt.stream, "an entity cannot be read back");
            Ok(None)
        }
    }
}

/// The consistency token of a receipt.
#[must_use]
pub fn token(receipt: &Receipt) -> Token {
    let Receipt { stream, version, position, .. } = receipt.clone();
    Token { stream, version, position }
}

/// A version as the schema shows it. No stream comes near the end of the range.
#[must_use]
pub fn shown(version: u64) -> i32 {
    i32::try_from(version).unwrap_or(i32::MAX)
}

macro_rules! payloads {
    ($(
        $(#[$doc:meta])*
        $name:ident {
            $(#[$node_doc:meta])* $node:ident: $type:ty,
            $($(#[$extra_doc:meta])* $extra:ident: $extra_type:ty,)*
        }
    )*) => {$(
        $(#[$doc])*
        #[derive(SimpleObject)]
        pub struct $name {
            $(#[$node_doc])*
            pub $node: Option<$type>,
            $($(#[$extra_doc])* pub $extra: Option<$extra_type>,)*
            /// Consistency token: a query that presents it in `consistentWith` sees this change.
            pub cursor: Option<String>,
            /// Version of the entity after the command, for `expectedVersion`.
            pub version: Option<i32>,
            /// Why it was not done, and then all other fields are null; empty if it was done.
            pub errors: Vec<UserError>,
        }

        impl Payload for $name {
            type Node = $type;

            fn done(node: Option<$type>, receipt: &Receipt) -> Self {
                Self {
                    $node: node,
                    $($extra: None,)*
                    cursor: Some(token(receipt).to_string()),
                    version: Some(shown(receipt.version.0)),
                    errors: vec![],
                }
            }

            fn refused(error: UserError) -> Self {
                Self {
                    $node: None,
                    $($extra: None,)*
                    cursor: None,
                    version: None,
                    errors: vec![error],
                }
            }
        }
    )*};
}

payloads! {
    /// What mutations of companies answer.
    CompanyPayload {
        /// The company after the command.
        company: Company,
        /// Its first administrator, as invited.
        admin: Member,
        /// The administrator's invitation, for `acceptInvitation`. Shown here only; a repeat of the
        /// same command shows it again.
        invitation_token: String,
    }
    /// What mutations of members answer.
    MemberPayload {
        /// The member after the command.
        member: Member,
    }
    /// What mutations of custom roles answer.
    RolePayload {
        /// The company after the command.
        company: Company,
        /// The role after the command; null if it was removed.
        role: CustomRole,
    }
    /// What inviting a member answers.
    InvitationPayload {
        /// The member, as invited.
        member: Member,
        /// The invitation, for `acceptInvitation`. Shown here only; a repeat of the same command
        /// shows it again. Null for who runs the platform: a login made by it would outlast the
        /// visit, so that the letter alone brings it.
        invitation_token: String,
    }
    /// What mutations of jobs answer.
    JobPayload {
        /// The job after the command.
        job: Job,
    }
    /// What adding a question to a job answers.
    QuestionPayload {
        /// The job after the command.
        job: Job,
        /// The question's id.
        question_id: async_graphql::ID,
    }
    /// What mutations of candidates answer.
    CandidatePayload {
        /// The candidate after the command.
        candidate: Candidate,
    }
    /// What mutations of applications answer.
    ApplicationPayload {
        /// The application after the command.
        application: Application,
    }
    /// What mutations of interviews answer.
    InterviewPayload {
        /// The interview after the command.
        interview: Interview,
    }
    /// What giving access to an interview answers.
    InterviewAccessPayload {
        /// The interview after the command.
        interview: Interview,
        /// Names the access, for `revokeInterviewAccess`.
        access_id: Uuid,
        /// The candidate's access token, for `openInterviewSession`. Shown here only; a repeat of
        /// the same command shows it again.
        access_token: String,
    }
    /// What asking a question answers.
    AskedPayload {
        /// The interview after the command.
        interview: Interview,
        /// The question's id in the interview.
        question_id: async_graphql::ID,
    }
    /// What answering a question answers.
    AnsweredPayload {
        /// The interview after the command.
        interview: Interview,
        /// The answer's id.
        answer_id: async_graphql::ID,
    }
    /// What mutations of verdicts answer.
    VerdictPayload {
        /// The verdict after the command.
        verdict: Verdict,
    }
}
