//! The matrix of roles as it was agreed upon, against what each role could do. Who runs the platform
//! stands for themselves where it is about the platform, and else in the company that they have entered.

use std::collections::{BTreeMap, BTreeSet};

use domain::codes::Kind;

/// Everybody of a company.
const MEMBERS: [&str; 6] =
    ["COMPANY_ADMIN", "HR", "HIRING_MANAGER", "EMPLOYEE", "VIEWER", "AUDITOR"];
const CANDIDATE: &str = "CANDIDATE";
const GUEST: &str = "GUEST";
const SYSTEM_ADMIN: &str = "SYSTEM_ADMIN";
const ENTERED: &str = "SYSTEM_ADMIN within";

/// What concerns the platform, not one company.
const OF_THE_PLATFORM: &[&str] = &["registerCompany", "companyRequests"];

/// The one capability that who runs the platform has no part in: the talk itself.
const LIVE: &[&str] = &[
    "joinInterview",
    "leaveInterview",
    "startInterview",
    "completeInterview",
    "submitAnswer",
    "recordConsent",
    "withdrawConsent",
];

/// A capability: its fields, and who has it: hiring managers of their own jobs, employees of the rounds
/// that they are assigned to, candidates of what is their own, and guests of the round they were invited
/// to.
const MATRIX: &[(&[&str], &[&str])] = &[
    // Users and roles.
    (&["members", "member"], &["COMPANY_ADMIN", "HR", "HIRING_MANAGER", "EMPLOYEE", "VIEWER"]),
    (&["inviteMember", "renewInvitation", "updateMember", "assignRole"], &["COMPANY_ADMIN", "HR"]),
    (&["deactivateMember", "reactivateMember", "removeMemberSecondFactor"], &["COMPANY_ADMIN"]),
    (&["updateCompany", "createApiKey", "configureSignOn"], &["COMPANY_ADMIN"]),
    (&["roles"], &MEMBERS),
    (&["createRole", "updateRole", "removeRole", "assignCustomRole"], &["COMPANY_ADMIN"]),
    // Candidates.
    (
        &["candidates", "candidate", "resume"],
        &["COMPANY_ADMIN", "HR", "HIRING_MANAGER", "EMPLOYEE", "VIEWER", "AUDITOR", CANDIDATE],
    ),
    (
        &["createCandidate", "updateCandidate", "assignCandidate", "addCandidateNote"],
        &["COMPANY_ADMIN", "HR"],
    ),
    (&["archiveCandidate", "withdrawApplication"], &["COMPANY_ADMIN", "HR"]),
    (&["changeApplicationStatus"], &["COMPANY_ADMIN", "HR", "EMPLOYEE"]),
    // Jobs, questions and rubrics.
    (&["jobs", "job"], &["COMPANY_ADMIN", "HR", "HIRING_MANAGER", "EMPLOYEE", "VIEWER"]),
    (
        &["describeJob", "addQuestion", "removeQuestion", "setRubric", "publishJob", "closeJob"],
        &["COMPANY_ADMIN", "HR", "HIRING_MANAGER"],
    ),
    // Rounds.
    (
        &["planInterview", "scheduleInterview", "rescheduleInterview", "cancelInterview"],
        &["COMPANY_ADMIN", "HR", "HIRING_MANAGER"],
    ),
    (
        &["joinInterview", "leaveInterview", "startInterview", "completeInterview"],
        &["COMPANY_ADMIN", "HR", "HIRING_MANAGER", "EMPLOYEE", CANDIDATE, GUEST],
    ),
    (&["submitAnswer", "recordConsent", "withdrawConsent"], &[CANDIDATE, GUEST]),
    (&["interviewInsights"], &["COMPANY_ADMIN", "HR", "HIRING_MANAGER", "EMPLOYEE", "AUDITOR"]),
    // Verdicts.
    (&["verdicts", "verdict"], &MEMBERS),
    (&["signVerdict"], &["COMPANY_ADMIN", "HR", "HIRING_MANAGER", "EMPLOYEE"]),
    // Audit and analytics.
    (&["interviewHistory", "companyHistory"], &["COMPANY_ADMIN", "AUDITOR"]),
    (&["hrDashboard"], &["COMPANY_ADMIN", "HR", "HIRING_MANAGER", "VIEWER"]),
];

/// Where the product departs from it, on purpose.
const DEPARTURES: &[&str] = &[
    // A provider, and whom it names, would outlast the visit in which it was named.
    "configureSignOn is refused to SYSTEM_ADMIN within",
    // A key would outlast the visit in which it was made.
    "createApiKey is refused to SYSTEM_ADMIN within",
    // A verdict has a signer, who is a member.
    "signVerdict is refused to SYSTEM_ADMIN within",
];

/// Asserts that each role could do what the matrix gives it, and nothing more. `found` has for each field
/// which roles it ended how for.
pub fn holds(found: &BTreeMap<String, BTreeMap<String, Vec<&str>>>) {
    let mut departures = BTreeSet::new();
    let capabilities = MATRIX.iter().chain([&(OF_THE_PLATFORM, &[] as &[&str])]);
    for (fields, may) in capabilities {
        for field in *fields {
            let outcomes = found.get(*field).unwrap_or_else(|| panic!("no field {field}"));
            for role in MEMBERS.iter().chain([&CANDIDATE, &GUEST, &SYSTEM_ADMIN, &ENTERED]) {
                let may = match *role {
                    SYSTEM_ADMIN => OF_THE_PLATFORM.contains(field),
                    ENTERED => !LIVE.contains(field),
                    role => may.contains(&role),
                };
                let outcome = outcomes.iter().find(|(_, roles)| roles.contains(role));
                let (outcome, _) = outcome.unwrap_or_else(|| panic!("{field}: nothing of {role}"));
                let refused = [Kind::AccessDenied, Kind::AuthRequired, Kind::NotFound];
                let entry = domain::codes::find(outcome);
                let is_open = entry.is_none_or(|entry| !refused.contains(&entry.kind));
                if is_open != may {
                    let which = if is_open { "open" } else { "refused" };
                    departures.insert(format!("{field} is {which} to {role}"));
                }
            }
        }
    }
    let known: BTreeSet<String> = DEPARTURES.iter().map(|&one| one.to_owned()).collect();
    assert_eq!(departures, known);
}
