//! The document: each section is printed as soon as it is there and written at the end.

use std::path::Path;

use anyhow::Context;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/benchmarks.md");
const HEAD: &str = "# Benchmarks\n\nWritten by `make bench`, which measures; nothing here is \
edited by hand. Rates are of one machine and one minute, so what counts are the ratios: systems take \
turns within each round, each ratio is formed within its round, and the median of the rounds is \
given, with the least and the greatest in brackets.\n";

/// The sections so far.
pub struct Report(String);

impl Report {
    /// A document with its heading alone.
    pub fn new() -> Self {
        println!("{HEAD}");
        Self(HEAD.to_owned())
    }

    /// Adds a section and prints it.
    pub fn add(&mut self, section: String) {
        println!("{section}");
        self.0.push('\n');
        self.0.push_str(&section);
    }

    /// Writes the document.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self) -> anyhow::Result<()> {
        let path = Path::new(PATH);
        // The last section is `make load`'s and stays.
        let was = std::fs::read_to_string(path).unwrap_or_default();
        let of_load = was.find("\n## Load\n").map_or("", |at| &was[at..]);
        std::fs::write(path, format!("{}{of_load}", self.0))
            .context("docs/benchmarks.md cannot be written")?;
        println!("written to docs/benchmarks.md");
        Ok(())
    }
}

/// The middle of the values; the mean of the two middle ones where their number is even.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    match n {
        0 => f64::NAN,
        n if n.is_multiple_of(2) => f64::midpoint(values[n / 2 - 1], values[n / 2]),
        n => values[n / 2],
    }
}

/// The least and the greatest value.
pub fn extremes(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(*value), high.max(*value))
    })
}

/// A number with its thousands set apart, such as `1,234,567`.
pub fn thousands(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
