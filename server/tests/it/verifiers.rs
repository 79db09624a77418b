//! Both verifiers, ours and the one in Python, each as whoever has an export would use it, and against
//! altered exports.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use eventlog::envelope::StoredEvent;
use eventlog::proof::export::Of;
use eventlog::proof::note::SigningKey;
use eventlog::proof::verify::{Demands, Refused, verify};
use serde_json::{Value, json};
use server::vectors::Log;

use crate::process::{colloquy, run};
use crate::world::root;

const N_VARIANTS: usize = 10_000;
const N_FRAME_LINES: usize = 5;

/// Whether `colloquy verify` accepts, without any setting of ours, and what it says.
pub async fn verify_by_command(arguments: &[&str]) -> (bool, String) {
    let mut command = colloquy();
    command.arg("verify").args(arguments);
    let (status, said) = run(command).await;
    (status.success(), said)
}

/// The same of the verifier in Python.
pub async fn verify_in_python(arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new("python3");
    command.args(["-B", "schemas/verify/verify.py"]).args(arguments).current_dir(root());
    let (status, said) = run(command).await;
    (status.success(), said)
}

/// A generator of numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        // Numerical Recipes' constants; the high bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % n
    }
}

/// What a verifier says: `None` if all is true, else line and position.
type Said = Option<(u64, u64)>;

fn ours(file: &[u8], demands: &Demands) -> Said {
    match verify(file, demands) {
        Ok(_) => None,
        Err(Refused::Wrong(wrong)) => Some((wrong.line, wrong.position)),
        Err(other) => panic!("{other}"),
    }
}

/// An export as lines without their newlines, with the positions of its events.
#[derive(Clone)]
struct Export {
    lines: Vec<Vec<u8>>,
    positions: Vec<u64>,
}

impl Export {
    fn read(name: &str) -> Self {
        let path = root().join(format!("schemas/verify/vectors/{name}.ndjson"));
        let text = std::fs::read(path).expect("a vector");
        let mut lines: Vec<Vec<u8>> = text.split(|byte| *byte == b'\n').map(Into::into).collect();
        assert_eq!(lines.pop(), Some(vec![]));
        let position = |line: &Vec<u8>| {
            let event: Value = serde_json::from_slice(line).expect("an event");
            event["position"].as_u64().expect("a position")
        };
        let positions = lines[N_FRAME_LINES..].iter().map(position).collect();
        Self { lines, positions }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.lines.join(&b'\n');
        bytes.push(b'\n');
        bytes
    }

    /// What stands where the line with this index does: line and position.
    fn place(&self, index: usize) -> (u64, u64) {
        let position = match index.checked_sub(N_FRAME_LINES) {
            None => 0,
            Some(nth) => match self.positions.get(nth) {
                Some(position) => *position,
                None => self.positions.last().expect("events") + 1,
            },
        };
        (index as u64 + 1, position)
    }

    /// The first place at which the altered file differs, in the order in which a verifier looks:
    /// whether five lines are there, then the keys, the seal, what is sealed, the events.
    fn first_wrong(&self, altered: &[u8]) -> (u64, u64) {
        let mut lines: Vec<&[u8]> = altered.split(|byte| *byte == b'\n').collect();
        // What follows the last newline is no line.
        lines.pop();
        if lines.len() < N_FRAME_LINES {
            return self.place(lines.len());
        }
        let differs =
            |line: &usize| lines.get(*line).copied() != self.lines.get(*line).map(|l| &**l);
        let mut in_order = [1, 4, 0, 2, 3].into_iter().chain(N_FRAME_LINES..self.lines.len());
        self.place(in_order.find(differs).unwrap_or(self.lines.len()))
    }

    /// A copy for each byte, in which one of its bits is flipped.
    fn flipped(&self) -> impl Iterator<Item = Vec<u8>> {
        let bytes = self.bytes();
        (0..bytes.len()).map(move |at| {
            let mut copy = bytes.clone();
            copy[at] ^= 1 << (at % 8);
            copy
        })
    }

    /// An altered copy.
    fn altered(&self, how: usize, dice: &mut Dice) -> Vec<u8> {
        let Self { mut lines, positions } = self.clone();
        let n_lines = lines.len();
        let event = |dice: &mut Dice| N_FRAME_LINES + dice.below(n_lines - N_FRAME_LINES);
        match how {
            // A bit flipped anywhere.
            0..=2 => {
                let line = dice.below(n_lines);
                let at = dice.below(lines[line].len());
                lines[line][at] ^= 1 << dice.below(8);
            }
            // A byte put in or taken out.
            3 => {
                let line = dice.below(n_lines);
                let at = dice.below(lines[line].len());
                lines[line].insert(at, b" 0\"\\,A"[dice.below(6)]);
            }
            4 => {
                let line = dice.below(n_lines);
                let at = dice.below(lines[line].len());
                lines[line].remove(at);
            }
            // An event dropped, swapped with another, inserted.
            5 => {
                lines.remove(event(dice));
            }
            6 => lines.swap(event(dice), event(dice)),
            7 => {
                let copy = lines[event(dice)].clone();
                lines.insert(event(dice), copy);
            }
            // Time, author, version or payload set to something else that can be read.
            8 => {
                let line = event(dice);
                let mut event: Value = serde_json::from_slice(&lines[line]).expect("an event");
                let (field, value) = [
                    ("recorded_at", json!("2025-12-31T23:59:59.000000Z")),
                    ("occurred_at", json!("2025-12-31T23:59:59.000000Z")),
                    ("actor", json!("member:99")),
                    ("version", json!(event["version"].as_u64().expect("a version") + 1)),
                    ("payload", json!("e30=")),
                    ("fingerprint", json!("AB")),
                    ("trace_parent", json!("")),
                    ("path", json!([])),
                ][dice.below(8)]
                .clone();
                // The members stand in order of their names now, which is another way of writing it.
                event[field] = value;
                lines[line] = serde_json::to_vec(&event).expect("JSON");
            }
            // The same in place, so that nothing but the value differs.
            9 => {
                let line = event(dice);
                let text = String::from_utf8(lines[line].clone()).expect("a text");
                let (from, to) = [
                    ("\"recorded_at\":\"2026", "\"recorded_at\":\"2025"),
                    ("\"occurred_at\":\"2026", "\"occurred_at\":\"2027"),
                    ("\"actor\":\"member:", "\"actor\":\"member:1"),
                    ("\"schema_version\":1", "\"schema_version\":2"),
                ][dice.below(4)];
                let altered = text.replacen(from, to, 1);
                assert_ne!(altered, text);
                lines[line] = altered.into_bytes();
            }
            // The end cut off, within a line or between two.
            10 => {
                let mut bytes = self.bytes();
                bytes.truncate(dice.below(bytes.len()));
                return bytes;
            }
            // Events of a history that was rewritten, its tree made anew, from some line on: its
            // forger does not have the log's keys.
            _ => {
                let mut log = Log::new(24).expect("a log");
                log.rewrite(1 + dice.below(24) as u64).expect("rewrites");
                let key = SigningKey::from_seed("vectors.colloquy.example/log", &[9; 32]);
                let chosen = |event: &StoredEvent| positions.contains(&event.position.0);
                let forged = log.export(&[&key.expect("a key")], Of::Range {}, chosen);
                let forged = forged.expect("an export").into_bytes();
                let forged = forged.split(|byte| *byte == b'\n');
                let n_kept = dice.below(N_FRAME_LINES + 1);
                for (line, forged) in lines.iter_mut().zip(forged).skip(n_kept) {
                    *line = forged.to_vec();
                }
            }
        }
        Self { lines, positions }.bytes()
    }
}

fn key() -> String {
    let path = root().join("schemas/verify/vectors/vectors.json");
    let vectors: Value =
        serde_json::from_slice(&std::fs::read(path).expect("vectors")).expect("JSON");
    vectors["keys"][0].as_str().expect("a key").to_owned()
}

/// What the verifier in Python says of each file.
fn in_python(key: &str, files: &[Vec<u8>]) -> Vec<Said> {
    let script = root().join("server/tests/it/verify_many.py");
    let mut python = Command::new("python3")
        .arg(script)
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is there");
    let mut input = python.stdin.take().expect("piped");
    let output = BufReader::new(python.stdout.take().expect("piped"));
    let said = std::thread::scope(|threads| {
        threads.spawn(move || {
            for file in files {
                input.write_all(&(file.len() as u64).to_be_bytes()).expect("reads");
                input.write_all(file).expect("reads");
            }
        });
        let read = |line: std::io::Result<String>| {
            let line = line.expect("a line");
            let (line, position) = line.split_once(' ')?;
            Some((line.parse().expect("a number"), position.parse().expect("a number")))
        };
        output.lines().map(read).collect()
    });
    assert!(python.wait().expect("ends").success());
    said
}

/// Ways of altering an export, in the order in which [`Export::altered`] counts them.
const WAYS: [&str; 12] = [
    "a bit flipped",
    "a bit flipped",
    "a bit flipped",
    "a byte put in",
    "a byte taken out",
    "an event dropped",
    "two events swapped",
    "an event inserted",
    "a value changed",
    "a value changed in place",
    "cut off",
    "rewritten with its tree",
];

/// Lets both verifiers judge exports that are untouched, that have one bit of each byte flipped, and
/// that are altered in ten thousand other ways. Asserts that both accept the first and name the first
/// wrong place of all others; answers how many of which there were.
pub fn judge_altered_exports() -> String {
    let exports = ["interview", "range", "rotated"].map(Export::read);
    let key = key();
    let demands = Demands { key: key.parse().expect("a key"), least: None, kept: None };
    let mut dice = Dice(7);
    let (mut files, mut expected, mut hows) = (vec![], vec![], vec![]);
    for export in &exports {
        files.push(export.bytes());
        expected.push(None);
        hows.push("untouched");
    }
    for file in exports[0].flipped() {
        expected.push(Some(exports[0].first_wrong(&file)));
        hows.push("each byte");
        files.push(file);
    }
    let n_certain = files.len();
    while files.len() < N_VARIANTS + n_certain {
        let how = files.len() % WAYS.len();
        // The forger of a history leaves the range's frame, which names the same positions.
        let export = &exports[if how == 11 { 1 } else { dice.below(exports.len()) }];
        let file = export.altered(how, &mut dice);
        if file != export.bytes() {
            expected.push(Some(export.first_wrong(&file)));
            hows.push(WAYS[how]);
            files.push(file);
        }
    }
    let check = |who: &str, said: &[Said]| {
        assert_eq!(said.len(), expected.len(), "{who}");
        for (n, (said, expected)) in said.iter().zip(&expected).enumerate() {
            assert_eq!(said, expected, "{who}, export {n}, {}", hows[n]);
        }
    };
    std::thread::scope(|threads| {
        let python = threads.spawn(|| in_python(&key, &files));
        let said: Vec<Said> = files.iter().map(|file| ours(file, &demands)).collect();
        check("ours", &said);
        check("python", &python.join().expect("judges"));
    });
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for how in hows {
        *counts.entry(how).or_default() += 1;
    }
    let counts: Vec<_> = counts.iter().map(|(how, n)| format!("{n} x {how}")).collect();
    counts.join(", ")
}
