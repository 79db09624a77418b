//! Which fields are counted beside the request that they come in, and how often a document has them.
//!
//! Every occurrence counts: under as many aliases and through as many fragments as there are, and
//! whether or not a directive leaves it out, so that no document gets more than its requests would.

use std::collections::HashMap;

use async_graphql::Variables;
use async_graphql::parser::types::{
    ExecutableDocument, Field, OperationDefinition, OperationType, Selection, SelectionSet,
};
use async_graphql::{Name, Value};

use crate::limits::variable;

/// What a field is counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldClass {
    /// An attempt to enter or to prove who one is; the name of the input's field that says who, such as
    /// `email`. Without one it is the caller, if signed in.
    SignIn(Option<&'static str>),
    /// It lets a model work.
    Ai,
    /// It starts an interview, and lets a model work.
    InterviewStart,
    /// Somebody else gets a letter.
    Letter,
}

/// The mutations that have a class. All others, all queries and all subscriptions count as the request
/// that they come in. That a session is prolonged is no attempt at anything: its token cannot be
/// guessed and works once.
pub const CLASSES: &[(&str, FieldClass)] = &[
    ("signIn", FieldClass::SignIn(Some("email"))),
    ("finishSignIn", FieldClass::SignIn(Some("token"))),
    ("beginSignOn", FieldClass::SignIn(None)),
    ("finishSignOn", FieldClass::SignIn(Some("token"))),
    ("acceptInvitation", FieldClass::SignIn(Some("token"))),
    ("registerCandidateAccount", FieldClass::SignIn(Some("email"))),
    ("confirmCandidateAccount", FieldClass::SignIn(Some("token"))),
    ("openInterviewSession", FieldClass::SignIn(Some("token"))),
    ("requestEmailVerification", FieldClass::SignIn(Some("email"))),
    ("verifyEmail", FieldClass::SignIn(Some("token"))),
    ("requestPasswordReset", FieldClass::SignIn(Some("email"))),
    ("resetPassword", FieldClass::SignIn(Some("token"))),
    ("changePassword", FieldClass::SignIn(None)),
    ("beginSecondFactor", FieldClass::SignIn(None)),
    ("confirmSecondFactor", FieldClass::SignIn(None)),
    ("removeSecondFactor", FieldClass::SignIn(None)),
    ("requestCompany", FieldClass::SignIn(Some("contactEmail"))),
    ("startInterview", FieldClass::InterviewStart),
    ("submitAnswer", FieldClass::Ai),
    ("completeInterview", FieldClass::Ai),
    ("restartAssessment", FieldClass::Ai),
    ("inviteMember", FieldClass::Letter),
    ("registerCompany", FieldClass::Letter),
    ("approveCompanyRequest", FieldClass::Letter),
    ("rejectCompanyRequest", FieldClass::Letter),
    ("renewInvitation", FieldClass::Letter),
    ("removeMemberSecondFactor", FieldClass::Letter),
];

/// One occurrence of a field that has a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// What it counts as.
    pub class: FieldClass,
    /// Whom it is about, in the words of the request.
    pub named: Option<String>,
}

/// All occurrences in an operation of a document that was priced: without cycles, and bounded in
/// fields once its fragments are expanded.
pub fn occurrences(
    document: &ExecutableDocument,
    operation: &OperationDefinition,
    variables: &Variables,
) -> Vec<Occurrence> {
    if operation.ty != OperationType::Mutation {
        return vec![];
    }
    let mut walk = Walk { document, operation, variables, fragments: HashMap::new() };
    walk.selections(&operation.selection_set.node)
}

struct Walk<'d> {
    document: &'d ExecutableDocument,
    operation: &'d OperationDefinition,
    variables: &'d Variables,
    /// Fragments already walked: each once, however often they spread each other.
    fragments: HashMap<&'d str, Vec<Occurrence>>,
}

impl<'d> Walk<'d> {
    /// Fields with a class stand on top, so that no selection below one is looked at.
    fn selections(&mut self, set: &'d SelectionSet) -> Vec<Occurrence> {
        let mut found = vec![];
        for item in &set.items {
            match &item.node {
                Selection::Field(field) => found.extend(self.field(&field.node)),
                Selection::FragmentSpread(spread) => {
                    found.extend_from_slice(self.fragment(&spread.node.fragment_name.node));
                }
                Selection::InlineFragment(inline) => {
                    found.extend(self.selections(&inline.node.selection_set.node));
                }
            }
        }
        found
    }

    fn fragment(&mut self, name: &Name) -> &[Occurrence] {
        let Some((name, fragment)) = self.document.fragments.get_key_value(name) else {
            // The engine's validation names the unknown fragment.
            return &[];
        };
        if !self.fragments.contains_key(name.as_str()) {
            let found = self.selections(&fragment.node.selection_set.node);
            self.fragments.insert(name, found);
        }
        self.fragments.get(name.as_str()).map_or(&[], Vec::as_slice)
    }

    fn field(&self, field: &Field) -> Option<Occurrence> {
        let name = field.name.node.as_str();
        let (_, class) = CLASSES.iter().find(|(known, _)| *known == name)?;
        let named = match class {
            FieldClass::SignIn(Some(by)) => self.named(field, by),
            _ => None,
        };
        Some(Occurrence { class: *class, named })
    }

    fn named(&self, field: &Field, by: &str) -> Option<String> {
        let input = field.get_argument("input")?.node.clone();
        let known = |name: Name| variable(self.operation, self.variables, &name).ok_or(());
        match input.into_const_with(known) {
            Ok(Value::Object(mut members)) => match members.swap_remove(by) {
                Some(Value::String(text)) => Some(text),
                _ => None,
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use async_graphql::parser::parse_query;
    use serde_json::json;

    use super::*;
    use crate::schema::sdl;

    fn found(document: &str, variables: serde_json::Value) -> Vec<(FieldClass, Option<String>)> {
        let document = parse_query(document).expect("GraphQL");
        let (_, operation) = document.operations.iter().next().expect("an operation");
        let found = occurrences(&document, &operation.node, &Variables::from_json(variables));
        found.into_iter().map(|one| (one.class, one.named)).collect()
    }

    const SIGN_IN: FieldClass = FieldClass::SignIn(Some("email"));

    #[test]
    fn every_alias_and_every_spread_counts() {
        let document = r#"mutation($b: SignInInput!, $c: String!, $d: String = "d") {
            a: signIn(input: { email: "a", password: "x" }) { accessToken }
            b: signIn(input: $b) { accessToken }
            ... on Mutation { c: signIn(input: { email: $c, password: "x" }) { accessToken } }
            ...Two ...Two
            d: signIn(input: { email: $d }) @skip(if: true) { accessToken }
            e: signIn(input: { email: 5 }) { accessToken }
            closeJob(input: { jobId: "a" }) { version }
        }
        fragment Two on Mutation { ...One f: signIn(input: { email: "f" }) { accessToken } }
        fragment One on Mutation { startInterview(input: {}) { version } }"#;
        let named = |name: &str| (SIGN_IN, Some(name.to_owned()));
        let two = || [(FieldClass::InterviewStart, None), named("f")];
        let mut expected = vec![named("a"), named("b"), named("c")];
        expected.extend(two().into_iter().chain(two()));
        expected.extend([named("d"), (SIGN_IN, None)]);
        let variables = json!({ "b": { "email": "b", "password": "x" }, "c": "c" });
        assert_eq!(found(document, variables), expected);
    }

    #[test]
    fn fragments_that_spread_each_other_in_vain_cost_no_time() {
        let mut document = "mutation { ...F0 ...F0 }".to_owned();
        for n in 0..25 {
            let next = n + 1;
            document += &format!("fragment F{n} on Mutation {{ ...F{next} ...F{next} }}");
        }
        assert_eq!(found(&document, json!({})), vec![]);
    }

    /// The mutations that count as the request that they come in, and nothing more.
    const WITHOUT: &[&str] = &[
        "addCandidateNote",
        "addInterviewNote",
        "addQuestion",
        "archiveCandidate",
        "askQuestion",
        "assignCandidate",
        "assignCustomRole",
        "assignInterviewer",
        "assignRole",
        "updateMember",
        "updateCompany",
        "cancelInterview",
        "changeApplicationStatus",
        "closeJob",
        "configureInterviewing",
        "configureSignOn",
        "createApiKey",
        "createCandidate",
        "createJob",
        "createRole",
        "deactivateMember",
        "describeJob",
        "issueInterviewAccess",
        "joinInterview",
        "leaveInterview",
        "markNoShow",
        "planInterview",
        "publishJob",
        "reactivateMember",
        "recordConsent",
        "refreshSession",
        "removeQuestion",
        "removeRole",
        "rescheduleInterview",
        "retryParkedStream",
        "revokeApiKey",
        "revokeInterviewAccess",
        "scheduleInterview",
        "setRubric",
        "signOut",
        "signOutEverywhere",
        "signVerdict",
        "skipParkedEvent",
        "submitApplication",
        "updateCandidate",
        "updateRole",
        "withdrawApplication",
        "withdrawConsent",
    ];

    #[test]
    fn every_mutation_has_a_class_or_is_said_to_have_none() {
        let sdl = sdl();
        let (_, mutations) = sdl.split_once("\ntype Mutation {\n").expect("mutations");
        let (mutations, _) = mutations.split_once("\n}").expect("an end");
        let is_name = |line: &&str| line.starts_with('\t') && !line.starts_with("\t\t");
        let names =
            mutations.lines().filter(is_name).filter_map(|line| line.trim().split_once('('));
        let names: BTreeSet<&str> =
            names.map(|(name, _)| name).filter(|n| !n.contains(' ')).collect();
        let with = CLASSES.iter().map(|(name, _)| *name);
        let decided: BTreeSet<&str> = with.chain(WITHOUT.iter().copied()).collect();
        assert_eq!(names, decided);
        assert_eq!(decided.len(), CLASSES.len() + WITHOUT.len(), "none is both");
    }

    #[test]
    fn whom_an_attempt_is_about_stands_in_its_input() {
        let sdl = sdl();
        for (name, class) in CLASSES {
            let FieldClass::SignIn(Some(by)) = class else { continue };
            let (first, rest) = name.split_at(1);
            let input = format!("\ninput {}{rest}Input {{\n", first.to_uppercase());
            let (_, fields) = sdl.split_once(&input).expect(name);
            let (fields, _) = fields.split_once("\n}").expect("an end");
            assert!(fields.contains(&format!("\t{by}: String!")), "{name} has no {by}");
        }
    }
}
