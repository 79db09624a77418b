//! What kind of file a résumé is, told by its bytes alone: a name and a declared type prove nothing.

/// The kinds of file that are taken as a résumé.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// PDF.
    Pdf,
    /// Word since 2007.
    Docx,
    /// Word before 2007: kept and shown, but not read.
    Doc,
    /// Plain text.
    Txt,
}

impl FileKind {
    /// The kind of a file; `None` for an empty one and for every other kind.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        const OLD_OFFICE: [u8; 8] = [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];
        let head = &bytes[..bytes.len().min(1024)];
        // Readers of PDF accept some bytes before the header, so files have them.
        if head.windows(5).any(|window| window == b"%PDF-") {
            Some(Self::Pdf)
        } else if bytes.starts_with(b"PK\x03\x04") {
            holds_document(bytes).then_some(Self::Docx)
        } else if bytes.starts_with(&OLD_OFFICE) {
            Some(Self::Doc)
        } else {
            is_text(bytes).then_some(Self::Txt)
        }
    }

    /// The media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Pdf => "application/pdf",
            Self::Docx => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            Self::Doc => "application/msword",
            Self::Txt => "text/plain",
        }
    }
}

/// Whether a ZIP archive has the member that makes it a Word document. Names stand in clear before
/// each member's bytes and again in the directory at the end (APPNOTE.TXT, 4.3.7 and 4.3.12).
fn holds_document(archive: &[u8]) -> bool {
    const MEMBER: &[u8] = b"word/document.xml";
    let names = |signature: &[u8], length_at: usize, name_at: usize, entry: &[u8]| {
        let n_name = entry.get(length_at..length_at + 2);
        entry.starts_with(signature)
            && n_name == Some(&[MEMBER.len() as u8, 0])
            && entry.get(name_at..name_at + MEMBER.len()) == Some(MEMBER)
    };
    let is_entry = |at: usize| {
        let entry = &archive[at..];
        names(b"PK\x03\x04", 26, 30, entry) || names(b"PK\x01\x02", 28, 46, entry)
    };
    (0..archive.len()).any(|at| archive[at] == b'P' && is_entry(at))
}

/// Text has a byte order mark, or no control characters but those of lines.
fn is_text(bytes: &[u8]) -> bool {
    let control = |b: &u8| (*b < 0x20 && !matches!(b, b'\t' | b'\n' | b'\r' | 0x0c)) || *b == 0x7f;
    let other_kinds: [&[u8]; 6] =
        [b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"{\\rtf", b"Rar!", b"\x1f\x8b"];
    if bytes.is_empty() || other_kinds.iter().any(|start| bytes.starts_with(start)) {
        return false;
    }
    bytes.starts_with(&[0xff, 0xfe])
        || bytes.starts_with(&[0xfe, 0xff])
        || !bytes.iter().any(control)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ZIP archive with one member of this name: its entry, its bytes and the directory.
    fn archive(member: &str) -> Vec<u8> {
        let n_name = u16::try_from(member.len()).expect("short").to_le_bytes();
        let member = member.as_bytes();
        let entry = [b"PK\x03\x04", &[0; 22][..], &n_name, &[0; 2], member, b"packed"].concat();
        let directory = [b"PK\x01\x02", &[0; 24][..], &n_name, &[0; 16], member].concat();
        [&entry[..], &directory, b"PK\x05\x06", &[0; 18]].concat()
    }

    #[test]
    fn a_file_is_what_its_bytes_say() {
        assert_eq!(FileKind::of(b"%PDF-1.7"), Some(FileKind::Pdf));
        assert_eq!(FileKind::of(b"\r\n%PDF-1.7"), Some(FileKind::Pdf));
        assert_eq!(FileKind::of(&archive("word/document.xml")), Some(FileKind::Docx));
        assert_eq!(FileKind::of(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 more"), Some(FileKind::Doc));
        for text in ["Ada Lovelace, née Byron\r\n".as_bytes(), b"\xff\xfeA\x00", b"Ren\xe9"] {
            assert_eq!(FileKind::of(text), Some(FileKind::Txt));
        }
    }

    #[test]
    fn what_is_no_resume_is_told_by_its_bytes_too() {
        let strange: [&[u8]; 9] = [
            b"",
            b"\x89PNG\r\n\x1a\n",
            b"\xff\xd8\xff\xe0",
            b"\x7fELF\x02\x01",
            b"{\\rtf1 x}",
            b"Ada\x00Lovelace",
            b"PK\x03\x04",
            b"PK\x03\x04 word/document.xml",
            b"PK\x01\x02P",
        ];
        for bytes in strange.into_iter().chain([&archive("xl/workbook.xml")[..]]) {
            assert_eq!(FileKind::of(bytes), None, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_document_that_was_cut_off_is_one_still() {
        let whole = archive("word/document.xml");
        assert_eq!(FileKind::of(&whole[..60]), Some(FileKind::Docx));
    }
}
