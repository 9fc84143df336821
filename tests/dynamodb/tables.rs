//! Tables: looked at, and made where they are missing.

use novavoice::{
    ProviderErrorKind,
    dynamodb::{Column, Dynamo, Made, Projection, Table, TableState},
};

use crate::dynamo::{Server, sdk};

fn churches(name: &str) -> Table {
    Table::new(name, Column::text("phone"))
}

fn with_indexes(table: Table) -> Table {
    table
        .with_index("by_status", Column::text("status"), None)
        .with_projected_index(
            "by_owner",
            Column::text("owner"),
            Some(Column::number("rank")),
            Projection::Include(&["name"]),
        )
}

/// The indexes that a table lacks, which is there.
async fn missing_indexes(dynamo: &Dynamo, table: &Table) -> Vec<&'static str> {
    match dynamo.check(table).await.unwrap() {
        TableState::There { missing_indexes } => missing_indexes,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_table_is_made_once_with_its_indexes() {
    for server in Server::all() {
        let dynamo = server.dynamo();
        let table = with_indexes(churches(&server.table("t"))).with_expiry("expires_at");
        assert_eq!(dynamo.check(&table).await.unwrap(), TableState::Missing);
        let made = dynamo
            .create_missing(std::slice::from_ref(&table))
            .await
            .unwrap();
        assert_eq!(made, [Made::Table(table.name.clone())]);
        assert!(missing_indexes(&dynamo, &table).await.is_empty());
        let again = dynamo
            .create_missing(std::slice::from_ref(&table))
            .await
            .unwrap();
        assert_eq!(again, []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_that_a_table_lacks_are_added() {
    for server in Server::all() {
        let dynamo = server.dynamo();
        let bare = churches(&server.table("t"));
        dynamo
            .create_missing(std::slice::from_ref(&bare))
            .await
            .unwrap();
        let table = with_indexes(bare);
        let missing = missing_indexes(&dynamo, &table).await;
        assert_eq!(missing, ["by_status", "by_owner"]);
        let made = dynamo
            .create_missing(std::slice::from_ref(&table))
            .await
            .unwrap();
        let indexes: Vec<_> = made
            .iter()
            .map(|made| match made {
                Made::Index { table: of, index } if *of == table.name => *index,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(indexes, ["by_status", "by_owner"]);
        assert!(missing_indexes(&dynamo, &table).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_together_make_a_table_once() {
    for server in Server::all() {
        let table = with_indexes(churches(&server.table("t")));
        let nodes: Vec<_> = (0..4)
            .map(|_| {
                let (dynamo, table) = (server.dynamo(), table.clone());
                tokio::spawn(async move { dynamo.create_missing(&[table]).await })
            })
            .collect();
        let mut made = 0;
        for node in nodes {
            made += node.await.unwrap().unwrap().len();
        }
        assert_eq!(made, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_with_another_key_is_left_alone_and_named() {
    for server in Server::all() {
        let dynamo = server.dynamo();
        let name = server.table("t");
        let other = Table::new(&name, Column::text("id"));
        dynamo.create_missing(&[other]).await.unwrap();
        let table = churches(&name);
        assert_eq!(dynamo.check(&table).await.unwrap(), TableState::WrongKey);
        let error = dynamo.create_missing(&[table]).await.unwrap_err();
        assert_eq!(*error.kind(), ProviderErrorKind::Invalid);
        assert!(error.to_string().contains(&name), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_unavailable() {
    // Nothing listens on port 9.
    let dynamo = Dynamo::with_endpoint(&sdk(), "http://127.0.0.1:9");
    let error = dynamo.check(&churches("t")).await.unwrap_err();
    assert!(error.kind().is_retryable(), "{error}");
    assert_eq!(error.provider(), "dynamodb");
}
