//! Which part of a résumé a line stands in, by the headings above it.

use crate::ai::words::{fold, words};

/// The part of a résumé a line stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Top,
    Experience,
    Education,
    Other,
}

/// A line that is no heading.
pub(super) struct Line<'a> {
    pub section: Section,
    pub text: &'a str,
}

/// Headings of work, folded, parted by `|`. A heading is a short line that begins with one.
const EXPERIENCE: &str = "\
    experience|work experience|professional experience|employment|work history|\
    employment history|career|career history|relevant experience|positions|\
    clinical experience|teaching experience|internships|berufserfahrung|beruflicher werdegang|\
    werdegang|berufspraxis|praktika|expérience|expériences|expérience professionnelle|\
    expériences professionnelles|parcours professionnel|experiencia|experiencia laboral|\
    experiencia profesional";

/// Headings of schools and certificates.
const EDUCATION: &str = "\
    education|academic background|qualifications|education and training|training|\
    certification|certifications|courses|certificates|licenses|licences|\
    licenses and certifications|certifications and licenses|apprenticeship|ausbildung|studium|\
    bildung|schulbildung|weiterbildung|zertifikate|abschlüsse|formation|formations|diplômes|\
    études|educación|formación|estudios|certificados";

/// Headings of everything else, which end the parts above.
const OTHER: &str = "\
    skills|technical skills|key skills|core skills|summary|profile|professional summary|\
    objective|about|about me|projects|languages|interests|hobbies|references|publications|\
    volunteering|talks|awards|contact|tools|competencies|kenntnisse|fähigkeiten|sprachen|\
    profil|projekte|interessen|compétences|langues|projets|centres d'intérêt|habilidades|\
    idiomas|perfil|proyectos|volunteer work";

/// The lines of a text with their parts; headings and blank lines are left out.
pub(super) fn sectioned(text: &str) -> Vec<Line<'_>> {
    let mut section = Section::Top;
    let mut lines = Vec::new();
    for text in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
        match heading(text) {
            Some(next) => section = next,
            None => lines.push(Line { section, text }),
        }
    }
    lines
}

fn heading(line: &str) -> Option<Section> {
    if line.chars().count() > 45 || is_bullet(line) {
        return None;
    }
    let folded = fold(line.trim_matches(|c: char| !c.is_alphanumeric())).replace('&', "and");
    let is_in =
        |names: &str| names.split('|').any(|name| folded == name || only_joined(&folded, name));
    let sections = [
        (EXPERIENCE, Section::Experience),
        (EDUCATION, Section::Education),
        (OTHER, Section::Other),
    ];
    sections.into_iter().find(|(names, _)| is_in(names)).map(|(_, section)| section)
}

/// `skills and tools` is the heading `skills`; `training new colleagues` is no heading.
fn only_joined(line: &str, name: &str) -> bool {
    line.strip_prefix(name).is_some_and(|rest| {
        [" and ", " und ", " et ", " y ", " / ", ", ", ":"].iter().any(|j| rest.starts_with(j))
            && words(rest).len() <= 3
    })
}

/// Whether a line is an item of a list.
pub(super) fn is_bullet(line: &str) -> bool {
    line.starts_with(['•', '-', '*', '·', '–', '▪', '●', '◦', '‣', '○', '■', '➤', '\u{f0b7}'])
}
