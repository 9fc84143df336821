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
