//! What the verifiers say of exports that were altered, and of the vectors.

use std::process::Command;

use eventlog::proof::verify::{Demands, Refused, verify};
use serde_json::{Value, json};

use crate::verifiers::judge_altered_exports;
use crate::world::root;

#[test]
fn both_verifiers_name_the_first_wrong_place_of_ten_thousand_altered_exports() {
    println!("{}", judge_altered_exports());
}

#[test]
fn our_verifier_judges_every_vector_as_expected() {
    let folder = root().join("schemas/verify/vectors");
    let text = std::fs::read(folder.join("vectors.json")).expect("vectors");
    let vectors: Value = serde_json::from_slice(&text).expect("JSON");
    let cases = vectors["cases"].as_array().expect("cases");
    assert!(cases.len() > 30);
    for case in cases {
        let text = |member: &str| case[member].as_str().map(ToOwned::to_owned);
        let name = text("name").expect("a name");
        let file = folder.join(format!("{}.ndjson", text("file").expect("a file")));
        let mut file = std::fs::read(file).expect("a vector");
        if case["edit"].is_object() {
            file = edited(&file, &case["edit"]);
        }
        let demands = Demands {
            key: text("key").expect("a key").parse().expect("a key"),
            least: text("least").map(|least| least.parse().expect("a least")),
            kept: text("kept"),
        };
        let said = match verify(file.as_slice(), &demands) {
            Ok(proven) => json!({ "true": {
                "events": proven.n_events, "streams": proven.n_streams,
                "size": proven.checkpoint.size,
            } }),
            Err(Refused::Wrong(wrong)) => {
                json!({ "wrong": { "line": wrong.line, "position": wrong.position } })
            }
            Err(other) => panic!("{name}: {other}"),
        };
        assert_eq!(said, case["expect"], "{name}");
    }
}

fn edited(file: &[u8], edit: &Value) -> Vec<u8> {
    let number = |value: &Value| usize::try_from(value.as_u64().expect("a number")).expect("fits");
    if edit["cut_bytes"].is_u64() {
        return file[..file.len() - number(&edit["cut_bytes"])].to_vec();
    }
    let mut lines: Vec<Vec<u8>> = file.split(|byte| *byte == b'\n').map(Into::into).collect();
    if edit["drop_line"].is_u64() {
        lines.remove(number(&edit["drop_line"]) - 1);
    } else if edit["repeat_line"].is_u64() {
        let line = number(&edit["repeat_line"]);
        lines.insert(line, lines[line - 1].clone());
    } else if edit["swap_lines"].is_array() {
        lines.swap(number(&edit["swap_lines"][0]) - 1, number(&edit["swap_lines"][1]) - 1);
    } else {
        let line = &mut lines[number(&edit["line"]) - 1];
        let text = String::from_utf8(line.clone()).expect("a text");
        let (from, to) = (edit["from"].as_str().expect("a text"), edit["to"].as_str());
        assert!(text.contains(from), "{edit}");
        *line = text.replacen(from, to.expect("a text"), 1).into_bytes();
    }
    lines.join(&b'\n')
}

#[test]
fn the_verifier_in_python_judges_every_vector_as_expected() {
    let checked = Command::new("python3")
        .args(["-B", "schemas/verify/check_vectors.py"])
        .current_dir(root())
        .output()
        .expect("python3 is there");
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{said}{}", String::from_utf8_lossy(&checked.stderr));
}
