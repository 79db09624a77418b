//! A model whose events take rows away, or touch every row that their stream owns.

use domain::ids::CompanyId;
use domain::interview::Event::{AnswerRecorded, Completed, QuestionAsked, QuestionTimedOut};
use domain::{Event, interview};
use eventlog::codec::Recorded;
use eventlog::fail_point::no_fail_point;
use projections::model::Model;
use projections::projector::{Keys, Projector};
use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::database::Database;

/// Open questions: answered ones keep their row, timed-out ones lose it, and the end closes all.
enum Questions {}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Key {
    company_id: CompanyId,
    question_id: Uuid,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Row {
    company_id: CompanyId,
    question_id: Uuid,
    interview_id: Uuid,
    state: String,
}

impl Projector for Questions {
    const NAME: &'static str = "questions";
    const VERSION: u32 = 1;
    const TABLE: &'static str = "rm_question";
    const KEY: &'static [&'static str] = &["company_id", "question_id"];
    const STREAM: &'static str = "interview_id";
    const AGGREGATES: &'static [&'static str] = &["interview"];
    type Key = Key;
    type Row = Row;

    fn keys(recorded: &Recorded) -> Keys<Key> {
        match &recorded.event {
            Event::Interview(
                QuestionAsked { question_id, .. }
                | AnswerRecorded { question_id, .. }
                | QuestionTimedOut { question_id },
            ) => Keys::one(Key {
                company_id: recorded.stored.stream.company,
                question_id: question_id.0,
            }),
            Event::Interview(Completed { .. }) => Keys::AllOfStream,
            _ => Keys::none(),
        }
    }

    fn fold(key: &Key, row: Option<Row>, recorded: &Recorded) -> Option<Row> {
        let in_state = |state: &str| {
            Some(Row {
                company_id: key.company_id,
                question_id: key.question_id,
                interview_id: recorded.stored.stream.id,
                state: state.to_owned(),
            })
        };
        match &recorded.event {
            Event::Interview(QuestionAsked { .. }) => in_state("open"),
            Event::Interview(AnswerRecorded { .. }) => row.and_then(|_| in_state("answered")),
            Event::Interview(QuestionTimedOut { .. }) => None,
            Event::Interview(Completed { .. }) => {
                row.map(|row| Row { state: format!("{}, over", row.state), ..row })
            }
            _ => row,
        }
    }
}

const MODEL: Model = Model::of::<Questions>();

#[tokio::test]
async fn an_event_can_touch_every_row_of_its_stream_and_take_rows_away() {
    let database = Database::create().await;
    let table = "create table rm_question (company_id uuid, question_id uuid,
                 interview_id uuid not null, state text not null,
                 primary key (company_id, question_id))";
    sqlx::query(table).execute(&database.pool).await.expect("the owner may");
    // A model that is new to the program is filled from the log, which is empty.
    database.rebuild(&[MODEL], no_fail_point()).await.expect("it can be filled");
    let world = database.world(1);
    for n in 1..=2 {
        let story = world.story(n);
        let stream = world.stream("interview", story.interview.0);
        world.append(&stream, world.opening(&story)).await;
        for question in 0..3 {
            let sequence = u32::try_from(question).expect("small") * 2 + 1;
            world.append(&stream, vec![world.asked(&story, question * 2, sequence)]).await;
            world.append(&stream, vec![world.answered(&story, question * 2, sequence + 1)]).await;
        }
        let timed_out =
            interview::Event::QuestionTimedOut { question_id: world.question(&story, 2) };
        world.append(&stream, vec![timed_out.into()]).await;
    }
    database.follow(&MODEL, &database.live(&MODEL).await).await;
    assert_eq!(states(&database).await, ["answered"; 4]);

    // The end comes in another batch than what it touches, and in one batch with a last question.
    let story = world.story(1);
    let stream = world.stream("interview", story.interview.0);
    let reason = interview::CompletionReason::AllAsked;
    let over = interview::Event::Completed { reason };
    world.append(&stream, vec![world.asked(&story, 8, 9), over.into()]).await;
    database.follow(&MODEL, &database.live(&MODEL).await).await;
    let expected = ["answered", "answered", "answered, over", "answered, over", "open, over"];
    assert_eq!(states(&database).await, expected);
    let compared = MODEL.rebuild_equals_live(&database.pool, &*database.store, &database.codec);
    assert!(compared.await.expect("the rebuild runs").is_equal());
}

async fn states(database: &Database) -> Vec<String> {
    let statement = "select state from rm_question_v1 order by state collate \"C\"";
    sqlx::query_scalar(AssertSqlSafe(statement)).fetch_all(&database.pool).await.expect("rows")
}
