//! AWS as the environment gives it: region, credentials, endpoints.

use std::time::Duration;

use aws_config::{
    BehaviorVersion, Region, SdkConfig, environment::EnvironmentVariableRegionProvider,
    meta::region::RegionProviderChain, profile::ProfileFileRegionProvider,
};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use novavoice::dynamodb::Dynamo;

/// The account that was found, if any.
pub(crate) struct Aws {
    pub(crate) sdk: SdkConfig,
    pub(crate) credentials: Credentials,
    endpoint: Option<String>,
}

/// What became of looking for credentials.
pub(crate) enum Credentials {
    /// There are some.
    Found(aws_credential_types::Credentials),
    /// There are none, as this says.
    Missing(String),
}

impl Aws {
    /// Looks for credentials, for two seconds: where there are none, the last link of the chain,
    /// the machine's metadata service, may never answer.
    pub(crate) async fn find(region: Option<&str>, endpoint: Option<&str>) -> Self {
        // The SDK's own chain would ask the metadata service for the region as well.
        let region = region.map(|region| Region::new(region.to_owned()));
        let region = RegionProviderChain::first_try(region)
            .or_else(EnvironmentVariableRegionProvider::new())
            .or_else(ProfileFileRegionProvider::new())
            .or_else(Region::from_static("us-east-1"));
        let sdk = aws_config::defaults(BehaviorVersion::latest())
            .region(region)
            .load()
            .await;
        let credentials = find_credentials(&sdk).await;
        Self {
            sdk: match (&credentials, endpoint) {
                (Credentials::Missing(_), Some(_)) => with_placeholder(sdk),
                _ => sdk,
            },
            credentials,
            endpoint: endpoint.map(str::to_owned),
        }
    }

    /// Whether DynamoDB is what somebody who says nothing wants.
    pub(crate) fn is_there(&self) -> bool {
        self.endpoint.is_some() || matches!(self.credentials, Credentials::Found(_))
    }

    /// A client.
    pub(crate) fn dynamo(&self) -> Dynamo {
        match &self.endpoint {
            Some(endpoint) => Dynamo::with_endpoint(&self.sdk, endpoint),
            None => Dynamo::new(&self.sdk),
        }
    }
}

async fn find_credentials(sdk: &SdkConfig) -> Credentials {
    let Some(provider) = sdk.credentials_provider() else {
        return Credentials::Missing("there is no place to look for them".to_owned());
    };
    match tokio::time::timeout(PATIENCE, provider.provide_credentials()).await {
        Ok(Ok(found)) => Credentials::Found(found),
        Ok(Err(error)) => Credentials::Missing(error.to_string()),
        Err(_) => Credentials::Missing("none were found in time".to_owned()),
    }
}

/// A server of one's own asks for a signature and does not look whose it is.
fn with_placeholder(sdk: SdkConfig) -> SdkConfig {
    let anybody =
        aws_credential_types::Credentials::new("local", "local", None, None, "placeholder");
    sdk.into_builder()
        .credentials_provider(SharedCredentialsProvider::new(anybody))
        .build()
}

const PATIENCE: Duration = Duration::from_millis(1_900);
