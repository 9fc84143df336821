//! Lead stores. A new one adds a `mod` here that calls `conformance::lead_store` with a way to
//! make an empty store.

mod memory {
    use novavoice::{lead::MemoryLeads, testkit::conformance};

    #[tokio::test]
    async fn the_memory_store_keeps_the_contract() {
        conformance::lead_store(async || MemoryLeads::new()).await;
    }
}
