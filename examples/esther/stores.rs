//! Where calls and leads are kept: chosen, opened and looked after in one place.

mod acquaintance;
pub(crate) mod answering;
mod aws;
mod keeper;
mod log;
mod recording;
mod results;
mod tables;

use std::{fmt, sync::Arc};

use anyhow::Context;
use novavoice::{
    dynamodb::Dynamo,
    lead::{DynamoLeads, LeadStore, SqliteLeads},
    record::{CallStore, DynamoCalls, SqliteCalls},
    state::{DynamoState, SqliteState, StateStore},
};

use crate::config::{StoreChoice, StoreSettings};

pub(crate) use self::{
    acquaintance::Acquaintance,
    aws::{Aws, Credentials},
    keeper::keep,
    log::{check_log, gatekeeper},
    recording::Recording,
    results::{Results, Write},
    tables::{is_made, problems_of, tables},
};

/// The stores of this process. Cheap to clone; clones share everything.
#[derive(Clone)]
pub(crate) struct Stores {
    /// Calls, live and finished.
    pub(crate) calls: Arc<dyn CallStore>,
    /// The people on the phone.
    pub(crate) leads: Arc<dyn LeadStore>,
    /// What nodes share beside them: campaigns, attempts, opt-outs.
    pub(crate) state: Arc<dyn StateStore>,
    /// Where the calls are.
    pub(crate) calls_in: Place<SqliteCalls>,
    /// Where the leads are.
    pub(crate) leads_in: Place<SqliteLeads>,
}

/// Where something is kept.
#[derive(Clone)]
pub(crate) enum Place<S> {
    /// In the file below `DATA_DIR`.
    Sqlite(S),
    /// In a table.
    DynamoDb(Dynamo),
}

impl Stores {
    /// Opens what `settings` ask for. `auto` is DynamoDB where an endpoint is given or AWS
    /// credentials are found, within two seconds; else SQLite.
    pub(crate) async fn open(
        settings: &StoreSettings,
        region: Option<&str>,
    ) -> anyhow::Result<Self> {
        let choices = [settings.calls, settings.leads];
        let aws = match choices.iter().all(|choice| *choice == StoreChoice::Sqlite) {
            true => None,
            false => Some(Aws::find(region, settings.dynamodb_endpoint.as_deref()).await),
        };
        let dynamo = |choice: StoreChoice| match (choice, &aws) {
            (StoreChoice::Sqlite, _) | (_, None) => None,
            (StoreChoice::DynamoDb, Some(aws)) => Some(aws.dynamo()),
            (StoreChoice::Auto, Some(aws)) => aws.is_there().then(|| aws.dynamo()),
        };
        let calls_in = match dynamo(settings.calls) {
            Some(dynamo) => Place::DynamoDb(dynamo),
            None => Place::Sqlite(sqlite_calls(settings).await?),
        };
        let leads_in = match dynamo(settings.leads) {
            Some(dynamo) => Place::DynamoDb(dynamo),
            None => Place::Sqlite(sqlite_leads(settings).await?),
        };
        // Whoever shares leads or calls with other nodes shares this with them, too.
        let state: Arc<dyn StateStore> = match (&calls_in, &leads_in) {
            (Place::DynamoDb(dynamo), _) | (_, Place::DynamoDb(dynamo)) => {
                Arc::new(DynamoState::new(dynamo.clone(), &settings.state_table))
            }
            (Place::Sqlite(_), Place::Sqlite(_)) => Arc::new(sqlite_state(settings).await?),
        };
        Ok(Self {
            state,
            calls: match &calls_in {
                Place::Sqlite(calls) => Arc::new(calls.clone()),
                Place::DynamoDb(dynamo) => {
                    Arc::new(DynamoCalls::new(dynamo.clone(), &settings.calls_table))
                }
            },
            leads: match &leads_in {
                Place::Sqlite(leads) => Arc::new(leads.clone()),
                Place::DynamoDb(dynamo) => {
                    Arc::new(DynamoLeads::new(dynamo.clone(), &settings.leads_table))
                }
            },
            calls_in,
            leads_in,
        })
    }
}

impl Stores {
    /// Whether other nodes may work with them, too.
    pub(crate) const fn are_shared(&self) -> bool {
        matches!(
            (&self.calls_in, &self.leads_in),
            (Place::DynamoDb(_), _) | (_, Place::DynamoDb(_))
        )
    }

    /// Makes the tables that are missing, where that is wanted.
    pub(crate) async fn make_tables(&self, settings: &StoreSettings) -> anyhow::Result<()> {
        if is_made(settings)
            && let Some((dynamo, tables)) = tables(self, settings)
        {
            let made = dynamo.create_missing(&tables).await;
            made.context("the tables cannot be made")?;
        }
        Ok(())
    }
}

impl<S> fmt::Display for Place<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite(_) => "SQLite",
            Self::DynamoDb(_) => "DynamoDB",
        })
    }
}

async fn sqlite_calls(settings: &StoreSettings) -> anyhow::Result<SqliteCalls> {
    let file = settings.data_dir.join(FILE);
    let calls = SqliteCalls::open(&file).await;
    calls.with_context(|| format!("cannot open {} (DATA_DIR says where)", file.display()))
}

async fn sqlite_leads(settings: &StoreSettings) -> anyhow::Result<SqliteLeads> {
    let file = settings.data_dir.join(FILE);
    let leads = SqliteLeads::open(&file).await;
    leads.with_context(|| format!("cannot open {} (DATA_DIR says where)", file.display()))
}

async fn sqlite_state(settings: &StoreSettings) -> anyhow::Result<SqliteState> {
    let file = settings.data_dir.join(FILE);
    let state = SqliteState::open(&file).await;
    state.with_context(|| format!("cannot open {} (DATA_DIR says where)", file.display()))
}

/// One file for all stores of a node.
const FILE: &str = "esther.sqlite";
