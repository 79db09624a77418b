//! Who plays: a company with its people, and a second company that must not see anything of it.

use anyhow::bail;
use serde_json::json;

use super::client::{Session, text};
use super::script::Stage;

/// The people of the demo, signed in.
pub struct Cast {
    /// Its administrator.
    pub admin: Session,
    /// Who recruits.
    pub hr: Session,
    /// Who owns the job.
    pub manager: Session,
    /// Global id of who owns the job.
    pub manager_id: String,
    /// Who interviews, but is assigned to no round here.
    pub interviewer: Session,
    /// Who replays histories.
    pub auditor: Session,
    /// Who may only read.
    pub viewer: Session,
    /// The administrator of another company.
    pub outsider: Session,
}

/// Registers both companies and lets everybody join.
///
/// # Errors
/// When somebody cannot get in.
pub async fn assemble(stage: &Stage) -> anyhow::Result<Cast> {
    let (email, password) = &stage.settings.operator;
    let credentials = json!({ "email": email, "password": password });
    let operator = match stage.api.stranger("the operator").enter("signIn", credentials).await? {
        Ok(operator) => operator,
        Err(refused) => bail!("the operator cannot sign in: {refused}"),
    };
    let admin = found(stage, &operator, "Harbor Freight Software", "harbor").await?;
    let outsider = found(stage, &operator, "Lakeside Clinics", "lakeside").await?;
    stage.say("a company is registered, and a second one that must not see anything of it");

    let (hr, _) = invite(stage, &admin, "Hana Recruiter", "HR").await?;
    let (manager, manager_id) = invite(stage, &admin, "Mara Manager", "HIRING_MANAGER").await?;
    let (interviewer, _) = invite(stage, &admin, "Ivo Interviewer", "EMPLOYEE").await?;
    let (auditor, _) = invite(stage, &admin, "Aude Auditor", "AUDITOR").await?;
    let (viewer, _) = invite(stage, &admin, "Vera Viewer", "VIEWER").await?;
    stage.say("HR, hiring manager, interviewer, auditor and viewer have joined");
    Ok(Cast { admin, hr, manager, manager_id, interviewer, auditor, viewer, outsider })
}

/// A company and its administrator, who takes the invitation up.
async fn found(
    stage: &Stage,
    operator: &Session,
    name: &str,
    domain: &str,
) -> anyhow::Result<Session> {
    let domain = format!("{domain}-{}.example", stage.run);
    let input = json!({
        "name": name,
        "domain": domain,
        "adminEmail": format!("admin@{domain}"),
        "adminFullName": "Ada Administrator",
    });
    let selection = "company { id } invitationToken";
    let made = operator.carry_out("registerCompany", input, selection).await?;
    let who = format!("the administrator of {name}");
    join(stage, &who, &text(&made, "/invitationToken")?).await
}

async fn invite(
    stage: &Stage,
    admin: &Session,
    name: &str,
    role: &str,
) -> anyhow::Result<(Session, String)> {
    let first = name.split(' ').next().unwrap_or(name).to_lowercase();
    let email = format!("{first}@harbor-{}.example", stage.run);
    let input = json!({ "email": email, "fullName": name, "role": role });
    let selection = "member { id } invitationToken";
    let invited = admin.carry_out("inviteMember", input, selection).await?;
    let who = format!("the {}", role.to_lowercase().replace('_', " "));
    let session = join(stage, &who, &text(&invited, "/invitationToken")?).await?;
    Ok((session, text(&invited, "/member/id")?))
}

async fn join(stage: &Stage, who: &str, invitation: &str) -> anyhow::Result<Session> {
    let password = format!("Harbor-{}-Gate!7", stage.run);
    let input = json!({ "token": invitation, "password": password });
    match stage.api.stranger(who).enter("acceptInvitation", input).await? {
        Ok(session) => Ok(session),
        Err(refused) => bail!("{who} cannot join: {refused}"),
    }
}
