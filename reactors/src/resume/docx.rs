//! A Word document → its text.

use std::io::{Cursor, Read};

use quick_xml::events::Event;

use super::text::{Limits, Unreadable, decode};

/// Reads the text of a DOCX.
pub(super) fn read(bytes: &[u8], limits: &Limits) -> Result<String, Unreadable> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|_| Unreadable::Damaged)?;
    let part = match archive.by_name("word/document.xml") {
        Ok(part) => part,
        // Some other packed thing that only looks like a document from outside.
        Err(zip::result::ZipError::FileNotFound) => return Err(Unreadable::UnsupportedKind),
        Err(zip::result::ZipError::UnsupportedArchive(_)) => return Err(Unreadable::Protected),
        Err(_) => return Err(Unreadable::Damaged),
    };
    let mut xml = Vec::new();
    part.take(limits.unpacked_bytes + 1).read_to_end(&mut xml).map_err(|_| Unreadable::Damaged)?;
    if xml.len() as u64 > limits.unpacked_bytes {
        return Err(Unreadable::TooLarge);
    }
    read_document_xml(&decode(&xml))
}

/// Text runs in reading order: paragraphs end lines, cells are parted by tabs, deleted text and
/// the second version of a drawing (kept for old programs) are left out.
fn read_document_xml(xml: &str) -> Result<String, Unreadable> {
    let mut reader = quick_xml::Reader::from_str(xml);
    let mut text = String::new();
    let mut in_text = false;
    let mut skipped: usize = 0;
    loop {
        match reader.read_event().map_err(|_| Unreadable::Damaged)? {
            Event::Start(element) => match element.local_name().as_ref() {
                "Fallback" | "del" | "instrText" => skipped += 1,
                "t" => in_text = true,
                _ => {}
            },
            Event::End(element) => match element.local_name().as_ref() {
                "Fallback" | "del" | "instrText" => skipped = skipped.saturating_sub(1),
                "t" => in_text = false,
                "p" if skipped == 0 => text.push('\n'),
                "tc" if skipped == 0 => {
                    // Cells of a row stand side by side, so the last line end becomes a tab.
                    if text.ends_with('\n') {
                        text.pop();
                    }
                    text.push('\t');
                }
                "tr" if skipped == 0 => text.push('\n'),
                _ => {}
            },
            Event::Empty(element) if skipped == 0 => match element.local_name().as_ref() {
                "br" | "cr" | "p" => text.push('\n'),
                "tab" => text.push('\t'),
                "noBreakHyphen" => text.push('-'),
                _ => {}
            },
            Event::Text(run) if in_text && skipped == 0 => {
                text.push_str(&run);
            }
            Event::GeneralRef(entity) if in_text && skipped == 0 => {
                if let Ok(Some(c)) = entity.resolve_char_ref() {
                    text.push(c);
                } else {
                    text.push_str(
                        quick_xml::escape::resolve_predefined_entity(&entity).unwrap_or_default(),
                    );
                }
            }
            Event::CData(run) if in_text && skipped == 0 => {
                text.push_str(&run);
            }
            Event::Eof => return Ok(text),
            _ => {}
        }
    }
}
