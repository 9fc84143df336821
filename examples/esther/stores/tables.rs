//! The tables of DynamoDB: which there must be, and making those that are missing.

use novavoice::{
    ProviderError,
    dynamodb::{Dynamo, Table, TableState},
    lead::DynamoLeads,
    state::DynamoState,
    transcript::dynamodb::call_records,
};

use super::{Place, Stores};
use crate::config::{CreateTables, StoreSettings};

/// What is wrong with a table.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) table: String,
    /// What is wrong, and how it is mended.
    pub(crate) what: String,
}

/// Whether missing tables are made at the start.
pub(crate) fn is_made(settings: &StoreSettings) -> bool {
    match settings.create_tables {
        CreateTables::Always => true,
        CreateTables::Never => false,
        CreateTables::Auto => settings.dynamodb_endpoint.is_some(),
    }
}

/// The tables that these stores need, and where they are.
pub(crate) fn tables(stores: &Stores, settings: &StoreSettings) -> Option<(Dynamo, Vec<Table>)> {
    let mut tables = Vec::new();
    let mut client = None;
    if let Place::DynamoDb(dynamo) = &stores.calls_in {
        tables.push(call_records(&settings.calls_table));
        client = Some(dynamo);
    }
    if let Place::DynamoDb(dynamo) = &stores.leads_in {
        tables.push(DynamoLeads::table(&settings.leads_table));
        client = Some(dynamo);
    }
    let dynamo = client?.clone();
    tables.push(DynamoState::table(&settings.state_table));
    Some((dynamo, tables))
}

/// What is wrong with these tables; nothing when all is well.
pub(crate) async fn problems_of(
    dynamo: &Dynamo,
    tables: &[Table],
) -> Result<Vec<Problem>, ProviderError> {
    let mut problems = Vec::new();
    for table in tables {
        let what = match dynamo.check(table).await? {
            TableState::Missing => "it is missing".to_owned(),
            TableState::WrongKey => {
                "it has another key: name another table, or move this one away".to_owned()
            }
            TableState::There { missing_indexes } if missing_indexes.is_empty() => continue,
            TableState::There { missing_indexes } => {
                format!("it lacks {}", missing_indexes.join(" and "))
            }
            _ => "it is in a state that nobody knows".to_owned(),
        };
        problems.push(Problem {
            table: table.name.clone(),
            what,
        });
    }
    Ok(problems)
}
