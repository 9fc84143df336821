//! The steps from an empty file to the schema of today.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::Failure;
use crate::error::{ProviderError, ProviderErrorKind};

/// The schema of one store. A file keeps its version beside those of its neighbours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schema {
    /// The store's name in the table of versions.
    pub(crate) name: &'static str,
    /// What leads from each version to the next. Only ever grows at its end: what is out in the
    /// world stays as it is.
    pub(crate) steps: &'static [&'static str],
}

impl Schema {
    /// Takes the steps that the file has not seen: all of them, or none.
    pub(super) fn bring_up_to_date(self, connection: &mut Connection) -> Result<(), Failure> {
        let Self { name, steps } = self;
        // Two processes may open a new file at once: the second finds the work done.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute(
            "CREATE TABLE IF NOT EXISTS schema_versions \
             (store TEXT PRIMARY KEY, version INTEGER NOT NULL) WITHOUT ROWID",
            [],
        )?;
        let version: Option<usize> = transaction
            .query_row(
                "SELECT version FROM schema_versions WHERE store = ?1",
                [name],
                |row| row.get(0),
            )
            .optional()?;
        let version = version.unwrap_or(0);
        let Some(missing) = steps.get(version..) else {
            return Err(ProviderError::new("sqlite", ProviderErrorKind::Invalid)
                .with_detail(format!(
                    "the file was written by a newer release (schema {name} {version}, this one \
                     knows {}): upgrade, or use another file",
                    steps.len()
                ))
                .into());
        };
        if missing.is_empty() {
            return Ok(transaction.commit()?);
        }
        for step in missing {
            transaction.execute_batch(step)?;
        }
        transaction.execute(
            "INSERT INTO schema_versions (store, version) VALUES (?1, ?2) \
             ON CONFLICT (store) DO UPDATE SET version = excluded.version",
            (name, steps.len()),
        )?;
        Ok(transaction.commit()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "CREATE TABLE people (name TEXT); INSERT INTO people VALUES ('Grace')";
    const SECOND: &str = "ALTER TABLE people ADD COLUMN church TEXT";

    fn people(steps: &'static [&'static str]) -> Schema {
        Schema {
            name: "people",
            steps,
        }
    }

    fn names(file: &Connection) -> u32 {
        file.query_row("SELECT count(*) FROM people", [], |row| row.get(0))
            .unwrap()
    }

    #[test]
    fn each_step_is_taken_once_and_data_stays() {
        let mut file = Connection::open_in_memory().unwrap();
        for steps in [&[FIRST][..], &[FIRST], &[FIRST, SECOND], &[FIRST, SECOND]] {
            people(steps).bring_up_to_date(&mut file).unwrap();
            assert_eq!(names(&file), 1);
        }
        file.execute("UPDATE people SET church = 'Chapel Hill'", [])
            .unwrap();
    }

    #[test]
    fn neighbours_have_versions_of_their_own() {
        let mut file = Connection::open_in_memory().unwrap();
        people(&[FIRST]).bring_up_to_date(&mut file).unwrap();
        let other = Schema {
            name: "other",
            steps: &["CREATE TABLE other (n INTEGER)"],
        };
        other.bring_up_to_date(&mut file).unwrap();
        people(&[FIRST, SECOND])
            .bring_up_to_date(&mut file)
            .unwrap();
    }

    #[test]
    fn a_step_that_fails_undoes_those_before_it() {
        let mut file = Connection::open_in_memory().unwrap();
        people(&[FIRST]).bring_up_to_date(&mut file).unwrap();
        let failed = people(&[FIRST, SECOND, "nonsense"]).bring_up_to_date(&mut file);
        assert!(failed.is_err());
        people(&[FIRST, SECOND])
            .bring_up_to_date(&mut file)
            .unwrap();
    }

    #[test]
    fn a_file_from_the_future_is_left_alone() {
        let mut file = Connection::open_in_memory().unwrap();
        people(&[FIRST, SECOND])
            .bring_up_to_date(&mut file)
            .unwrap();
        let refused = people(&[FIRST]).bring_up_to_date(&mut file).unwrap_err();
        assert_eq!(refused.named("people").kind(), &ProviderErrorKind::Invalid);
    }
}
