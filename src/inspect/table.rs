//! Tables for terminals.

use std::fmt;

/// Rows of cells under a heading; the first columns are words, the others numbers.
pub struct Table {
    words: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table whose first `words` columns are aligned to the left and all others to the right.
    pub fn new<const N: usize>(words: usize, heading: [&str; N]) -> Self {
        Self { words, rows: vec![heading.map(str::to_string).into()] }
    }

    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = |cell: &String| cell.chars().count();
        let widest = |column: usize| self.rows.iter().map(|row| length(&row[column])).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.rows[0].len()).map(widest).collect();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                if column < self.words { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// A number with something between thousands.
pub fn grouped(number: usize, between: &str) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(between)
}

/// A number with commas between thousands; nothing for 0.
pub fn count(number: usize) -> String {
    if number == 0 { String::new() } else { grouped(number, ",") }
}

/// As much of a text as there is room for.
pub fn shortened(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.to_string();
    }
    text.chars().take(room - 1).chain(['…']).collect()
}
