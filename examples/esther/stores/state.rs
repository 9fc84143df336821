//! Where everything else is kept: meetings, beside the calls.

use std::sync::Arc;

use anyhow::Context;
use novavoice::state::{DynamoState, SqliteState, StateStore};

use super::{FILE, Place, Stores};
use crate::config::StoreSettings;

/// The shared state of the nodes that share these calls.
pub(crate) async fn state(
    stores: &Stores,
    settings: &StoreSettings,
) -> anyhow::Result<Arc<dyn StateStore>> {
    match &stores.calls_in {
        Place::DynamoDb(dynamo) => Ok(Arc::new(DynamoState::new(
            dynamo.clone(),
            &settings.state_table,
        ))),
        Place::Sqlite(_) => {
            let file = settings.data_dir.join(FILE);
            let state = SqliteState::open(&file).await;
            let state = state
                .with_context(|| format!("cannot open {} (DATA_DIR says where)", file.display()))?;
            Ok(Arc::new(state))
        }
    }
}
