//! Test vectors for verifiers: exports of a small invented log, signed with keys that protect nothing,
//! and what a verifier must say of them and of altered copies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chrono::{DateTime, TimeDelta};
use domain::ids::CompanyId;
use eventlog::envelope::{Cause, NewEvent, Position, StoredEvent, StreamId, Version, event_hash};
use eventlog::proof::export::{
    Base64Hash, Consistency, EventLine, Frame, KeyChain, Of, Payloads, runs,
};
use eventlog::proof::merkle::{self, Hash, leaf_data, leaf_hash, range_hash};
use eventlog::proof::note::{self, SigningKey};
use eventlog::proof::statement::{self, Checkpoint};
use eventlog::proof::tiles::{Edge, Tiles};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

const ORIGIN: &str = "vectors.colloquy.example/log";
const N_EVENTS: u64 = 24;

/// The files of `schemas/verify/vectors`, by their path from the repository's root.
///
/// # Errors
/// When an export cannot be written.
pub fn files() -> anyhow::Result<BTreeMap<PathBuf, String>> {
    let [first, second, stranger] = ["first", "second", "stranger"].map(key);
    let (first, second, stranger) = (first?, second?, stranger?);
    let log = Log::new(N_EVENTS)?;
    let one = [&first];
    let range = Of::Range {};
    let [interview, candidate] = [log.streams[2].clone(), log.streams[0].clone()];
    let company = candidate.company.0;
    let of_interview = Of::Interview { company, id: interview.id };
    let of_candidate = Of::Candidate { company, id: candidate.id };
    let part = |events: &StoredEvent| (5..=17).contains(&events.position.0);
    let mut older = Log::new(12)?;
    older.signed_at -= TimeDelta::hours(1);
    let mut forged = Log::new(N_EVENTS)?;
    forged.rewrite(11)?;
    let mut files = BTreeMap::from([
        ("whole", log.export(&one, range, |_| true)?),
        ("range", log.export(&one, range, part)?),
        ("interview", log.export(&one, of_interview, |event| event.stream == interview)?),
        ("candidate-withheld", {
            let record = &log.streams[..3];
            log.export(&one, of_candidate, |event| record.contains(&event.stream))?
        }),
        ("rotated", log.export(&[&first, &second], range, part)?),
        ("older", older.export(&one, range, |_| true)?),
        ("rewritten-by-a-stranger", forged.export(&[&stranger], range, |_| true)?),
    ]);
    files.insert("rewritten-with-old-signatures", {
        // Keys and signatures are those of the true export, all else is the forger's.
        let (forged, whole) = (&files["rewritten-by-a-stranger"], &files["whole"]);
        let mut lines: Vec<_> = forged.lines().map(ToOwned::to_owned).collect();
        lines[1] = whole.lines().nth(1).context("a line")?.to_owned();
        for line in [2, 4] {
            let (new, old) = (signature_of(forged, line)?, signature_of(whole, line)?);
            lines[line] = lines[line].replace(&new, &old);
        }
        lines.join("\n") + "\n"
    });
    let keys = json!([first.public().to_string(), second.public().to_string()]);
    let kept = older.note(&[&first])?;
    let vectors = json!({
        "keys": keys,
        "stranger": stranger.public().to_string(),
        "kept": kept,
        "cases": cases(&log, &keys, &kept),
    });
    let folder = Path::new("schemas/verify/vectors");
    let exports = files.into_iter().map(|(name, text)| (format!("{name}.ndjson"), text));
    let mut all: BTreeMap<_, _> = exports.map(|(name, text)| (folder.join(name), text)).collect();
    all.insert(folder.join("vectors.json"), format!("{:#}\n", vectors));
    Ok(all)
}

/// What a verifier must say: `[file, edit, key, further demands, what is expected]`.
fn cases(log: &Log, keys: &Value, kept: &str) -> Value {
    let proven = |n_events: u64, n_streams: u64| {
        json!({
            "true": { "events": n_events, "streams": n_streams, "size": N_EVENTS },
        })
    };
    let wrong =
        |line: u64, position: u64| json!({ "wrong": { "line": line, "position": position } });
    let n_of = |streams: &[StreamId]| {
        log.events.iter().filter(|event| streams.contains(&event.stream)).count() as u64
    };
    let of_interview = &log.streams[2..3];
    let mut cases = vec![];
    let mut case = |name: &str, file: &str, edit: Value, demands: Value, expected: Value| {
        let mut case = json!({ "name": name, "file": file, "key": keys[0], "expect": expected });
        for (member, value) in demands.as_object().into_iter().flatten() {
            case[member] = value.clone();
        }
        if !edit.is_null() {
            case["edit"] = edit;
        }
        cases.push(case);
    };
    let (none, any) = (Value::Null, json!({}));
    let second = json!({ "key": keys[1] });
    let replace = |line: u64, from: &str, to: &str| json!({ "line": line, "from": from, "to": to });
    case("the whole log", "whole", none.clone(), any.clone(), proven(24, 0));
    case("a range", "range", none.clone(), any.clone(), proven(13, 0));
    case("an interview", "interview", none.clone(), any.clone(), proven(n_of(of_interview), 1));
    case(
        "a candidate's record, payloads withheld",
        "candidate-withheld",
        none.clone(),
        any.clone(),
        proven(n_of(&log.streams[..3]), 3),
    );
    case("a key that was introduced", "rotated", none.clone(), any.clone(), proven(13, 0));
    case("the newest key", "rotated", none.clone(), second.clone(), proven(13, 0));
    case("enough events", "whole", none.clone(), json!({ "least": "24" }), proven(24, 0));
    case("a kept checkpoint", "rotated", none.clone(), json!({ "kept": kept }), proven(13, 0));
    case("too few events", "whole", none.clone(), json!({ "least": "25" }), wrong(3, 0));
    case(
        "too old",
        "whole",
        none.clone(),
        json!({ "least": "2026-03-01T00:00:00.000001Z" }),
        wrong(3, 0),
    );
    case("an older, shorter export", "older", none.clone(), json!({ "least": "24" }), wrong(3, 0));
    case(
        "no proof for a kept checkpoint",
        "whole",
        none.clone(),
        json!({ "kept": kept }),
        wrong(3, 0),
    );
    case("a key that is not the log's", "range", none.clone(), second, wrong(2, 0));
    case(
        "rewritten, signed by a stranger",
        "rewritten-by-a-stranger",
        none.clone(),
        any.clone(),
        wrong(2, 0),
    );
    case(
        "rewritten, old signatures",
        "rewritten-with-old-signatures",
        none,
        any.clone(),
        wrong(5, 0),
    );
    for (name, file, edit, line, position) in [
        ("another actor", "range", replace(8, "member:3", "member:4"), 8, 7),
        (
            "back-dated",
            "range",
            replace(10, "\"recorded_at\":\"2026-01-0", "\"recorded_at\":\"2025-01-0"),
            10,
            9,
        ),
        (
            "back-dated by a leap second, which is as many microseconds",
            "range",
            replace(10, ":30:00.000007Z\",\"company\"", ":29:60.000007Z\",\"company\""),
            10,
            9,
        ),
        (
            "another stream's version",
            "interview",
            replace(7, "\"version\":2", "\"version\":3"),
            7,
            7,
        ),
        ("a space", "range", replace(9, "{\"position\"", "{ \"position\""), 9, 8),
        ("true for one", "whole", replace(6, "\"version\":1,", "\"version\":true,"), 6, 1),
        (
            "no causation",
            "range",
            replace(6, "\"trace_parent\":null", "\"trace_parent\":\"\""),
            6,
            5,
        ),
        ("an event dropped", "range", json!({ "drop_line": 12 }), 12, 11),
        ("the last one dropped", "interview", json!({ "drop_line": 12 }), 12, 20),
        ("two swapped", "range", json!({ "swap_lines": [7, 9] }), 7, 6),
        ("one twice", "range", json!({ "repeat_line": 9 }), 10, 9),
        ("one too many", "range", json!({ "repeat_line": 18 }), 19, 18),
        ("cut off", "range", json!({ "cut_bytes": 1 }), 18, 17),
        ("other positions", "range", replace(1, "[[5,17]]", "[[5,16]]"), 1, 0),
        ("another root", "range", replace(3, "\\n24\\n", "\\n25\\n"), 3, 0),
        ("no head", "interview", replace(4, "stream head", "stream haed"), 4, 0),
        ("another seal", "range", replace(5, "colloquy export v1", "colloquy export v2"), 5, 0),
        (
            "no introduction",
            "rotated",
            replace(2, "colloquy log key v1", "colloquy log key v2"),
            2,
            0,
        ),
    ] {
        case(name, file, edit, any.clone(), wrong(line, position));
    }
    Value::Array(cases)
}

/// A key that everybody can make.
fn key(name: &str) -> anyhow::Result<SigningKey> {
    let seed = Sha256::digest(format!("key of the vectors: {name}"));
    Ok(SigningKey::from_seed(ORIGIN, &seed.into())?)
}

fn signature_of(file: &str, line: usize) -> anyhow::Result<String> {
    let line = file.lines().nth(line).context("a line")?;
    let begin = line.find("— ").context("a signature")?;
    let end = line[begin..].find("\\n").context("an end")?;
    Ok(line[begin..begin + end].to_owned())
}

/// An invented log with the tree over it.
pub struct Log {
    /// Its events.
    pub events: Vec<StoredEvent>,
    /// A candidate, their application and interview, and somebody else's.
    pub streams: Vec<StreamId>,
    /// The checkpoint's time.
    pub signed_at: DateTime<chrono::Utc>,
    tiles: Tiles,
}

impl Log {
    /// The log with so many events, always the same.
    ///
    /// # Errors
    /// Never, for counts that fit a time.
    pub fn new(n_events: u64) -> anyhow::Result<Self> {
        let begin = statement::parse_time("2026-01-01T00:00:00.000000Z").context("a time")?;
        let company = CompanyId(derived("company", 0));
        let streams: Vec<_> = ["candidate", "application", "interview", "interview"]
            .into_iter()
            .zip(0..)
            .map(|(aggregate, n)| StreamId::new(company, aggregate, derived("stream", n)))
            .collect();
        let mut versions = [0_u64; 4];
        let mut events = vec![];
        for n in 1..=n_events {
            let at = usize::try_from(if n < 4 { n - 1 } else { n * n % 4 + n % 3 })? % 4;
            versions[at] += 1;
            let minutes = i64::try_from(n * 150)?;
            let recorded_at = begin + TimeDelta::minutes(minutes) + TimeDelta::microseconds(7);
            let new = NewEvent {
                event_id: derived("event", n),
                name: format!("{}.changed", streams[at].aggregate).into(),
                schema_version: 1,
                occurred_at: recorded_at - TimeDelta::milliseconds(3),
                payload: format!("{{\"n\": {n}, \"text\": \"é\\u0000\u{1f512}\"}}").into(),
            };
            let cause = Cause {
                command_id: derived("command", n),
                fingerprint: Sha256::digest(n.to_be_bytes()).to_vec(),
                correlation_id: derived("correlation", n / 3),
                causation_id: (n % 2 == 0).then(|| derived("event", n - 1)),
                actor: format!("member:{}", n % 4),
                trace_parent: (n % 5 > 1).then(|| format!("00-\"é\"\\\t-{n}")),
            };
            let version = Version(versions[at]);
            events.push(StoredEvent {
                position: Position(n),
                recorded_at,
                version,
                event_id: new.event_id,
                name: new.name.to_string(),
                schema_version: new.schema_version,
                occurred_at: new.occurred_at,
                hash: event_hash(&streams[at], version, &cause, &new),
                stream: streams[at].clone(),
                cause,
                payload: new.payload,
            });
        }
        let signed_at = statement::parse_time("2026-03-01T00:00:00.000000Z").context("a time")?;
        let mut log = Self { events, streams, signed_at, tiles: Tiles::default() };
        log.plant();
        Ok(log)
    }

    fn plant(&mut self) {
        let mut edge = Edge::default();
        for event in &self.events {
            edge.push(leaf_hash(&leaf_data(event.position, event.recorded_at, event.hash)));
        }
        self.tiles = Tiles::default();
        self.tiles.extend(edge.take_changed());
    }

    /// Writes another payload into the history and makes the tree anew, as somebody could who has the
    /// database but not the key.
    ///
    /// # Errors
    /// When there is no such position.
    pub fn rewrite(&mut self, position: u64) -> anyhow::Result<()> {
        let at = usize::try_from(position - 1)?;
        let event = self.events.get_mut(at).context("no such position")?;
        event.payload = "{\"n\":0}".into();
        let new = NewEvent {
            event_id: event.event_id,
            name: event.name.clone().into(),
            schema_version: event.schema_version,
            occurred_at: event.occurred_at,
            payload: event.payload.clone(),
        };
        event.hash = event_hash(&event.stream, event.version, &event.cause, &new);
        self.plant();
        Ok(())
    }

    fn checkpoint(&self) -> anyhow::Result<Checkpoint> {
        let size = self.events.len() as u64;
        let root = range_hash(&self.tiles, &(0..size)).context("a root")?;
        Ok(Checkpoint { origin: ORIGIN.to_owned(), size, root, signed_at: self.signed_at })
    }

    fn note(&self, keys: &[&SigningKey]) -> anyhow::Result<String> {
        Ok(note::sign(&self.checkpoint()?.text(), keys))
    }

    fn hashes(&self, ranges: &[std::ops::Range<u64>]) -> anyhow::Result<Vec<Hash>> {
        let hash = |range| range_hash(&self.tiles, range).context("a hash");
        ranges.iter().map(hash).collect()
    }

    /// An export of the events that are chosen, by a log whose keys these are: the last one signs.
    /// With several keys it continues the tree of 12 events; a candidate's withholds payloads.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn export(
        &self,
        keys: &[&SigningKey],
        of: Of,
        is_chosen: impl Fn(&StoredEvent) -> bool,
    ) -> anyhow::Result<String> {
        let (signer, before) = keys.split_last().context("a key")?;
        let chosen: Vec<_> = self.events.iter().filter(|event| is_chosen(event)).collect();
        let mut streams = BTreeMap::new();
        if of != (Of::Range {}) {
            for event in &chosen {
                streams.insert(event.stream.clone(), event.version);
            }
        }
        let introductions = keys.windows(2).map(|pair| {
            let text = statement::new_key(pair[1].public(), self.signed_at);
            note::sign(&text, pair)
        });
        let checkpoint = self.checkpoint()?;
        let size = checkpoint.size;
        let consistency = match before.is_empty() {
            true => None,
            false => {
                let path = self.hashes(&merkle::consistency(12, size))?;
                Some(Consistency { size: 12, path: path.into_iter().map(Base64Hash).collect() })
            }
        };
        let payloads = match of {
            Of::Candidate { .. } => Payloads::Withheld,
            Of::Interview { .. } | Of::Range {} => Payloads::Included,
        };
        let frame = Frame {
            of,
            payloads,
            streams: streams.into_iter().collect(),
            positions: runs(chosen.iter().map(|event| event.position.0)),
            note: self.note(keys)?,
            checkpoint,
            consistency,
            keys: KeyChain {
                first: keys[0].public().to_string(),
                introductions: introductions.collect(),
            },
        };
        let mut text = frame.lines(signer)?;
        for event in chosen {
            let path = self.hashes(&merkle::inclusion(event.position.0 - 1, size))?;
            text.push_str(&serde_json::to_string(&EventLine::new(event, payloads, &path))?);
            text.push('\n');
        }
        Ok(text)
    }
}

fn derived(what: &str, n: u64) -> Uuid {
    let hash = Sha256::digest(format!("{what} {n} of the vectors"));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
