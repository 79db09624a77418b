//! Which skills of the lexicon a text names.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use crate::ai::words::{fold, words};

/// A skill of the lexicon.
pub(super) struct Skill {
    /// Its usual name.
    pub name: String,
    /// The field of work it belongs to.
    pub field: String,
}

/// The skills a text names, in order of first mention, each once.
pub(super) fn find(text: &str) -> Vec<&'static Skill> {
    LEXICON.find(text)
}

struct Name {
    words: Vec<String>,
    /// An ordinary word as well: counts only as an entry of a list.
    listed_only: bool,
    /// An ordinary word when it is written otherwise: counts only as written here.
    exactly: Option<String>,
    skill: usize,
}

struct Lexicon {
    skills: Vec<Skill>,
    by_first_word: HashMap<String, Vec<Name>>,
}

static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| Lexicon::parse(include_str!("skills.txt")));

impl Lexicon {
    fn parse(text: &str) -> Self {
        let mut lexicon = Self { skills: Vec::new(), by_first_word: HashMap::new() };
        let mut field = "";
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                field = name;
            } else if !line.is_empty() && !line.starts_with('#') {
                lexicon.add(field, line);
            }
        }
        // Longer names first, so that "Spring Boot" is not read as something shorter.
        for names in lexicon.by_first_word.values_mut() {
            names.sort_by_key(|name| std::cmp::Reverse(name.words.len()));
        }
        lexicon
    }

    fn add(&mut self, field: &str, line: &str) {
        let names: Vec<_> = line.split('|').map(str::trim).collect();
        let Some(first) = names.first() else { return };
        let skill = self.skills.len();
        let name = first.trim_start_matches(['@', '=']).to_owned();
        self.skills.push(Skill { name, field: field.to_owned() });
        for name in names {
            let exactly = name.strip_prefix('=').map(str::to_owned);
            let listed_only = name.starts_with('@');
            let words: Vec<_> = words(name).into_iter().map(|w| w.text).collect();
            if let Some(first) = words.first().cloned() {
                let name = Name { words, listed_only, exactly, skill };
                self.by_first_word.entry(first).or_default().push(name);
            }
        }
    }

    fn find(&self, text: &str) -> Vec<&Skill> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        for line in text.lines() {
            let entries: HashSet<String> = line
                .split([',', ';', '|', '/', '•', '·', ':', '(', ')', '\t'])
                .map(|e| fold(e.trim().trim_matches(['-', '*', '–', '.', ' '])))
                .collect();
            let words: Vec<_> = words(line).into_iter().map(|w| w.text).collect();
            let mut at = 0;
            while at < words.len() {
                let rest = &words[at..];
                let names = self.by_first_word.get(&words[at]);
                let name = names.into_iter().flatten().find(|name| {
                    let fits = rest.len() >= name.words.len()
                        && rest.iter().zip(&name.words).all(|(a, b)| a == b);
                    fits && (!name.listed_only || entries.contains(&name.words.join(" ")))
                        && name.exactly.as_ref().is_none_or(|exactly| line.contains(exactly))
                });
                at += name.map_or(1, |name| name.words.len());
                if let Some(name) = name
                    && seen.insert(name.skill)
                {
                    found.push(&self.skills[name.skill]);
                }
            }
        }
        found
    }
}
