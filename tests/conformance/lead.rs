//! Lead stores. A new one adds a `mod` here that calls `conformance::lead_store` with a way to
//! make an empty store.

mod memory {
    use std::sync::Arc;

    use novavoice::{
        lead::{LeadStore, MemoryLeads},
        testkit::conformance,
    };

    #[tokio::test]
    async fn the_memory_store_keeps_the_contract() {
        conformance::lead_store(async || MemoryLeads::new()).await;
    }

    #[tokio::test]
    async fn a_store_behind_a_pointer_keeps_the_contract() {
        conformance::lead_store(async || {
            let store: Arc<dyn LeadStore> = Arc::new(MemoryLeads::new());
            store
        })
        .await;
    }
}

mod sqlite {
    use std::cell::Cell;

    use novavoice::{lead::SqliteLeads, testkit::conformance};

    #[tokio::test]
    async fn the_store_in_a_file_keeps_the_contract() {
        let folder = tempfile::tempdir().expect("a folder");
        let made = Cell::new(0);
        conformance::lead_store(async || {
            made.set(made.get() + 1);
            let path = folder.path().join(format!("{}.sqlite", made.get()));
            SqliteLeads::open(&path).await.expect("the file opens")
        })
        .await;
    }
}

mod dynamodb {
    use std::cell::Cell;

    use novavoice::{lead::DynamoLeads, testkit::conformance};

    use crate::dynamo::Server;

    #[tokio::test]
    async fn the_store_in_dynamodb_keeps_the_contract() {
        for server in Server::all() {
            let made = Cell::new(0);
            conformance::lead_store(async || {
                made.set(made.get() + 1);
                let name = server.table(&format!("Churches-{}", made.get()));
                let dynamo = server.dynamo();
                dynamo
                    .create_missing(&[DynamoLeads::table(&name)])
                    .await
                    .expect("the table can be made");
                DynamoLeads::new(dynamo, name)
            })
            .await;
        }
    }
}
