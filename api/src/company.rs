//! Companies and their people: who asks, sign-in, invitations, roles.

use async_graphql::{Context, Enum, ID, InputObject, Object, SimpleObject, Union};
use chrono::{DateTime, Utc};
use domain::caller::Actor as DomainActor;
use domain::company::{self, Company as CompanyAggregate};
use domain::ids::{AccountId, ApiKeyId, CandidateId, CompanyId, InterviewId, MemberId};
use domain::member::{self, Member as MemberAggregate};
use domain::permission::Action;
use identity::{Entrance, IdentityError, Invited, Invitee, Place};
use projections::{companies, members};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::candidate_account::CandidateViewer;
use crate::custom_role::CustomRole;
use crate::error::{ApiError, UserError};
use crate::inputs::{self, id, inputs, optional_id};
use crate::interview::Interview;
use crate::loaders::one;
use crate::pagination::{connections, forward, wants_total};
use crate::payload::{
    CompanyPayload, Done, InvitationPayload, MemberPayload, answer, entity, execute, order, shown,
    user_error,
};
use crate::permission::{Permission, permissions};
use crate::scope::Scoped;
use crate::visitor::{self, Visitor};

/// A member's role: a named set of rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::Role")]
pub enum Role {
    /// Runs the platform: makes companies; belongs to none, and may enter one by two proofs, which that
    /// company's history tells.
    SystemAdmin,
    /// Runs one company: everything in it.
    CompanyAdmin,
    /// Recruits: writes candidates, jobs, interviews, verdicts; sees private notes.
    Hr,
    /// Owns jobs: their interviews, candidates and verdicts.
    HiringManager,
    /// Interviews where assigned, and sees those candidates.
    Employee,
    /// Reads.
    Viewer,
    /// Replays histories and sees who did what.
    Auditor,
}

/// Where a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "members::Status")]
pub enum MemberStatus {
    /// Asked to join, without a login yet.
    Invited,
    /// Joined with a login.
    Active,
    /// Without rights.
    Deactivated,
}

/// A tenant: everything belongs to exactly one company, and nobody sees another one's.
pub struct Company(pub companies::Row);

/// A tenant: everything belongs to exactly one company, and nobody sees another one's.
#[Object]
impl Company {
    /// Global id, `comp_…`.
    pub async fn id(&self) -> ID {
        self.0.company_id.to_string().into()
    }

    /// Its name.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Its mail domain, unique everywhere, if it has one.
    async fn domain(&self) -> Option<&str> {
        self.0.domain.as_deref()
    }

    /// Version of its history.
    async fn version(&self) -> i32 {
        shown(self.0.version)
    }

    /// When it became a tenant, UTC.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When it last changed, UTC.
    async fn updated_at(&self) -> DateTime<Utc> {
        self.0.updated_at
    }
}

/// A person of a company.
pub struct Member(pub members::Row);

/// A person of a company.
#[Object]
impl Member {
    /// Global id, `memb_…`.
    pub async fn id(&self) -> ID {
        self.0.member_id.to_string().into()
    }

    /// Name in full; null once the person was erased.
    async fn full_name(&self) -> Option<&str> {
        self.0.full_name.as_deref()
    }

    /// E-mail address; null once the person was erased.
    async fn email(&self) -> Option<&str> {
        self.0.email.as_deref()
    }

    /// What the person may do.
    async fn role(&self) -> Role {
        self.0.role.into()
    }

    /// What the person may do besides, by a role that the company made; null without one.
    async fn custom_role(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<CustomRole>> {
        let Some(role_id) = self.0.custom_role_id else { return Ok(None) };
        let company = one(&ctx.loaders()?.companies, Some(self.0.company_id)).await?;
        Ok(company.and_then(|row| row.role(role_id).cloned()).map(CustomRole))
    }

    /// Department, if known.
    async fn department(&self) -> Option<&str> {
        self.0.department.as_deref()
    }

    /// To whom the person reports, if known.
    async fn manager(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Member>> {
        Ok(one(&ctx.loaders()?.members, self.0.manager_id).await?.map(Member))
    }

    /// Where the member stands.
    async fn status(&self) -> MemberStatus {
        self.0.status.into()
    }

    /// When the person signed in last to this company, UTC; null if never, and to who may not manage
    /// members.
    async fn last_signed_in_at(
        &self,
        ctx: &Context<'_>,
    ) -> async_graphql::Result<Option<DateTime<Utc>>> {
        Ok(one(&ctx.loaders()?.last_sign_ins, Some(self.0.member_id)).await?)
    }

    /// Version of the member's history, for `expectedVersion`.
    async fn version(&self) -> i32 {
        shown(self.0.version)
    }

    /// When the person was invited, UTC.
    async fn created_at(&self) -> DateTime<Utc> {
        self.0.created_at
    }

    /// When something last changed, UTC.
    async fn updated_at(&self) -> DateTime<Utc> {
        self.0.updated_at
    }
}

connections! {
    MemberConnection, MemberEdge: Member = "the company's members";
}

/// What kind of actor did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum ActorKind {
    /// A person of the company.
    Member,
    /// A candidate: signed in, or by the access token of an interview.
    Candidate,
    /// A person who runs the platform.
    Operator,
    /// A program of the company, by its API key.
    Service,
    /// A part of Colloquy that acts by itself.
    System,
    /// The AI side: it asks and proposes, and never decides.
    Ai,
}

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    kind: ActorKind,
    name: String,
}

impl Actor {
    /// Reads the stored form, `kind:id` or `kind:name`.
    #[must_use]
    pub fn parse(stored: &str) -> Self {
        let (kind, rest) = stored.split_once(':').unwrap_or(("system", stored));
        let printed = |print: fn(Uuid) -> String| match Uuid::try_parse(rest) {
            Ok(id) => print(id),
            Err(_) => rest.to_owned(),
        };
        let (kind, name) = match kind {
            "member" => (ActorKind::Member, printed(|id| MemberId(id).to_string())),
            "candidate" => (ActorKind::Candidate, printed(|id| CandidateId(id).to_string())),
            "operator" => (ActorKind::Operator, printed(|id| AccountId(id).to_string())),
            "service" => (ActorKind::Service, printed(|id| ApiKeyId(id).to_string())),
            "ai" => (ActorKind::Ai, rest.to_owned()),
            _ => (ActorKind::System, rest.to_owned()),
        };
        Self { kind, name }
    }
}

/// Who did something.
#[Object]
impl Actor {
    /// What kind of actor.
    async fn kind(&self) -> ActorKind {
        self.kind
    }

    /// The person's global id, such as `memb_…` or `cand_…`; for a machine its name, such as `clock`.
    async fn name(&self) -> &str {
        &self.name
    }

    /// The member, if one acted and the caller may see the company's people.
    async fn member(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Member>> {
        let member: Option<MemberId> = self.name.parse().ok();
        Ok(one(&ctx.loaders()?.members, member).await?.map(Member))
    }
}

/// Who asks: a member, a candidate, the guest of one interview, an operator of the platform, or a
/// program.
#[derive(Union)]
pub enum Viewer {
    /// A person of a company.
    Member(MemberViewer),
    /// A candidate of a company who is signed in.
    Candidate(CandidateViewer),
    /// The holder of an interview's access token.
    Guest(GuestViewer),
    /// A person who runs the platform.
    Operator(OperatorViewer),
    /// A program of a company, by its API key.
    Service(ServiceViewer),
}

/// A program of a company, which comes in by an API key.
#[derive(SimpleObject)]
pub struct ServiceViewer {
    /// Global id of the key, `akey_…`.
    id: ID,
    /// What the program may do at present.
    permissions: Vec<Permission>,
    /// Global id of the company, `comp_…`.
    company_id: ID,
    /// End of the key, UTC: sockets and streams end with it.
    expires_at: DateTime<Utc>,
}

/// A person of a company who asks.
pub struct MemberViewer {
    member: MemberId,
    roles: Vec<Role>,
    permissions: Vec<Permission>,
    company: CompanyId,
    expires_at: DateTime<Utc>,
}

/// A person of a company who asks.
#[Object]
impl MemberViewer {
    /// Global id of the member, `memb_…`.
    async fn id(&self) -> ID {
        self.member.to_string().into()
    }

    /// The member; null for a moment after joining, until the read model has caught up.
    async fn member(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Member>> {
        Ok(one(&ctx.loaders()?.members, Some(self.member)).await?.map(Member))
    }

    /// The person's built-in roles at present; `member` has the custom one.
    async fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// What the person may do at present, and how far each right reaches.
    async fn permissions(&self) -> &[Permission] {
        &self.permissions
    }

    /// Global id of the company, `comp_…`.
    async fn company_id(&self) -> ID {
        self.company.to_string().into()
    }

    /// End of the access token, UTC: sockets and streams end with it.
    async fn expires_at(&self) -> DateTime<Utc> {
        self.expires_at
    }
}

/// The holder of an interview's access token, who reaches this one interview.
pub struct GuestViewer {
    interview: InterviewId,
    permissions: Vec<Permission>,
    expires_at: DateTime<Utc>,
}

/// The holder of an interview's access token, who reaches this one interview.
#[Object]
impl GuestViewer {
    /// Global id of the interview, `intv_…`.
    async fn interview_id(&self) -> ID {
        self.interview.to_string().into()
    }

    /// The interview, as far as its candidate may see it.
    async fn interview(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Interview>> {
        Ok(one(&ctx.loaders()?.interviews, Some(self.interview)).await?.map(Interview::now))
    }

    /// What the candidate may do at present, and how far each right reaches.
    async fn permissions(&self) -> &[Permission] {
        &self.permissions
    }

    /// End of the access token, UTC: sockets and streams end with it.
    async fn expires_at(&self) -> DateTime<Utc> {
        self.expires_at
    }
}

/// A person who runs the platform; a member of no company.
#[derive(SimpleObject)]
pub struct OperatorViewer {
    /// Global id of the account, `acct_…`.
    id: ID,
    /// Global id of the company entered, `comp_…`; null on the platform.
    company_id: Option<ID>,
    /// What the person may do at present, and how far each right reaches.
    permissions: Vec<Permission>,
    /// End of the access token, UTC: sockets and streams end with it.
    expires_at: DateTime<Utc>,
}

fn viewer(principal: &identity::Principal) -> Result<Viewer, ApiError> {
    let (caller, expires_at) = (&principal.caller, principal.expires_at);
    let permissions = permissions(caller);
    match caller.actor {
        DomainActor::Member(member) => {
            let roles = caller.roles.iter().map(|role| Role::from(*role)).collect();
            let company = caller.company;
            Ok(Viewer::Member(MemberViewer { member, roles, permissions, company, expires_at }))
        }
        DomainActor::Candidate(candidate) => {
            let company = caller.company;
            Ok(Viewer::Candidate(CandidateViewer { candidate, company, permissions, expires_at }))
        }
        DomainActor::Guest { interview, .. } => {
            Ok(Viewer::Guest(GuestViewer { interview, permissions, expires_at }))
        }
        DomainActor::Operator(account) => {
            let entered = Some(caller.company).filter(|company| *company != CompanyId::NONE);
            let company_id = entered.map(|company| company.to_string().into());
            let id = account.to_string().into();
            Ok(Viewer::Operator(OperatorViewer { id, company_id, permissions, expires_at }))
        }
        DomainActor::Service { id, .. } => Ok(Viewer::Service(ServiceViewer {
            id: id.to_string().into(),
            permissions,
            company_id: caller.company.to_string().into(),
            expires_at,
        })),
        DomainActor::System(_) | DomainActor::Ai(_) => Err(ApiError::forbidden()),
    }
}

/// Which members a list shows.
#[derive(Debug, Default, InputObject)]
pub struct MemberFilter {
    /// Only with one of these roles.
    roles: Option<Vec<Role>>,
    /// Only with one of these custom roles, by id.
    custom_role_ids: Option<Vec<ID>>,
    /// Only those who stand so.
    statuses: Option<Vec<MemberStatus>>,
}

impl MemberFilter {
    fn read(self) -> Result<members::Filter, ApiError> {
        let custom = self.custom_role_ids.unwrap_or_default();
        let custom: Result<_, _> = custom.iter().map(|role| id("customRoleIds", role)).collect();
        Ok(members::Filter {
            roles: self.roles.into_iter().flatten().map(Into::into).collect(),
            custom_roles: custom?,
            statuses: self.statuses.into_iter().flatten().map(Into::into).collect(),
        })
    }
}

/// Queries on companies and people.
#[derive(Default)]
pub struct CompanyQuery;

#[Object]
impl CompanyQuery {
    /// Who asks; null without a token.
    async fn viewer(&self, ctx: &Context<'_>) -> async_graphql::Result<Option<Viewer>> {
        match ctx.session()?.principal() {
            Ok(principal) => Ok(Some(viewer(&principal)?)),
            Err(_) => Ok(None),
        }
    }

    /// The caller's company.
    async fn company(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Consistency tokens of changes that the answer must show.")]
        consistent_with: Option<Vec<String>>,
    ) -> async_graphql::Result<Option<Company>> {
        let view = ctx.view(Action::ReadCompany)?;
        ctx.consistent(consistent_with).await?;
        let row = companies::get(&ctx.state()?.reads, &view).await.map_err(ApiError::from)?;
        Ok(row.map(Company))
    }

    /// The company's people, oldest first.
    async fn members(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which members are shown; all without it.")] filter: Option<MemberFilter>,
        #[graphql(desc = "How many, 1 to 100; 20 without it.")] first: Option<i32>,
        #[graphql(desc = "The page after this cursor of the same list with the same filter.")]
        after: Option<String>,
        #[graphql(desc = "Consistency tokens of changes that the answer must show.")]
        consistent_with: Option<Vec<String>>,
    ) -> async_graphql::Result<MemberConnection> {
        let view = ctx.view(Action::ReadMembers)?;
        let (page, filter) = (forward(first, after)?, filter.unwrap_or_default().read()?);
        ctx.consistent(consistent_with).await?;
        let reads = &ctx.state()?.reads;
        let rows = members::list(reads, &view, &filter, &page).await.map_err(ApiError::from)?;
        let total = match wants_total(ctx) {
            true => members::count(reads, &view, &filter).await.map_err(ApiError::from)?,
            false => 0,
        };
        Ok(MemberConnection::of(rows, total, Member))
    }

    /// One person of the company; an unknown id is the error `MEMBER_NOT_FOUND`.
    async fn member(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Global id, `memb_…`.", name = "id")] member_id: ID,
        #[graphql(desc = "Consistency tokens of changes that the answer must show.")]
        consistent_with: Option<Vec<String>>,
    ) -> async_graphql::Result<Option<Member>> {
        let view = ctx.view(Action::ReadMembers)?;
        let member = id("id", &member_id)?;
        ctx.consistent(consistent_with).await?;
        let row = members::get(&ctx.state()?.reads, &view, member).await.map_err(ApiError::from)?;
        let row = row.ok_or_else(|| ApiError::not_found("MEMBER_NOT_FOUND"))?;
        Ok(Some(Member(row)))
    }
}

/// What opening a session answers.
#[derive(SimpleObject)]
pub struct SessionPayload {
    /// Goes into the header `Authorization: Bearer …`, or into the payload of `connection_init`.
    access_token: Option<String>,
    /// Always `Bearer`.
    token_type: Option<String>,
    /// End of the access token, UTC.
    expires_at: Option<DateTime<Utc>>,
    /// Who signed in.
    viewer: Option<Viewer>,
    /// The password was right, and the account asks for a second proof: send this with a code by
    /// `finishSignIn` before `expiresAt`. There is no access token yet then, and no viewer.
    second_step_token: Option<String>,
    /// Why it was not done, and then all other fields are null; empty if it was done.
    errors: Vec<UserError>,
}

/// The answer to who opened or prolonged a session, with the cookie that prolongs it.
pub fn session(
    ctx: &Context<'_>,
    result: Result<identity::Session, IdentityError>,
) -> async_graphql::Result<SessionPayload> {
    if let Ok(session) = &result {
        ctx.session()?.sign_in(session);
        if let Some(refresh) = &session.refresh_token {
            visitor::keep(ctx, refresh, ctx.state()?.bus.now());
        }
    }
    if let Err(IdentityError::SecondStepNeeded(step)) = &result {
        return Ok(SessionPayload {
            access_token: None,
            token_type: None,
            expires_at: Some(step.expires_at),
            viewer: None,
            second_step_token: Some(step.token.expose_secret().to_owned()),
            errors: vec![],
        });
    }
    match result.map_err(ApiError::from) {
        Ok(session) => Ok(SessionPayload {
            viewer: Some(viewer(&session.principal)?),
            expires_at: Some(session.principal.expires_at),
            access_token: Some(session.access_token.expose_secret().to_owned()),
            token_type: Some("Bearer".to_owned()),
            second_step_token: None,
            errors: vec![],
        }),
        Err(error) if error.is_of_input() => Ok(SessionPayload {
            access_token: None,
            token_type: None,
            expires_at: None,
            viewer: None,
            second_step_token: None,
            errors: vec![user_error(ctx, error)],
        }),
        Err(error) => Err(error.into()),
    }
}

/// Signs a person in. It changes nothing, so that it needs no `commandId`.
#[derive(InputObject)]
pub struct SignInInput {
    /// E-mail address of the account.
    email: String,
    /// Its password.
    #[graphql(secret)]
    password: String,
    /// Global id of the company to enter, `comp_…`; without it the one joined last. Who runs the
    /// platform may enter any, by a session that was opened by two proofs (else
    /// `SECOND_FACTOR_MISSING`); the company's history tells of it.
    company_id: Option<ID>,
}

/// Takes an invitation up. A repeat with the same password is harmless, so that it needs no
/// `commandId`.
#[derive(InputObject)]
pub struct AcceptInvitationInput {
    /// The invitation, as it was shown.
    #[graphql(secret)]
    token: String,
    /// Password of the new login: 10 to 128 characters, among them an upper-case letter, a digit, and a
    /// character that is neither letter nor digit. If the address has a login already, its password.
    #[graphql(secret)]
    password: String,
}

/// Exchanges an interview's access token for a session. It needs no `commandId`.
#[derive(InputObject)]
pub struct OpenInterviewSessionInput {
    /// The access token, as it was shown.
    #[graphql(secret)]
    token: String,
}

/// Makes a company with its first administrator.
#[derive(InputObject)]
pub struct RegisterCompanyInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Name of the company, at most 255 characters.
    name: String,
    /// Its mail domain, unique everywhere.
    domain: Option<String>,
    /// Address of the first administrator.
    admin_email: String,
    /// Name of the first administrator.
    admin_full_name: String,
}

/// Changes what is known of the own company. What is left out is taken away.
#[derive(InputObject)]
pub struct UpdateCompanyInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Name of the company, at most 255 characters.
    name: String,
    /// Its mail domain, unique everywhere.
    domain: Option<String>,
}

/// Invites a person to the company.
#[derive(InputObject)]
pub struct InviteMemberInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Address, unique among the company's members.
    email: String,
    /// Name in full.
    full_name: String,
    /// First role.
    role: Role,
    /// Department, if known.
    department: Option<String>,
}

/// Invites a person once more.
#[derive(InputObject)]
pub struct RenewInvitationInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Whom.
    member_id: ID,
}

/// Changes what is known of a member. What is left out is taken away.
#[derive(InputObject)]
pub struct UpdateMemberInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Whom.
    member_id: ID,
    /// Name in full.
    full_name: String,
    /// Department, if known.
    department: Option<String>,
    /// To whom the person reports: another member, who has joined and is active.
    manager_id: Option<ID>,
}

/// Gives a member another role.
#[derive(InputObject)]
pub struct AssignRoleInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Whose.
    member_id: ID,
    /// The new role.
    role: Role,
}

/// Names a member to change.
#[derive(InputObject)]
pub struct DeactivateMemberInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Whom.
    member_id: ID,
}

/// Names a member to change.
#[derive(InputObject)]
pub struct ReactivateMemberInput {
    /// Idempotency key.
    command_id: Uuid,
    /// Version that the client saw; another one found is refused with `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Whom.
    member_id: ID,
}

inputs! {
    RegisterCompanyInput => "registerCompany";
    UpdateCompanyInput => "updateCompany", expected_version;
    InviteMemberInput => "inviteMember";
    RenewInvitationInput => "renewInvitation", expected_version;
    UpdateMemberInput => "updateMember", expected_version;
    AssignRoleInput => "assignRole", expected_version;
    DeactivateMemberInput => "deactivateMember", expected_version;
    ReactivateMemberInput => "reactivateMember", expected_version;
}

/// Mutations on companies and people.
#[derive(Default)]
pub struct CompanyMutation;

#[Object]
impl CompanyMutation {
    /// Signs a person in with e-mail and password. Wrong ones are the top-level error `AUTH_001`; after
    /// five failures with an address, `AUTH_LOCKED` for 15 minutes. Over HTTP it also sets the cookie
    /// for `refreshSession`.
    async fn sign_in(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "E-mail address and password.")] input: SignInInput,
    ) -> async_graphql::Result<SessionPayload> {
        let SignInInput { email, password, company_id } = input;
        let company = optional_id("companyId", company_id.as_ref())?;
        let entrance = Entrance {
            place: company.map_or(Place::Any, Place::Company),
            device: Visitor::in_request(ctx).device,
        };
        let password = SecretString::from(password);
        session(ctx, ctx.state()?.identity.sign_in(&email, password, &entrance).await)
    }

    /// Takes an invitation up: makes the login, joins the company and signs in.
    async fn accept_invitation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The invitation, and a password.")] input: AcceptInvitationInput,
    ) -> async_graphql::Result<SessionPayload> {
        let password = SecretString::from(input.password);
        let (identity, device) = (&ctx.state()?.identity, Visitor::in_request(ctx).device);
        session(ctx, identity.accept_invitation(&input.token, password, device).await)
    }

    /// Exchanges an interview's access token for a session of 60 minutes that reaches this one
    /// interview. It can be done again until the interview ends.
    async fn open_interview_session(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The access token.")] input: OpenInterviewSessionInput,
    ) -> async_graphql::Result<SessionPayload> {
        session(ctx, ctx.state()?.identity.open_interview_session(&input.token).await)
    }

    /// Makes a company and invites its first administrator. Operators only.
    async fn register_company(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The company and its first administrator.")] input: RegisterCompanyInput,
    ) -> async_graphql::Result<CompanyPayload> {
        match register_company(ctx, &input).await {
            Ok((done, admin, token)) => {
                let mut payload: CompanyPayload = answer(ctx, Ok(done))?;
                payload.admin = admin;
                payload.invitation_token = Some(token);
                Ok(payload)
            }
            Err(error) => answer(ctx, Err(error)),
        }
    }

    /// Changes name and mail domain of the own company. Administrators only.
    async fn update_company(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is known now.")] input: UpdateCompanyInput,
    ) -> async_graphql::Result<CompanyPayload> {
        answer(ctx, update_company(ctx, &input).await)
    }

    /// Invites a person. The invitation is shown once and is good for seven days. Who runs the platform
    /// is not shown it: the letter alone brings it.
    async fn invite_member(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Who is invited.")] input: InviteMemberInput,
    ) -> async_graphql::Result<InvitationPayload> {
        match invite_member(ctx, &input).await {
            Ok((done, token)) => {
                let mut payload: InvitationPayload = answer(ctx, Ok(done))?;
                payload.invitation_token = token;
                Ok(payload)
            }
            Err(error) => answer(ctx, Err(error)),
        }
    }

    /// Invites a person once more, whose invitation has ended or whose letter was lost: sends another
    /// letter and shows another invitation, good for seven days, but not to who runs the platform; those
    /// before are worth nothing any more. Who has joined is refused with `MEMBER_ALREADY_JOINED`.
    async fn renew_invitation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whom.")] input: RenewInvitationInput,
    ) -> async_graphql::Result<InvitationPayload> {
        match renew_invitation(ctx, &input).await {
            Ok((done, token)) => {
                let mut payload: InvitationPayload = answer(ctx, Ok(done))?;
                payload.invitation_token = token;
                Ok(payload)
            }
            Err(error) => answer(ctx, Err(error)),
        }
    }

    /// Changes name, department and manager of a member.
    async fn update_member(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The member, and what is known now.")] input: UpdateMemberInput,
    ) -> async_graphql::Result<MemberPayload> {
        answer(ctx, update_member(ctx, &input).await)
    }

    /// Gives a member another role. It holds from the member's next request on.
    async fn assign_role(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The member and the role.")] input: AssignRoleInput,
    ) -> async_graphql::Result<MemberPayload> {
        let role = input.role.into();
        answer(
            ctx,
            change(ctx, &input, &input.member_id, member::Command::AssignRole { role }).await,
        )
    }

    /// Takes all rights from a member; sessions and streams end within a second.
    async fn deactivate_member(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The member.")] input: DeactivateMemberInput,
    ) -> async_graphql::Result<MemberPayload> {
        answer(ctx, change(ctx, &input, &input.member_id, member::Command::Deactivate).await)
    }

    /// Gives a deactivated member the rights back.
    async fn reactivate_member(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The member.")] input: ReactivateMemberInput,
    ) -> async_graphql::Result<MemberPayload> {
        answer(ctx, change(ctx, &input, &input.member_id, member::Command::Reactivate).await)
    }
}

async fn update_company(
    ctx: &Context<'_>,
    input: &UpdateCompanyInput,
) -> Result<Done<Company>, ApiError> {
    let company = ctx.caller()?.company;
    let update =
        company::Command::Update { name: input.name.clone(), domain: input.domain.clone() };
    let receipt = execute::<CompanyAggregate>(ctx, input, company.0, update).await?;
    Ok((entity::<companies::Companies>(ctx, &receipt).await?.map(Company), receipt))
}

async fn change(
    ctx: &Context<'_>,
    input: &impl inputs::Input,
    member_id: &ID,
    command: member::Command,
) -> Result<Done<Member>, ApiError> {
    let member: MemberId = id("memberId", member_id)?;
    let receipt = execute::<MemberAggregate>(ctx, input, member.0, command).await?;
    Ok((entity::<members::Members>(ctx, &receipt).await?.map(Member), receipt))
}

async fn update_member(
    ctx: &Context<'_>,
    input: &UpdateMemberInput,
) -> Result<Done<Member>, ApiError> {
    let profile = member::Command::ChangeProfile {
        full_name: input.full_name.clone(),
        department: input.department.clone(),
        manager_id: optional_id("managerId", input.manager_id.as_ref())?,
    };
    change(ctx, input, &input.member_id, profile).await
}

async fn invite_member(
    ctx: &Context<'_>,
    input: &InviteMemberInput,
) -> Result<(Done<Member>, Option<String>), ApiError> {
    let invitee = Invitee {
        email: input.email.clone(),
        full_name: input.full_name.clone(),
        role: input.role.into(),
        department: input.department.clone(),
    };
    let order = order(ctx, input)?;
    let invited = ctx.state()?.identity.invite(&*ctx.caller()?, order, invitee).await?;
    shown_invitation(ctx, invited).await
}

async fn renew_invitation(
    ctx: &Context<'_>,
    input: &RenewInvitationInput,
) -> Result<(Done<Member>, Option<String>), ApiError> {
    let member: MemberId = id("memberId", &input.member_id)?;
    let order = order(ctx, input)?;
    let invited = ctx.state()?.identity.renew_invitation(&*ctx.caller()?, order, member).await?;
    shown_invitation(ctx, invited).await
}

async fn shown_invitation(
    ctx: &Context<'_>,
    invited: Invited,
) -> Result<(Done<Member>, Option<String>), ApiError> {
    let row = entity::<members::Members>(ctx, &invited.receipt).await?;
    let caller = ctx.caller()?;
    let token = invited.token_for(&caller).map(|token| token.expose_secret().to_owned());
    Ok(((row.map(Member), invited.receipt), token))
}

async fn register_company(
    ctx: &Context<'_>,
    input: &RegisterCompanyInput,
) -> Result<(Done<Company>, Option<Member>, String), ApiError> {
    let admin = Invitee {
        email: input.admin_email.clone(),
        full_name: input.admin_full_name.clone(),
        role: domain::Role::CompanyAdmin,
        department: None,
    };
    let (order, caller) = (order(ctx, input)?, ctx.caller()?);
    let (name, domain) = (input.name.clone(), input.domain.clone());
    let identity = &ctx.state()?.identity;
    let made = identity.register_company(&caller, order, name, domain, admin).await?;
    let company = entity::<companies::Companies>(ctx, &made.receipt).await?.map(Company);
    let admin = entity::<members::Members>(ctx, &made.admin.receipt).await?.map(Member);
    Ok(((company, made.receipt), admin, made.admin.token.expose_secret().to_owned()))
}

/// The company's name, for whoever may see anything of it at all.
///
/// # Errors
/// Those of the query.
pub async fn company_name(
    ctx: &Context<'_>,
    company: CompanyId,
) -> Result<Option<String>, ApiError> {
    let view = projections::View::all(company);
    Ok(companies::get(&ctx.state()?.reads, &view).await?.map(|row| row.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_is_shown_by_global_id_or_by_name() {
        let id = Uuid::from_u128(7);
        let member = Actor::parse(&DomainActor::Member(MemberId(id)).to_string());
        assert_eq!(member.kind, ActorKind::Member);
        assert_eq!(member.name, MemberId(id).to_string());
        let clock = Actor::parse(&DomainActor::System("clock").to_string());
        assert_eq!((clock.kind, clock.name.as_str()), (ActorKind::System, "clock"));
        let ai = Actor::parse(&DomainActor::Ai("conductor").to_string());
        assert_eq!((ai.kind, ai.name.as_str()), (ActorKind::Ai, "conductor"));
    }
}
