//! A verdict: proposed with evidence by a machine, signed with evidence by a person.

use domain::Facts;
use domain::ids::MemberId;
use domain::interview::{CompletionReason, Event as InterviewEvent, Mode, Status};
use domain::testing::{Given, given};
use domain::values::{HumanScore, Score};
use domain::verdict::{
    CitableAnswer, Command, Decision, Event, GivenDimensionScore, GivenEvidence, GivenProposal,
    GivenSignature, Ground, Recommendation, Record, Refusal, ScoreKind, SignedScore, Verdict,
};
use uuid::Uuid;

use crate::world::*;

/// An interview with three answers: on design, on depth, and one on anything.
fn talk() -> Vec<InterviewEvent> {
    let mut events = in_progress(Mode::AiConducted);
    events.extend([
        asked_about(1, 1, &["design"]),
        answered(1, 1, 2),
        asked_about(2, 3, &["depth"]),
        answered(2, 2, 4),
        asked_about(3, 5, &[]),
        answered(3, 3, 6),
        asked_about(4, 7, &["design"]),
        InterviewEvent::QuestionTimedOut { question_id: question(4) },
    ]);
    events
}

fn completed() -> InterviewEvent {
    InterviewEvent::Completed { reason: CompletionReason::AllAsked }
}

fn facts_after(last: impl IntoIterator<Item = InterviewEvent>) -> Facts {
    let mut events = talk();
    events.extend(last);
    facts_with(events)
}

fn record() -> Record {
    let citable = |n, dimensions: &[&str]| CitableAnswer {
        answer_id: answer(n),
        question_id: question(n),
        dimensions: dimensions.iter().map(|key| (*key).to_owned()).collect(),
    };
    Record {
        interview_id: INTERVIEW,
        candidate_id: MIRA,
        job_id: JOB,
        application_id: APPLICATION,
        interview_end: Status::Completed,
        mode: Mode::AiConducted,
        interviewer_id: None,
        hiring_manager: BO,
        rubric_version: 1,
        dimensions: rubric(),
        answers: vec![citable(1, &["design"]), citable(2, &["depth"]), citable(3, &[])],
        ai_may_propose: true,
    }
}

fn opened() -> Event {
    Event::Opened { record: record() }
}

/// A verdict with this history, decided on by the assessor.
fn verdict(more: Vec<Event>) -> Given<Verdict> {
    let mut events = vec![opened()];
    events.extend(more);
    given::<Verdict>(noon(), &machine(), events).facts(facts_after([completed()]))
}

fn evidence(n: u128) -> GivenEvidence {
    GivenEvidence { answer_id: answer(n), quote: "they happened".into(), why: "True.".into() }
}

fn scored(dimension: &str, score: f64, answers: &[u128]) -> GivenDimensionScore {
    GivenDimensionScore {
        dimension: dimension.into(),
        score,
        confidence: 0.8,
        evidence: answers.iter().map(|n| evidence(*n)).collect(),
    }
}

fn proposal(scores: Vec<GivenDimensionScore>) -> GivenProposal {
    GivenProposal {
        scores,
        recommendation: Recommendation::Review,
        strengths: vec!["Thinks.".into()],
        weaknesses: vec![],
        summary: "Good on the whole.".into(),
        provenance: provenance(),
    }
}

fn propose(scores: Vec<GivenDimensionScore>) -> Command {
    Command::Propose { proposal: proposal(scores) }
}

/// What a proposal of these scores is recorded as.
fn proposed(scores: Vec<GivenDimensionScore>) -> Event {
    let mut events = verdict(vec![]).when(propose(scores)).result().expect("accepted");
    assert_eq!(events.len(), 1);
    events.remove(0)
}

fn human(number: i64) -> HumanScore {
    HumanScore::parse("score", number).expect("in range")
}

fn overall(grounds: Vec<Ground>) -> SignedScore {
    SignedScore { kind: ScoreKind::Overall, score: human(8), grounds }
}

fn cites(n: u128) -> Vec<Ground> {
    vec![Ground::Answer { answer_id: answer(n) }]
}

fn signature(scores: Vec<SignedScore>) -> GivenSignature {
    GivenSignature {
        decision: Decision::Advance,
        scores,
        strengths: vec!["Thinks.".into()],
        weaknesses: vec![],
        notes: None,
        private_notes: None,
    }
}

fn sign(scores: Vec<SignedScore>) -> Command {
    Command::Sign { signature: signature(scores) }
}

fn signed_by_ada() -> Event {
    let mut events =
        verdict(vec![]).by(&ada()).when(sign(vec![overall(cites(1))])).result().expect("signed");
    events.remove(0)
}

fn open() -> Command {
    Command::Open { interview_id: INTERVIEW, job_id: JOB }
}

#[test]
fn a_verdict_copies_what_it_rests_on() {
    given::<Verdict>(noon(), &machine(), [])
        .facts(facts_after([completed()]))
        .when(open())
        .then([opened()]);
}

#[test]
fn a_verdict_is_opened_when_its_interview_is_completed_or_abandoned() {
    let nothing = |last: Vec<InterviewEvent>| {
        given::<Verdict>(noon(), &machine(), []).facts(facts_after(last)).when(open())
    };
    assert!(nothing(vec![InterviewEvent::Abandoned {}]).result().is_ok());
    nothing(vec![]).refused(Refusal::InterviewNotOver);
    let cancelled = InterviewEvent::Cancelled { reason: None };
    nothing(vec![cancelled]).refused(Refusal::InterviewNotOver);
    let none = given::<Verdict>(noon(), &machine(), []);
    none.facts(facts()).when(open()).refused(Refusal::NoSuchInterview);
    let other =
        Command::Open { interview_id: INTERVIEW, job_id: domain::ids::JobId(Uuid::from_u128(97)) };
    let none = given::<Verdict>(noon(), &machine(), []).facts(facts_after([completed()]));
    none.when(other).refused(Refusal::NoSuchRubric);
}

#[test]
fn an_interview_opens_its_verdict_once() {
    verdict(vec![]).when(open()).nothing();
    let another = domain::ids::InterviewId(Uuid::from_u128(96));
    verdict(vec![])
        .when(Command::Open { interview_id: another, job_id: JOB })
        .refused(Refusal::AlreadyOpened);
}

#[test]
fn nothing_is_decided_where_no_verdict_is_open() {
    let none = given::<Verdict>(noon(), &ada(), []);
    none.when(propose(vec![])).refused(Refusal::Missing);
    none.when(sign(vec![])).refused(Refusal::Missing);
    none.when(Command::RestartAssessment).refused(Refusal::Missing);
    none.when(Command::FailAssessment { code: "AI_001".into() }).refused(Refusal::Missing);
}

#[test]
fn the_overall_score_is_the_weighted_mean_of_what_is_scored() {
    let event = proposed(vec![scored("design", 80.0, &[1]), scored("depth", 70.0, &[2])]);
    let Event::Proposed { proposal } = event else {
        panic!("a proposal");
    };
    assert_eq!(Ok(proposal.overall), Score::parse("score", 76.0));
    assert_eq!(proposal.unscored, ["manners"]);
}

#[test]
fn a_score_without_evidence_is_refused() {
    verdict(vec![])
        .when(propose(vec![scored("design", 80.0, &[1]), scored("depth", 70.0, &[])]))
        .refused(Refusal::NoEvidence { of: "depth".into() });
}

#[test]
fn evidence_is_an_answer_of_this_interview() {
    for foreign in [4, 9] {
        verdict(vec![])
            .when(propose(vec![scored("design", 80.0, &[1, foreign])]))
            .refused(Refusal::ForeignEvidence { of: "design".into() });
    }
}

#[test]
fn evidence_speaks_to_the_dimension_that_it_is_cited_for() {
    verdict(vec![])
        .when(propose(vec![scored("design", 80.0, &[2])]))
        .refused(Refusal::MisplacedEvidence { of: "design".into() });
    // A question without a dimension measures any.
    assert!(verdict(vec![]).when(propose(vec![scored("manners", 80.0, &[3])])).result().is_ok());
}

#[test]
fn a_dimension_of_the_rubric_is_scored_at_most_once() {
    let wrong = |key: &str| Refusal::WrongDimension { key: key.into() };
    verdict(vec![]).when(propose(vec![scored("charm", 80.0, &[1])])).refused(wrong("charm"));
    verdict(vec![])
        .when(propose(vec![scored("design", 80.0, &[1]), scored("design", 90.0, &[1])]))
        .refused(wrong("design"));
    verdict(vec![]).when(propose(vec![])).refused(Refusal::NothingScored);
}

#[test]
fn a_machines_numbers_lie_within_their_scales() {
    for score in [-0.1, 100.1, f64::NAN, f64::INFINITY] {
        verdict(vec![])
            .when(propose(vec![scored("design", score, &[1])]))
            .refused_with("VALIDATION_FAILED");
    }
    let sure = GivenDimensionScore { confidence: 1.1, ..scored("design", 80.0, &[1]) };
    verdict(vec![]).when(propose(vec![sure])).refused_with("VALIDATION_FAILED");
}

#[test]
fn a_machine_proposes_only_with_consent() {
    let without = Record { ai_may_propose: false, ..record() };
    let verdict = given::<Verdict>(noon(), &machine(), [Event::Opened { record: without }])
        .facts(facts_after([completed()]));
    verdict.when(propose(vec![scored("design", 80.0, &[1])])).refused(Refusal::NoConsent);
    verdict.when(Command::RestartAssessment).refused(Refusal::NoConsent);
    assert!(verdict.by(&ada()).when(sign(vec![overall(cites(1))])).result().is_ok());
}

#[test]
fn consent_that_was_taken_back_after_the_interview_counts() {
    let facts = facts_after([completed(), InterviewEvent::ConsentWithdrawn {}]);
    let verdict = verdict(vec![]).facts(facts);
    verdict.when(propose(vec![scored("design", 80.0, &[1])])).refused(Refusal::NoConsent);
    verdict.when(Command::RestartAssessment).refused(Refusal::NoConsent);
}

#[test]
fn one_proposal_stands_until_the_assessment_is_restarted() {
    let scores = || vec![scored("design", 80.0, &[1])];
    let proposed = proposed(scores());
    verdict(vec![proposed.clone()]).when(propose(scores())).nothing();
    let failed = Command::FailAssessment { code: "AI_001".into() };
    verdict(vec![proposed.clone()]).when(failed.clone()).nothing();
    verdict(vec![]).when(failed).then([Event::AssessmentFailed { code: "AI_001".into() }]);
    let restarted = Event::AssessmentRestarted { attempt: 2 };
    verdict(vec![proposed.clone()]).when(Command::RestartAssessment).then([restarted.clone()]);
    verdict(vec![proposed.clone(), restarted]).when(propose(scores())).then([proposed]);
}

#[test]
fn a_person_signs_without_a_proposal() {
    let mut events =
        verdict(vec![]).by(&ada()).when(sign(vec![overall(cites(1))])).result().expect("signed");
    let Some(Event::Signed { signature }) = events.pop() else {
        panic!("a signature");
    };
    assert_eq!((signature.signer, signature.proposal_seen), (ADA, false));
    assert!(events.is_empty());
}

#[test]
fn a_signature_says_whether_a_proposal_stood() {
    let proposed = proposed(vec![scored("design", 80.0, &[1])]);
    let events = verdict(vec![proposed]).by(&ada()).when(sign(vec![overall(cites(1))])).result();
    assert!(matches!(
        events.expect("signed").as_slice(),
        [Event::Signed { signature }] if signature.proposal_seen
    ));
}

#[test]
fn only_a_person_signs() {
    for caller in [machine(), domain::Caller::system(COMPANY, "clock"), mira()] {
        verdict(vec![])
            .by(&caller)
            .when(sign(vec![overall(cites(1))]))
            .refused(Refusal::OnlyAPersonSigns);
    }
}

#[test]
fn a_verdict_is_signed_once() {
    let already = |signer: MemberId| Refusal::AlreadySigned { signer };
    let signed = || verdict(vec![signed_by_ada()]);
    signed().by(&bo()).when(sign(vec![overall(cites(1))])).refused(already(ADA));
    signed().by(&ada()).when(sign(vec![overall(cites(1))])).refused(already(ADA));
    signed().by(&ada()).when(Command::RestartAssessment).refused(already(ADA));
    // Advice that comes after the decision is no news.
    signed().when(propose(vec![scored("design", 80.0, &[1])])).nothing();
    signed().when(Command::FailAssessment { code: "AI_001".into() }).nothing();
}

#[test]
fn a_persons_score_rests_on_an_answer_or_the_signers_own_note() {
    let sign = |scores, notes: Option<&str>, private_notes: Option<&str>| {
        let mut given = signature(scores);
        given.notes = notes.map(str::to_owned);
        given.private_notes = private_notes.map(str::to_owned);
        verdict(vec![]).by(&ada()).when(Command::Sign { signature: given })
    };
    let unfounded = || Refusal::NoEvidence { of: "OVERALL".into() };
    let own_note = || vec![overall(vec![Ground::OwnNote {}])];
    sign(vec![overall(vec![])], Some("Calm."), None).refused(unfounded());
    sign(own_note(), None, None).refused(unfounded());
    assert!(sign(own_note(), Some("Calm."), None).result().is_ok());
    assert!(sign(own_note(), None, Some("Calm.")).result().is_ok());
    sign(vec![overall(cites(9))], None, None)
        .refused(Refusal::ForeignEvidence { of: "OVERALL".into() });
    sign(own_note(), Some("  "), None).refused_with("VALIDATION_FAILED");
}

#[test]
fn a_signature_scores_overall_and_each_kind_once() {
    let technical =
        || SignedScore { kind: ScoreKind::Technical, score: human(7), grounds: cites(1) };
    let refused =
        |scores| verdict(vec![]).by(&ada()).when(sign(scores)).refused(Refusal::WrongScores);
    refused(vec![]);
    refused(vec![technical()]);
    refused(vec![overall(cites(1)), overall(cites(2))]);
    refused(vec![overall(cites(1)), technical(), technical()]);
    let both = sign(vec![overall(cites(1)), technical()]);
    assert!(verdict(vec![]).by(&ada()).when(both).result().is_ok());
}

#[test]
fn private_notes_are_an_event_of_their_own() {
    let given = GivenSignature {
        private_notes: Some("Asks for much.".into()),
        ..signature(vec![overall(cites(1))])
    };
    let events = verdict(vec![]).by(&ada()).when(Command::Sign { signature: given }).result();
    assert!(matches!(
        events.expect("signed").as_slice(),
        [Event::Signed { signature }, Event::PrivateNotesRecorded { member_id: ADA, .. }]
            if signature.notes.is_none()
    ));
}
