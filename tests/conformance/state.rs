//! Stores of shared state. A new one adds a `mod` here that calls `conformance::state_store`.

mod memory {
    use std::sync::Arc;

    use novavoice::{
        state::{MemoryState, StateStore},
        testkit::conformance,
    };

    #[tokio::test]
    async fn the_memory_store_keeps_the_contract() {
        conformance::state_store(async || MemoryState::new()).await;
    }

    #[tokio::test]
    async fn a_store_behind_a_pointer_keeps_the_contract() {
        conformance::state_store(async || {
            let store: Arc<dyn StateStore> = Arc::new(MemoryState::new());
            store
        })
        .await;
    }
}

mod sqlite {
    use std::sync::atomic::{AtomicU32, Ordering};

    use novavoice::{state::SqliteState, testkit::conformance};

    #[tokio::test]
    async fn the_file_keeps_the_contract() {
        let folder = tempfile::tempdir().expect("a folder");
        let count = AtomicU32::new(0);
        conformance::state_store(async || {
            let name = format!("{}.db", count.fetch_add(1, Ordering::Relaxed));
            SqliteState::open(folder.path().join(name))
                .await
                .expect("a file")
        })
        .await;
    }
}

mod dynamodb {
    use std::sync::atomic::{AtomicU32, Ordering};

    use novavoice::{state::DynamoState, testkit::conformance};

    use crate::dynamo::Server;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_table_keeps_the_contract() {
        for server in Server::all() {
            let count = AtomicU32::new(0);
            conformance::state_store(async || {
                let name = server.table(&format!("state{}", count.fetch_add(1, Ordering::Relaxed)));
                let dynamo = server.dynamo();
                dynamo
                    .create_missing(&[DynamoState::table(&name)])
                    .await
                    .expect("a table");
                DynamoState::new(dynamo, name)
            })
            .await;
        }
    }
}
