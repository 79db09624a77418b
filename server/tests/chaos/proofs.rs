//! Rows V: exports are altered, the key of the checkpoints is turned.

use serde_json::Value;

use crate::process::Process;
use crate::product::Product;
use crate::row::Row;
use crate::verifiers::{judge_altered_exports, verify_by_command, verify_in_python};
use crate::world::until;

pub const ROWS: &[Row] = &[
    Row {
        name: "V1",
        fault: "exports are altered in ten thousand ways",
        // The same is a test of its own.
        is_short: false,
        body: |_| Box::pin(exports_are_altered()),
    },
    Row {
        name: "V2",
        fault: "the key that signs checkpoints is turned under load",
        is_short: true,
        body: |_| Box::pin(the_key_is_turned()),
    },
];

async fn exports_are_altered() -> String {
    tokio::task::spawn_blocking(judge_altered_exports).await.expect("both name the place")
}

async fn the_key_is_turned() -> String {
    const N_TURNS: i64 = 3;
    let product = Product::api().await;
    let world = &product.world;
    let load = product.load(4);
    load.until_more(20).await;
    done(&product, &["proof", "checkpoint"]).await;
    let kept = product.admin.get("/proof/checkpoint").await.expect("an answer").1;
    let size = kept.lines().nth(1).expect("a size").to_owned();
    for turn in 1..=N_TURNS {
        let mut dying = world.command(&["proof", "rotate-key"]);
        dying.env("COLLOQUY_FAILPOINT", "proof.before_rotated");
        Process::start("proof", dying, world.data.path()).until_killed().await;
        let n_keys: i64 = sqlx::query_scalar("select count(*) from proof_key")
            .fetch_one(&world.pool)
            .await
            .expect("the keys can be read");
        assert_eq!(n_keys, turn, "a turn that was not finished is none");
        done(&product, &["proof", "rotate-key"]).await;
        load.until_more(20).await;
    }
    let acknowledged = load.stop().await;
    product.holds(&acknowledged).await;

    // What is published may be some seconds old.
    let n_wanted = usize::try_from(N_TURNS + 1).expect("few");
    let keys = until("every key is published", async || {
        let keys = keys(&product).await;
        (keys.len() == n_wanted).then_some(keys)
    })
    .await;
    let file = |name: &str| world.data.path().join(name).to_str().expect("a path").to_owned();
    let (export, checkpoint) = (file("turned.ndjson"), file("kept"));
    std::fs::write(&checkpoint, &kept).expect("is kept");
    done(&product, &["export", "range", "--since", &size, "--output", &export]).await;
    for key in &keys {
        let mut demands = vec![export.as_str(), "--key", key, "--least", &size];
        // The kept checkpoint is the first key's.
        if *key == keys[0] {
            demands.extend(["--kept", &checkpoint]);
        }
        for (is_true, said) in [verify_by_command(&demands).await, verify_in_python(&demands).await]
        {
            assert!(is_true, "{key}: {said}");
        }
    }
    let before = file("before.ndjson");
    let text = std::fs::read_to_string(&export).expect("an export");
    let introduction = text.lines().nth(1).expect("the keys").replace("log key v1", "log key v2");
    let lines = text.lines().enumerate();
    let lines = lines.map(|(n, line)| if n == 1 { introduction.as_str() } else { line });
    std::fs::write(&before, lines.collect::<Vec<_>>().join("\n") + "\n").expect("is written");
    let demands = [before.as_str(), "--key", &keys[0]];
    for (is_true, said) in [verify_by_command(&demands).await, verify_in_python(&demands).await] {
        assert!(!is_true && said.contains("line 2"), "without an introduction: {said}");
    }
    let n_events = text.lines().count() - 5;
    format!(
        "turned {N_TURNS} times, killed in each before; {n_events} events are proven to whoever has \
         any of the {} keys, and to continue the checkpoint from before",
        keys.len()
    )
}

/// The public keys that the API publishes.
async fn keys(product: &Product) -> Vec<String> {
    let (status, published) = product.admin.get("/proof/keys").await.expect("an answer");
    assert_eq!(status, 200, "{published}");
    let published: Value = serde_json::from_str(&published).expect("JSON");
    let keys = published["keys"].as_array().expect("keys").iter();
    keys.map(|key| key["key"].as_str().expect("a text").to_owned()).collect()
}

async fn done(product: &Product, arguments: &[&str]) {
    let (status, said) = product.world.run(arguments).await;
    assert!(status.success(), "{arguments:?}: {said}");
}
