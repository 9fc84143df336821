//! What the service reports, as kinds that say what can be done.

use axum::{Router, http::StatusCode};
use novavoice::{
    ProviderErrorKind,
    dynamodb::{Column, Dynamo, Table},
};
use tokio::net::TcpListener;

use crate::dynamo::sdk;

/// A service that answers everything with one exception.
async fn failing(status: u16, exception: &str) -> Dynamo {
    let body = format!(
        r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{exception}","message":"as it says"}}"#
    );
    let status = StatusCode::from_u16(status).expect("a status");
    let app = Router::new().fallback(move || {
        let body = body.clone();
        async move {
            (
                status,
                [("content-type", "application/x-amz-json-1.0")],
                body,
            )
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    Dynamo::with_endpoint(&sdk(), format!("http://{address}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn exceptions_say_what_can_be_done() {
    use ProviderErrorKind as Kind;
    let throttled = Kind::Throttled { retry_after: None };
    for (status, exception, kind) in [
        (
            400,
            "ProvisionedThroughputExceededException",
            throttled.clone(),
        ),
        (400, "ThrottlingException", throttled),
        (400, "ConditionalCheckFailedException", Kind::Conflict),
        (400, "ResourceInUseException", Kind::Conflict),
        (400, "AccessDeniedException", Kind::Unauthorized),
        (400, "UnrecognizedClientException", Kind::Unauthorized),
        (400, "ExpiredTokenException", Kind::Unauthorized),
        (400, "ValidationException", Kind::Invalid),
        (500, "InternalServerError", Kind::Unavailable),
        (503, "SomethingNew", Kind::Unavailable),
        (400, "SomethingElse", Kind::Protocol),
    ] {
        let dynamo = failing(status, exception).await;
        let table = Table::new("t", Column::text("id"));
        let error = dynamo.check(&table).await.expect_err("it fails");
        assert_eq!(*error.kind(), kind, "{exception}");
        let told = error.to_string();
        assert!(
            told.contains(exception) && told.contains("as it says"),
            "{told}"
        );
    }
}
