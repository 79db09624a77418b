//! The order of the acts.

use anyhow::Context;
use serde_json::{Value, json};

use super::cast::Cast;
use super::checks::Checks;
use super::client::{self, Api};
use super::examples::{Interview, Job};
use super::hiring::{Invited, OpenJob};
use super::talk::Talk;
use super::{DemoSettings, Manner, Report, cast, decision, hiring, probes, replay, talk, topic};

/// The job that is played.
const JOB: &str = "senior-backend-engineer";

/// What every act needs.
pub struct Stage {
    /// What it plays with.
    pub settings: DemoSettings,
    /// How it plays.
    pub manner: Manner,
    /// The installation.
    pub api: Api,
    /// What is asserted.
    pub checks: Checks,
    /// Stands in this run's names and addresses alone.
    pub run: String,
    job: Job,
    good: Interview,
    poor: Interview,
}

impl Stage {
    /// Reads the examples. Nothing is sent yet.
    ///
    /// # Errors
    /// Names the file that is missing or malformed.
    pub fn new(settings: DemoSettings, manner: Manner) -> anyhow::Result<Self> {
        let examples = &settings.examples;
        let job = Job::read(examples, JOB)?;
        let good = Interview::read(examples, &job, JOB, "good")?;
        let poor = Interview::read(examples, &job, JOB, "poor")?;
        let api = Api::new(&settings.base_url, manner.patience)?;
        let checks = Checks::new(manner.quiet);
        let run = client::command_id().simple().to_string().split_off(20);
        Ok(Self { settings, manner, api, checks, run, job, good, poor })
    }

    /// Tells what just happened.
    pub fn say(&self, sentence: &str) {
        if !self.manner.quiet {
            println!("  -   {sentence}");
        }
    }

    fn act(&self, title: &str) {
        if !self.manner.quiet {
            println!("\n{title}");
        }
    }
}

/// One interview from invitation to proposal.
struct Round {
    invited: Invited,
    talk: Talk,
    verdict: Value,
}

/// Plays all acts. What cannot go on is one more thing that does not hold.
pub async fn play(stage: Stage) -> Report {
    let (mut interviews, mut states) = (vec![], Value::Null);
    let outcome = acts(&stage, &mut interviews, &mut states).await;
    let sentence = "the job is done from end to end";
    stage.checks.check(sentence, outcome.is_ok(), || match &outcome {
        Err(error) => format!("{error:#}"),
        Ok(()) => String::new(),
    });
    Report::new(&stage.run, interviews, stage.checks.all(), states)
}

async fn acts(
    stage: &Stage,
    interviews: &mut Vec<String>,
    states: &mut Value,
) -> anyhow::Result<()> {
    stage.act("People come in");
    let cast = cast::assemble(stage).await?;
    probes::doors(stage, &cast).await?;

    stage.act("A job is opened");
    let job = hiring::publish(stage, &cast, &stage.job).await?;
    probes::orders(stage, &cast, &job).await?;

    stage.act("The first interview, well prepared");
    let good = round(stage, &cast, &job, &stage.good, stage.manner.cuts).await?;
    interviews.push(good.invited.interview.clone());
    talk::check_good(stage, &stage.job, &stage.good, &good.talk);
    probes::guest(stage, &cast, &good.invited, &good.talk).await?;
    probes::outsider(stage, &cast, &good.invited).await?;

    stage.act("The second interview, badly prepared");
    let poor = round(stage, &cast, &job, &stage.poor, 0).await?;
    interviews.push(poor.invited.interview.clone());

    stage.act("The proposals, side by side");
    decision::compare(stage, &good.verdict, &poor.verdict);

    stage.act("People decide");
    let mut seen = decision::sign(stage, &cast, &good.verdict, &poor.verdict).await?;
    probes::signed(stage, &cast, &good.verdict).await?;
    seen.push(hiring::follow(&cast, &good.invited, "OFFERED").await?);
    seen.push(hiring::follow(&cast, &poor.invited, "REJECTED").await?);

    stage.act("The auditor replays the first interview");
    let history = replay::history(stage, &cast, &good.invited.interview, &good.talk).await?;
    replay::as_of_third_answer(stage, &cast, &good.invited.interview, &good.talk).await?;
    replay::reads(stage, &cast, &good.invited).await?;
    replay::dashboard(stage, &cast, &seen).await?;
    if let Some(kafka) = &stage.settings.kafka {
        stage.act("Kafka's topic");
        topic::check(&stage.checks, kafka, &history, stage.manner.patience).await?;
    }
    let rounds = [&good.invited, &poor.invited];
    *states = replay::final_states(&cast, &rounds).await.context("the final states")?;
    Ok(())
}

async fn round(
    stage: &Stage,
    cast: &Cast,
    job: &OpenJob,
    script: &Interview,
    cuts: u32,
) -> anyhow::Result<Round> {
    let invited = hiring::invite(stage, cast, job, script).await?;
    let talk = talk::hold(stage, cast, &stage.job, script, &invited, cuts).await?;
    let verdict = decision::proposal(stage, cast, &invited.interview, &talk).await?;
    decision::check_evidence(stage, &stage.job, &script.candidate.full_name, &verdict, &talk);
    Ok(Round { invited, talk, verdict })
}

/// Variables with one id.
#[must_use]
pub fn id(id: &str) -> Value {
    json!({ "id": id })
}
