//! Résumés over plain HTTP: what is taken, what a repeat answers, and what is left behind.

use std::path::Path;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::{Client, text};
use crate::job::Company;
use crate::world::{World, until};

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Uploads a file; answers status and JSON.
pub async fn upload(
    who: &Client,
    command_id: Uuid,
    candidate: &str,
    (name, media_type): (&str, &str),
    bytes: &[u8],
) -> (u16, Value) {
    let field = |name: &str, value: &str| {
        format!("--x\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let file = format!(
        "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         content-type: {media_type}\r\n\r\n"
    );
    let ids = field("commandId", &command_id.to_string()) + &field("candidateId", candidate);
    let body = [ids.as_bytes(), file.as_bytes(), bytes, b"\r\n--x--\r\n"].concat();
    let request = reqwest::Client::new()
        .post(format!("{}/files/resumes", who.base()))
        .bearer_auth(who.token())
        .header("content-type", "multipart/form-data; boundary=x")
        .header("traceparent", TRACE)
        .body(body);
    let response = request.send().await.expect("an answer");
    (response.status().as_u16(), response.json().await.expect("JSON"))
}

fn n_files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { n_files(&entry.path()) } else { 1 }).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_upload_is_answered_alike_and_no_file_is_left_over() {
    let (world, _all, _, company) = Company::lights().await;
    let person = json!({ "fullName": "Mira Stone", "email": "mira@mail.example" });
    let made = company.hr.carry_out("createCandidate", person, "candidate { id }").await;
    let candidate = text(&made, "/candidate/id").to_owned();
    let files = world.data.path().join("files");
    let kind = ("cv.txt", "text/plain");
    let resume = "Mira Stone\nKeeper of lights\n".as_bytes();

    // At once, as a browser that was clicked twice does.
    for n_wanted in 1..=10 {
        let id = Uuid::new_v4();
        let both = tokio::join!(
            upload(&company.hr, id, &candidate, kind, resume),
            upload(&company.hr, id, &candidate, kind, resume),
        );
        assert_eq!(both.0, both.1);
        assert_eq!(both.0.0, 201, "{:?}", both.0);
        assert_eq!(n_files(&files), n_wanted);
    }

    let id = Uuid::new_v4();
    let first = upload(&company.hr, id, &candidate, kind, resume).await;
    let archive = json!({ "candidateId": candidate });
    company.hr.carry_out("archiveCandidate", archive, "version").await;
    assert_eq!(upload(&company.hr, id, &candidate, kind, resume).await, first);
    let (status, refused) = upload(&company.hr, Uuid::new_v4(), &candidate, kind, resume).await;
    assert_eq!((status, text(&refused, "/errors/0/extensions/code")), (404, "CAND_001"));
    assert_eq!(n_files(&files), 11);
    assert_eq!(trace_of(&world, id).await, TRACE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_copy_of_a_forgotten_persons_file_is_not_called_good() {
    let (world, _all, _, company) = Company::lights().await;
    let person = json!({ "fullName": "Mira Stone", "email": "mira@mail.example" });
    let made = company.hr.carry_out("createCandidate", person, "candidate { id }").await;
    let candidate = text(&made, "/candidate/id").to_owned();
    let kind = ("cv.txt", "text/plain");
    let (_, taken) =
        upload(&company.hr, Uuid::new_v4(), &candidate, kind, b"Keeper of lights").await;
    world.until_projected().await;
    let path = format!("{}/files/resumes/{}", company.hr.base(), text(&taken, "/resumeId"));
    let get = async |tag: Option<&str>| {
        let request = reqwest::Client::new().get(&path).bearer_auth(company.hr.token());
        let request = tag.into_iter().fold(request, |r, tag| r.header("if-none-match", tag));
        request.send().await.expect("an answer")
    };
    let first = get(None).await;
    assert_eq!(first.status(), 200);
    let tag = first.headers()["etag"].to_str().expect("text").to_owned();
    assert_eq!(get(Some(&tag)).await.status(), 304);

    let found = company.hr.query("{ company { id } }", json!({})).await;
    let bare = |id: &str| id.rsplit('_').next().and_then(|id| id.parse::<Uuid>().ok());
    sqlx::query("select vault.forget($1, 'candidate', $2, $3)")
        .bind(bare(text(&found, "/company/id")))
        .bind(bare(&candidate))
        .bind(Uuid::new_v4())
        .execute(&world.pool)
        .await
        .expect("the key is destroyed");
    let erased = until("the key is forgotten", async || {
        let answer = get(Some(&tag)).await;
        (answer.status() != 304).then_some(answer)
    })
    .await;
    assert_eq!(erased.status(), 410);
    let erased: Value = erased.json().await.expect("JSON");
    assert_eq!(text(&erased, "/errors/0/extensions/code"), "SUBJECT_ERASED");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_file_is_is_told_by_its_bytes_whatever_it_is_called() {
    let (world, _all, _, company) = Company::lights().await;
    let person = json!({ "fullName": "Mira Stone", "email": "mira@mail.example" });
    let made = company.hr.carry_out("createCandidate", person, "candidate { id }").await;
    let candidate = text(&made, "/candidate/id").to_owned();
    let (pdf, txt) = (("cv.pdf", "application/pdf"), ("cv.txt", "text/plain"));
    let picture = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR";
    for called in [pdf, txt] {
        let id = Uuid::new_v4();
        let (status, refused) = upload(&company.hr, id, &candidate, called, picture).await;
        let code = text(&refused, "/errors/0/extensions/code");
        assert_eq!((status, code), (422, "RESUME_UNSUPPORTED_KIND"), "{called:?}");
    }
    assert_eq!(n_files(&world.data.path().join("files")), 0);
    for (called, bytes, kind) in [
        (pdf, &b"Mira Stone"[..], "text/plain"),
        (txt, b"%PDF-1.7", "application/pdf"),
        (("cv", "application/octet-stream"), b"Mira Stone", "text/plain"),
    ] {
        let (status, taken) = upload(&company.hr, Uuid::new_v4(), &candidate, called, bytes).await;
        assert_eq!((status, text(&taken, "/mediaType")), (201, kind), "{called:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_carries_the_trace_of_its_request_into_the_log() {
    let (world, _all, _, company) = Company::lights().await;
    let id = Uuid::new_v4();
    let input = json!({ "commandId": id, "title": "One", "description": "Text." });
    let document = crate::client::document("createJob", "");
    let body = json!({ "query": document, "variables": { "input": input } }).to_string();
    let request = reqwest::Client::new()
        .post(format!("{}/graphql", company.hr.base()))
        .bearer_auth(company.hr.token())
        .header("content-type", "application/json")
        .header("traceparent", TRACE)
        .body(body);
    assert_eq!(request.send().await.expect("an answer").status(), 200);
    assert_eq!(trace_of(&world, id).await, TRACE);
}

async fn trace_of(world: &World, command_id: Uuid) -> String {
    sqlx::query_scalar("select trace_parent from es_event where command_id = $1")
        .bind(command_id)
        .fetch_one(&world.pool)
        .await
        .expect("the event has a trace")
}
