//! Folds as small tables, without a database.

use chrono::{DateTime, TimeDelta, Utc};
use domain::aggregate::Aggregate;
use domain::candidate::Event::{AccountLinked, Archived, Assigned, Unassigned};
use domain::ids::{AccountId, MemberId};
use domain::interview::{self, Interview, Party};
use domain::personal::{Personal, Subject};
use domain::{Event, Role, candidate, member, samples, verdict};
use eventlog::codec::Recorded;
use eventlog::envelope::{Cause, EventHash, Position, StoredEvent, StreamId, Version};
use projections::projector::{Keys, Projector};
use projections::{
    access_log, ai_calls, applications, as_of, candidates, companies, interviews, jobs, members,
    observations, resumes, transcripts, verdicts,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{Story, World, memory, noon};

/// Events as if they stood in one stream from its beginning, a second apart.
pub fn recorded(stream: &StreamId, events: Vec<Event>) -> Vec<Recorded> {
    (1..).zip(events).map(|(n, event)| one(stream, n, event)).collect()
}

fn one(stream: &StreamId, n: u64, event: Event) -> Recorded {
    let at = at(i64::try_from(n).expect("a small number"));
    let id = Uuid::from_u128(u128::from(n));
    let stored = StoredEvent {
        position: Position(n),
        recorded_at: at,
        stream: stream.clone(),
        version: Version(n),
        event_id: id,
        name: String::new(),
        schema_version: 1,
        occurred_at: at,
        cause: Cause {
            command_id: id,
            fingerprint: vec![],
            correlation_id: id,
            causation_id: None,
            actor: "system:test".into(),
            trace_parent: None,
        },
        payload: bytes::Bytes::new(),
        hash: EventHash([0; 32]),
    };
    Recorded { event, stored }
}

fn at(seconds: i64) -> DateTime<Utc> {
    noon() + TimeDelta::seconds(seconds)
}

/// Every sample event, each aggregate's in a stream of its own.
pub fn all_samples() -> Vec<Recorded> {
    let mut all = vec![];
    for aggregate in domain::event::AGGREGATES {
        let events: Vec<Event> =
            samples::all().into_iter().filter(|event| event.aggregate() == *aggregate).collect();
        assert!(!events.is_empty(), "{aggregate} has samples");
        let stream = StreamId::new(samples::COMPANY, aggregate, samples::stream(aggregate));
        all.extend(recorded(&stream, events));
    }
    all
}

pub fn of_aggregates(all: &[Recorded], aggregates: &[&str]) -> Vec<Recorded> {
    let wanted = |recorded: &&Recorded| aggregates.contains(&recorded.event.aggregate());
    all.iter().filter(wanted).cloned().collect()
}

fn rows<P: Projector>(events: &[Recorded]) -> Vec<Value> {
    let rows = as_of::fold::<P>(events);
    rows.iter().map(|row| serde_json::to_value(row).expect("a row is JSON")).collect()
}

fn check_samples<P: Projector>() {
    let all = all_samples();
    assert!(!rows::<P>(&of_aggregates(&all, P::AGGREGATES)).is_empty(), "{}", P::NAME);
    for recorded in &all {
        // Alone, where nothing was made before, and twice.
        rows::<P>(std::slice::from_ref(recorded));
        rows::<P>(&[recorded.clone(), recorded.clone()]);
        let listens = P::AGGREGATES.contains(&recorded.event.aggregate());
        if let (Keys::These(keys), true) = (P::keys(recorded), listens) {
            for key in keys {
                let folded = P::fold(&key, None, recorded);
                assert!(folded.is_none_or(|row| {
                    let row = serde_json::to_value(row).expect("a row is JSON");
                    let key = serde_json::to_value(&key).expect("a key is JSON");
                    P::KEY.iter().all(|column| row[*column] == key[*column])
                }));
            }
        }
    }
}

#[test]
fn every_event_folds_into_every_model_whatever_was_there() {
    check_samples::<access_log::AccessLog>();
    check_samples::<ai_calls::AiCalls>();
    check_samples::<applications::Applications>();
    check_samples::<candidates::Candidates>();
    check_samples::<companies::Companies>();
    check_samples::<interviews::Interviews>();
    check_samples::<jobs::Jobs>();
    check_samples::<members::Members>();
    check_samples::<observations::Observations>();
    check_samples::<resumes::Resumes>();
    check_samples::<transcripts::Transcripts>();
    check_samples::<verdicts::Verdicts>();
}

fn told(interviewer: Option<MemberId>) -> (World, Story, StreamId) {
    let world = memory();
    let story = Story { interviewer, ..world.story(1) };
    let stream = world.stream("interview", story.interview.0);
    (world, story, stream)
}

#[tokio::test]
async fn an_interview_stands_where_the_rules_say() {
    let person = memory().member(2);
    let leaving = [
        interview::Event::Left { party: Party::Candidate },
        interview::Event::Joined { party: Party::Interviewer },
        interview::Event::Left { party: Party::Interviewer },
        interview::Event::Rescheduled { at: noon(), duration_minutes: 30 },
        interview::Event::Joined { party: Party::Interviewer },
        interview::Event::MarkedNoShow {},
        interview::Event::Rescheduled { at: noon(), duration_minutes: 30 },
        interview::Event::Joined { party: Party::Candidate },
        interview::Event::Joined { party: Party::Interviewer },
        interview::Event::Started {},
        interview::Event::Left { party: Party::Interviewer },
        interview::Event::Abandoned {},
    ];
    for interviewer in [None, Some(person)] {
        let (world, story, stream) = told(interviewer);
        let mut early = world.opening(&story)[..6].to_vec();
        early.extend(leaving.iter().cloned().map(Event::from));
        let mut by_person = world.interview_events(&story);
        for event in &mut by_person {
            if let Event::Interview(
                interview::Event::QuestionAsked { asked_by, .. }
                | interview::Event::FollowUpAsked { asked_by, .. },
            ) = event
            {
                *asked_by = interview::AskedBy::Member { member_id: person };
            }
        }
        for events in [world.interview_events(&story), by_person, early] {
            let mut state = Interview::default();
            let events = recorded(&stream, events);
            for n in 1..=events.len() {
                let last = &events[n - 1];
                let event = Interview::event(&last.event).expect("an interview's event");
                state = state.evolve(event, last.stored.occurred_at);
                let row = as_of::fold::<interviews::Interviews>(&events[..n]).remove(0);
                assert_eq!(Some(row.status), state.status(), "after {n}");
                assert_eq!(row.version, n as u64);
                let open = state.open_question().map(|q| q.question_id);
                let ended = row.ended_at.is_some();
                let current = row.current_question.map(|q| q.question_id);
                assert_eq!(current, open.filter(|_| !ended), "after {n}");
                assert_eq!(row.last_activity, state.last_activity(), "after {n}");
            }
        }
    }
}

#[tokio::test]
async fn a_live_interview_shows_what_was_asked_and_answered() {
    let (world, story, stream) = told(None);
    let events = recorded(&stream, world.interview_events(&story));
    let row = as_of::fold::<interviews::Interviews>(&events).remove(0);
    assert_eq!((row.n_questions, row.n_follow_ups, row.n_answers, row.n_timed_out), (2, 1, 2, 1));
    assert_eq!(row.started_at, Some(at(7)));
    assert_eq!(row.ended_at, Some(at(17)));
    assert_eq!(row.accesses.len(), 1);
    assert_eq!(row.accesses[0].first_used_at, Some(at(4)));
    let shown = serde_json::to_string(&row.accesses).expect("JSON");
    assert!(!shown.contains(&"2c".repeat(32)), "no token's hash is shown");
}

#[tokio::test]
async fn a_transcript_holds_judgements_and_time_outs_in_their_turns() {
    let (world, story, stream) = told(None);
    let events = recorded(&stream, world.interview_events(&story));
    let mut turns = as_of::fold::<transcripts::Transcripts>(&events);
    turns.sort_by_key(|turn| turn.sequence);
    let shown: Vec<Value> = turns
        .iter()
        .map(|turn| {
            let score = turn.judgement.as_ref().map(|judgement| judgement.score.get());
            json!([turn.sequence, turn.kind, turn.outcome, turn.text, score])
        })
        .collect();
    assert_eq!(
        shown,
        [
            json!([1, "QUESTION", "ANSWERED", "Question 0?", null]),
            json!([2, "ANSWER", null, "Answer 0.", 74.55]),
            json!([3, "FOLLOW_UP", "ANSWERED", "Question 1?", null]),
            json!([4, "ANSWER", null, "Answer 1.", null]),
            json!([5, "QUESTION", "TIMED_OUT", "Question 2?", null]),
        ]
    );
    assert_eq!(turns[2].follow_up_of, Some(world.question(&story, 0)));
}

#[tokio::test]
async fn a_verdict_keeps_its_status_and_hides_private_notes() {
    let world = memory();
    let story = world.story(1);
    let stream = world.stream("verdict", story.verdict.0);
    let events = recorded(&stream, world.verdict_events(&story));
    let statuses: Vec<Value> = (1..=events.len())
        .map(|n| rows::<verdicts::Verdicts>(&events[..n])[0]["status"].clone())
        .collect();
    assert_eq!(statuses, ["OPEN", "ASSESSMENT_FAILED", "OPEN", "PROPOSED", "SIGNED", "SIGNED"]);
    let row = &rows::<verdicts::Verdicts>(&events)[0];
    assert_eq!(row["private_notes"], json!([]));
    assert_eq!(row["attempt"], 2);
    assert_eq!(row["proposal"]["scores"][0]["evidence"][0]["quote"], "Answer");
    assert_eq!(row["signature"]["decision"], "ADVANCE");

    // Whatever a machine says afterwards, a decision stands.
    let mut late = world.verdict_events(&story);
    late.push(verdict::Event::AssessmentFailed { code: "AI_001".into() }.into());
    let row = &rows::<verdicts::Verdicts>(&recorded(&stream, late))[0];
    assert_eq!(row["status"], "SIGNED");
}

#[test]
fn a_candidate_is_assigned_and_put_away() {
    let world = memory();
    let story = world.story(1);
    let subject = Subject::Candidate(story.candidate);
    let own = |text: &str| Personal::new(subject, text.to_owned());
    let profile = candidate::Profile {
        full_name: own("Mira"),
        email: Personal::erased(subject),
        phone: None,
        source: None,
    };
    let ada = world.member(0);
    let stream = world.stream("candidate", story.candidate.0);
    let events: Vec<Event> = vec![
        candidate::Event::Registered { profile }.into(),
        Assigned { member_id: ada }.into(),
        candidate::Event::NoteAdded { text: own("Call back.") }.into(),
        Unassigned {}.into(),
        AccountLinked { account_id: AccountId(Uuid::from_u128(60)) }.into(),
        Archived {}.into(),
    ];
    let events = recorded(&stream, events);
    let row = |n: usize| as_of::fold::<candidates::Candidates>(&events[..n]).remove(0);
    assert_eq!(row(2).assigned_to, Some(ada));
    assert_eq!(row(3).notes[0].text.as_deref(), Some("Call back."));
    assert_eq!((row(4).has_login, row(5).has_login), (false, true));
    assert_eq!(row(5).assigned_to, None);
    assert_eq!((row(6).status, row(6).has_login), (candidates::Status::Archived, true));
    assert_eq!((row(5).full_name.as_deref(), row(5).email), (Some("Mira"), None));
    assert_eq!((row(5).created_at, row(5).updated_at), (at(1), at(5)));
}

#[test]
fn who_was_erased_leaves_a_row_without_a_name() {
    let world = memory();
    let subject = Subject::Candidate(world.story(1).candidate);
    let profile = candidate::Profile {
        full_name: Personal::erased(subject),
        email: Personal::erased(subject),
        phone: Some(Personal::erased(subject)),
        source: Some("referral".into()),
    };
    let stream = world.stream("candidate", world.story(1).candidate.0);
    let events = recorded(&stream, vec![candidate::Event::Registered { profile }.into()]);
    let row = as_of::fold::<candidates::Candidates>(&events).remove(0);
    assert!(row.erased);
    assert_eq!((row.full_name, row.email, row.phone), (None, None, None));
}

#[test]
fn a_member_comes_back_as_what_the_member_was() {
    let world = memory();
    let id = world.member(0);
    let own = |text: &str| Personal::new(Subject::Member(id), text.to_owned());
    let invited = member::Event::Invited {
        email: own("ada@northwind.example"),
        full_name: own("Ada"),
        role: Role::Hr,
        department: None,
    };
    let account_id = AccountId(id.0);
    let cases = [
        (vec![invited.clone()], "INVITED"),
        (vec![invited.clone(), member::Event::Joined { account_id }], "ACTIVE"),
        (vec![invited.clone(), member::Event::Deactivated {}], "DEACTIVATED"),
        (
            vec![invited.clone(), member::Event::Deactivated {}, member::Event::Reactivated {}],
            "INVITED",
        ),
        (
            vec![
                invited,
                member::Event::Joined { account_id },
                member::Event::Deactivated {},
                member::Event::Reactivated {},
            ],
            "ACTIVE",
        ),
    ];
    for (events, status) in cases {
        let events = events.into_iter().map(Event::from).collect();
        let events = recorded(&world.stream("member", id.0), events);
        assert_eq!(rows::<members::Members>(&events)[0]["status"], status);
    }
}

#[test]
fn a_member_is_shown_by_what_is_known_last() {
    let world = memory();
    let (id, manager) = (world.member(0), world.member(1));
    let own = |text: &str| Personal::new(Subject::Member(id), text.to_owned());
    let invited = member::Event::Invited {
        email: own("ada@northwind.example"),
        full_name: own("Ada"),
        role: Role::Hr,
        department: Some("People".into()),
    };
    let changed = member::Event::ProfileChanged {
        full_name: own("Ada Berg"),
        department: None,
        manager_id: Some(manager),
    };
    let events = [invited, changed].into_iter().map(Event::from).collect();
    let row = &rows::<members::Members>(&recorded(&world.stream("member", id.0), events))[0];
    assert_eq!(row["full_name"], "Ada Berg");
    assert_eq!(row["department"], serde_json::Value::Null);
    assert_eq!(row["manager_id"], serde_json::json!(manager));
}
