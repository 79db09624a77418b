//! Rows and tables have the same fields.

use std::collections::BTreeSet;

use projections::projector::Projector;
use projections::{
    access_log, ai_calls, applications, as_of, candidates, companies, interviews, jobs, members,
    observations, resumes, transcripts, verdicts,
};
use sqlx::PgPool;

use crate::database::Database;
use crate::folds::{all_samples, of_aggregates};

#[tokio::test]
async fn the_fields_of_a_row_are_the_columns_of_its_table() {
    let database = Database::create().await;
    let pool = &database.pool;
    check::<access_log::AccessLog>(pool).await;
    check::<ai_calls::AiCalls>(pool).await;
    check::<applications::Applications>(pool).await;
    check::<candidates::Candidates>(pool).await;
    check::<companies::Companies>(pool).await;
    check::<interviews::Interviews>(pool).await;
    check::<jobs::Jobs>(pool).await;
    check::<members::Members>(pool).await;
    check::<observations::Observations>(pool).await;
    check::<resumes::Resumes>(pool).await;
    check::<transcripts::Transcripts>(pool).await;
    check::<verdicts::Verdicts>(pool).await;
}

async fn check<P: Projector>(pool: &PgPool) {
    let columns: Vec<String> = sqlx::query_scalar(
        "select column_name::text from information_schema.columns where table_name = $1",
    )
    .bind(P::TABLE)
    .fetch_all(pool)
    .await
    .expect("the catalogue can be read");
    let samples = all_samples();
    let rows = as_of::fold::<P>(&of_aggregates(&samples, P::AGGREGATES));
    let row = serde_json::to_value(rows.first().expect("the samples make a row"));
    let row = row.expect("a row is JSON");
    let fields: BTreeSet<String> =
        row.as_object().expect("a row is an object").keys().cloned().collect();
    assert_eq!(fields, columns.into_iter().collect(), "{}", P::TABLE);
    for key in P::KEY.iter().chain([&P::STREAM, &"company_id"]) {
        assert!(fields.contains(*key), "{}.{key}", P::TABLE);
    }
}
