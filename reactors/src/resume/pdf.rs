//! A PDF → its text, after looking for what would make the reader run away.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};

use pdf_extract::{Dictionary, Document, Object, ObjectId};

use super::text::{Limits, Unreadable};

/// Deepest nesting of drawings in drawings, and of page-tree nodes.
const PDF_DEPTH: usize = 24;

/// Reads the text of a PDF; may panic, which the caller catches.
pub(super) fn read(bytes: &[u8], limits: &Limits) -> Result<String, Unreadable> {
    let mut document = Document::load_mem(bytes).map_err(|_| Unreadable::Damaged)?;
    if document.is_encrypted() {
        // Many files are encrypted with an empty password only to forbid printing.
        document.decrypt("").map_err(|_| Unreadable::Protected)?;
    }
    if document.get_pages().len() > limits.pages {
        return Err(Unreadable::TooLarge);
    }
    check_unpacked_size(&document, limits)?;
    if !has_bounded_depth(&document) {
        return Err(Unreadable::Damaged);
    }
    let mut text = Capped { bytes: Vec::new(), most: limits.text_chars.saturating_mul(8) };
    let read = {
        let mut output = pdf_extract::PlainTextOutput::new(&mut text as &mut dyn Write);
        pdf_extract::output_doc(&document, &mut output)
    };
    // A full buffer ends the reading early; what stands in it is more than is kept anyway.
    if read.is_err() && !text.is_full() {
        return Err(Unreadable::Damaged);
    }
    Ok(String::from_utf8_lossy(&text.bytes).into_owned())
}

/// Takes so many bytes and then refuses, which stops whoever writes.
struct Capped {
    bytes: Vec<u8>,
    most: usize,
}

impl Capped {
    fn is_full(&self) -> bool {
        self.bytes.len() >= self.most
    }
}

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.is_full() {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Unpacks the streams into nothing to see how large they are, before anybody keeps them.
fn check_unpacked_size(document: &Document, limits: &Limits) -> Result<(), Unreadable> {
    let mut left = limits.unpacked_bytes;
    for object in document.objects.values() {
        let Ok(stream) = object.as_stream() else { continue };
        let filters = stream.filters().unwrap_or_default();
        let size = match filters.as_slice() {
            [b"FlateDecode"] => {
                let mut decoder = flate2::read::ZlibDecoder::new(stream.content.as_slice());
                let most = left.saturating_add(1);
                let mut unpacked = Read::by_ref(&mut decoder).take(most);
                // A broken stream counts as far as it could be unpacked.
                match std::io::copy(&mut unpacked, &mut std::io::sink()) {
                    Ok(size) => size,
                    Err(_) => most - unpacked.limit(),
                }
            }
            // Packing inside packing is how small files become huge; résumés do not need it.
            [_, _, ..] if filters.iter().filter(|f| is_packing(f)).count() > 1 => {
                return Err(Unreadable::TooLarge);
            }
            _ => stream.content.len() as u64,
        };
        left = left.checked_sub(size).ok_or(Unreadable::TooLarge)?;
    }
    Ok(())
}

fn is_packing(filter: &&[u8]) -> bool {
    matches!(*filter, b"FlateDecode" | b"LZWDecode" | b"RunLengthDecode")
}

/// Whether drawings in drawings and the page tree end. The reader follows both by recursion, and
/// a stack that overflows ends the process, which no one can catch.
fn has_bounded_depth(document: &Document) -> bool {
    let pages_end = document.get_pages().values().all(|&page| page_tree_ends(document, page));
    let mut drawings: HashMap<ObjectId, Vec<ObjectId>> = HashMap::new();
    let mut everything = HashSet::new();
    let mut inherits = Vec::new();
    for (&id, object) in &document.objects {
        let dictionary = match object {
            Object::Dictionary(dictionary) => dictionary,
            Object::Stream(stream) => &stream.dict,
            _ => continue,
        };
        let Some(resources) = follow(document, dictionary.get(b"Resources").ok()) else {
            if object.as_stream().is_ok() && dictionary.has_type(b"XObject")
                || dictionary.get(b"Subtype").and_then(Object::as_name).ok() == Some(b"Form")
            {
                inherits.push(id);
            }
            continue;
        };
        let inner = drawings_of(document, resources);
        everything.extend(inner.iter().copied());
        drawings.insert(id, inner);
    }
    // Resource dictionaries may stand alone too.
    for object in document.objects.values() {
        if let Ok(dictionary) = object.as_dict() {
            everything.extend(drawings_of(document, dictionary));
        }
    }
    // One without resources of its own draws with those of whoever draws it: it may draw anything.
    for id in inherits {
        if calls_drawings(document, id) {
            drawings.insert(id, everything.iter().copied().collect());
        }
    }
    let mut done = HashMap::new();
    pages_end && drawings.keys().all(|&id| depth_of(id, &drawings, &mut done, 0))
}

fn page_tree_ends(document: &Document, page: ObjectId) -> bool {
    let mut at = Some(page);
    for _ in 0..PDF_DEPTH {
        let Some(id) = at else { return true };
        let node = document.get_dictionary(id);
        at = node.and_then(|n| n.get(b"Parent")).and_then(Object::as_reference).ok();
    }
    false
}

fn follow<'a>(document: &'a Document, object: Option<&'a Object>) -> Option<&'a Dictionary> {
    document.dereference(object?).ok()?.1.as_dict().ok()
}

fn drawings_of(document: &Document, resources: &Dictionary) -> Vec<ObjectId> {
    follow(document, resources.get(b"XObject").ok())
        .map(|d| d.iter().filter_map(|(_, o)| o.as_reference().ok()).collect())
        .unwrap_or_default()
}

fn calls_drawings(document: &Document, id: ObjectId) -> bool {
    let content = document.get_object(id).and_then(Object::as_stream).map(|s| {
        // Uncompressed content is returned as it is.
        s.decompressed_content().unwrap_or_else(|_| s.content.clone())
    });
    content.is_ok_and(|c| c.windows(2).any(|w| w == b"Do"))
}

/// Whether no chain of drawings from here is longer than allowed; a circle is endless.
fn depth_of(
    id: ObjectId,
    drawings: &HashMap<ObjectId, Vec<ObjectId>>,
    done: &mut HashMap<ObjectId, usize>,
    depth: usize,
) -> bool {
    if depth > PDF_DEPTH {
        return false;
    }
    // Reached before at least as deep: nothing new below.
    if done.get(&id).is_some_and(|&before| before >= depth) {
        return true;
    }
    done.insert(id, depth);
    let inner = drawings.get(&id).map(Vec::as_slice).unwrap_or_default();
    inner.iter().all(|&id| depth_of(id, drawings, done, depth + 1))
}
