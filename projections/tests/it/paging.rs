//! Pages: complete, in order, both ways; and cursors that are not of the list.

use domain::values::Spelled;
use projections::page::{DEFAULT_SIZE, Order, PageError, PageRequest};
use projections::{QueryError, candidates, interviews, jobs, transcripts};

use crate::database::Database;
use crate::world::World;

fn first(n: i64, after: Option<String>) -> PageRequest {
    PageRequest::parse(Some(n), after, None, None).expect("a page")
}

fn last(n: i64, before: Option<String>) -> PageRequest {
    PageRequest::parse(None, None, Some(n), before).expect("a page")
}

async fn many_candidates(database: &Database) -> World {
    let world = database.world(1);
    world.found().await;
    for n in 1..=23 {
        world.tell(&world.story(n)).await;
    }
    database
        .catch_up(&[candidates::MODEL, interviews::MODEL, jobs::MODEL, transcripts::MODEL])
        .await;
    world
}

#[tokio::test]
async fn pages_put_together_are_the_list_both_ways() {
    let database = Database::create().await;
    let world = many_candidates(&database).await;
    let (reads, view) = (&database.reads, world.all());
    let filter = candidates::Filter::default();
    let list = async |request: PageRequest| {
        candidates::list(reads, &view, &filter, &request).await.expect("the page can be read")
    };
    let whole = list(first(100, None)).await;
    assert_eq!(whole.edges.len(), 23);
    assert!(!whole.has_next && !whole.has_previous);
    let ids: Vec<_> = whole.edges.iter().map(|edge| edge.node.candidate_id).collect();
    assert_eq!(list(PageRequest::default()).await.edges.len(), usize::from(DEFAULT_SIZE));
    assert_eq!(candidates::count(reads, &view, &filter).await, Ok(23));

    let (mut forward, mut after) = (vec![], None);
    loop {
        let page = list(first(5, after.clone())).await;
        assert_eq!(page.has_previous, after.is_some());
        forward.extend(page.edges.iter().map(|edge| edge.node.candidate_id));
        after = page.edges.last().map(|edge| edge.cursor.clone());
        if !page.has_next {
            break;
        }
    }
    assert_eq!(forward, ids, "all were made in the same moment, and still none is lost or doubled");

    let (mut backward, mut before) = (vec![], None);
    loop {
        let page = list(last(5, before.clone())).await;
        assert_eq!(page.has_next, before.is_some());
        let mut part: Vec<_> = page.edges.iter().map(|edge| edge.node.candidate_id).collect();
        part.append(&mut backward);
        backward = part;
        before = page.edges.first().map(|edge| edge.cursor.clone());
        if !page.has_previous {
            break;
        }
    }
    assert_eq!(backward, ids);

    let ascending = list(first(100, None).ordered(Order::Ascending)).await;
    let reversed: Vec<_> = ascending.edges.iter().map(|e| e.node.candidate_id).rev().collect();
    assert_eq!(reversed, ids);
}

#[tokio::test]
async fn a_cursor_that_is_not_of_the_list_is_refused() {
    let database = Database::create().await;
    let world = many_candidates(&database).await;
    let (reads, view) = (&database.reads, world.all());
    let filter = candidates::Filter::default();
    let page = candidates::list(reads, &view, &filter, &first(2, None)).await.expect("a page");
    let good = page.edges[0].cursor.clone();
    let interview = interviews::list(reads, &view, &Default::default(), &first(1, None)).await;
    let interview = interview.expect("a page").edges[0].cursor.clone();
    let foreign = database.world(2);
    foreign.found().await;
    foreign.tell(&foreign.story(1)).await;
    database.catch_up(&[candidates::MODEL]).await;
    let foreign = candidates::list(reads, &foreign.all(), &filter, &first(1, None)).await;
    let foreign = foreign.expect("a page").edges[0].cursor.clone();

    let mut garbage: Vec<String> =
        ["", "x", "AAAA", "\0", "é", "'; drop table rm_candidate; --", "🦀"]
            .map(str::to_owned)
            .to_vec();
    garbage.push("A".repeat(1_000_000));
    garbage.extend([
        interview,
        foreign,
        format!("{good}A"),
        format!("{good}="),
        good.to_lowercase(),
    ]);
    garbage.extend((0..good.len()).map(|n| good[..n].to_owned()));
    garbage.extend((0..good.len()).map(|n| {
        let flipped = if &good[n..=n] == "A" { "B" } else { "A" };
        format!("{}{flipped}{}", &good[..n], &good[n + 1..])
    }));
    for cursor in garbage {
        let answer = candidates::list(reads, &view, &filter, &first(2, Some(cursor.clone()))).await;
        assert_eq!(
            answer.map(|_| ()),
            Err(QueryError::Page(PageError::CursorInvalid)),
            "{} characters",
            cursor.len()
        );
    }
    // Another order is another list.
    let request = first(2, Some(good.clone())).ordered(Order::Ascending);
    let answer = candidates::list(reads, &view, &filter, &request).await.map(|_| ());
    assert_eq!(answer.map_err(|error| error.code()), Err("CURSOR_INVALID"));
    assert!(candidates::list(reads, &view, &filter, &first(2, Some(good))).await.is_ok());
}

#[tokio::test]
async fn a_cursor_of_another_filter_is_refused() {
    let database = Database::create().await;
    let world = many_candidates(&database).await;
    let (reads, view) = (&database.reads, world.all());
    let of = |text: Option<&str>, assigned_to| candidates::Filter {
        text: text.map(str::to_owned),
        assigned_to,
        ..candidates::Filter::default()
    };
    let cursor = async |filter: &candidates::Filter| {
        let page = candidates::list(reads, &view, filter, &first(1, None)).await.expect("a page");
        page.edges.first().expect("a candidate").cursor.clone()
    };
    let filters = [of(None, None), of(Some("e"), None), of(Some("E"), None)];
    for given in &filters {
        let cursor = cursor(given).await;
        for used in &filters {
            let request = first(1, Some(cursor.clone()));
            let answer = candidates::list(reads, &view, used, &request).await.map(|_| ());
            match given == used {
                true => assert_eq!(answer, Ok(())),
                false => assert_eq!(answer.map_err(|error| error.code()), Err("CURSOR_INVALID")),
            }
        }
    }
    let cursor = cursor(&filters[0]).await;
    let member = domain::ids::MemberId(uuid::Uuid::new_v4());
    let request = first(1, Some(cursor));
    let answer = candidates::list(reads, &view, &of(None, Some(member)), &request).await;
    assert_eq!(answer.map(|_| ()).map_err(|error| error.code()), Err("CURSOR_INVALID"));
}

#[tokio::test]
async fn a_cursor_of_another_interviews_turns_is_refused() {
    let database = Database::create().await;
    let world = many_candidates(&database).await;
    let (reads, view) = (&database.reads, world.all());
    let found = interviews::list(reads, &view, &Default::default(), &first(2, None)).await;
    let found: Vec<_> = found.expect("a page").edges.into_iter().map(|e| e.node).collect();
    let turns = async |of: usize, after| {
        transcripts::list(reads, &view, found[of].interview_id, &first(1, after)).await
    };
    let page = turns(0, None).await.expect("a page");
    let edge = page.edges.first().expect("a turn");
    assert!(turns(0, Some(edge.cursor.clone())).await.is_ok());
    let refused = turns(1, Some(edge.cursor.clone())).await.map(|_| ());
    assert_eq!(refused, Err(QueryError::Page(PageError::CursorInvalid)));
    // Turns of the past go by the same cursors.
    assert_eq!(transcripts::cursor(&edge.node), edge.cursor);
    let place =
        |n: usize| transcripts::sequence(found[n].company_id, found[n].interview_id, &edge.cursor);
    assert_eq!((place(0), place(1)), (Ok(edge.node.sequence), Err(PageError::CursorInvalid)));
}

#[test]
fn a_page_of_impossible_size_is_refused() {
    for size in [0, -1, 101, i64::MAX, i64::MIN] {
        let refused = Err(PageError::SizeInvalid);
        assert_eq!(PageRequest::parse(Some(size), None, None, None), refused, "{size}");
        assert_eq!(PageRequest::parse(None, None, Some(size), None), refused, "{size}");
    }
    assert_eq!(PageRequest::parse(Some(1), None, Some(1), None), Err(PageError::BothEnds));
    assert!(PageRequest::parse(Some(100), None, None, None).is_ok());
}

#[tokio::test]
async fn filters_narrow_a_list() {
    let database = Database::create().await;
    let world = many_candidates(&database).await;
    let (reads, view) = (&database.reads, world.all());
    let n = async |text: &str| {
        let filter =
            candidates::Filter { text: Some(text.to_owned()), ..candidates::Filter::default() };
        candidates::count(reads, &view, &filter).await.expect("it can be counted")
    };
    assert_eq!(n("OKAFOR 2").await, 5, "2, 20, 21, 22, 23");
    assert_eq!(n("mira7@").await, 1);
    assert_eq!(n("%").await, 0, "a pattern is a text like any other");
    assert_eq!(n("a\0b").await, 0);
    let status = |statuses: Vec<candidates::Status>| candidates::Filter {
        statuses,
        ..candidates::Filter::default()
    };
    let archived = status(vec![candidates::Status::Archived]);
    assert_eq!(candidates::count(reads, &view, &archived).await, Ok(0));
    let any = status(candidates::Status::ALL.to_vec());
    assert_eq!(candidates::count(reads, &view, &any).await, Ok(23));
    let story = world.story(3);
    let of = interviews::Filter {
        candidate_id: Some(story.candidate),
        application_id: Some(story.application),
        job_id: Some(world.job(0)),
        ..interviews::Filter::default()
    };
    let found = interviews::list(reads, &view, &of, &first(5, None)).await.expect("a page");
    assert_eq!(found.edges.len(), 1);
    assert_eq!(found.edges[0].node.interview_id, story.interview);
}

#[tokio::test]
async fn a_transcript_is_read_in_the_order_of_the_talk() {
    let database = Database::create().await;
    let world = many_candidates(&database).await;
    let (reads, view, story) = (&database.reads, world.all(), world.story(5));
    let page = transcripts::list(reads, &view, story.interview, &first(2, None)).await;
    let page = page.expect("a page");
    let after = page.edges.last().map(|edge| edge.cursor.clone());
    let rest = transcripts::list(reads, &view, story.interview, &first(9, after)).await;
    let rest = rest.expect("a page");
    let sequences: Vec<u32> =
        page.edges.iter().chain(&rest.edges).map(|edge| edge.node.sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4, 5]);
    assert_eq!(transcripts::count(reads, &view, story.interview).await, Ok(5));
    let grouped = transcripts::by_interviews(reads, &view, &[story.interview]).await;
    assert_eq!(grouped.expect("the turns")[&story.interview].len(), 5);
    let answer = world.answer(&story, 0);
    let found = transcripts::answers_by_ids(reads, &view, &[answer]).await.expect("the turns");
    assert_eq!(found[&answer].text.as_deref(), Some("Answer 0."));
}
