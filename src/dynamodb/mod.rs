//! DynamoDB, as the sinks and stores on it share it: a client, errors by kind, and tables.
//!
//! ```no_run
//! use novavoice::dynamodb::{Column, Dynamo, Table};
//!
//! # async fn example(sdk: aws_config::SdkConfig) -> Result<(), novavoice::ProviderError> {
//! let dynamo = Dynamo::new(&sdk);
//! let table = Table::new("Churches", Column::text("phone"))
//!     .with_index("lead_status-index", Column::text("lead_status"), None);
//! dynamo.create_missing(&[table]).await?;
//! # Ok(())
//! # }
//! ```

mod error;
pub use error::failure;

mod table;
pub use table::{Column, ColumnKind, Index, Projection, Table};

mod create;
pub use create::{Made, TableState};

use std::time::Duration;

use aws_config::{SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_dynamodb::{Client, config::Builder};

/// A client of DynamoDB with the time limits and retries that this crate's providers expect.
/// Clones share its connections.
///
/// An attempt may take 4 s and an operation with all its retries 12 s; the SDK retries what is
/// worth it, five attempts in all, with jittered pauses. Whoever must not give up goes on from
/// there.
#[derive(Clone, Debug)]
pub struct Dynamo {
    client: Client,
}

impl Dynamo {
    /// A client with the region, credentials and endpoint of `sdk`; the standard override
    /// `AWS_ENDPOINT_URL_DYNAMODB` is honoured where `sdk` was loaded from the environment.
    #[must_use]
    pub fn new(sdk: &SdkConfig) -> Self {
        Self::build(Builder::from(sdk))
    }

    /// As [`new`](Self::new), but of the server at `url`.
    #[must_use]
    pub fn with_endpoint(sdk: &SdkConfig, url: impl Into<String>) -> Self {
        Self::build(Builder::from(sdk).endpoint_url(url))
    }

    /// The SDK's client, for what is not here.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn build(builder: Builder) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(ATTEMPT)
            .operation_timeout(OPERATION)
            .build();
        let retries = RetryConfig::standard()
            .with_max_attempts(ATTEMPTS)
            .with_initial_backoff(BACKOFF);
        let config = builder.timeout_config(timeouts).retry_config(retries);
        Self {
            client: Client::from_conf(config.build()),
        }
    }
}

/// The name under which clients and tables report.
const PROVIDER: &str = "dynamodb";

const CONNECT: Duration = Duration::from_secs(2);
const ATTEMPT: Duration = Duration::from_secs(4);
const OPERATION: Duration = Duration::from_secs(12);
const ATTEMPTS: u32 = 5;

/// DynamoDB answers in milliseconds, so a second try need not wait for long.
const BACKOFF: Duration = Duration::from_millis(50);
