//! The edge as the clients of its protocols see it: the audit suite of GraphQL over HTTP, and the
//! packages `graphql-ws` and `graphql-sse`, each over a written list of cases (`tests/clients`).

use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::TimeDelta;

use crate::job::{Company, PASSWORD};
use crate::process::run;
use crate::session::{ACCESS_LIFE, token_of};
use crate::world::{World, root};

/// How long the token holds that is meant to end while its holder is connected.
const BRIEF: TimeDelta = TimeDelta::seconds(8);

/// The scripts beside the packages that they need, which are installed once for each lock file.
async fn installed() -> PathBuf {
    let source = root().join("server/tests/clients");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
    std::fs::create_dir_all(&folder).expect("a folder");
    for entry in std::fs::read_dir(&source).expect("the scripts") {
        let entry = entry.expect("a file");
        if entry.file_type().expect("a kind").is_file() {
            std::fs::copy(entry.path(), folder.join(entry.file_name())).expect("a copy");
        }
    }
    let read = |path: PathBuf| std::fs::read(path).unwrap_or_default();
    let lock = read(folder.join("package-lock.json"));
    let installed = folder.join("node_modules/.installed");
    if read(installed.clone()) != lock {
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&folder);
        let (code, said) = run(npm).await;
        assert!(code.success(), "npm ci: {said}");
        std::fs::write(installed, lock).expect("a mark");
    }
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suites_of_the_protocols_own_clients_pass() {
    let scripts = installed().await;
    let world = World::without_kafka().await;
    world.migrate().await;
    let (mut one, mut two) = (world.start("serve"), world.start("serve"));
    let (client, other) = (one.client().await, two.client().await);
    let company = Company::found(&world, &client, "lights").await;
    let job = company.open_job().await;
    let round = company.schedule(&job, "Mira").await;
    round.begin(&company).await;
    for suite in ["ws.mjs", "sse.mjs", "http.mjs"] {
        let who = ("hana@lights.example", PASSWORD);
        let brief = token_of(&world, who, ACCESS_LIFE - BRIEF).await;
        let mut node = Command::new("node");
        node.arg(scripts.join(suite))
            .env("BASE", client.base())
            .env("OTHER", other.base())
            .env("HR", company.hr.token())
            .env("INTERVIEWER", company.interviewer.token())
            .env("INTERVIEW", &round.id)
            .env("BRIEF", brief);
        let (code, said) = run(node).await;
        println!("{said}");
        assert!(code.success(), "{suite}");
    }
    one.is_running();
    two.is_running();
}
