//! The offline verifier: a file, the log's public key, and nothing else.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufRead};
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::export::{
    Anchor, Consistency, EventLine, FORMAT, Header, Heads, KeyChain, Of, Seal, seal_text,
};
use super::merkle::{Hash, is_consistent, is_included};
use super::note::{Note, PublicKey};
use super::statement::{self, Checkpoint};
use crate::envelope::{StreamId, Version};

/// What the auditor brings along.
#[derive(Clone, Debug)]
pub struct Demands {
    /// The log's public key: the one that signs, or one before it.
    pub key: PublicKey,
    /// The oldest checkpoint that will do.
    pub least: Option<Least>,
    /// A checkpoint that was kept from before; the file must prove that it continues that one.
    pub kept: Option<String>,
}

/// The oldest checkpoint that will do, by its size or by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Least {
    /// At least this many events.
    Size(u64),
    /// Signed at this time or later.
    Time(DateTime<Utc>),
}

/// Neither a number nor a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("give a number of events, or a time such as 2026-01-31T12:00:00Z")]
pub struct BadLeast;

impl FromStr for Least {
    type Err = BadLeast;

    fn from_str(text: &str) -> Result<Self, BadLeast> {
        if let Ok(size) = text.parse() {
            return Ok(Self::Size(size));
        }
        let time = DateTime::parse_from_rfc3339(text).map_err(|_| BadLeast)?;
        Ok(Self::Time(time.to_utc()))
    }
}

/// What a file proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What it is of.
    pub of: Of,
    /// The checkpoint: everything in the file is complete as of its time.
    pub checkpoint: Checkpoint,
    /// The key that signed.
    pub signed_by: PublicKey,
    /// Streams that are in it whole.
    pub n_streams: usize,
    /// Events, all of them proven.
    pub n_events: u64,
}

/// The first thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The line, from 1.
    pub line: u64,
    /// The position whose event should stand there; 0 in the lines before the first event, which
    /// prove all the others, and one more than the last after the last event.
    pub position: u64,
    /// Stream and version that the line claims, where it can be read.
    pub event: Option<(StreamId, Version)>,
    /// Why.
    pub why: &'static str,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, ", self.line)?;
        match self.position {
            0 => f.write_str("before the first event, so that none is proven")?,
            position => write!(f, "position {position}")?,
        }
        if let Some((stream, version)) = &self.event {
            write!(f, " (it claims to be version {version} of {stream})")?;
        }
        write!(f, ": {}", self.why)
    }
}

/// Why a file was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Something in it is wrong.
    #[error("{0}")]
    Wrong(Wrong),
    /// It cannot be read.
    #[error("the file cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Checks a whole file.
///
/// # Errors
/// The first thing that is wrong, see [`Refused`].
pub fn verify(file: impl BufRead, demands: &Demands) -> Result<Verified, Refused> {
    let mut lines = Lines { file, n_read: 0 };
    let mut first = [const { Vec::new() }; 5];
    for line in &mut first {
        *line = lines.next()?.ok_or_else(|| lines.frame("the line is missing or cut off"))?;
    }
    let frame = Frame::check(&first, demands)
        .map_err(|(line, why)| Refused::Wrong(Wrong { line, position: 0, event: None, why }))?;
    let mut events = Events { frame: &frame, applied: HashMap::new(), last_at: None };
    let (mut n_events, mut last) = (0, 0);
    for (from, to) in &frame.header.positions {
        for position in *from..=*to {
            let line = lines.next()?;
            events.check(position, line.as_deref()).map_err(|(event, why)| {
                Refused::Wrong(Wrong { line: lines.n_read, position, event, why })
            })?;
            (n_events, last) = (n_events + 1, position);
        }
    }
    let after = |line, why| Refused::Wrong(Wrong { line, position: last + 1, event: None, why });
    if !lines.is_at_end()? {
        return Err(after(lines.n_read + 1, "there is more than the first line announces"));
    }
    if !events.are_complete() {
        return Err(after(lines.n_read, "a stream has fewer events than its signed head says"));
    }
    Ok(Verified {
        of: frame.header.of,
        n_streams: frame.header.streams.len(),
        checkpoint: frame.checkpoint,
        signed_by: frame.signer,
        n_events,
    })
}

struct Lines<R> {
    file: R,
    n_read: u64,
}

impl<R: BufRead> Lines<R> {
    /// The next line without its newline; `None` if there is none that ends with one.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = vec![];
        self.n_read += 1;
        self.file.read_until(b'\n', &mut line)?;
        Ok((line.pop() == Some(b'\n')).then_some(line))
    }

    fn is_at_end(&mut self) -> io::Result<bool> {
        Ok(self.file.fill_buf()?.is_empty())
    }

    fn frame(&self, why: &'static str) -> Refused {
        Refused::Wrong(Wrong { line: self.n_read, position: 0, event: None, why })
    }
}

type Fault = (u64, &'static str);

/// The first five lines, checked.
struct Frame {
    header: Header,
    checkpoint: Checkpoint,
    signer: PublicKey,
    heads: HashMap<StreamId, Version>,
}

impl Frame {
    fn check(lines: &[Vec<u8>; 5], demands: &Demands) -> Result<Self, Fault> {
        let [header, keys, anchor, heads, seal] = lines;
        let trusted = trusted_keys(keys, &demands.key).map_err(|why| (2, why))?;
        let signer = trusted.last().cloned().ok_or((2, "there is no key"))?;
        let hashes = [header, keys, anchor, heads].map(|line| Sha256::digest(line).into());
        check_seal(seal, &signer, &hashes)?;

        let header: Header = read(header).map_err(|why| (1, why))?;
        if header.format != FORMAT || header.origin != signer.name() {
            return Err((1, "another format, or another log than the key's"));
        }
        let checkpoint = check_anchor(anchor, &trusted, demands).map_err(|why| (3, why))?;
        check_positions(&header, checkpoint.size).map_err(|why| (1, why))?;
        let heads = check_heads(heads, &header, &checkpoint, &signer).map_err(|why| (4, why))?;
        Ok(Self { header, checkpoint, signer, heads })
    }
}

fn read<T: DeserializeOwned>(line: &[u8]) -> Result<T, &'static str> {
    serde_json::from_slice(line).map_err(|_| "the line cannot be read")
}

/// The auditor's key and those that were introduced after it, each by the one before and by itself.
fn trusted_keys(line: &[u8], given: &PublicKey) -> Result<Vec<PublicKey>, &'static str> {
    let chain: KeyChain = read(line)?;
    let first: PublicKey = chain.first.parse().map_err(|_| "the first key cannot be read")?;
    let mut trusted = vec![];
    if first == *given {
        trusted.push(first);
    }
    for introduction in &chain.introductions {
        let note = Note::parse(introduction).map_err(|_| "a key's introduction is no note")?;
        let key = statement::stated_key(note.text).ok_or("a key's introduction says nothing")?;
        if let Some(before) = trusted.last() {
            let is_introduced =
                key.name() == before.name() && note.is_signed_by(before) && note.is_signed_by(&key);
            if !is_introduced {
                return Err("a key is not introduced by the one before it");
            }
            trusted.push(key);
        } else if key == *given {
            trusted.push(key);
        }
    }
    if trusted.is_empty() {
        return Err("the given public key is none of the log's");
    }
    Ok(trusted)
}

fn check_seal(line: &[u8], signer: &PublicKey, hashes: &[Hash; 4]) -> Result<(), Fault> {
    let seal: Seal = read(line).map_err(|why| (5, why))?;
    let is_canonical = serde_json::to_vec(&seal).is_ok_and(|written| written == line);
    let note = Note::parse(&seal.seal).map_err(|_| (5, "the seal is no note"))?;
    if !is_canonical || !note.is_signed_only_by(signer) {
        return Err((5, "the seal is not signed by the key"));
    }
    let stated: Vec<_> = note.text.lines().collect();
    let expected = seal_text(signer.name(), hashes);
    let expected: Vec<_> = expected.lines().collect();
    if stated.len() != expected.len() || stated[..2] != expected[..2] {
        return Err((5, "the seal is that of something else"));
    }
    let differing = (1..).zip(stated[2..].iter().zip(&expected[2..])).find(|(_, (s, e))| s != e);
    match differing {
        Some((line, _)) => Err((line, "the line is not the one that was sealed")),
        None => Ok(()),
    }
}

fn check_anchor(
    line: &[u8],
    trusted: &[PublicKey],
    demands: &Demands,
) -> Result<Checkpoint, &'static str> {
    let anchor: Anchor = read(line)?;
    let signer = trusted.last().ok_or("there is no key")?;
    let checkpoint = signed_checkpoint(&anchor.checkpoint, std::slice::from_ref(signer))?;
    let is_enough = match demands.least {
        None => true,
        Some(Least::Size(size)) => checkpoint.size >= size,
        Some(Least::Time(time)) => checkpoint.signed_at >= time,
    };
    if !is_enough {
        return Err("the checkpoint is older than the least that is demanded");
    }
    let Some(kept) = &demands.kept else { return Ok(checkpoint) };
    let kept = signed_checkpoint(kept, trusted)
        .map_err(|_| "the kept checkpoint is not signed by a key of this log")?;
    if kept.size > checkpoint.size || kept.signed_at > checkpoint.signed_at {
        return Err("the checkpoint is older than the one that was kept");
    }
    let path: Vec<Hash> = match anchor.consistency {
        Some(Consistency { size, path }) if size == kept.size => {
            path.into_iter().map(|hash| hash.0).collect()
        }
        _ if kept.size == checkpoint.size || kept.size == 0 => vec![],
        _ => return Err("the file has no proof that it continues the kept checkpoint"),
    };
    let (old, new) = ((kept.size, &kept.root), (checkpoint.size, &checkpoint.root));
    match is_consistent(old, new, &path) {
        true => Ok(checkpoint),
        false => Err("the log was rewritten: it does not continue the kept checkpoint"),
    }
}

fn signed_checkpoint(note: &str, keys: &[PublicKey]) -> Result<Checkpoint, &'static str> {
    let note = Note::parse(note).map_err(|_| "the checkpoint is no note")?;
    let checkpoint = Checkpoint::parse(note.text).ok_or("the checkpoint cannot be read")?;
    let is_of = |key: &PublicKey| checkpoint.origin == key.name() && note.is_signed_by(key);
    match keys.iter().any(is_of) {
        true => Ok(checkpoint),
        false => Err("the checkpoint is not signed by the key"),
    }
}

fn check_positions(header: &Header, size: u64) -> Result<(), &'static str> {
    let mut next = 1;
    for (from, to) in &header.positions {
        if *from < next || to < from || *to > size {
            return Err("the positions are not those of a tree of this size");
        }
        next = to.saturating_add(1);
    }
    let is_whole = match header.of {
        Of::Range {} => header.positions.len() == 1 && header.streams.is_empty(),
        Of::Interview { company, id } => has(header, company, "interview", id),
        Of::Candidate { company, id } => has(header, company, "candidate", id),
    };
    if is_whole { Ok(()) } else { Err("what the file is of is not in it") }
}

fn has(header: &Header, company: uuid::Uuid, aggregate: &str, id: uuid::Uuid) -> bool {
    let mut streams = header.streams.iter();
    streams.any(|s| s.company == company && s.aggregate == aggregate && s.id == id)
}

fn check_heads(
    line: &[u8],
    header: &Header,
    checkpoint: &Checkpoint,
    signer: &PublicKey,
) -> Result<HashMap<StreamId, Version>, &'static str> {
    let Heads { heads } = read(line)?;
    if heads.len() != header.streams.len() {
        return Err("there is not one head for each stream");
    }
    let mut versions = HashMap::new();
    for (stream, note) in header.streams.iter().map(StreamId::from).zip(&heads) {
        let note = Note::parse(note).map_err(|_| "a stream's head is no note")?;
        let version = statement::stated_head(note.text, &stream, checkpoint);
        let version = version.filter(|_| note.is_signed_by(signer));
        versions.insert(stream, version.ok_or("a stream's head is not signed by the key")?);
    }
    Ok(versions)
}

/// The events so far.
struct Events<'a> {
    frame: &'a Frame,
    /// Last version seen of each whole stream.
    applied: HashMap<StreamId, Version>,
    last_at: Option<DateTime<Utc>>,
}

type EventFault = (Option<(StreamId, Version)>, &'static str);

impl Events<'_> {
    fn check(&mut self, position: u64, line: Option<&[u8]>) -> Result<(), EventFault> {
        let line = line.ok_or((None, "the event is missing or cut off"))?;
        let event: EventLine = read(line).map_err(|why| (None, why))?;
        let claims = Some((event.stream(), Version(event.version)));
        self.judge(position, &event, line).map_err(|why| (claims, why))
    }

    fn judge(&mut self, position: u64, event: &EventLine, line: &[u8]) -> Result<(), &'static str> {
        let Frame { header, checkpoint, heads, .. } = self.frame;
        if event.position != position {
            return Err("another position's event stands here");
        }
        if !serde_json::to_vec(event).is_ok_and(|written| written == line)
            || event.trace_parent.as_deref() == Some("")
        {
            return Err("the line is not written as it must be");
        }
        if !event.has(header.payloads) {
            return Err("the payload is not given as the first line says");
        }
        let path: Vec<Hash> = event.path.iter().map(|hash| hash.0).collect();
        let (index, size) = (position - 1, checkpoint.size);
        if !is_included(index, size, &event.leaf(), &path, &checkpoint.root) {
            return Err("the event is not the one in the signed tree");
        }
        if event.recorded_at > checkpoint.signed_at
            || self.last_at.is_some_and(|last| event.recorded_at < last)
        {
            return Err("the log gave it a time that cannot be");
        }
        self.last_at = Some(event.recorded_at);
        if !header.streams.is_empty() {
            let (stream, version) = (event.stream(), Version(event.version));
            let applied = self.applied.entry(stream.clone()).or_default();
            if !heads.contains_key(&stream) || version != applied.next() {
                return Err("the event is not the next one of a stream of this file");
            }
            *applied = version;
        }
        Ok(())
    }

    fn are_complete(&self) -> bool {
        let mut heads = self.frame.heads.iter();
        heads.all(|(stream, head)| self.applied.get(stream).copied().unwrap_or_default() == *head)
    }
}
