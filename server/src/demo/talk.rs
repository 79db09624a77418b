//! The conversation, as the candidate leads it: consent, questions and answers over live events that
//! are cut and resumed, until the interview completes by itself. HR watches on a stream of its own.

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::cast::Cast;
use super::client::{Session, list, number, text};
use super::examples::{Interview, Job};
use super::hiring::Invited;
use super::probes::refused;
use super::script::{Stage, id};
use super::socket::{Item, Subscription};

const EVENTS: &str = "subscription($id: ID!, $after: String) {
    interviewEvents(interviewId: $id, after: $after) {
        cursor version sequence eventType status
        ... on QuestionAsked { questionId text difficulty dimensions }
        ... on FollowUpAsked { questionId followUpOf text }
        ... on AnswerRecorded { answerId questionId text }
        ... on AnswerJudged { answerId completeness score }
        ... on DifficultyChanged { from to }
        ... on InterviewCompleted { reason } } }";

const TRANSCRIPT: &str = "query($id: ID!, $seen: [String!]) {
    interview(id: $id, consistentWith: $seen) { status completionReason nAnswers
    transcript(first: 100) { totalCount nodes {
        id kind sequence text questionId followUpOf dimensions outcome } } } }";

/// What of an interview is compared with its replay.
pub const MOMENT: &str =
    "status version nQuestions nFollowUps nAnswers nTimedOut consent candidatePresent jobTitle";

/// After how many answers the candidate's socket is cut, again and again.
const ANSWERS_BETWEEN_CUTS: usize = 3;

/// How many events a replay brings before it is cut, again and again.
const EVENTS_BETWEEN_CUTS: usize = 5;

/// How the interview stood right after an answer.
pub struct Moment {
    /// Its version.
    pub version: u64,
    /// What the answer to the mutation showed of it.
    pub interview: Value,
    /// Everything said until then, in order.
    pub said: Vec<String>,
}

/// A conversation that was held.
pub struct Talk {
    /// The candidate, whose session outlasts the interview.
    pub guest: Session,
    /// Cursor of the last live event, which is a consistency token, too.
    pub end: String,
    /// What HR saw live.
    pub watched: Vec<Value>,
    /// How it stood right after the third answer.
    pub third_answer: Option<Moment>,
    /// The question that was open last.
    pub last_question: String,
    /// Slugs of the questions that were followed up.
    pub followed_up: Vec<String>,
    /// Turns of the transcript, in order.
    turns: Vec<Value>,
}

impl Talk {
    /// The recorded answers, in order.
    pub fn answers(&self) -> impl Iterator<Item = &Value> {
        self.turns.iter().filter(|turn| turn["kind"] == "ANSWER")
    }

    /// What was said in an answer.
    #[must_use]
    pub fn text_of(&self, answer: &Value) -> Option<&str> {
        self.answers().find(|turn| turn["id"] == *answer)?["text"].as_str()
    }

    /// What the question measures that an answer answers; a follow-up measures what the question
    /// does that it follows up.
    #[must_use]
    pub fn dimensions_of(&self, answer: &Value) -> Vec<&str> {
        let question = |id: &Value| {
            self.turns.iter().find(|turn| turn["kind"] != "ANSWER" && turn["questionId"] == *id)
        };
        let answer = self.answers().find(|turn| turn["id"] == *answer);
        let asked = answer.and_then(|answer| question(&answer["questionId"]));
        let first = asked.and_then(|asked| question(&asked["followUpOf"])).or(asked);
        let dimensions = first.map_or(&[][..], |first| list(first, "/dimensions"));
        dimensions.iter().filter_map(Value::as_str).collect()
    }
}

/// The stored name of a live event, such as `interview.question_asked`.
#[must_use]
pub fn name(event: &Value) -> &str {
    event["eventType"].as_str().unwrap_or_default()
}

/// The interview's version that an event made.
#[must_use]
pub fn version(event: &Value) -> u64 {
    event["version"].as_u64().unwrap_or_default()
}

fn is_end(event: &Value) -> bool {
    matches!(name(event), "interview.completed" | "interview.abandoned" | "interview.cancelled")
}

/// Holds the whole conversation.
///
/// # Errors
/// When a step is refused, or does not happen in time.
pub async fn hold(
    stage: &Stage,
    cast: &Cast,
    job: &Job,
    script: &Interview,
    invited: &Invited,
    cuts: u32,
) -> anyhow::Result<Talk> {
    let entering = json!({ "token": invited.access_token });
    let stranger = stage.api.stranger("the candidate");
    let guest = match stranger.enter("openInterviewSession", entering).await? {
        Ok(guest) => guest,
        Err(refused) => bail!("the access token opens nothing: {refused}"),
    };
    let mut watching = JoinSet::new();
    let mut hr = Subscription::new(&cast.hr, EVENTS, id(&invited.interview));
    hr.open(stage.manner.patience).await?;
    watching.spawn(watch(stage.manner.patience * 4, hr, stage.manner.quiet));

    begin(stage, &guest, &invited.interview).await?;
    let mut seat = Seat::new(stage, job, script, &guest, &invited.interview, cuts);
    seat.answer_all().await?;
    let Seat { events, seen, third_answer, last_question, followed_up, .. } = seat;
    if cuts > 0 {
        let n_resumed = events.n_resumed;
        stage.checks.check(
            format!("the candidate's socket was cut {cuts} times and went on after its cursor"),
            n_resumed >= cuts,
            || format!("it went on {n_resumed} times"),
        );
        check_replay(stage, &guest, &invited.interview, &seen).await?;
    }
    let watched = match watching.join_next().await {
        Some(watched) => watched.context("the watcher broke off")?,
        None => vec![],
    };
    let end = text(seen.last().unwrap_or(&Value::Null), "/cursor")?;
    let turns = transcript(stage, cast, &invited.interview, &end).await?;
    Ok(Talk { guest, end, watched, third_answer, last_question, followed_up, turns })
}

/// Joins, consents and starts; starting without consent is refused.
async fn begin(stage: &Stage, guest: &Session, interview: &str) -> anyhow::Result<()> {
    let input = json!({ "interviewId": interview });
    guest.carry_out("joinInterview", input.clone(), "interview { status }").await?;
    let answer = guest.order("startInterview", input.clone(), "interview { status }").await?;
    let sentence = "without consent the AI does not begin";
    refused(stage, sentence, &answer, &["INT_NO_CONSENT"]);
    let consent = json!({ "interviewId": interview, "purposes": ["AI_ANALYSIS"] });
    guest.carry_out("recordConsent", consent, "interview { consent }").await?;
    let started = guest.carry_out("startInterview", input, "interview { status }").await?;
    stage.checks.equal(
        "the candidate consents and starts the interview",
        &started["interview"]["status"],
        &json!("IN_PROGRESS"),
    );
    Ok(())
}

/// The candidate's place in the conversation.
struct Seat<'a> {
    stage: &'a Stage,
    job: &'a Job,
    script: &'a Interview,
    guest: &'a Session,
    interview: &'a str,
    cuts_left: u32,
    events: Subscription,
    seen: Vec<Value>,
    said: Vec<String>,
    n_answers: usize,
    third_answer: Option<Moment>,
    last_question: String,
    /// Slug of the question that was asked last.
    last_slug: String,
    followed_up: Vec<String>,
}

impl<'a> Seat<'a> {
    fn new(
        stage: &'a Stage,
        job: &'a Job,
        script: &'a Interview,
        guest: &'a Session,
        interview: &'a str,
        cuts: u32,
    ) -> Self {
        Self {
            stage,
            job,
            script,
            guest,
            interview,
            cuts_left: cuts,
            events: Subscription::new(guest, EVENTS, id(interview)),
            seen: vec![],
            said: vec![],
            n_answers: 0,
            third_answer: None,
            last_question: String::new(),
            last_slug: String::new(),
            followed_up: vec![],
        }
    }

    /// Answers what is asked until the interview ends.
    async fn answer_all(&mut self) -> anyhow::Result<()> {
        loop {
            let event = self.next_event().await?;
            self.seen.push(event.clone());
            match name(&event) {
                "interview.question_asked" | "interview.follow_up_asked" => {
                    self.answer(&event).await?;
                }
                _ if is_end(&event) => break,
                _ => {}
            }
        }
        let last = self.seen.last().map_or("", name);
        self.stage.checks.equal(
            format!("the interview of {} completes by itself", self.script.candidate.full_name),
            &last,
            &"interview.completed",
        );
        Ok(())
    }

    async fn next_event(&mut self) -> anyhow::Result<Value> {
        let patience = self.stage.manner.patience;
        match self.events.next(Instant::now() + patience).await? {
            Some(Item::Next(event)) => Ok(event),
            Some(Item::End) => bail!("the live events ended before the interview did"),
            Some(Item::Refused(refused)) => bail!("live events are refused: {refused}"),
            None => {
                let after = self.seen.last().map_or("the subscription", name);
                bail!(
                    "after {after} nothing happened within {patience:?}: no question was asked and \
                     the interview was not completed, as if no reactor ran or live events stood still"
                )
            }
        }
    }

    async fn answer(&mut self, asked: &Value) -> anyhow::Result<()> {
        let question = text(asked, "/text")?;
        let answer = self.words(asked, &question)?;
        self.said.extend([question, answer.clone()]);
        let due = self.n_answers % ANSWERS_BETWEEN_CUTS == ANSWERS_BETWEEN_CUTS - 2;
        if self.cuts_left > 0 && due {
            // What happens next happens while nobody listens.
            self.events.cut();
            self.cuts_left -= 1;
        }
        let question_id = text(asked, "/questionId")?;
        let input = json!({
            "interviewId": self.interview,
            "questionId": question_id,
            "text": answer,
        });
        let selection = format!("answerId interview {{ {MOMENT} }}");
        let answered = self.guest.carry_out("submitAnswer", input.clone(), &selection).await?;
        self.n_answers += 1;
        if self.n_answers == 1 {
            let again = self.guest.order("submitAnswer", input, "answerId").await?;
            let sentence = "the first accepted answer stands, a second one is refused";
            refused(self.stage, sentence, &again, &["INT_ALREADY_ANSWERED"]);
        }
        if self.n_answers == 3 {
            self.third_answer = Some(Moment {
                version: number(&answered, "/version")?,
                interview: answered["interview"].clone(),
                said: self.said.clone(),
            });
        }
        self.last_question = question_id;
        Ok(())
    }

    /// What the candidate says to a question, or to what is asked back.
    fn words(&mut self, asked: &Value, question: &str) -> anyhow::Result<String> {
        if name(asked) == "interview.follow_up_asked" {
            self.followed_up.push(self.last_slug.clone());
            let first = self.script.answers.iter().find(|a| a.question == self.last_slug);
            let follow_up = first.and_then(|first| first.follow_up.clone());
            return Ok(follow_up.unwrap_or_else(|| "I have nothing to add.".to_owned()));
        }
        let answer = self.script.answer_to(self.job, question);
        let answer = answer.with_context(|| format!("the job has no question {question:?}"))?;
        self.last_slug.clone_from(&answer.question);
        Ok(answer.text.clone())
    }
}

/// Follows the interview to its end, or for as long as something comes, and prints it.
async fn watch(patience: std::time::Duration, mut events: Subscription, quiet: bool) -> Vec<Value> {
    let mut watched = vec![];
    while let Ok(Some(Item::Next(event))) = events.next(Instant::now() + patience).await {
        if !quiet {
            print(&event);
        }
        let ended = is_end(&event);
        watched.push(event);
        if ended {
            break;
        }
    }
    watched
}

fn print(event: &Value) {
    let name = name(event).trim_start_matches("interview.");
    let word = |field: &str| event[field].as_str().map(str::to_owned);
    let judged = || Some(format!("{} of 100, as advice", event["score"].as_f64()?));
    let harder = || Some(format!("{} → {}", word("from")?, word("to")?));
    let what = event["text"].as_str().map(shortened);
    let what = what.or_else(judged).or_else(harder).or_else(|| word("reason")).unwrap_or_default();
    println!("  {:>3}  {name:<18} {what}", version(event));
}

fn shortened(text: &str) -> String {
    const CHARS: usize = 90;
    match text.char_indices().nth(CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A second reading from the beginning, cut in the middle of the replay again and again, brings the
/// same events once each.
async fn check_replay(
    stage: &Stage,
    guest: &Session,
    interview: &str,
    seen: &[Value],
) -> anyhow::Result<()> {
    let mut events = Subscription::new(guest, EVENTS, id(interview));
    let mut again: Vec<Value> = vec![];
    while again.last().is_none_or(|event| !is_end(event)) {
        match events.next(Instant::now() + stage.manner.patience).await? {
            Some(Item::Next(event)) => again.push(event),
            Some(Item::Refused(refused)) => bail!("the replay is refused: {refused}"),
            Some(Item::End) | None => break,
        }
        if again.len().is_multiple_of(EVENTS_BETWEEN_CUTS) {
            events.cut();
        }
    }
    let versions = |events: &[Value]| events.iter().map(version).collect::<Vec<_>>();
    let checks = &stage.checks;
    checks.check(
        "over all cuts the candidate's live events came in order and none twice",
        versions(seen).windows(2).all(|pair| pair[0] < pair[1]),
        || format!("{:?}", versions(seen)),
    );
    checks.check(
        "a replay from the beginning, cut every few events, brings the same events once each",
        again == seen,
        || format!("live {:?}, replayed {:?}", versions(seen), versions(&again)),
    );
    let hidden = ["interview.answer_judged", "interview.difficulty_changed"];
    checks.check(
        "the candidate's live events say nothing of what is thought of the answers",
        !seen.iter().any(|event| hidden.contains(&name(event))),
        || "a judgement was among them".to_owned(),
    );
    Ok(())
}

/// The transcript, which shows the end, because the last live event's cursor is presented.
async fn transcript(
    stage: &Stage,
    cast: &Cast,
    interview: &str,
    end: &str,
) -> anyhow::Result<Vec<Value>> {
    let seen = cast.hr.query(TRANSCRIPT, json!({ "id": interview, "seen": [end] })).await?;
    let interview = &seen["interview"];
    let turns = list(interview, "/transcript/nodes").to_vec();
    let n_answers = turns.iter().filter(|turn| turn["kind"] == "ANSWER").count();
    stage.checks.equal(
        "with the last live event's cursor as token the read model shows the end of the talk",
        &(&interview["status"], &interview["nAnswers"]),
        &(&json!("COMPLETED"), &json!(n_answers)),
    );
    let sequence: Vec<_> = turns.iter().map(|turn| turn["sequence"].as_u64()).collect();
    let expected: Vec<_> = (1..=turns.len() as u64).map(Some).collect();
    stage.checks.equal("the transcript numbers its turns 1, 2, 3 …", &sequence, &expected);
    Ok(turns)
}

/// What holds of the well prepared interview alone.
pub fn check_good(stage: &Stage, job: &Job, script: &Interview, talk: &Talk) {
    let checks = &stage.checks;
    let asked = talk.turns.iter().filter(|turn| turn["kind"] == "QUESTION");
    let texts: Vec<_> = asked.filter_map(|turn| turn["text"].as_str()).collect();
    let mut once = texts.clone();
    once.sort_unstable();
    once.dedup();
    checks.check(
        "the AI asks the job's own questions, ten at least, each once",
        texts.len() >= 10
            && once.len() == texts.len()
            && texts.iter().all(|text| job.questions.iter().any(|q| q.text == *text)),
        || format!("{} questions, {} different", texts.len(), once.len()),
    );
    let too_short: Vec<_> = script
        .answers
        .iter()
        .filter(|answer| answer.follow_up.is_some())
        .map(|answer| answer.question.clone())
        .collect();
    checks.equal(
        "the AI asks back where an answer was too short, and nowhere else",
        &talk.followed_up,
        &too_short,
    );
}
