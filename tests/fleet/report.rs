//! What came of it, as a table.

use std::fmt;

#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<(String, String)>,
    /// What must not be.
    pub(crate) faults: Vec<String>,
}

impl Report {
    pub(crate) fn row(&mut self, what: impl Into<String>, value: impl fmt::Display) {
        self.rows.push((what.into(), value.to_string()));
    }

    pub(crate) fn fault(&mut self, what: impl Into<String>) {
        self.faults.push(what.into());
    }

    /// A fault unless it holds.
    pub(crate) fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.fault(what());
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|(what, _)| what.chars().count());
        let width = width.max().unwrap_or(0);
        for (what, value) in &self.rows {
            writeln!(f, "  {what:<width$}  {value}")?;
        }
        match self.faults.len() {
            0 => writeln!(f, "  nothing is wrong"),
            n => {
                writeln!(f, "  {n} things are wrong:")?;
                for fault in self.faults.iter().take(MOST) {
                    writeln!(f, "    {fault}")?;
                }
                Ok(())
            }
        }
    }
}

/// Those that are told.
const MOST: usize = 60;
