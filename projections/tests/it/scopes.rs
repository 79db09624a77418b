//! A query answers what its caller may see, and nothing of another company.

use domain::candidate;
use domain::permission::Scope;
use projections::model::MODELS;
use projections::page::PageRequest;
use projections::{
    QueryError, Reads, View, access_log, ai_calls, applications, candidates, companies, interviews,
    jobs, members, observations, resumes, transcripts, verdicts,
};

use crate::database::Database;
use crate::world::{Story, World};

/// How many of each the view shows: companies, members, jobs, candidates, applications, résumés,
/// interviews, turns of the first interview, observations, verdicts, calls to models, reads.
async fn seen(reads: &Reads, view: &View, story: &Story) -> Result<[u64; 12], QueryError> {
    let turns = transcripts::by_interviews(reads, view, &[story.interview]).await?;
    Ok([
        companies::get(reads, view).await?.map_or(0, |_| 1),
        members::count(reads, view, &Default::default()).await?,
        jobs::count(reads, view, &Default::default()).await?,
        candidates::count(reads, view, &Default::default()).await?,
        applications::count(reads, view, &Default::default()).await?,
        resumes::count(reads, view, &Default::default()).await?,
        interviews::count(reads, view, &Default::default()).await?,
        turns.get(&story.interview).map_or(0, |turns| turns.len() as u64),
        observations::count(reads, view, &Default::default()).await?,
        verdicts::count(reads, view, &Default::default()).await?,
        ai_calls::count(reads, view, &Default::default()).await?,
        access_log::count(reads, view, &Default::default()).await?,
    ])
}

async fn two_companies(database: &Database) -> (World, World) {
    let (ours, theirs) = (database.world(1), database.world(2));
    for world in [&ours, &theirs] {
        world.found().await;
        for n in 1..=3 {
            let interviewer = (n == 1).then(|| world.member(2));
            world.tell(&Story { interviewer, ..world.story(n) }).await;
        }
        let stream = world.stream("candidate", world.story(3).candidate.0);
        let assigned = candidate::Event::Assigned { member_id: world.member(2) };
        world.append(&stream, vec![assigned.into()]).await;
    }
    database.catch_up(MODELS).await;
    (ours, theirs)
}

#[tokio::test]
async fn a_scope_reaches_what_the_right_reaches() {
    let database = Database::create().await;
    let (ours, theirs) = two_companies(&database).await;
    let view = |scope| View { company: ours.company(), scope };
    let none = Scope::default();
    let first = ours.story(1);
    let cases = [
        ("all", ours.all(), [1, 3, 2, 3, 3, 3, 3, 5, 6, 3, 6, 6]),
        ("nothing", view(none), [0; 12]),
        (
            "an interviewer, who also has the third candidate in hand",
            view(Scope { assigned_to: Some(ours.member(2)), ..none }),
            [0, 0, 1, 2, 2, 2, 1, 5, 2, 1, 2, 0],
        ),
        (
            "a member without anything",
            view(Scope { assigned_to: Some(ours.member(0)), ..none }),
            [0; 12],
        ),
        (
            "the manager of the jobs",
            view(Scope { jobs_of: Some(ours.member(1)), ..none }),
            [0, 0, 2, 3, 3, 3, 3, 5, 6, 3, 6, 0],
        ),
        ("a manager without jobs", view(Scope { jobs_of: Some(ours.member(0)), ..none }), [0; 12]),
        (
            "the candidate of the first interview",
            view(Scope { interview: Some(first.interview), ..none }),
            [0, 0, 1, 1, 1, 1, 1, 5, 2, 1, 2, 0],
        ),
        (
            "the first candidate, who is signed in",
            view(Scope { candidate: Some(first.candidate), ..none }),
            [0, 0, 1, 1, 1, 1, 1, 5, 2, 1, 2, 0],
        ),
        (
            "rights add up",
            view(Scope {
                assigned_to: Some(ours.member(2)),
                interview: Some(ours.story(2).interview),
                ..none
            }),
            [0, 0, 1, 3, 3, 3, 2, 5, 4, 2, 4, 0],
        ),
        (
            "another company's people reach nothing here",
            view(Scope {
                assigned_to: Some(theirs.member(2)),
                jobs_of: Some(theirs.member(1)),
                interview: Some(theirs.story(1).interview),
                candidate: Some(theirs.story(1).candidate),
                ..none
            }),
            [0; 12],
        ),
    ];
    for (who, view, expected) in cases {
        let found = seen(&database.reads, &view, &first).await.expect("the queries run");
        assert_eq!(found, expected, "{who}");
    }
}

#[tokio::test]
async fn another_companys_ids_are_as_if_they_did_not_exist() {
    let database = Database::create().await;
    let (ours, theirs) = two_companies(&database).await;
    let (reads, view, story) = (&database.reads, ours.all(), theirs.story(1));
    assert!(interviews::get(reads, &view, story.interview).await.expect("read").is_none());
    assert!(candidates::get(reads, &view, story.candidate).await.expect("read").is_none());
    assert!(jobs::get(reads, &view, theirs.job(0)).await.expect("read").is_none());
    assert!(members::get(reads, &view, theirs.member(0)).await.expect("read").is_none());
    assert!(resumes::get(reads, &view, story.resume).await.expect("read").is_none());
    assert!(verdicts::get(reads, &view, story.verdict).await.expect("read").is_none());
    assert!(applications::get(reads, &view, story.application).await.expect("read").is_none());
    let call = theirs.provenance(&story).call_id;
    assert!(ai_calls::by_ids(reads, &view, &[call]).await.expect("read").is_empty());
    let notes = verdicts::private_notes(reads, &view, &[story.verdict]).await;
    assert!(notes.expect("read").is_empty());
    let list = transcripts::list(reads, &view, story.interview, &PageRequest::default()).await;
    assert!(list.expect("read").edges.is_empty());
    let mixed = [ours.story(1).interview, story.interview];
    assert_eq!(interviews::by_ids(reads, &view, &mixed).await.expect("read").len(), 1);
}

#[tokio::test]
async fn private_notes_come_by_their_own_query_only() {
    let database = Database::create().await;
    let (ours, _) = two_companies(&database).await;
    let (reads, view, story) = (&database.reads, ours.all(), ours.story(1));
    let row = verdicts::get(reads, &view, story.verdict).await.expect("read").expect("there");
    assert!(row.private_notes.is_empty());
    assert_eq!(row.status, verdicts::Status::Signed);
    let page = verdicts::list(reads, &view, &Default::default(), &PageRequest::default()).await;
    assert!(page.expect("read").edges.iter().all(|edge| edge.node.private_notes.is_empty()));
    let notes = verdicts::private_notes(reads, &view, &[story.verdict]).await.expect("read");
    assert_eq!(notes[&story.verdict][0].text.as_deref(), Some("Asks for much."));
}
