//! Where the leads are, as workers are told.

use std::{path::PathBuf, sync::Arc};

use novavoice::{
    dynamodb::Dynamo,
    lead::{DynamoLeads, LeadStore, PhoneNumber, SqliteLeads},
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Place {
    Sqlite { path: PathBuf },
    Dynamo { url: String, table: String },
}

impl Place {
    pub(crate) async fn open(&self) -> Arc<dyn LeadStore> {
        match self {
            Self::Sqlite { path } => {
                Arc::new(SqliteLeads::open(path).await.expect("the file opens"))
            }
            Self::Dynamo { url, table } => {
                let dynamo = Dynamo::with_endpoint(&crate::dynamo::sdk(), url);
                Arc::new(DynamoLeads::new(dynamo, table))
            }
        }
    }
}

/// The numbers of the race: those for fiction in a hundred areas.
pub(crate) fn phone(n: usize) -> PhoneNumber {
    let mut areas = (212..1_000).filter(|area| area % 100 != 11);
    let area = areas.nth(n / 100).expect("there are hundreds");
    let number = format!("+1{area}55501{:02}", n % 100);
    PhoneNumber::parse(&number).expect("a number")
}
