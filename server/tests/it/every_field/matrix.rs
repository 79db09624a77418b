//! The matrix of roles as it was agreed upon, against what each role could do. Operators of the platform
//! are left out: they make companies, and have no part in one.

use std::collections::{BTreeMap, BTreeSet};

use domain::codes::Kind;

/// Everybody of a company.
const MEMBERS: [&str; 6] =
    ["COMPANY_ADMIN", "HR", "HIRING_MANAGER", "EMPLOYEE", "VIEWER", "AUDITOR"];
const GUEST: &str = "GUEST";

/// A capability: its fields, and who has it: hiring managers of their own jobs, employees of the rounds
/// that they are assigned to, and guests of the round they were invited to.
const MATRIX: &[(&[&str], &[&str])] = &[
    // Users and roles.
    (&["members", "member"], &["COMPANY_ADMIN", "HR", "HIRING_MANAGER", "EMPLOYEE", "VIEWER"]),
    (&["inviteMember", "assignRole"], &["COMPANY_ADMIN", "HR"]),
    (&["deactivateMember", "reactivateMember"], &["COMPANY_ADMIN"]),
    (&["createApiKey", "configureSignOn"], &["COMPANY_ADMIN"]),
    // Candidates.
    (&["candidates", "candidate", "resume"], &MEMBERS),
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
        &["COMPANY_ADMIN", "HR", "HIRING_MANAGER", "EMPLOYEE", GUEST],
    ),
    (&["submitAnswer", "recordConsent", "withdrawConsent"], &[GUEST]),
    (&["interviewInsights"], &["COMPANY_ADMIN", "HR", "HIRING_MANAGER", "EMPLOYEE", "AUDITOR"]),
    // Verdicts.
    (&["verdicts", "verdict"], &MEMBERS),
    (&["signVerdict"], &["COMPANY_ADMIN", "HR", "HIRING_MANAGER", "EMPLOYEE"]),
    // Audit and analytics.
    (&["interviewHistory"], &["COMPANY_ADMIN", "AUDITOR"]),
    (&["hrDashboard"], &["COMPANY_ADMIN", "HR", "HIRING_MANAGER", "VIEWER"]),
];

/// Asserts that each role could do what the matrix gives it, and nothing more. `found` has for each field
/// which roles it ended how for.
pub fn holds(found: &BTreeMap<String, BTreeMap<String, Vec<&str>>>) {
    let mut departures = BTreeSet::new();
    for (fields, may) in MATRIX {
        for field in *fields {
            let outcomes = found.get(*field).unwrap_or_else(|| panic!("no field {field}"));
            for role in MEMBERS.iter().chain([&GUEST]) {
                let outcome = outcomes.iter().find(|(_, roles)| roles.contains(role));
                let (outcome, _) = outcome.unwrap_or_else(|| panic!("{field}: nothing of {role}"));
                let refused = [Kind::AccessDenied, Kind::AuthRequired, Kind::NotFound];
                let entry = domain::codes::find(outcome);
                let is_open = entry.is_none_or(|entry| !refused.contains(&entry.kind));
                if is_open != may.contains(role) {
                    let which = if is_open { "open" } else { "refused" };
                    departures.insert(format!("{field} is {which} to {role}"));
                }
            }
        }
    }
    assert!(departures.is_empty(), "{departures:#?}");
}
