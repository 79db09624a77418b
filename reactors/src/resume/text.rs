//! A résumé's file → its text, whatever the file claims to be.
//!
//! The kind of file is read from its bytes; a name proves nothing. Files come from strangers, so
//! sizes are limited before and after unpacking, known ways to make a reader run forever or
//! exhaust its stack are looked for first, and a reader that panics is caught. PDFs are read by a
//! process of their own where the program for it is known. Without it a thread that overruns its
//! time cannot be stopped, only left alone: it keeps its slot until it ends, so that hostile files
//! can occupy no more threads than there are slots.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use domain::file_kind::FileKind;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::Semaphore;

use super::{docx, pdf};
use crate::ai::words;

/// What a reader may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest file, in bytes.
    pub file_bytes: usize,
    /// Largest content after unpacking, in bytes.
    pub unpacked_bytes: u64,
    /// Most pages of a PDF.
    pub pages: usize,
    /// Longest text that is kept, in characters; the rest is cut and the cut is told.
    pub text_chars: usize,
    /// Time for one file, waiting for a free slot included.
    pub time: Duration,
    /// How many files are read at once.
    pub slots: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 10 * 1024 * 1024,
            unpacked_bytes: 64 * 1024 * 1024,
            pages: 100,
            text_chars: 50_000,
            time: Duration::from_secs(20),
            slots: 4,
        }
    }
}

/// A résumé's text. Personal data.
#[derive(Clone, PartialEq, Eq)]
pub struct Extracted {
    /// What kind of file it was.
    pub kind: FileKind,
    /// Lines without trailing space, single spaces, at most one blank line in a row.
    pub text: String,
    /// Whether the text was longer than allowed and was cut.
    pub truncated: bool,
}

impl std::fmt::Debug for Extracted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Extracted")
            .field("kind", &self.kind)
            .field("truncated", &self.truncated)
            .finish_non_exhaustive()
    }
}

/// Why a file gives no text. Carries nothing of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The file, or what is packed into it, is larger than allowed.
    #[error("the file is too large")]
    TooLarge,
    /// None of the supported kinds.
    #[error("the file is of no supported kind; supported are PDF, DOCX and TXT")]
    UnsupportedKind,
    /// An old Word file: it stays viewable, but its text is not read.
    #[error("old Word files (DOC) can be viewed but not read; supported are PDF, DOCX and TXT")]
    OldWord,
    /// The file is protected by a password.
    #[error("the file is protected by a password")]
    Protected,
    /// The file claims a kind but breaks its rules.
    #[error("the file is damaged")]
    Damaged,
    /// Reading took longer than allowed.
    #[error("reading the file took too long")]
    TookTooLong,
    /// The file holds no text, such as a scan without text recognition.
    #[error("the file holds no text")]
    NoText,
}

impl Unreadable {
    const ALL: [Self; 7] = [
        Self::TooLarge,
        Self::UnsupportedKind,
        Self::OldWord,
        Self::Protected,
        Self::Damaged,
        Self::TookTooLong,
        Self::NoText,
    ];

    fn of_code(code: &str) -> Self {
        Self::ALL.into_iter().find(|known| known.code() == code).unwrap_or(Self::Damaged)
    }

    /// The public code, which never changes.
    pub fn code(self) -> &'static str {
        match self {
            Self::TooLarge => "RESUME_TOO_LARGE",
            Self::UnsupportedKind => "RESUME_UNSUPPORTED_KIND",
            Self::OldWord => "RESUME_DOC_NOT_READ",
            Self::Protected => "RESUME_PROTECTED",
            Self::Damaged => "RESUME_DAMAGED",
            Self::TookTooLong => "RESUME_READING_TOOK_TOO_LONG",
            Self::NoText => "RESUME_NO_TEXT",
        }
    }
}

/// Reads files, a few at a time.
#[derive(Debug, Clone)]
pub struct TextReader {
    limits: Limits,
    slots: Arc<Semaphore>,
    /// The program whose verb [`READ_VERB`] reads one file in a process of its own.
    program: Option<PathBuf>,
}

/// The hidden verb of the product's program that reads a file from its input, see [`read_piped`].
pub const READ_VERB: &str = "read-resume";

/// Most memory of a reading process, in KiB: what a shell's `ulimit -v` takes.
const CHILD_KIB: u64 = 2 * 1024 * 1024;

/// What a reading process says.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    Read { text: String, truncated: bool },
    Unreadable(String),
}

impl Default for TextReader {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl TextReader {
    /// A reader with these limits.
    pub fn new(limits: Limits) -> Self {
        Self { limits, slots: Arc::new(Semaphore::new(limits.slots.max(1))), program: None }
    }

    /// The same, but each PDF is read by a process of its own, run from `program`: whatever a hostile
    /// file does to it, overflowing its stack included, it is killed and nothing else is hurt.
    #[must_use]
    pub fn isolated(limits: Limits, program: PathBuf) -> Self {
        Self { program: Some(program), ..Self::new(limits) }
    }

    /// Reads the text of a file within the limits, off the async threads.
    ///
    /// # Errors
    /// If the file gives no text; trying again helps only after [`Unreadable::TookTooLong`].
    pub async fn read(&self, bytes: Vec<u8>) -> Result<Extracted, Unreadable> {
        let limits = self.limits;
        let work = async {
            let slot = Arc::clone(&self.slots).acquire_owned().await;
            let slot = slot.map_err(|_| Unreadable::TookTooLong)?;
            if let Some(program) = &self.program
                && bytes.len() <= limits.file_bytes
                && kind(&bytes)? == FileKind::Pdf
            {
                return in_child(program, bytes).await;
            }
            let read = move || {
                let read = extract(&bytes, &limits);
                drop(slot);
                read
            };
            tokio::task::spawn_blocking(read).await.unwrap_or(Err(Unreadable::Damaged))
        };
        tokio::time::timeout(limits.time, work).await.unwrap_or(Err(Unreadable::TookTooLong))
    }
}

/// Reads a file in a process of its own, which dies with the returned future.
async fn in_child(program: &Path, bytes: Vec<u8>) -> Result<Extracted, Unreadable> {
    let script = format!("ulimit -v {CHILD_KIB}; exec \"$0\" {READ_VERB}");
    let mut child = Command::new("/bin/sh")
        .args(["-c", &script])
        .arg(program)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            tracing::error!(%error, "the process that reads files cannot be started");
            Unreadable::TookTooLong
        })?;
    let input = child.stdin.take();
    let feed = async {
        if let Some(mut input) = input {
            // A child that stops reading has its answer already, or is dead.
            let _: std::io::Result<()> = input.write_all(&bytes).await;
        }
    };
    let ((), output) = tokio::join!(feed, child.wait_with_output());
    let output = output.map_err(|_| Unreadable::Damaged)?;
    match serde_json::from_slice(&output.stdout) {
        Ok(Said::Read { text, truncated }) => {
            Ok(Extracted { kind: FileKind::Pdf, text, truncated })
        }
        Ok(Said::Unreadable(code)) => Err(Unreadable::of_code(&code)),
        // It died: out of memory, out of stack.
        Err(_) => Err(Unreadable::Damaged),
    }
}

/// Reads one file from standard input and says on standard output what it holds: the other side of
/// [`TextReader::isolated`].
///
/// # Errors
/// When input or output break.
pub fn read_piped() -> std::io::Result<()> {
    let limits = Limits::default();
    let mut bytes = vec![];
    std::io::Read::read_to_end(
        &mut std::io::Read::take(std::io::stdin(), limits.file_bytes as u64 + 1),
        &mut bytes,
    )?;
    let said = match extract(&bytes, &limits) {
        Ok(read) => Said::Read { text: read.text, truncated: read.truncated },
        Err(unreadable) => Said::Unreadable(unreadable.code().to_owned()),
    };
    serde_json::to_writer(std::io::stdout(), &said).map_err(Into::into)
}

/// Reads the text of a file in this thread: within the size limits, without the time limit.
///
/// # Errors
/// If the file gives no text.
pub fn extract(bytes: &[u8], limits: &Limits) -> Result<Extracted, Unreadable> {
    if bytes.len() > limits.file_bytes {
        return Err(Unreadable::TooLarge);
    }
    let kind = kind(bytes)?;
    let raw = match kind {
        FileKind::Pdf => caught(|| pdf::read(bytes, limits))?,
        FileKind::Docx => caught(|| docx::read(bytes, limits))?,
        FileKind::Txt => decode(bytes),
        FileKind::Doc => return Err(Unreadable::OldWord),
    };
    let (text, truncated) = normalised(&raw, limits.text_chars);
    if !text.chars().any(char::is_alphanumeric) {
        return Err(Unreadable::NoText);
    }
    Ok(Extracted { kind, text, truncated })
}

fn kind(bytes: &[u8]) -> Result<FileKind, Unreadable> {
    if bytes.is_empty() {
        return Err(Unreadable::NoText);
    }
    FileKind::of(bytes).ok_or(Unreadable::UnsupportedKind)
}

/// UTF-8 or UTF-16 by its mark, else UTF-8 if valid, else Windows-1252, which is never invalid.
pub(super) fn decode(bytes: &[u8]) -> String {
    if let Some((encoding, mark)) = encoding_rs::Encoding::for_bom(bytes) {
        return encoding.decode_without_bom_handling(&bytes[mark..]).0.into_owned();
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned(),
    }
}

fn caught(read: impl FnOnce() -> Result<String, Unreadable>) -> Result<String, Unreadable> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or(Err(Unreadable::Damaged))
}

/// Compatibility letters made plain, control characters dropped, space collapsed, and the whole
/// cut to the most allowed characters. Says whether it was cut.
fn normalised(raw: &str, most_chars: usize) -> (String, bool) {
    let mut text = String::new();
    let mut blank_lines = 2;
    for line in raw.split(['\n', '\r', '\u{0b}', '\u{0c}', '\u{2028}', '\u{2029}']) {
        let visible: String =
            line.chars().filter(|c| c.is_whitespace() || is_visible(*c)).collect();
        let collapsed = visible.split_whitespace().collect::<Vec<_>>().join(" ");
        if collapsed.is_empty() {
            blank_lines += 1;
            if blank_lines == 1 {
                text.push('\n');
            }
        } else {
            blank_lines = 0;
            text.push_str(&words::plain(&collapsed));
            text.push('\n');
        }
    }
    let text = text.trim();
    match text.char_indices().nth(most_chars) {
        Some((at, _)) => (text[..at].trim_end().to_owned(), true),
        None => (text.to_owned(), false),
    }
}

fn is_visible(c: char) -> bool {
    // Soft hyphens, zero-width marks and byte order marks part words that belong together.
    !c.is_control() && !matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}
