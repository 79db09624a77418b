//! What lists cost in the database.

use serde_json::{Value, json};

use crate::client::Client;
use crate::job::{Company, days, now};
use crate::process::Process;

/// Each list with what hangs on its items.
const LISTS: &[(&str, &str)] = &[
    ("members", "fullName email lastSignedInAt"),
    ("jobs", "title hiringManager { fullName } questions { id }"),
    ("candidates", "fullName assignedTo { fullName } applications { id job { title } }"),
    // One kind of thing hangs at one place only: loads of two places may or may not be one statement.
    ("applications", "status jobTitle candidate { fullName assignedTo { id } }"),
    (
        "interviews",
        "status jobTitle candidate { fullName } application { status } interviewer { email }",
    ),
    ("liveBoard", "status job { title } candidate { fullName }"),
    ("verdicts", "status interview { status job { title } }"),
];

/// The statements on read models that a process has logged.
fn n_statements(process: &Process) -> usize {
    let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let of = |line: &Value| text(line, "summary") + &text(line, "db.statement");
    let on_rows = |line: &&Value| line["target"] == "sqlx::query" && of(line).contains("rm_");
    process.lines().iter().filter(on_rows).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_costs_as_many_statements_whatever_its_page_size() {
    let (world, mut all, _, company) = Company::lights().await;
    let job = company.open_job().await;
    for n in 0..8 {
        let (job, name) = (if n % 2 == 0 { job.clone() } else { company.open_job().await }, n);
        let application = company.apply(&job, &format!("Mira{name}")).await;
        let input = company.round(&application, now() + days(1));
        company.hr.carry_out("scheduleInterview", input, "interview { id }").await;
    }
    world.until_projected().await;
    let filter = ("COLLOQUY_LOG__FILTER", "info,sqlx::query=debug");
    let mut logging = world.start_with("serve", &[filter]);
    let there = logging.client().await;
    let hr: Client = company.hr.with_base(&there);
    let mut n_asked = 0;
    for (list, selection) in LISTS {
        let mut costs = vec![];
        for first in [1, 2, 8] {
            let document =
                format!("{{ {list}(first: {first}) {{ totalCount nodes {{ {selection} }} }} }}");
            let before = n_statements(&logging);
            let shown = hr.query(&document, json!({})).await;
            let n = shown[list]["nodes"].as_array().map_or(0, Vec::len);
            costs.push((n, n_statements(&logging) - before));
        }
        println!("{list:<14} items and statements: {costs:?}");
        assert!(costs.iter().all(|(_, cost)| *cost == costs[0].1), "{list}: {costs:?}");
        if costs[0].0 < costs[2].0 {
            n_asked += 1;
        }
        assert!(costs[0].1 > 0, "{list}: no statement was seen");
    }
    assert!(n_asked >= 5, "{n_asked} lists had more items on larger pages");
    all.is_running();
}
