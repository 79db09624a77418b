//! Custom roles: sets of rights that a company makes and names itself.

use async_graphql::{Context, ID, InputObject, Object};
use domain::company::{self, Company as CompanyAggregate};
use domain::ids::{MemberId, RoleId};
use domain::member::{self, Member as MemberAggregate};
use domain::permission::Action;
use projections::{companies, members};
use uuid::Uuid;

use crate::company::{Company, Member};
use crate::error::ApiError;
use crate::inputs::{self, id, inputs, optional_id};
use crate::payload::{Done, MemberPayload, RolePayload, answer, entity, execute};
use crate::permission::{Permission, PermissionInput, given, read};
use crate::scope::Scoped;

/// A set of rights that the company made and named itself. A member can have one beside the built-in
/// role, and what both give adds up.
pub struct CustomRole(pub companies::CustomRole);

/// A set of rights that the company made and named itself. A member can have one beside the built-in
/// role, and what both give adds up.
#[Object]
impl CustomRole {
    /// Its id, `role_…`.
    async fn id(&self) -> ID {
        self.0.role_id.to_string().into()
    }

    /// Its name, unique among the company's custom roles.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// What it gives.
    async fn permissions(&self) -> Vec<Permission> {
        given(&self.0.permissions)
    }
}

/// Queries on custom roles.
#[derive(Default)]
pub struct RoleQuery;

#[Object]
impl RoleQuery {
    /// The company's custom roles, oldest first, at most 50. The built-in ones are the values of
    /// `Role`. Who has one is shown by `members(filter: { customRoleIds })`.
    async fn roles(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Consistency tokens of changes that the answer must show.")]
        consistent_with: Option<Vec<String>>,
    ) -> async_graphql::Result<Vec<CustomRole>> {
        let view = ctx.view(Action::ReadCompany)?;
        ctx.consistent(consistent_with).await?;
        let row = companies::get(&ctx.state()?.reads, &view).await.map_err(ApiError::from)?;
        Ok(row.into_iter().flat_map(|row| row.roles).map(CustomRole).collect())
    }
}

/// Makes a custom role.
#[derive(InputObject)]
pub struct CreateRoleInput {
    /// Idempotency key.
    command_id: Uuid,
    /// The company's version that the client saw; another one found is refused with
    /// `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Its name, at most 255 characters, unique among the company's custom roles whatever the case of
    /// its letters.
    name: String,
    /// What it gives, at least one.
    permissions: Vec<PermissionInput>,
}

/// Changes a custom role.
#[derive(InputObject)]
pub struct UpdateRoleInput {
    /// Idempotency key.
    command_id: Uuid,
    /// The company's version that the client saw; another one found is refused with
    /// `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Which.
    role_id: ID,
    /// Its name from now on.
    name: String,
    /// What it gives from now on, at least one.
    permissions: Vec<PermissionInput>,
}

/// Removes a custom role.
#[derive(InputObject)]
pub struct RemoveRoleInput {
    /// Idempotency key.
    command_id: Uuid,
    /// The company's version that the client saw; another one found is refused with
    /// `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Which.
    role_id: ID,
}

/// Gives a member a custom role, instead of the one before.
#[derive(InputObject)]
pub struct AssignCustomRoleInput {
    /// Idempotency key.
    command_id: Uuid,
    /// The member's version that the client saw; another one found is refused with
    /// `VERSION_CONFLICT`.
    expected_version: Option<i32>,
    /// Whose.
    member_id: ID,
    /// The custom role; without it the member has none any more.
    role_id: Option<ID>,
}

inputs! {
    CreateRoleInput => "createRole", expected_version;
    UpdateRoleInput => "updateRole", expected_version;
    RemoveRoleInput => "removeRole", expected_version;
    AssignCustomRoleInput => "assignCustomRole", expected_version;
}

/// Mutations on custom roles.
#[derive(Default)]
pub struct RoleMutation;

#[Object]
impl RoleMutation {
    /// Makes a custom role. Administrators only; a company has at most 50. Whoever may change
    /// something is shown it in the answer: give the right to see it, too.
    async fn create_role(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What it is to be.")] input: CreateRoleInput,
    ) -> async_graphql::Result<RolePayload> {
        answer_role(ctx, create(ctx, &input).await)
    }

    /// Changes a custom role. It holds for whoever has it from their next request on; sessions and
    /// streams follow within a second. Administrators only.
    async fn update_role(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which, and what it is to be.")] input: UpdateRoleInput,
    ) -> async_graphql::Result<RolePayload> {
        answer_role(ctx, update(ctx, &input).await)
    }

    /// Removes a custom role. Whoever has it loses within a second what it gave; it does not come
    /// back. Administrators only.
    async fn remove_role(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which.")] input: RemoveRoleInput,
    ) -> async_graphql::Result<RolePayload> {
        answer_role(ctx, remove(ctx, &input).await)
    }

    /// Gives a member who has joined a custom role beside the built-in one, or takes it away. It
    /// holds from the member's next request on; sessions and streams follow within a second.
    /// Administrators only.
    async fn assign_custom_role(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The member and the role.")] input: AssignCustomRoleInput,
    ) -> async_graphql::Result<MemberPayload> {
        answer(ctx, assign(ctx, &input).await)
    }
}

/// A change of the company, and the custom role that it was about as it is since.
type Changed = (Done<Company>, Option<CustomRole>);

fn answer_role(
    ctx: &Context<'_>,
    result: Result<Changed, ApiError>,
) -> async_graphql::Result<RolePayload> {
    match result {
        Ok((done, role)) => {
            let mut payload: RolePayload = answer(ctx, Ok(done))?;
            payload.role = role;
            Ok(payload)
        }
        Err(error) => answer(ctx, Err(error)),
    }
}

async fn create(ctx: &Context<'_>, input: &CreateRoleInput) -> Result<Changed, ApiError> {
    let role_id = RoleId(commands::derive_id(&*ctx.caller()?, input.command_id, "role", 0));
    let (name, permissions) = (input.name.clone(), read(&input.permissions)?);
    change(ctx, input, role_id, company::Command::DefineRole { role_id, name, permissions }).await
}

async fn update(ctx: &Context<'_>, input: &UpdateRoleInput) -> Result<Changed, ApiError> {
    let role_id = id("roleId", &input.role_id)?;
    let (name, permissions) = (input.name.clone(), read(&input.permissions)?);
    change(ctx, input, role_id, company::Command::ChangeRole { role_id, name, permissions }).await
}

async fn remove(ctx: &Context<'_>, input: &RemoveRoleInput) -> Result<Changed, ApiError> {
    let role_id = id("roleId", &input.role_id)?;
    change(ctx, input, role_id, company::Command::RemoveRole { role_id }).await
}

async fn change(
    ctx: &Context<'_>,
    input: &impl inputs::Input,
    role_id: RoleId,
    command: company::Command,
) -> Result<Changed, ApiError> {
    let company = ctx.caller()?.company;
    let receipt = execute::<CompanyAggregate>(ctx, input, company.0, command).await?;
    let row = entity::<companies::Companies>(ctx, &receipt).await?;
    let role = row.as_ref().and_then(|row| row.role(role_id)).cloned().map(CustomRole);
    Ok(((row.map(Company), receipt), role))
}

async fn assign(
    ctx: &Context<'_>,
    input: &AssignCustomRoleInput,
) -> Result<Done<Member>, ApiError> {
    let member: MemberId = id("memberId", &input.member_id)?;
    let role_id = optional_id("roleId", input.role_id.as_ref())?;
    let command = member::Command::AssignCustomRole { role_id };
    let receipt = execute::<MemberAggregate>(ctx, input, member.0, command).await?;
    Ok((entity::<members::Members>(ctx, &receipt).await?.map(Member), receipt))
}
