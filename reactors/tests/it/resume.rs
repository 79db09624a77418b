//! Résumés: each kind of file, files that lie about themselves, and what is read out of them.

use std::io::{Cursor, Write};
use std::path::Path;
use std::time::Duration;

use chrono::NaiveDate;
use docx_rust::Docx;
use docx_rust::document::Paragraph;
use domain::file_kind::FileKind;
use proptest::prelude::*;
use reactors::ai::Level;
use reactors::resume::facts;
use reactors::resume::text::{Extracted, Limits, TextReader, Unreadable, extract};

fn today() -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 3, 15).unwrap()
}

fn read(bytes: &[u8]) -> Result<Extracted, Unreadable> {
    extract(bytes, &Limits::default())
}

/// A PDF of the given objects, numbered from 1; the first is the catalogue.
fn pdf(objects: &[String]) -> Vec<u8> {
    let mut file = b"%PDF-1.4\n".to_vec();
    let mut offsets = Vec::new();
    for (n, object) in objects.iter().enumerate() {
        offsets.push(file.len());
        write!(file, "{} 0 obj\n{object}\nendobj\n", n + 1).unwrap();
    }
    let start = file.len();
    write!(file, "xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).unwrap();
    for offset in offsets {
        writeln!(file, "{offset:010} 00000 n ").unwrap();
    }
    let size = objects.len() + 1;
    write!(file, "trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n").unwrap();
    file
}

fn stream(dictionary: &str, content: &str) -> String {
    format!("<< {dictionary} /Length {} >>\nstream\n{content}\nendstream", content.len())
}

/// One page with this content; what the page draws with can be extended.
fn pdf_page(content: &str, resources: &str, more: &[String]) -> Vec<u8> {
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        format!(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R \
             /Resources << /Font << /F1 5 0 R >> {resources} >> >>"
        ),
        stream("", content),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
            .to_owned(),
    ];
    objects.extend_from_slice(more);
    pdf(&objects)
}

fn docx(paragraphs: &[&str]) -> Vec<u8> {
    let mut docx = Docx::default();
    for text in paragraphs {
        docx.document.push(Paragraph::default().push_text(*text));
    }
    docx.write(Cursor::new(Vec::new())).unwrap().into_inner()
}

fn docx_of(xml: &str) -> Vec<u8> {
    let mut file = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options: zip::write::FileOptions<'_, ()> = Default::default();
    file.start_file("word/document.xml", options).unwrap();
    file.write_all(xml.as_bytes()).unwrap();
    file.finish().unwrap().into_inner()
}

#[test]
fn text_is_read_from_pdf() {
    let content = "BT /F1 12 Tf 72 700 Td (Nurse at St. Elsewhere) Tj 0 -20 Td (2018 - 2021) Tj ET";
    let extracted = read(&pdf_page(content, "", &[])).unwrap();
    assert_eq!(extracted.kind, FileKind::Pdf);
    assert!(!extracted.truncated);
    assert_eq!(extracted.text.replace("\n\n", "\n"), "Nurse at St. Elsewhere\n2018 - 2021");
}

#[test]
fn text_is_read_from_docx() {
    let extracted = read(&docx(&["Jane", "C++ & Rust <both>", "Żółć"])).unwrap();
    assert_eq!(extracted.kind, FileKind::Docx);
    assert_eq!(extracted.text, "Jane\nC++ & Rust <both>\nŻółć");
}

#[test]
fn tables_tabs_and_deleted_text_of_docx_are_understood() {
    let xml = r#"<w:document xmlns:w="w"><w:body>
        <w:tbl><w:tr><w:tc><w:p><w:r><w:t>2018</w:t></w:r></w:p></w:tc>
        <w:tc><w:p><w:r><w:t>Nurse</w:t></w:r></w:p></w:tc></w:tr></w:tbl>
        <w:p><w:r><w:t>a</w:t><w:tab/><w:t>b&amp;&#x63;</w:t></w:r>
        <w:del><w:r><w:delText>old</w:delText></w:r></w:del><w:r><w:br/><w:t>d</w:t></w:r></w:p>
        </w:body></w:document>"#;
    assert_eq!(read(&docx_of(xml)).unwrap().text, "2018 Nurse\na b&c\nd");
}

#[test]
fn text_is_read_in_any_usual_encoding() {
    let utf16: Vec<u8> =
        std::iter::once(0xfeff).chain("Müller".encode_utf16()).flat_map(u16::to_le_bytes).collect();
    for bytes in [
        "Müller".as_bytes(),
        b"\xef\xbb\xbfM\xc3\xbcller",
        b"M\xfcller", // Windows-1252
        &utf16,
    ] {
        let extracted = read(bytes).unwrap();
        assert_eq!((extracted.kind, extracted.text.as_str()), (FileKind::Txt, "Müller"));
    }
}

#[test]
fn space_is_collapsed_and_strange_characters_are_made_plain() {
    let messy = "  A\u{a0}\tB  \r\n\r\n\r\n\r\nof\u{ad}fice e\u{fb03}cient\u{200b}\n";
    assert_eq!(read(messy.as_bytes()).unwrap().text, "A B\n\noffice efficient");
}

#[test]
fn a_long_text_is_cut_and_says_so() {
    let extracted = read("wört ".repeat(20_000).as_bytes()).unwrap();
    assert!(extracted.truncated);
    assert!(extracted.text.chars().count() <= 50_000);
}

#[test]
fn what_is_no_readable_kind_is_told_so() {
    const OLD_WORD: &[u8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 and so on";
    assert_eq!(read(OLD_WORD), Err(Unreadable::OldWord));
    for strange in [&b"\x89PNG\r\n"[..], b"\xff\xd8\xff\xe0", b"\x7fELF\x02\x01", b"{\\rtf1 x}"] {
        assert_eq!(read(strange), Err(Unreadable::UnsupportedKind));
    }
}

#[test]
fn a_file_without_text_is_told_so() {
    for empty in [&b""[..], b" \n\t ", b"\xef\xbb\xbf", b"--- ***"] {
        assert_eq!(read(empty), Err(Unreadable::NoText));
    }
    assert_eq!(read(&docx(&[])), Err(Unreadable::NoText));
    assert_eq!(read(&pdf_page("", "", &[])), Err(Unreadable::NoText));
}

#[test]
fn a_damaged_file_is_told_so() {
    let whole = docx(&["Jane"]);
    assert_eq!(read(&whole[..whole.len() - 100]), Err(Unreadable::Damaged));
    assert_eq!(read(b"%PDF-1.4 nothing more"), Err(Unreadable::Damaged));
    assert_eq!(read(&docx_of("<w:document><w:body></w:document>")), Err(Unreadable::Damaged));
    // Without a page size the PDF reader panics, which is caught.
    let no_page_size = pdf(&[
        "<< /Type /Catalog /Pages 2 0 R >>".into(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".into(),
        "<< /Type /Page /Parent 2 0 R /Contents 4 0 R >>".into(),
        stream("", "BT ET"),
    ]);
    assert_eq!(read(&no_page_size), Err(Unreadable::Damaged));
}

#[test]
fn another_packed_file_is_no_document() {
    let mut file = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options: zip::write::FileOptions<'_, ()> = Default::default();
    file.start_file("xl/workbook.xml", options).unwrap();
    let bytes = file.finish().unwrap().into_inner();
    assert_eq!(read(&bytes), Err(Unreadable::UnsupportedKind));
}

#[test]
fn a_file_that_unpacks_to_too_much_is_refused() {
    let limits = Limits { unpacked_bytes: 100_000, ..Limits::default() };
    let bomb = docx_of(&format!("<w:t>{}</w:t>", "a".repeat(200_000)));
    assert!(bomb.len() < 10_000);
    assert_eq!(extract(&bomb, &limits), Err(Unreadable::TooLarge));
    let page = pdf_page(&"BT ET ".repeat(40_000), "", &[]);
    assert_eq!(extract(&page, &limits), Err(Unreadable::TooLarge));
    assert_eq!(read(&vec![b'a'; 10 * 1024 * 1024 + 1]), Err(Unreadable::TooLarge));
}

#[test]
fn drawings_that_draw_themselves_are_refused() {
    let own =
        stream("/Type /XObject /Subtype /Form /Resources << /XObject << /X 6 0 R >> >>", "/X Do");
    let inherited = stream("/Type /XObject /Subtype /Form", "/X Do");
    for drawing in [own, inherited] {
        let page = pdf_page("/X Do", "/XObject << /X 6 0 R >>", &[drawing]);
        assert_eq!(read(&page), Err(Unreadable::Damaged));
    }
    let harmless = stream(
        "/Type /XObject /Subtype /Form /Resources << /Font << /F1 5 0 R >> >>",
        "BT /F1 12 Tf 72 700 Td (Inside) Tj ET",
    );
    let page = pdf_page("/X Do", "/XObject << /X 6 0 R >>", &[harmless]);
    assert_eq!(read(&page).unwrap().text, "Inside");
}

#[test]
fn a_page_tree_in_a_circle_is_refused() {
    let circle = pdf(&[
        "<< /Type /Catalog /Pages 2 0 R >>".into(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 /Parent 3 0 R >>".into(),
        "<< /Type /Page /Parent 2 0 R /Contents 4 0 R >>".into(),
        stream("", "BT ET"),
    ]);
    assert_eq!(read(&circle), Err(Unreadable::Damaged));
}

#[tokio::test]
async fn a_file_is_read_off_the_async_threads_and_in_time() {
    let reader = TextReader::default();
    assert_eq!(reader.read(b"Jane".to_vec()).await.unwrap().text, "Jane");
    let hurried = TextReader::new(Limits { time: Duration::ZERO, ..Limits::default() });
    let file = docx(&["long ".repeat(100_000).as_str()]);
    assert_eq!(hurried.read(file).await, Err(Unreadable::TookTooLong));
}

#[test]
fn what_people_wrote_is_never_printed() {
    assert!(!format!("{:?}", read(b"Jane").unwrap()).contains("Jane"));
}

// --- facts

fn years(lines: &str) -> f64 {
    facts::read(&format!("Work experience\n{lines}"), today()).experience_years
}

#[test]
fn overlapping_jobs_count_once() {
    assert_eq!(years("Nurse, Jan 2018 - Dec 2020\nTutor, 01/2020 – 12/2021"), 4.0);
    assert_eq!(years("Cook 2015-2018\nChef 2018 to 2021"), 6.0);
    assert_eq!(years("Cook, 03/2010 - 02/2011\n\nChef, 03/2013 - 02/2014"), 2.0);
}

#[test]
fn an_open_job_lasts_until_the_given_day() {
    for line in [
        "Nurse, April 2021 - present",
        "Nurse (04/2021 – heute)",
        "Infirmière, avril 2021 - aujourd'hui",
        "Enfermera, abril de 2021 - actualidad",
        "Nurse since April 2021",
        "Nurse, 2021-04 to now",
        "Nurse, Apr. 2021 — Current",
    ] {
        assert_eq!(years(line), 5.0, "{line}");
    }
}

#[test]
fn impossible_dates_count_for_nothing() {
    for line in [
        "Nurse 2020 - 2015",
        "Nurse 1890 - 1900",
        "Nurse 2040 - 2050",
        "Call 555 2018 or 2019",
        "ISO 27001:2013",
    ] {
        assert_eq!(years(line), 0.0, "{line}");
    }
    assert_eq!(years("Nurse, 04/2025 - 12/2030"), 1.0, "the future has not been worked yet");
}

#[test]
fn time_at_school_is_no_work() {
    let text = "Employment\nCook, 2019 - 2021\nEducation\nBachelor of Arts, 2010 - 2014";
    let facts = facts::read(text, today());
    assert_eq!(facts.experience_years, 2.0);
    assert_eq!(facts.education, ["Bachelor of Arts, 2010 - 2014"]);
    let without_headings = "Cook, 2019 - 2021\nUniversity of Graz, 2010 - 2014";
    let facts = facts::read(without_headings, today());
    assert_eq!(facts.experience_years, 2.0);
    assert_eq!(facts.education, ["University of Graz, 2010 - 2014"]);
}

#[test]
fn years_that_are_only_stated_count_where_there_are_no_dates() {
    for text in
        ["I have 8+ years of experience.", "8 Jahre Erfahrung", "8 years of nursing experience"]
    {
        assert_eq!(facts::read(text, today()).experience_years, 8.0, "{text}");
    }
    assert_eq!(facts::read("I am 45 years old.", today()).experience_years, 0.0);
}

#[test]
fn a_position_is_found_beside_its_dates() {
    let text = "EXPERIENCE\n\
        Senior Software Engineer\nAcme GmbH | Jan 2020 - Present\n\
        - Led 2018 - 2019 things\n\
        Apex Ltd, 2016 - 2019\nBackend Developer\n\
        Shop Assistant, Corner Shop (2014–2016)\n";
    assert_eq!(
        facts::read(text, today()).previous_roles[..],
        [
            "Senior Software Engineer, Acme GmbH",
            "Backend Developer, Apex Ltd",
            "Shop Assistant, Corner Shop",
        ]
    );
}

#[test]
fn a_pause_and_a_sentence_are_no_position() {
    let text = "EXPERIENCE\nTeacher, Elm School, 2010 - 2015\nCareer break, 2015 - 2017\n\
        Head teacher of 40 people from 2012 to 2014, with a budget of my own.\n\
        Teacher, Oak School, 2017 - 2020";
    let facts = facts::read(text, today());
    assert_eq!(facts.previous_roles, ["Teacher, Elm School", "Teacher, Oak School"]);
    assert_eq!(facts.experience_years, 8.0);
}

#[test]
fn skills_are_known_by_their_usual_names() {
    let text = "I go home to rest and react. Skills: Go, Rust, postgres, K8s, C++, C#, Node.js\n\
        Cared for an ICU with wound management.";
    let facts = facts::read(text, today());
    let expected = [
        "Go",
        "Rust",
        "PostgreSQL",
        "Kubernetes",
        "C++",
        "C#",
        "Node.js",
        "Intensive care",
        "Wound care",
    ];
    assert_eq!(facts.skills, expected);
}

#[test]
fn a_field_needs_skills_and_years_for_its_level() {
    let skills = "Rust, Python, Django, Kafka, GraphQL, gRPC, Java";
    let level = |years: &str| {
        let text = format!("Experience\nDeveloper, {years}\nSkills\n{skills}");
        facts::read(&text, today()).technical_domains["Backend development"]
    };
    assert_eq!(level("2012 - 2020"), Level::Advanced);
    assert_eq!(level("2018 - 2020"), Level::Intermediate);
    assert_eq!(level("03/2020 - 08/2020"), Level::Beginner);
}

#[test]
fn the_example_resumes_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/resumes");
    for (file, least, most, skill, role) in [
        ("zaneta-brzozkiewicz.pdf", 11.0, 13.0, "PostgreSQL", "Senior Backend Engineer"),
        ("corwin-ashbee.docx", 12.0, 13.5, "JavaScript", "Junior Web Developer"),
        ("grace-adewunmi-clarke.docx", 14.0, 15.5, "Mechanical ventilation", "Intensive Care"),
        ("ruben-castelldosa.pdf", 15.0, 16.0, "Arc flash safety", "Maintenance Electrician"),
        ("ingrid-halvorstad.txt", 14.0, 15.0, "US GAAP", "Assistant Controller"),
        ("lewis-pemberlow.txt", 5.0, 6.5, "Vital signs", "Registered Nurse"),
    ] {
        let extracted = read(&std::fs::read(folder.join(file)).unwrap()).unwrap();
        let facts = facts::read(&extracted.text, today());
        let years = facts.experience_years;
        assert!((least..=most).contains(&years), "{file}: {years}");
        assert!(facts.skills.iter().any(|s| s == skill), "{file}: {:?}", facts.skills);
        let roles = &facts.previous_roles;
        assert!(roles.iter().any(|r| r.contains(role)), "{file}: {roles:?}");
        assert!(!facts.education.is_empty(), "{file}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_file_can_panic_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = read(&bytes);
    }

    #[test]
    fn no_document_with_flipped_bytes_can_panic_the_reader(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        is_pdf in any::<bool>(),
    ) {
        let content = "BT /F1 12 Tf 72 700 Td (Nurse) Tj ET";
        let mut bytes = if is_pdf { pdf_page(content, "", &[]) } else { docx(&["Nurse"]) };
        for (at, byte) in flips {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = read(&bytes);
    }

    #[test]
    fn no_text_can_panic_the_facts(text in "\\PC*", lines in "(\\PC{0,30}\n){0,10}") {
        facts::read(&text, today());
        facts::read(&format!("Experience\n{lines}"), today());
    }

    #[test]
    fn facts_stay_in_range(
        spans in proptest::collection::vec((1900i32..2100, 1900i32..2100, 0u32..20), 0..10),
    ) {
        let lines: Vec<_> = spans.iter().map(|(a, b, m)| format!("Cook {m}/{a} - {m}/{b}")).collect();
        let facts = facts::read(&format!("Experience\n{}", lines.join("\n")), today());
        prop_assert!((0.0..=90.0).contains(&facts.experience_years));
        prop_assert!(facts.skills.iter().all(|s| !s.is_empty()));
    }
}
