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
    let number = format!("+1{}555{:04}", 212 + n / 100, 100 + n % 100);
    PhoneNumber::parse(&number).expect("a number")
}
