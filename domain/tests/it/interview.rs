//! An interview's status, participants, consent, access and times.

use chrono::TimeDelta;
use domain::interview::{
    Ask, Command, CompletionReason, ConsentPurpose, Event, Interview, Mode, Party, PlanRound,
    Refusal, RoundType, Status,
};
use domain::job::{Difficulty, QuestionType};
use domain::testing::{Given, given, state};
use domain::values::Spelled;
use domain::{Aggregate, Context, PublicCode, application, candidate, job};
use uuid::Uuid;

use crate::world::*;

const ACCESS: Uuid = Uuid::from_u128(70);

fn later() -> chrono::DateTime<chrono::Utc> {
    noon() + TimeDelta::days(1)
}

fn plan(mode: Mode) -> PlanRound {
    PlanRound {
        application_id: APPLICATION,
        round_number: 1,
        round_type: RoundType::TechnicalAi,
        mode,
        interviewer_id: (mode != Mode::AiConducted).then_some(ADA),
        resume_id: Some(RESUME),
        restart_of: None,
        candidate_id: MIRA,
        job_id: JOB,
    }
}

fn own_question() -> Ask {
    Ask::Own {
        text: "Why events?".into(),
        question_type: QuestionType::Technical,
        difficulty: Difficulty::Standard,
        dimensions: vec!["design".into()],
    }
}

fn issued() -> Event {
    Event::AccessIssued {
        access_id: ACCESS,
        token_hash: "hash".into(),
        expires_at: noon() + TimeDelta::days(7),
    }
}

/// A history that ends in `status`, with access and consent given; `None` is no history.
fn history(status: Option<Status>, mode: Mode) -> Vec<Event> {
    let Some(status) = status else {
        return vec![];
    };
    let mut events = match status {
        Status::Planned => vec![Event::Planned { round: round(mode) }],
        _ => vec![scheduled(mode)],
    };
    events.extend([issued(), consented()]);
    let mut talk = in_progress(mode).split_off(2);
    talk.extend([asked(1, 1), answered(1, 1, 2), asked(2, 3)]);
    match status {
        Status::Planned => {}
        Status::Scheduled if mode == Mode::AiConducted => events.push(candidate_joined()),
        Status::Scheduled => {}
        Status::WaitingForCandidate => events.push(interviewer_joined()),
        Status::WaitingForInterviewer => events.push(candidate_joined()),
        Status::InProgress => events.extend(talk),
        Status::Completed => {
            events.extend(talk);
            events.push(Event::Completed { reason: CompletionReason::AllAsked });
        }
        Status::Cancelled => {
            events.extend(talk);
            events.push(Event::Cancelled { reason: Some(personal("The line broke.")) });
        }
        Status::NoShow => events.push(Event::MarkedNoShow {}),
        Status::Abandoned => {
            events.extend(talk);
            events.push(Event::Abandoned {});
        }
    }
    events
}

fn commands(mode: Mode) -> Vec<(&'static str, Command)> {
    let join = |party| Command::Join { party };
    let leave = |party| Command::Leave { party };
    let reason = Some("The line broke.".to_owned());
    vec![
        ("plan", Command::Plan { round: plan(mode) }),
        (
            "schedule new",
            Command::Schedule { round: Some(plan(mode)), at: later(), duration_minutes: 45 },
        ),
        ("schedule", Command::Schedule { round: None, at: later(), duration_minutes: 45 }),
        ("reschedule", Command::Reschedule { at: later(), duration_minutes: 30 }),
        ("candidate joins", join(Party::Candidate)),
        ("interviewer joins", join(Party::Interviewer)),
        ("candidate leaves", leave(Party::Candidate)),
        ("interviewer leaves", leave(Party::Interviewer)),
        ("start", Command::Start),
        ("complete", Command::Complete),
        ("complete as AI", Command::CompleteAsAi { reason: CompletionReason::AllAsked }),
        ("abandon", Command::Abandon),
        ("cancel", Command::Cancel { reason }),
        ("cancel, no reason", Command::Cancel { reason: None }),
        ("mark no-show", Command::MarkNoShow),
        ("assign interviewer", Command::AssignInterviewer { member_id: BO }),
        (
            "issue access",
            Command::IssueAccess {
                access_id: Uuid::from_u128(71),
                token_hash: "other".into(),
                expires_at: later(),
            },
        ),
        ("use access", Command::UseAccess { access_id: ACCESS }),
        ("revoke access", Command::RevokeAccess { access_id: ACCESS }),
        ("give consent", Command::GiveConsent { purposes: vec![ConsentPurpose::Recording] }),
        ("withdraw consent", Command::WithdrawConsent),
        ("ask", Command::Ask { question_id: question(3), ask: own_question() }),
        (
            "ask as AI",
            Command::AskAsAi {
                question_id: question(3),
                ask: own_question(),
                provenance: provenance(),
            },
        ),
        (
            "follow up as AI",
            Command::FollowUpAsAi {
                question_id: question(3),
                follow_up_of: question(1),
                text: "And then?".into(),
                provenance: provenance(),
            },
        ),
        (
            "answer",
            Command::Answer {
                answer_id: answer(2),
                question_id: question(2),
                text: "For the history.".into(),
            },
        ),
        (
            "judge as AI",
            Command::JudgeAsAi {
                answer_id: answer(1),
                completeness: 1.0,
                score: 80.0,
                feedback: "Good.".into(),
                provenance: provenance(),
            },
        ),
        ("time out", Command::TimeOut { question_id: question(2) }),
        ("change difficulty", Command::ChangeDifficulty { to: Difficulty::Advanced }),
        ("add note", Command::AddNote { text: "Calm.".into() }),
    ]
}

fn short(status: Status) -> &'static str {
    match status {
        Status::Planned => "PLAN",
        Status::Scheduled => "SCHED",
        Status::WaitingForCandidate => "W_CAND",
        Status::WaitingForInterviewer => "W_INTV",
        Status::InProgress => "IN_PROG",
        Status::Completed => "COMPL",
        Status::Cancelled => "CANC",
        Status::NoShow => "NO_SHOW",
        Status::Abandoned => "ABAND",
    }
}

/// The codes that stand in the tables under shorter names.
const LEGEND: [(&str, &str); 11] = [
    ("INT_ILLEGAL_TRANSITION", "no"),
    ("INT_001", "001"),
    ("INT_002", "002"),
    ("INT_003", "003"),
    ("INT_ALREADY_PLANNED", "exists"),
    ("INT_NO_AI", "no AI"),
    ("INT_NO_INTERVIEWER_WANTED", "nobody"),
    ("INT_NEEDS_REASON", "reason"),
    ("INT_QUESTION_OPEN", "open"),
    ("INT_QUESTION_NOT_FOUND", "no quest"),
    ("INT_ANSWER_NOT_FOUND", "no answ"),
];

/// What becomes of each command in each status, an hour after the round was to begin: the status
/// that follows; `=` where it is so already; else the refusal's code as the legend shortens it.
fn table(mode: Mode) -> String {
    let line = |name: &str, cells: Vec<&str>| {
        let cells: String = cells.iter().map(|cell| format!(" {cell:>8}")).collect();
        format!("{name:<18}{cells}\n")
    };
    let mut statuses = vec![None];
    statuses.extend(Status::ALL.iter().copied().map(Some).filter(|status| {
        // Nobody is waited for where no person conducts.
        let waits = [Some(Status::WaitingForCandidate), Some(Status::WaitingForInterviewer)];
        mode != Mode::AiConducted || !waits.contains(status)
    }));
    let mut table = line("", statuses.iter().map(|s| s.map_or("(none)", short)).collect());
    for (name, command) in commands(mode) {
        let cells = statuses.iter().map(|status| outcome(*status, mode, command.clone()));
        table.push_str(&line(name, cells.collect()));
    }
    table
}

fn outcome(status: Option<Status>, mode: Mode, command: Command) -> &'static str {
    let now = noon() + TimeDelta::hours(1);
    let interview: Interview = state(noon(), history(status, mode));
    assert_eq!(interview.status(), status, "the history leads to its status");
    let (caller, facts) = (ada(), facts());
    match interview.decide(command, Context { caller: &caller, now, facts: &facts }) {
        Ok(events) if events.is_empty() => "=",
        Ok(events) => {
            let after = events.iter().fold(interview, |state, event| state.evolve(event, now));
            after.status().map_or("(none)", short)
        }
        Err(refusal) => {
            let code = refusal.code();
            let entry = LEGEND.iter().find(|(long, _)| *long == code);
            entry.unwrap_or_else(|| panic!("{code} is not in the legend")).1
        }
    }
}

#[track_caller]
fn compare(mode: Mode, expected: &str) {
    let table = table(mode);
    assert!(table.trim_end() == expected.trim_matches('\n'), "the table is:\n{table}");
}

#[test]
fn a_round_led_by_a_person_moves_as_the_table_says() {
    compare(
        Mode::HumanAiAssisted,
        "
                     (none)     PLAN    SCHED   W_CAND   W_INTV  IN_PROG    COMPL     CANC  NO_SHOW    ABAND
plan                   PLAN   exists   exists   exists   exists   exists   exists   exists   exists   exists
schedule new          SCHED   exists   exists   exists   exists   exists   exists   exists   exists   exists
schedule                001    SCHED       no       no       no       no      003       no       no       no
reschedule              001       no    SCHED    SCHED    SCHED       no      003       no    SCHED       no
candidate joins         001       no   W_INTV  IN_PROG        =        =      003       no       no       no
interviewer joins       001       no   W_CAND        =  IN_PROG        =      003       no       no       no
candidate leaves        001        =        =        =    SCHED  IN_PROG        =        =        =        =
interviewer leaves      001        =        =    SCHED        =  IN_PROG        =        =        =        =
start                   001       no       no       no       no        =      003       no       no       no
complete                001       no       no       no       no    COMPL      003       no       no       no
complete as AI          001    no AI    no AI    no AI    no AI    no AI    no AI    no AI    no AI    no AI
abandon                 001       no       no       no       no    ABAND      003       no       no        =
cancel                  001     CANC     CANC     CANC     CANC     CANC      003        =     CANC       no
cancel, no reason       001     CANC     CANC     CANC     CANC   reason      003        =     CANC       no
mark no-show            001       no  NO_SHOW  NO_SHOW  NO_SHOW       no      003       no        =       no
assign interviewer      001     PLAN    SCHED    SCHED   W_INTV  IN_PROG      003       no  NO_SHOW       no
issue access            001     PLAN    SCHED   W_CAND   W_INTV  IN_PROG      003       no  NO_SHOW       no
use access              001     PLAN    SCHED   W_CAND   W_INTV  IN_PROG      002      002  NO_SHOW      002
revoke access           001     PLAN    SCHED   W_CAND   W_INTV  IN_PROG    COMPL     CANC  NO_SHOW    ABAND
give consent            001     PLAN    SCHED   W_CAND   W_INTV  IN_PROG      003       no  NO_SHOW       no
withdraw consent        001     PLAN    SCHED   W_CAND   W_INTV  IN_PROG    COMPL     CANC  NO_SHOW    ABAND
ask                     001       no       no       no       no     open      003       no       no       no
ask as AI               001    no AI    no AI    no AI    no AI    no AI    no AI    no AI    no AI    no AI
follow up as AI         001    no AI    no AI    no AI    no AI    no AI    no AI    no AI    no AI    no AI
answer                  001       no       no       no       no  IN_PROG      003       no       no       no
judge as AI             001  no answ  no answ  no answ  no answ  IN_PROG    COMPL     CANC  no answ    ABAND
time out                001 no quest no quest no quest no quest  IN_PROG        =        = no quest        =
change difficulty       001       no       no       no       no  IN_PROG      003       no       no       no
add note                001     PLAN    SCHED   W_CAND   W_INTV  IN_PROG    COMPL     CANC  NO_SHOW    ABAND
",
    );
}

#[test]
fn a_round_led_by_ai_moves_as_the_table_says() {
    compare(
        Mode::AiConducted,
        "
                     (none)     PLAN    SCHED  IN_PROG    COMPL     CANC  NO_SHOW    ABAND
plan                   PLAN   exists   exists   exists   exists   exists   exists   exists
schedule new          SCHED   exists   exists   exists   exists   exists   exists   exists
schedule                001    SCHED       no       no      003       no       no       no
reschedule              001       no    SCHED       no      003       no    SCHED       no
candidate joins         001       no        =        =      003       no       no       no
interviewer joins       001   nobody   nobody   nobody   nobody   nobody   nobody   nobody
candidate leaves        001        =    SCHED  IN_PROG        =        =        =        =
interviewer leaves      001        =        =        =        =        =        =        =
start                   001       no  IN_PROG        =      003       no       no       no
complete                001       no       no    COMPL      003       no       no       no
complete as AI          001       no       no    COMPL      003       no       no       no
abandon                 001       no       no    ABAND      003       no       no        =
cancel                  001     CANC     CANC     CANC      003        =     CANC       no
cancel, no reason       001     CANC     CANC   reason      003        =     CANC       no
mark no-show            001       no  NO_SHOW       no      003       no        =       no
assign interviewer      001   nobody   nobody   nobody   nobody   nobody   nobody   nobody
issue access            001     PLAN    SCHED  IN_PROG      003       no  NO_SHOW       no
use access              001     PLAN    SCHED  IN_PROG      002      002  NO_SHOW      002
revoke access           001     PLAN    SCHED  IN_PROG    COMPL     CANC  NO_SHOW    ABAND
give consent            001     PLAN    SCHED  IN_PROG      003       no  NO_SHOW       no
withdraw consent        001     PLAN    SCHED  IN_PROG    COMPL     CANC  NO_SHOW    ABAND
ask                     001   nobody   nobody   nobody   nobody   nobody   nobody   nobody
ask as AI               001       no       no     open      003       no       no       no
follow up as AI         001       no       no     open      003       no       no       no
answer                  001       no       no  IN_PROG      003       no       no       no
judge as AI             001  no answ  no answ  IN_PROG    COMPL     CANC  no answ    ABAND
time out                001 no quest no quest  IN_PROG        =        = no quest        =
change difficulty       001       no       no  IN_PROG      003       no       no       no
add note                001     PLAN    SCHED  IN_PROG    COMPL     CANC  NO_SHOW    ABAND
",
    );
}

#[test]
fn a_new_interviewer_is_not_there_because_the_former_one_was() {
    let waiting = history(Some(Status::WaitingForCandidate), Mode::HumanOnly);
    let reassigned = waiting.into_iter().chain([Event::InterviewerAssigned { member_id: BO }]);
    let reassigned: Vec<_> = reassigned.collect();
    let now = given::<Interview>(noon(), &mira(), reassigned.clone()).facts(facts());
    assert_eq!(now.state().status(), Some(Status::Scheduled));
    // The candidate alone does not start it; the new interviewer does.
    now.when(Command::Join { party: Party::Candidate }).then([candidate_joined()]);
    let both = reassigned.into_iter().chain([candidate_joined()]);
    let both = given::<Interview>(noon(), &bo(), both).facts(facts());
    assert_eq!(both.state().status(), Some(Status::WaitingForInterviewer));
    both.when(Command::Join { party: Party::Interviewer })
        .then([interviewer_joined(), Event::Started {}]);
}

#[test]
fn a_refused_move_names_both_statuses() {
    let refusal = at(Status::Planned, Mode::AiConducted).when(Command::Complete).result();
    assert_eq!(
        refusal.expect_err("refused").to_string(),
        "an interview that is PLANNED cannot become COMPLETED"
    );
}

fn at(status: Status, mode: Mode) -> Given<Interview> {
    given::<Interview>(noon(), &ada(), history(Some(status), mode)).facts(facts())
}

#[test]
fn a_round_copies_what_it_rests_on_from_job_and_application() {
    given::<Interview>(noon(), &ada(), [])
        .facts(facts())
        .when(Command::Plan { round: plan(Mode::AiConducted) })
        .then([Event::Planned { round: round(Mode::AiConducted) }]);
}

#[test]
fn a_round_rests_only_on_what_is_there_and_open() {
    let check = |change: &dyn Fn(&mut PlanRound, &mut domain::Facts), refusal: Refusal| {
        let (mut round, mut facts) = (plan(Mode::HumanOnly), facts());
        change(&mut round, &mut facts);
        let nothing = given::<Interview>(noon(), &ada(), []).facts(facts);
        nothing.when(Command::Plan { round }).refused(refusal);
    };
    check(&|_, facts| facts.applications.clear(), Refusal::NoSuchApplication);
    check(&|_, facts| facts.candidates.clear(), Refusal::NoSuchCandidate);
    check(&|_, facts| facts.jobs.clear(), Refusal::NoSuchJob);
    check(&|_, facts| facts.resumes.clear(), Refusal::NoSuchResume);
    check(&|_, facts| facts.members.clear(), Refusal::NoSuchInterviewer);
    check(&|round, _| round.interviewer_id = Some(CY), Refusal::NoSuchInterviewer);
    check(&|round, _| round.interviewer_id = None, Refusal::NeedsInterviewer);
    check(&|round, _| round.mode = Mode::AiConducted, Refusal::NoInterviewerWanted);
    check(&|round, _| round.restart_of = Some(INTERVIEW), Refusal::NotRestartable);
    check(
        &|_, facts| {
            let withdrawn = [submitted(), application::Event::Withdrawn { reason: None }];
            facts.applications.insert(APPLICATION, state(noon(), withdrawn));
        },
        Refusal::NoSuchApplication,
    );
    check(
        &|_, facts| {
            let archived = [registered(), candidate::Event::Archived {}];
            facts.candidates.insert(MIRA, state(noon(), archived));
        },
        Refusal::NoSuchCandidate,
    );
    check(
        &|_, facts| {
            let mut closed = published_job();
            closed.push(job::Event::Closed {});
            facts.jobs.insert(JOB, state(noon(), closed));
        },
        Refusal::NoSuchJob,
    );
    check(
        &|round, _| round.candidate_id = domain::ids::CandidateId(Uuid::from_u128(99)),
        Refusal::NoSuchApplication,
    );
}

#[test]
fn a_round_number_lies_between_1_and_100() {
    for round_number in [0, 101] {
        let round = PlanRound { round_number, ..plan(Mode::AiConducted) };
        given::<Interview>(noon(), &ada(), [])
            .facts(facts())
            .when(Command::Plan { round })
            .refused_with("VALIDATION_FAILED");
    }
}

#[test]
fn only_an_abandoned_round_of_the_same_application_is_restarted() {
    let restart = || Command::Plan {
        round: PlanRound { restart_of: Some(INTERVIEW), ..plan(Mode::AiConducted) },
    };
    for status in Status::ALL {
        if *status == Status::WaitingForCandidate || *status == Status::WaitingForInterviewer {
            continue;
        }
        let facts = facts_with(history(Some(*status), Mode::AiConducted));
        let outcome = given::<Interview>(noon(), &ada(), []).facts(facts).when(restart()).result();
        match status {
            Status::Abandoned => assert!(matches!(
                outcome.expect("allowed").as_slice(),
                [Event::Planned { round }] if round.restart_of == Some(INTERVIEW)
            )),
            _ => assert_eq!(outcome, Err(Refusal::NotRestartable), "{status:?}"),
        }
    }
    let mut other = round(Mode::AiConducted);
    other.application_id = domain::ids::ApplicationId(Uuid::from_u128(98));
    let facts = facts_with(vec![Event::Planned { round: other }, Event::Abandoned {}]);
    let nothing = given::<Interview>(noon(), &ada(), []).facts(facts);
    nothing.when(restart()).refused(Refusal::NotRestartable);
}

#[test]
fn a_round_is_held_within_two_years_and_lasts_5_to_480_minutes() {
    let check = |at, duration_minutes, allowed: bool| {
        let planned = [Event::Planned { round: round(Mode::AiConducted) }];
        let outcome = given::<Interview>(noon(), &ada(), planned)
            .when(Command::Schedule { round: None, at, duration_minutes })
            .result();
        assert_eq!(outcome.is_ok(), allowed, "{at} {duration_minutes}");
    };
    check(noon() - seconds(300), 45, true);
    check(noon() - seconds(301), 45, false);
    check(noon() + TimeDelta::days(730), 45, true);
    check(noon() + TimeDelta::days(730) + seconds(1), 45, false);
    check(chrono::DateTime::<chrono::Utc>::MIN_UTC, 45, false);
    check(chrono::DateTime::<chrono::Utc>::MAX_UTC, 45, false);
    for (minutes, allowed) in [(0, false), (4, false), (5, true), (480, true), (481, false)] {
        check(later(), minutes, allowed);
    }
}

#[test]
fn the_same_time_again_is_no_news() {
    let round = at(Status::Scheduled, Mode::AiConducted);
    round.when(Command::Schedule { round: None, at: noon(), duration_minutes: 45 }).nothing();
    round.when(Command::Reschedule { at: noon(), duration_minutes: 45 }).nothing();
}

#[test]
fn who_comes_second_starts_a_round_led_by_a_person() {
    at(Status::WaitingForInterviewer, Mode::HumanOnly)
        .when(Command::Join { party: Party::Interviewer })
        .then([interviewer_joined(), Event::Started {}]);
}

#[test]
fn a_round_led_by_ai_starts_only_with_the_candidate_and_consent() {
    let ai = Mode::AiConducted;
    let start = |events: Vec<Event>| given::<Interview>(noon(), &mira(), events);
    start(vec![scheduled(ai), candidate_joined()]).when(Command::Start).refused(Refusal::NoConsent);
    start(vec![scheduled(ai), consented()]).when(Command::Start).refused(Refusal::CandidateAbsent);
    start(vec![scheduled(ai), consented(), candidate_joined()])
        .when(Command::Start)
        .then([Event::Started {}]);
    let recording = Event::ConsentGiven { purposes: vec![ConsentPurpose::Recording] };
    start(vec![scheduled(ai), recording, candidate_joined()])
        .when(Command::Start)
        .refused(Refusal::NoConsent);
}

#[test]
fn a_candidate_does_not_fail_to_come_before_the_beginning() {
    let scheduled = || at(Status::Scheduled, Mode::HumanOnly);
    scheduled().at(noon() - seconds(1)).when(Command::MarkNoShow).refused(Refusal::TooEarly);
    scheduled().when(Command::MarkNoShow).then([Event::MarkedNoShow {}]);
}

#[test]
fn a_new_time_sends_everybody_out() {
    let join = |party| Command::Join { party };
    let rescheduled = |status| {
        let mut events = history(Some(status), Mode::HumanOnly);
        events.push(Event::Rescheduled { at: later(), duration_minutes: 30 });
        given::<Interview>(noon(), &ada(), events)
    };
    let round = rescheduled(Status::WaitingForCandidate);
    round.when(join(Party::Candidate)).then([candidate_joined()]);
    let round = rescheduled(Status::WaitingForInterviewer);
    round.when(join(Party::Interviewer)).then([interviewer_joined()]);
}

#[test]
fn consent_is_named_given_once_and_taken_back() {
    let scheduled = || given::<Interview>(noon(), &mira(), [scheduled(Mode::AiConducted)]);
    let (ai, recording) = (ConsentPurpose::AiAnalysis, ConsentPurpose::Recording);
    scheduled().when(Command::GiveConsent { purposes: vec![] }).refused_with("VALIDATION_FAILED");
    scheduled()
        .when(Command::GiveConsent { purposes: vec![recording, ai, recording] })
        .then([Event::ConsentGiven { purposes: vec![ai, recording] }]);
    scheduled().when(Command::WithdrawConsent).nothing();
    at(Status::Scheduled, Mode::AiConducted)
        .when(Command::GiveConsent { purposes: vec![ai] })
        .nothing();
    at(Status::InProgress, Mode::AiConducted)
        .when(Command::WithdrawConsent)
        .then([Event::ConsentWithdrawn {}]);
}

#[test]
fn withdrawn_consent_stops_ai_at_once_and_a_person_goes_on() {
    for mode in [Mode::AiConducted, Mode::HumanAiAssisted] {
        let mut events = history(Some(Status::InProgress), mode);
        events.extend([answered(2, 2, 4), Event::ConsentWithdrawn {}]);
        let round = given::<Interview>(noon(), &ada(), events).facts(facts());
        for (name, command) in commands(mode) {
            let by_ai = matches!(
                command,
                Command::AskAsAi { .. }
                    | Command::FollowUpAsAi { .. }
                    | Command::JudgeAsAi { .. }
                    | Command::ChangeDifficulty { .. }
            );
            if by_ai {
                let code = round.when(command).result().expect_err(name).code();
                assert!(["INT_NO_CONSENT", "INT_NO_AI"].contains(&code), "{name}: {code}");
            }
        }
        if mode == Mode::HumanAiAssisted {
            let ask = Command::Ask { question_id: question(3), ask: own_question() };
            assert!(round.when(ask).result().is_ok());
        }
        round
            .when(Command::Complete)
            .then([Event::Completed { reason: CompletionReason::ClosedByPerson }]);
    }
}

#[test]
fn a_round_without_ai_stays_so_with_consent() {
    let round = || at(Status::InProgress, Mode::HumanOnly);
    let judge = || {
        let judge = commands(Mode::HumanOnly).into_iter().find(|(name, _)| *name == "judge as AI");
        judge.expect("a command").1
    };
    round().when(judge()).refused(Refusal::NoAi);
    let harder = Command::ChangeDifficulty { to: Difficulty::Advanced };
    round().when(harder).refused(Refusal::NoAi);
}

#[test]
fn an_access_is_good_until_it_expires_is_revoked_or_the_round_ends() {
    let using = || Command::UseAccess { access_id: ACCESS };
    let used = Event::AccessFirstUsed { access_id: ACCESS };
    let round = |more: Vec<Event>| {
        let mut events = vec![scheduled(Mode::AiConducted), issued()];
        events.extend(more);
        given::<Interview>(noon(), &mira(), events)
    };
    round(vec![]).when(using()).then([used.clone()]);
    round(vec![used.clone()]).when(using()).nothing();
    round(vec![]).at(noon() + TimeDelta::days(7)).when(using()).refused(Refusal::AccessOver);
    let revoked = Event::AccessRevoked { access_id: ACCESS };
    round(vec![used.clone(), revoked]).when(using()).refused(Refusal::AccessOver);
    round(vec![used, Event::Cancelled { reason: None }]).when(using()).refused(Refusal::AccessOver);
    let other = Command::UseAccess { access_id: Uuid::from_u128(72) };
    round(vec![]).when(other).refused(Refusal::NoSuchAccess);
    round(vec![])
        .when(Command::IssueAccess {
            access_id: Uuid::from_u128(73),
            token_hash: "third".into(),
            expires_at: noon(),
        })
        .refused_with("VALIDATION_FAILED");
}

#[test]
fn an_access_opens_by_the_hash_of_its_token_only() {
    let interview: Interview = state(noon(), [scheduled(Mode::AiConducted), issued()]);
    assert!(interview.access("hash", noon()).is_some());
    assert!(interview.access("other", noon()).is_none());
    assert!(interview.access("hash", noon() + TimeDelta::days(7)).is_none());
}

#[test]
fn thirty_silent_minutes_end_a_conversation() {
    let round = || at(Status::InProgress, Mode::AiConducted);
    round().at(noon() + seconds(1_799)).when(Command::Abandon).refused(Refusal::TooEarly);
    round().at(noon() + seconds(1_800)).when(Command::Abandon).then([Event::Abandoned {}]);
}
