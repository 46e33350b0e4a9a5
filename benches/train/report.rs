//! Rows of figures, printed as a table or one JSON object a line.

use crate::arguments::say;

/// A row: cells with their names, in order.
#[derive(Default)]
pub struct Row(Vec<Cell>);

struct Cell {
    name: &'static str,
    value: String,
    /// Quoted in JSON and flush left in tables.
    is_text: bool,
    width: usize,
}

impl Row {
    /// Adds a text; tables keep a column of this width for it.
    pub fn text(self, name: &'static str, value: &str, width: usize) -> Self {
        self.cell(Cell { name, value: value.to_string(), is_text: true, width })
    }

    /// Adds a number with so many digits after the point.
    pub fn number(self, name: &'static str, value: f64, digits: usize) -> Self {
        self.cell(Cell { name, value: format!("{value:.digits$}"), is_text: false, width: 9 })
    }

    /// Adds a whole number.
    pub fn count(self, name: &'static str, value: usize) -> Self {
        self.number(name, value as f64, 0)
    }

    /// Adds a number that may not be known.
    pub fn maybe(self, name: &'static str, value: Option<f64>, digits: usize) -> Self {
        match value {
            Some(value) => self.number(name, value, digits),
            None => self.cell(Cell { name, value: "null".to_string(), is_text: false, width: 9 }),
        }
    }

    fn cell(mut self, mut cell: Cell) -> Self {
        cell.width = cell.width.max(cell.name.len());
        self.0.push(cell);
        self
    }

    /// One JSON object, without a line break. Texts hold no quotes and no backslashes.
    fn json(&self) -> String {
        let field = |cell: &Cell| match cell.is_text {
            true => format!("\"{}\":\"{}\"", cell.name, cell.value),
            false => format!("\"{}\":{}", cell.name, cell.value),
        };
        format!("{{{}}}", self.0.iter().map(field).collect::<Vec<_>>().join(","))
    }

    fn line(&self, text: impl Fn(&Cell) -> &str) -> String {
        let aligned = |cell: &Cell| match cell.is_text {
            true => format!("{:<1$}", text(cell), cell.width),
            false => format!("{:>1$}", text(cell), cell.width),
        };
        self.0.iter().map(aligned).collect::<Vec<_>>().join("  ")
    }
}

/// Prints rows as they come.
pub struct Report {
    json: bool,
    header: bool,
}

impl Report {
    /// Prints JSON, or tables, the first of them with or without a header.
    pub fn new(json: bool, header: bool) -> Self {
        Self { json, header }
    }

    /// Begins another table.
    pub fn title(&mut self, title: &str) {
        self.header = true;
        if !self.json {
            say!("\n{title}");
        }
    }

    /// Prints a row, beneath the names if it is the first of its table.
    pub fn row(&mut self, row: &Row) {
        if self.json {
            say!("{}", row.json());
            return;
        }
        if std::mem::take(&mut self.header) {
            say!("{}", row.line(|cell| cell.name));
        }
        say!("{}", row.line(|cell| &cell.value));
    }
}
