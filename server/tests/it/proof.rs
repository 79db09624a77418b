//! The log's proof from outside: asked for by GraphQL and HTTP, exported, and checked on a machine that
//! has nothing but the file and the public key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use eventlog::proof::merkle::is_included;
use eventlog::proof::note::{Note, PublicKey};
use eventlog::proof::statement::Checkpoint;
use serde_json::{Value, json};

use crate::client::{Client, text};
use crate::job::Company;
use crate::process::Process;
use crate::verifiers::{verify_by_command, verify_in_python};
use crate::world::{World, until};

const HISTORY: &str = "query($id: ID!) { interviewHistory(interviewId: $id, first: 100) {
    nodes { position hash proof { leafIndex leafHash treeSize auditPath checkpoint } } } }";
const QUICK: (&str, &str) = ("COLLOQUY_PROOF__CHECKPOINT_SECONDS", "1");

async fn start(world: &World) -> (Process, Client) {
    let mut process = world.start_with("all", &[QUICK]);
    let client = process.client().await;
    (process, client)
}

/// The public keys that the API publishes, as texts.
async fn published(client: &Client) -> Vec<String> {
    let (status, keys) = client.get("/proof/keys").await.expect("an answer");
    assert_eq!(status, 200, "{keys}");
    let keys: Value = serde_json::from_str(&keys).expect("JSON");
    let keys = keys["keys"].as_array().expect("keys");
    keys.iter().map(|key| text(key, "/key").to_owned()).collect()
}

fn hash(encoded: &str) -> [u8; 32] {
    STANDARD.decode(encoded).expect("Base64").try_into().expect("a hash")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_checks_events_and_exports_with_the_public_key_alone() {
    let world = World::without_kafka().await;
    let (process, client) = start(&world).await;
    let company = Company::found(&world, &client, "provable").await;
    let job = company.open_job().await;
    let round = company.schedule(&job, "Mira").await;
    round.begin(&company).await;
    round.talk(&company.interviewer, &round.guest, 1).await;

    let nodes = until("every event of the interview is proven", async || {
        let found = company.auditor.query(HISTORY, json!({ "id": round.id })).await;
        let nodes = found["interviewHistory"]["nodes"].as_array().expect("nodes").clone();
        nodes.iter().all(|node| node["proof"].is_object()).then_some(nodes)
    })
    .await;
    assert!(nodes.len() > 4);
    let keys = published(&client).await;
    let answer = reqwest::get(format!("{}/proof/keys", client.base())).await.expect("an answer");
    assert_eq!(answer.headers()["cache-control"], "public, max-age=2");
    let key: PublicKey = keys[0].parse().expect("a key");
    for node in &nodes {
        let note = Note::parse(text(node, "/proof/checkpoint")).expect("a note");
        assert!(note.is_signed_by(&key));
        let checkpoint = Checkpoint::parse(note.text).expect("a checkpoint");
        let path = node["proof"]["auditPath"].as_array().expect("a path");
        let path: Vec<_> = path.iter().map(|h| hash(h.as_str().expect("a text"))).collect();
        let index: u64 = text(node, "/proof/leafIndex").parse().expect("a number");
        let leaf = hash(text(node, "/proof/leafHash"));
        assert!(is_included(index, checkpoint.size, &leaf, &path, &checkpoint.root));
    }
    let viewed = company.viewer.ask(HISTORY, json!({ "id": round.id })).await;
    assert!(viewed.is_err(), "who may not read histories got proofs: {viewed:?}");

    let (status, kept) = client.get("/proof/checkpoint").await.expect("an answer");
    assert_eq!(status, 200, "{kept}");
    let kept_size = kept.lines().nth(1).expect("a size").to_owned();
    let candidate = "query($id: ID!) { interview(id: $id) { candidate { id } } }";
    let found = company.hr.query(candidate, json!({ "id": round.id })).await;
    let candidate = text(&found, "/interview/candidate/id");
    let (turned, said) = world.run(&["proof", "rotate-key"]).await;
    assert!(turned.success() && said.lines().count() >= 2, "{said}");
    assert_eq!(published(&client).await[0], keys[0]);

    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).to_str().expect("a path").to_owned();
    std::fs::write(file("kept"), &kept).expect("is kept");
    for (name, of) in [
        ("interview", vec!["interview", round.id.as_str()]),
        ("candidate", vec!["candidate", candidate]),
        ("log", vec!["range"]),
        ("part", vec!["range", "--from", "3", "--to", "9", "--withhold-payloads"]),
    ] {
        let out = file(name);
        let mut arguments = vec!["export"];
        arguments.extend(of);
        arguments.extend(["--output", &out, "--since", &kept_size]);
        let (written, said) = world.run(&arguments).await;
        assert!(written.success(), "{name}: {said}");
        let exported = std::fs::read_to_string(&out).expect("an export");
        assert!(!exported.contains("Mira"), "{name} shows a name in clear");
        // The key from before the rotation is enough.
        let demands = [&out, "--key", &keys[0], "--least", &kept_size, "--kept", &file("kept")];
        for (is_true, said) in [verify_by_command(&demands).await, verify_in_python(&demands).await]
        {
            assert!(is_true && said.contains("complete as of"), "{name}: {said}");
        }
        let too_old = [&out, "--key", &keys[0], "--least", "1000000"];
        let altered = exported.replacen("\"schema_version\":1", "\"schema_version\":2", 1);
        assert_ne!(altered, exported);
        std::fs::write(file("altered"), altered).expect("is written");
        let altered = [&file("altered"), "--key", &keys[0]];
        for (is_true, said) in [
            verify_by_command(&too_old).await,
            verify_in_python(&too_old).await,
            verify_by_command(&altered).await,
            verify_in_python(&altered).await,
        ] {
            assert!(!is_true && said.contains("WRONG"), "{name}: {said}");
        }
    }
    assert!(process.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_while_it_proves_leaves_a_log_that_can_be_proven() {
    let world = World::without_kafka().await;
    // What is signed is not signed again while nothing happens, so the signing comes first.
    for place in [
        "proof.before_signed",
        "proof.after_signed",
        "proof.before_commit:2",
        "proof.after_commit:3",
    ] {
        let settings = [QUICK, ("COLLOQUY_FAILPOINT", place)];
        world.start_with("all", &settings).until_killed().await;
    }
    let (process, client) = start(&world).await;
    let company = Company::found(&world, &client, "mended").await;
    company.open_job().await;
    world.until_told().await;
    let file = world.data.path().join("log.ndjson");
    let file = file.to_str().expect("a path");
    let (written, said) = world.run(&["export", "range", "--output", file]).await;
    assert!(written.success(), "{said}");
    let n_events: i64 = sqlx::query_scalar("select count(*) from es_event")
        .fetch_one(&world.pool)
        .await
        .expect("the log can be read");
    let key = published(&client).await.remove(0);
    let (is_true, said) =
        verify_by_command(&[file, "--key", &key, "--least", &n_events.to_string()]).await;
    assert!(is_true && said.contains(&format!("{n_events} events")), "{said}");
    assert!(process.terminate().await.success());
}
