//! Words, stems, sentences and keywords of any text: what the rules count.
//!
//! Heuristics, documented here and nowhere else. A word is a run of letters or digits of any
//! script, with `+`, `#` and inner dots kept (`c++`, `c#`, `node.js`). Texts are compared in
//! Unicode's compatibility form and in lower case. Words are equal if their stems are: common
//! English endings are cut from words in plain Latin letters, and of two long ones the shorter may
//! begin the longer; words with accents or in other scripts that inflect (such as Cyrillic) are
//! equal if they differ in at most two final letters. Scripts without spaces
//! between words (Chinese, Japanese, Thai) are searched as text.

use unicode_normalization::UnicodeNormalization;

/// One word, as it is compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Word {
    /// Lower case, compatibility form.
    pub text: String,
    /// What is left without its ending.
    pub stem: String,
}

/// The words of a text, in order.
pub fn words(text: &str) -> Vec<Word> {
    let folded: Vec<char> = fold(text).chars().collect();
    let mut words = Vec::new();
    let mut current = String::new();
    for (i, &c) in folded.iter().enumerate() {
        let next_is_word = || folded.get(i + 1).is_some_and(|n| n.is_alphanumeric());
        let belongs = c.is_alphanumeric()
            || is_mark(c)
            || (!current.is_empty()
                && (matches!(c, '+' | '#') || (matches!(c, '.' | '_') && next_is_word())));
        if belongs {
            current.push(c);
        } else if !current.is_empty() {
            words.push(Word::new(std::mem::take(&mut current)));
        }
    }
    if !current.is_empty() {
        words.push(Word::new(current));
    }
    words
}

/// Lower case and compatibility form: `ﬁ` becomes `fi`, a full-width digit an ordinary one.
pub fn fold(text: &str) -> String {
    text.nfkc().flat_map(char::to_lowercase).nfc().collect()
}

/// The usual form of a text's characters, case kept: `ﬁ` becomes `fi`.
pub fn plain(text: &str) -> String {
    text.nfkc().collect()
}

/// Folds a quote for comparison: white space collapsed, typographic marks made plain.
pub fn fold_quote(text: &str) -> String {
    let plain: String = fold(text)
        .chars()
        .map(|c| match c {
            '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{2032}' | '`' | '\u{b4}' => '\'',
            '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{ab}' | '\u{bb}' | '\u{2033}' => '"',
            '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
            other => other,
        })
        .collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The sentences of a text, as slices of it: split after closing marks and at line ends.
pub fn sentences(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next_is_space = chars.peek().is_none_or(|(_, n)| n.is_whitespace());
        let ends = match c {
            '.' | '!' | '?' | '…' | '؟' => next_is_space,
            '。' | '！' | '？' | '।' | '\n' => true,
            _ => false,
        };
        if ends {
            found.push(&text[start..at + c.len_utf8()]);
            start = at + c.len_utf8();
        }
    }
    found.push(&text[start..]);
    found.into_iter().map(str::trim).filter(|s| s.chars().any(char::is_alphanumeric)).collect()
}

/// How much a text says, in words. Where a script has no spaces, two characters count as one.
pub fn substance(text: &str) -> usize {
    let unspaced = text.chars().filter(|&c| is_unspaced(c)).count();
    let spaced = words(text).iter().filter(|w| !w.text.chars().any(is_unspaced)).count();
    spaced + unspaced / 2
}

/// An expected keyword: any of its synonyms will do.
#[derive(Debug, Clone)]
pub struct Keyword {
    synonyms: Vec<Vec<Word>>,
    unspaced: Vec<String>,
}

impl Keyword {
    /// Reads `a|b`; a synonym may be of several words.
    pub fn parse(text: &str) -> Self {
        let mut keyword = Self { synonyms: Vec::new(), unspaced: Vec::new() };
        for synonym in text.split('|').map(str::trim).filter(|s| !s.is_empty()) {
            if synonym.chars().any(is_unspaced) {
                keyword.unspaced.push(fold(synonym));
            } else {
                keyword.synonyms.push(words(synonym));
            }
        }
        keyword.synonyms.retain(|words| !words.is_empty());
        keyword
    }

    /// Which words of the text (by index) the keyword covers; none if it does not occur.
    pub fn find(&self, text: &Text) -> Vec<usize> {
        let mut covered = Vec::new();
        for synonym in &self.synonyms {
            for (at, window) in text.words.windows(synonym.len()).enumerate() {
                if window.iter().zip(synonym).all(|(a, b)| a.same_as(b)) {
                    covered.extend(at..at + synonym.len());
                }
            }
        }
        for synonym in &self.unspaced {
            if text.folded.contains(synonym.as_str()) {
                let part = |w: &Word| w.text.contains(synonym.as_str());
                covered.push(text.words.iter().position(part).unwrap_or(0));
            }
        }
        covered
    }
}

/// A text prepared for keyword search.
#[derive(Debug, Clone)]
pub struct Text {
    /// Its words.
    pub words: Vec<Word>,
    folded: String,
}

impl Text {
    /// Prepares a text.
    pub fn new(text: &str) -> Self {
        Self { words: words(text), folded: fold(text) }
    }
}

impl Word {
    fn new(text: String) -> Self {
        let stem = stem(&text);
        Self { text, stem }
    }

    /// Equal but for the ending.
    pub fn same_as(&self, other: &Self) -> bool {
        self.stem == other.stem || differ_only_at_the_end(&self.text, &other.text)
    }
}

/// Endings that are cut, longest first. What remains must be of at least three letters.
const ENDINGS: [&str; 33] = [
    "isations", "izations", "isation", "ization", "ations", "ating", "ation", "ments", "ators",
    "ising", "izing", "ment", "ated", "ates", "ator", "ings", "ised", "ized", "ises", "izes",
    "ing", "ies", "ied", "ers", "ate", "ise", "ize", "ed", "es", "er", "ly", "s", "e",
];

/// Cuts an English ending from a word in Latin letters; other words stay as they are.
fn stem(word: &str) -> String {
    if !word.is_ascii() || word.len() < 4 || !word.bytes().all(|b| b.is_ascii_alphabetic()) {
        return word.to_owned();
    }
    let mut stem = word;
    for ending in ENDINGS {
        if let Some(rest) = word.strip_suffix(ending)
            && rest.len() >= 3
            && !(ending == "s" && (rest.ends_with('s') || rest.ends_with('u')))
        {
            stem = rest;
            break;
        }
    }
    let bytes = stem.as_bytes();
    if let [.., a, b] = bytes
        && (a == b || *b == b'y')
        && bytes.len() > 3
    {
        stem = &stem[..stem.len() - 1];
    }
    stem.to_owned()
}

fn differ_only_at_the_end(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let shared = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let most = (a.len() - shared).max(b.len() - shared);
    if a.iter().chain(&b).all(char::is_ascii_alphabetic) {
        // Plurals as in `Abgrenzung`, `Abgrenzungen`: one long word begins the other.
        return shared >= 6 && most <= 2 && (shared == a.len() || shared == b.len());
    }
    let plain_letters = |word: &[char]| word.iter().all(|c| c.is_ascii());
    if plain_letters(&a) || plain_letters(&b) {
        return false;
    }
    (shared >= 4 && most <= 2) || (shared == 3 && most <= 1)
}

fn is_mark(c: char) -> bool {
    // Vowel signs and accents that are no letters of their own but stand inside words.
    unicode_normalization::char::is_combining_mark(c)
}

/// Scripts that put no space between words.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{0e00}'..='\u{0e7f}' | '\u{0e80}'..='\u{0eff}' | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
        | '\u{20000}'..='\u{2fa1f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occurs(keyword: &str, text: &str) -> bool {
        !Keyword::parse(keyword).find(&Text::new(text)).is_empty()
    }

    #[test]
    fn a_keyword_is_found_in_any_case_and_with_other_endings() {
        for (keyword, text) in [
            ("index", "We added INDEXES."),
            ("cache", "by caching it"),
            ("caching", "We cached it"),
            ("normalisation", "I normalised the tables"),
            ("query", "two queries"),
            ("replicate", "replication lag"),
            ("plan", "I planned it"),
            ("on-call", "I was on call"),
            ("idempotency key|unique constraint", "a Unique Constraint there"),
            ("C++", "mostly C++, some C#"),
            ("node.js", "in Node.js."),
            ("Prüfung", "drei PRÜFUNGEN"),
            ("база данных", "в базе данных"),
            ("事务", "我们用事务保证一致性"),
        ] {
            assert!(occurs(keyword, text), "{keyword} in {text}");
        }
    }

    #[test]
    fn a_keyword_is_not_found_inside_another_word() {
        for (keyword, text) in [
            ("rest", "we restored it"),
            ("java", "in JavaScript"),
            ("react", "the reaction"),
            ("test", "a testament"),
            ("C", "in C++"),
            ("class", "a classic"),
            ("", "anything"),
            ("|", "anything"),
        ] {
            assert!(!occurs(keyword, text), "{keyword} in {text}");
        }
    }

    #[test]
    fn sentences_are_slices_of_the_text() {
        let text = "It took 3.5 hours. Then?\nDone。好";
        assert_eq!(sentences(text), ["It took 3.5 hours.", "Then?", "Done。", "好"]);
    }

    #[test]
    fn a_quote_is_compared_without_typography() {
        assert_eq!(fold_quote("It’s  “Done”\n– now"), fold_quote("it's \"done\" - now"));
    }
}
