//! Calendars. A new one adds a `mod` here that calls `conformance::calendar`; the embedded one runs on
//! every store of shared state.

mod memory {
    use std::sync::Arc;

    use novavoice::{
        booking::{Calendar, EmbeddedCalendar},
        state::MemoryState,
        testkit::conformance,
    };

    #[tokio::test]
    async fn meetings_in_memory_keep_the_contract() {
        conformance::calendar(async || EmbeddedCalendar::new(Arc::new(MemoryState::new()))).await;
    }

    #[tokio::test]
    async fn a_calendar_behind_a_pointer_keeps_the_contract() {
        conformance::calendar(async || {
            let calendar: Arc<dyn Calendar> =
                Arc::new(EmbeddedCalendar::new(Arc::new(MemoryState::new())));
            calendar
        })
        .await;
    }
}

mod sqlite {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use novavoice::{booking::EmbeddedCalendar, state::SqliteState, testkit::conformance};

    #[tokio::test]
    async fn meetings_in_a_file_keep_the_contract() {
        let folder = tempfile::tempdir().expect("a folder");
        let count = AtomicU32::new(0);
        conformance::calendar(async || {
            let name = format!("{}.db", count.fetch_add(1, Ordering::Relaxed));
            let state = SqliteState::open(folder.path().join(name)).await;
            EmbeddedCalendar::new(Arc::new(state.expect("a file")))
        })
        .await;
    }
}

mod dynamodb {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use novavoice::{booking::EmbeddedCalendar, state::DynamoState, testkit::conformance};

    use crate::dynamo::Server;

    #[tokio::test(flavor = "multi_thread")]
    async fn meetings_in_a_table_keep_the_contract() {
        for server in Server::all() {
            let count = AtomicU32::new(0);
            conformance::calendar(async || {
                let name = server.table(&format!(
                    "meetings{}",
                    count.fetch_add(1, Ordering::Relaxed)
                ));
                let dynamo = server.dynamo();
                dynamo
                    .create_missing(&[DynamoState::table(&name)])
                    .await
                    .expect("a table");
                EmbeddedCalendar::new(Arc::new(DynamoState::new(dynamo, name)))
            })
            .await;
        }
    }
}

mod caldav {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use jiff::tz::TimeZone;
    use novavoice::{
        booking::{CalDavCalendar, CalDavConfig, Invitation},
        state::MemoryState,
        testkit::conformance,
    };

    use crate::radicale::{Radicale, USER};

    #[tokio::test(flavor = "multi_thread")]
    async fn meetings_on_a_server_keep_the_contract() {
        let Some(server) = Radicale::start().await else {
            return;
        };
        let count = AtomicU32::new(0);
        conformance::calendar(async || {
            let name = format!("calendar{}", count.fetch_add(1, Ordering::Relaxed));
            let event = Invitation {
                host: "Mike Lawrence".to_owned(),
                host_email: "mike@lawrence.example".to_owned(),
                summary: "Gospel outreach".to_owned(),
                description: None,
                location: None,
            };
            let url = server.calendar(&name).await;
            let mut config = CalDavConfig::new(url, TimeZone::UTC, event);
            config.user = Some(USER.to_owned());
            config.password = Some(Radicale::password());
            CalDavCalendar::new(config, Arc::new(MemoryState::new())).expect("a calendar")
        })
        .await;
    }
}
