//! Mutations on interviews: planning and access, the candidate's part, the interviewer's part.

use async_graphql::{Context, ID, InputObject, Object, OneofObject};
use chrono::{DateTime, Utc};
use domain::application::Application as ApplicationAggregate;
use domain::ids::{AnswerId, ApplicationId, InterviewId, QuestionId};
use domain::interview::{self as rules, Ask, Command, Interview as InterviewAggregate};
use projections::interviews;
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::{ConsentPurpose, Interview, InterviewMode, RoundType};
use crate::error::ApiError;
use crate::inputs::{self, id, inputs, number, optional_id};
use crate::job::{Difficulty, QuestionType};
use crate::payload::{
    AnsweredPayload, AskedPayload, Done, InterviewAccessPayload, InterviewPayload, answer, entity,
    execute, order,
};
use crate::scope::{Scoped, is_candidate, reachable};

/// A new round of an application. Candidate and job are those of the application.
#[derive(InputObject)]
pub struct RoundInput {
    /// The application it belongs to.
    application_id: ID,
    /// 1, 2, 3 … within the application, each once.
    #[graphql(default = 1)]
    round_number: i32,
    /// Kind of round.
    round_type: RoundType,
    /// Who conducts it.
    mode: InterviewMode,
    /// The interviewer; needed where a person conducts, and refused where AI does.
    interviewer_id: Option<ID>,
    /// The candidate's résumé that it is tailored to.
    resume_id: Option<ID>,
    /// The abandoned round of the same application that this one starts anew.
    restart_of_id: Option<ID>,
}

/// Plans a round, without a time.
#[derive(InputObject)]
pub struct PlanInterviewInput {
    /// Idempotency key.
    command_id: Uuid,
    /// The round.
    round: RoundInput,
}

/// The round that gets a time: one planned before, or a new one.
#[derive(OneofObject)]
pub enum ScheduledRoundInput {
    /// Global id of a round planned before, `intv_…`.
    PlannedId(ID),
    /// A new round.
    New(RoundInput),
}

/// Gives a round its time.
#[derive(InputObject)]
pub struct ScheduleInterviewInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw of a round planned before; another one found is refused with
    /// `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Which round.
    round: ScheduledRoundInput,
    /// Begin, UTC; in the future, within two years.
    scheduled_at: DateTime<Utc>,
    /// Length in minutes, 5 to 480.
    #[graphql(default = 60)]
    duration_minutes: i32,
}

/// Gives a round another time.
#[derive(InputObject)]
pub struct RescheduleInterviewInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Which interview.
    interview_id: ID,
    /// Begin, UTC; in the future, within two years.
    scheduled_at: DateTime<Utc>,
    /// Length in minutes, 5 to 480.
    #[graphql(default = 60)]
    duration_minutes: i32,
}

/// Says who conducts a round.
#[derive(InputObject)]
pub struct AssignInterviewerInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Which interview.
    interview_id: ID,
    /// Who.
    member_id: ID,
}

/// Does not hold a round, or breaks it off.
#[derive(InputObject)]
pub struct CancelInterviewInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Which interview.
    interview_id: ID,
    /// Why; needed once it is in progress.
    reason: Option<String>,
}

/// Makes an access token for an interview's candidate.
#[derive(InputObject)]
pub struct IssueInterviewAccessInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Which interview.
    interview_id: ID,
    /// End of the access, UTC; seven days from now without it.
    expires_at: Option<DateTime<Utc>>,
}

/// Takes an access back.
#[derive(InputObject)]
pub struct RevokeInterviewAccessInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Which interview.
    interview_id: ID,
    /// Which access.
    access_id: Uuid,
}

/// Records the candidate's consent, in place of any before.
#[derive(InputObject)]
pub struct RecordConsentInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Which interview.
    interview_id: ID,
    /// To what; at least one.
    purposes: Vec<ConsentPurpose>,
}

/// Asks a question, as a person: one of the job's, or one's own.
#[derive(InputObject)]
pub struct AskQuestionInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Which interview.
    interview_id: ID,
    /// What is asked.
    question: AskInput,
}

/// What is asked: one of the job's questions, or one's own.
#[derive(OneofObject)]
pub enum AskInput {
    /// Id of one of the job's questions, `ques_…`.
    JobQuestionId(ID),
    /// A question for this candidate.
    Own(OwnQuestionInput),
}

/// A question for one candidate.
#[derive(InputObject)]
pub struct OwnQuestionInput {
    /// What is asked, at most 5,000 characters.
    text: String,
    /// What it is about.
    #[graphql(name = "type")]
    question_type: QuestionType,
    /// How hard it is.
    difficulty: Difficulty,
    /// Keys of the rubric dimensions that it measures.
    #[graphql(default)]
    dimensions: Vec<String>,
}

/// Answers a question, as the candidate.
#[derive(InputObject)]
pub struct SubmitAnswerInput {
    /// Idempotency key. Answers given offline are sent later, in order, each under its own.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Which interview.
    interview_id: ID,
    /// The question that it answers, `ques_…`.
    question_id: ID,
    /// The answer, at most 20,000 characters.
    text: String,
}

/// Puts an interviewer's note to a round.
#[derive(InputObject)]
pub struct AddInterviewNoteInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Which interview.
    interview_id: ID,
    /// The note, at most 5,000 characters.
    text: String,
}

/// Declares inputs that name an interview and nothing else.
macro_rules! bare_inputs {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(InputObject)]
        pub struct $name {
            /// Idempotency key.
            command_id: Uuid,
            /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
            expected_version: Option<i32>,
            /// Which interview.
            interview_id: ID,
        }
    )*};
}

bare_inputs! {
    /// Records that the candidate did not come.
    MarkNoShowInput;
    /// Takes the candidate's consent back.
    WithdrawConsentInput;
    /// Comes to an interview.
    JoinInterviewInput;
    /// Goes from an interview.
    LeaveInterviewInput;
    /// Begins the conversation.
    StartInterviewInput;
    /// Ends the conversation.
    CompleteInterviewInput;
}

inputs! {
    PlanInterviewInput => "planInterview";
    ScheduleInterviewInput => "scheduleInterview", expected_version;
    RescheduleInterviewInput => "rescheduleInterview", expected_version;
    AssignInterviewerInput => "assignInterviewer", expected_version;
    CancelInterviewInput => "cancelInterview", expected_version;
    MarkNoShowInput => "markNoShow", expected_version;
    IssueInterviewAccessInput => "issueInterviewAccess", expected_version;
    RevokeInterviewAccessInput => "revokeInterviewAccess", expected_version;
    RecordConsentInput => "recordConsent", expected_version;
    WithdrawConsentInput => "withdrawConsent", expected_version;
    JoinInterviewInput => "joinInterview", expected_version;
    LeaveInterviewInput => "leaveInterview", expected_version;
    StartInterviewInput => "startInterview", expected_version;
    AskQuestionInput => "askQuestion", expected_version;
    SubmitAnswerInput => "submitAnswer", expected_version;
    CompleteInterviewInput => "completeInterview", expected_version;
    AddInterviewNoteInput => "addInterviewNote", expected_version;
}

/// Mutations on interviews.
#[derive(Default)]
pub struct InterviewMutation;

#[Object]
impl InterviewMutation {
    /// Plans a round, without a time.
    async fn plan_interview(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The round.")] input: PlanInterviewInput,
    ) -> async_graphql::Result<InterviewPayload> {
        answer(ctx, plan(ctx, &input).await)
    }

    /// Gives a round its time: one planned before, or a new one.
    async fn schedule_interview(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The round and its time.")] input: ScheduleInterviewInput,
    ) -> async_graphql::Result<InterviewPayload> {
        answer(ctx, schedule(ctx, &input).await)
    }

    /// Gives a round another time, also after nobody came.
    async fn reschedule_interview(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The interview and its time.")] input: RescheduleInterviewInput,
    ) -> async_graphql::Result<InterviewPayload> {
        let command = number("durationMinutes", input.duration_minutes).map(|duration_minutes| {
            Command::Reschedule { at: input.scheduled_at, duration_minutes }
        });
        answer(ctx, change(ctx, &input, &input.interview_id, command).await)
    }

    /// Says who conducts a round.
    async fn assign_interviewer(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The interview and the interviewer.")] input: AssignInterviewerInput,
    ) -> async_graphql::Result<InterviewPayload> {
        let command = id("memberId", &input.member_id)
            .map(|member_id| Command::AssignInterviewer { member_id });
        answer(ctx, change(ctx, &input, &input.interview_id, command).await)
    }

    /// Does not hold a round, or breaks it off, which needs a reason.
    async fn cancel_interview(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The interview.")] input: CancelInterviewInput,
    ) -> async_graphql::Result<InterviewPayload> {
        let command = Ok(Command::Cancel { reason: input.reason.clone() });
        answer(ctx, change(ctx, &input, &input.interview_id, command).await)
    }

    /// Records that the candidate did not come. Not before the round was to begin.
    async fn mark_no_show(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The interview.")] input: MarkNoShowInput,
    ) -> async_graphql::Result<InterviewPayload> {
        answer(ctx, change(ctx, &input, &input.interview_id, Ok(Command::MarkNoShow)).await)
    }

    /// Makes an access token for the candidate. It is shown once, and a repeat of the same command
    /// shows it again.
    async fn issue_interview_access(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The interview.")] input: IssueInterviewAccessInput,
    ) -> async_graphql::Result<InterviewAccessPayload> {
        match issue_access(ctx, &input).await {
            Ok((done, access_id, token)) => {
                let mut payload: InterviewAccessPayload = answer(ctx, Ok(done))?;
                payload.access_id = Some(access_id);
                payload.access_token = Some(token);
                Ok(payload)
            }
            Err(error) => answer(ctx, Err(error)),
        }
    }

    /// Takes an access back; sessions opened with it end within a second.
    async fn revoke_interview_access(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The interview and the access.")] input: RevokeInterviewAccessInput,
    ) -> async_graphql::Result<InterviewPayload> {
        let command = Ok(Command::RevokeAccess { access_id: input.access_id });
        answer(ctx, change(ctx, &input, &input.interview_id, command).await)
    }

    /// Records the candidate's consent. Only the candidate can give it.
    async fn record_consent(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The interview and the purposes.")] input: RecordConsentInput,
    ) -> async_graphql::Result<InterviewPayload> {
        let purposes = input.purposes.iter().map(|purpose| (*purpose).into()).collect();
        let command = Ok(Command::GiveConsent { purposes });
        answer(ctx, change(ctx, &input, &input.interview_id, command).await)
    }

    /// Takes the candidate's consent back. AI stops at once; a round led by a person goes on.
    async fn withdraw_consent(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The interview.")] input: WithdrawConsentInput,
    ) -> async_graphql::Result<InterviewPayload> {
        answer(ctx, change(ctx, &input, &input.interview_id, Ok(Command::WithdrawConsent)).await)
    }

    /// Comes to an interview: with an interview's access token as the candidate, else as the
    /// interviewer.
    async fn join_interview(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The interview.")] input: JoinInterviewInput,
    ) -> async_graphql::Result<InterviewPayload> {
        let command = party(ctx).map(|party| Command::Join { party });
        answer(ctx, change(ctx, &input, &input.interview_id, command).await)
    }

    /// Goes from an interview; see `joinInterview`.
    async fn leave_interview(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The interview.")] input: LeaveInterviewInput,
    ) -> async_graphql::Result<InterviewPayload> {
        let command = party(ctx).map(|party| Command::Leave { party });
        answer(ctx, change(ctx, &input, &input.interview_id, command).await)
    }

    /// Begins the conversation. A round conducted by AI needs the candidate's consent.
    async fn start_interview(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The interview.")] input: StartInterviewInput,
    ) -> async_graphql::Result<InterviewPayload> {
        answer(ctx, change(ctx, &input, &input.interview_id, Ok(Command::Start)).await)
    }

    /// Asks a question, as a person. One question is open at a time.
    async fn ask_question(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The interview and the question.")] input: AskQuestionInput,
    ) -> async_graphql::Result<AskedPayload> {
        match ask(ctx, &input).await {
            Ok((done, question_id)) => {
                let mut payload: AskedPayload = answer(ctx, Ok(done))?;
                payload.question_id = Some(question_id.to_string().into());
                Ok(payload)
            }
            Err(error) => answer(ctx, Err(error)),
        }
    }

    /// Answers a question, as the candidate. The first accepted answer stands.
    async fn submit_answer(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The interview, the question and the answer.")] input: SubmitAnswerInput,
    ) -> async_graphql::Result<AnsweredPayload> {
        match submit_answer(ctx, &input).await {
            Ok((done, answer_id)) => {
                let mut payload: AnsweredPayload = answer(ctx, Ok(done))?;
                payload.answer_id = Some(answer_id.to_string().into());
                Ok(payload)
            }
            Err(error) => answer(ctx, Err(error)),
        }
    }

    /// Ends the conversation. A second time is refused: `INT_003`.
    async fn complete_interview(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The interview.")] input: CompleteInterviewInput,
    ) -> async_graphql::Result<InterviewPayload> {
        answer(ctx, change(ctx, &input, &input.interview_id, Ok(Command::Complete)).await)
    }

    /// Puts an interviewer's note to a round. Candidates never see it.
    async fn add_interview_note(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The interview and the note.")] input: AddInterviewNoteInput,
    ) -> async_graphql::Result<InterviewPayload> {
        let command = Ok(Command::AddNote { text: input.text.clone() });
        answer(ctx, change(ctx, &input, &input.interview_id, command).await)
    }
}

/// Whose side the caller is on.
fn party(ctx: &Context<'_>) -> Result<rules::Party, ApiError> {
    match is_candidate(&*ctx.caller()?) {
        true => Ok(rules::Party::Candidate),
        false => Ok(rules::Party::Interviewer),
    }
}

async fn plan(ctx: &Context<'_>, input: &PlanInterviewInput) -> Result<Done<Interview>, ApiError> {
    let round = plan_round(ctx, &input.round).await?;
    run(ctx, input, new_id(ctx, input)?, Command::Plan { round }).await
}

async fn schedule(
    ctx: &Context<'_>,
    input: &ScheduleInterviewInput,
) -> Result<Done<Interview>, ApiError> {
    let (at, duration) = (input.scheduled_at, number("durationMinutes", input.duration_minutes)?);
    let command = |round| Command::Schedule { round, at, duration_minutes: duration };
    match &input.round {
        ScheduledRoundInput::PlannedId(planned) => {
            change(ctx, input, planned, Ok(command(None))).await
        }
        ScheduledRoundInput::New(round) => {
            let round = plan_round(ctx, round).await?;
            run(ctx, input, new_id(ctx, input)?, command(Some(round))).await
        }
    }
}

/// The same command makes the same interview, however often it is sent.
fn new_id(ctx: &Context<'_>, input: &impl inputs::Input) -> Result<InterviewId, ApiError> {
    let caller = ctx.caller()?;
    Ok(InterviewId(commands::derive_id(&caller, input.command_id(), "interview", 0)))
}

/// The round with the application's candidate and job, which the bus needs to load their streams.
async fn plan_round(ctx: &Context<'_>, input: &RoundInput) -> Result<rules::PlanRound, ApiError> {
    let application_id: ApplicationId = id("applicationId", &input.application_id)?;
    let (bus, company) = (&ctx.state()?.bus, ctx.caller()?.company);
    let application = bus.state::<ApplicationAggregate>(company, application_id.0).await?;
    let of = application.as_ref().and_then(|a| a.candidate().zip(a.job()));
    let (candidate_id, job_id) = of.ok_or_else(|| ApiError::not_found("APPLICATION_NOT_FOUND"))?;
    Ok(rules::PlanRound {
        application_id,
        round_number: number("roundNumber", input.round_number)?,
        round_type: input.round_type.into(),
        mode: input.mode.into(),
        interviewer_id: optional_id("interviewerId", input.interviewer_id.as_ref())?,
        resume_id: optional_id("resumeId", input.resume_id.as_ref())?,
        restart_of: optional_id("restartOfId", input.restart_of_id.as_ref())?,
        candidate_id,
        job_id,
    })
}

async fn issue_access(
    ctx: &Context<'_>,
    input: &IssueInterviewAccessInput,
) -> Result<(Done<Interview>, Uuid, String), ApiError> {
    let interview = id("interviewId", &input.interview_id)?;
    let (order, identity) = (order(ctx, input)?, &ctx.state()?.identity);
    let caller = ctx.caller()?;
    let issued =
        identity.issue_interview_access(&caller, order, interview, input.expires_at).await?;
    let row = entity::<interviews::Interviews>(ctx, &issued.receipt).await?;
    let token = issued.token.expose_secret().to_owned();
    Ok(((row.map(Interview::now), issued.receipt), issued.access_id, token))
}

async fn ask(
    ctx: &Context<'_>,
    input: &AskQuestionInput,
) -> Result<(Done<Interview>, QuestionId), ApiError> {
    let kind = format!("question/{}", input.interview_id.as_str());
    let question_id = QuestionId(commands::derive_id(&*ctx.caller()?, input.command_id, &kind, 0));
    let ask = match &input.question {
        AskInput::JobQuestionId(question) => Ask::JobQuestion(id("jobQuestionId", question)?),
        AskInput::Own(own) => Ask::Own {
            text: own.text.clone(),
            question_type: own.question_type.into(),
            difficulty: own.difficulty.into(),
            dimensions: own.dimensions.clone(),
        },
    };
    let command = Ok(Command::Ask { question_id, ask });
    Ok((change(ctx, input, &input.interview_id, command).await?, question_id))
}

async fn submit_answer(
    ctx: &Context<'_>,
    input: &SubmitAnswerInput,
) -> Result<(Done<Interview>, AnswerId), ApiError> {
    let kind = format!("answer/{}", input.interview_id.as_str());
    let answer_id = AnswerId(commands::derive_id(&*ctx.caller()?, input.command_id, &kind, 0));
    let question_id = id("questionId", &input.question_id)?;
    let command = Ok(Command::Answer { answer_id, question_id, text: input.text.clone() });
    Ok((change(ctx, input, &input.interview_id, command).await?, answer_id))
}

async fn change(
    ctx: &Context<'_>,
    input: &impl inputs::Input,
    interview_id: &ID,
    command: Result<Command, ApiError>,
) -> Result<Done<Interview>, ApiError> {
    run(ctx, input, id("interviewId", interview_id)?, command?).await
}

async fn run(
    ctx: &Context<'_>,
    input: &impl inputs::Input,
    interview: InterviewId,
    command: Command,
) -> Result<Done<Interview>, ApiError> {
    reachable(&*ctx.caller()?, interview)?;
    let receipt = execute::<InterviewAggregate>(ctx, input, interview.0, command).await?;
    let row = entity::<interviews::Interviews>(ctx, &receipt).await?;
    Ok((row.map(Interview::now), receipt))
}
