//! `esther leads import`: CSV files whose columns are named like the fields of a lead.

use std::{collections::BTreeSet, fs::File, path::PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use csv::StringRecord;
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use novavoice::lead::{Lead, LeadStore, PhoneNumber};

/// The files.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// CSV files, with the names of the fields in their first line
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Reads and checks everything, and loads nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Default)]
struct Report {
    rows: u64,
    new: u64,
    changed: u64,
    same: u64,
    refused: u64,
}

impl Import {
    /// Loads these files.
    pub(crate) const fn of(files: Vec<PathBuf>) -> Self {
        Self {
            files,
            dry_run: false,
        }
    }

    pub(crate) async fn run(self, store: &dyn LeadStore) -> anyhow::Result<()> {
        let mut report = Report::default();
        for path in &self.files {
            let file = File::open(path);
            let file = file.with_context(|| format!("cannot read {}", path.display()))?;
            let mut table = csv::ReaderBuilder::new()
                .trim(csv::Trim::All)
                .flexible(true)
                .from_reader(file);
            let columns = columns(table.headers());
            let columns = columns.with_context(|| path.display().to_string())?;
            for row in table.into_records() {
                let row = row.with_context(|| format!("cannot read {}", path.display()))?;
                report.rows += 1;
                let line = row.position().map_or(0, csv::Position::line);
                match lead(&columns, &row) {
                    Ok(lead) if self.dry_run => {
                        let before = store.get(&lead.phone).await;
                        let before = before.context("the store of leads")?;
                        report.count(before.as_ref(), None);
                    }
                    Ok(lead) => {
                        let before = store.get(&lead.phone).await;
                        let before = before.context("the store of leads")?;
                        let after = store.upsert(lead).await.context("the store of leads")?;
                        report.count(before.as_ref(), Some(&after));
                    }
                    Err(reason) => {
                        report.refused += 1;
                        eprintln!("{}:{line}: refused: {reason}", path.display());
                    }
                }
            }
        }
        let Report {
            rows,
            new,
            changed,
            same,
            refused,
        } = report;
        if self.dry_run {
            let known = changed + same;
            println!("{rows} rows: {new} would be new, {known} are known, {refused} refused");
        } else {
            println!(
                "{rows} rows: {new} new, {changed} changed, {same} as before, {refused} refused"
            );
        }
        Ok(())
    }
}

impl Report {
    fn count(&mut self, before: Option<&Lead>, after: Option<&Lead>) {
        match (before, after) {
            (None, _) => self.new += 1,
            (Some(before), Some(after)) if before.version == after.version => self.same += 1,
            (Some(_), _) => self.changed += 1,
        }
    }
}

/// The names of the fields.
fn columns(headers: csv::Result<&StringRecord>) -> anyhow::Result<Vec<String>> {
    let headers = headers.context("its first line cannot be read")?;
    // Spreadsheets put a mark in front that nobody sees.
    let names = headers
        .iter()
        .map(|name| name.trim_start_matches('\u{feff}'));
    let names: Vec<_> = names.map(str::to_owned).collect();
    if !names.iter().any(|name| name == PHONE) {
        bail!("there is no column `{PHONE}` in its first line");
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = names.iter().find(|name| !seen.insert(name.as_str())) {
        bail!("the column `{twice}` is there twice");
    }
    Ok(names)
}

/// A lead, or why the row is none. Empty cells say nothing.
fn lead(columns: &[String], row: &StringRecord) -> Result<Lead, String> {
    if row.len() > columns.len() {
        return Err("it has more cells than there are columns".to_owned());
    }
    let cells = columns.iter().zip(row);
    let phone = cells.clone().find(|(name, _)| *name == PHONE);
    let phone = PhoneNumber::parse(phone.map_or("", |(_, cell)| cell));
    let mut lead = Lead::new(phone.map_err(|wrong| format!("its phone: {wrong}"))?);
    for (name, cell) in cells {
        if name == PHONE || name.is_empty() || cell.is_empty() {
            continue;
        }
        lead = match (name.as_str(), cell.to_ascii_lowercase().as_str()) {
            (flag @ ("unread_by_owner" | "consent"), word) => match word {
                "true" | "yes" | "1" => lead.with(flag, true),
                "false" | "no" | "0" => lead.with(flag, false),
                _ => return Err(format!("{flag} is neither true nor false")),
            },
            ("consent_at", _) => lead.with(name, time(cell)?),
            ("version", _) => continue,
            ("attempts", digits) => {
                let count: u64 = digits.parse().map_err(|_| "attempts is no count")?;
                lead.with(name, count)
            }
            _ => lead.with(name, cell),
        };
    }
    Ok(lead)
}

/// A time, or the first moment of a day in UTC.
fn time(cell: &str) -> Result<String, String> {
    let day = || -> Option<Timestamp> {
        let day: Date = cell.parse().ok()?;
        Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp())
    };
    let time = cell.parse().ok().or_else(day);
    let time = time.map(|time: Timestamp| time.to_string());
    time.ok_or_else(|| "consent_at is no time such as 2026-06-22T20:35:32Z, and no day".to_owned())
}

const PHONE: &str = "phone";

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> StringRecord {
        StringRecord::from(cells.to_vec())
    }

    #[test]
    fn a_row_is_a_lead_with_the_fields_that_it_names() {
        let columns = ["phone", "name", "unread_by_owner", "choir"].map(str::to_owned);
        let read = lead(&columns, &row(&["(212) 555-0101", "Grace", "TRUE", ""]));
        let read = read.expect("a lead");
        assert_eq!(read.phone.reveal(), "+12125550101");
        assert_eq!(read.text("name"), Some("Grace"));
        assert_eq!(read.fields.get("unread_by_owner"), Some(&true.into()));
        assert!(!read.fields.contains_key("choir"), "empty says nothing");
        for wrong in [
            &["nobody", "Grace"][..],
            &["", "Grace"],
            &["2125550101", "Grace", "perhaps"],
            &["2125550101", "a", "", "b", "more"],
        ] {
            assert!(lead(&columns, &row(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn consent_is_taken_in_with_its_time_and_source() {
        let columns = ["phone", "consent", "consent_at", "consent_source"].map(str::to_owned);
        for (cells, consent, at) in [
            (
                ["2125550101", "Yes", "2026-06-22", "form"],
                true,
                "2026-06-22T00:00:00Z",
            ),
            (
                ["2125550101", "0", "2026-06-22T20:35:32Z", "letter"],
                false,
                "2026-06-22T20:35:32Z",
            ),
        ] {
            let read = lead(&columns, &row(&cells)).expect("a lead");
            assert_eq!(read.fields.get("consent"), Some(&consent.into()));
            assert_eq!(read.text("consent_at"), Some(at));
            assert_eq!(read.text("consent_source"), Some(cells[3]));
        }
        for wrong in [
            ["2125550101", "perhaps", "", ""],
            ["2125550101", "yes", "June", ""],
        ] {
            assert!(lead(&columns, &row(&wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_file_needs_a_column_for_the_phone_and_no_column_twice() {
        assert!(columns(Ok(&row(&["\u{feff}phone", "name"]))).is_ok());
        assert!(columns(Ok(&row(&["name"]))).is_err());
        assert!(columns(Ok(&row(&["phone", "name", "name"]))).is_err());
    }
}
