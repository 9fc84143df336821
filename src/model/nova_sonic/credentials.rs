//! Where the AWS credentials of the sessions come from.

use std::time::Duration;

use aws_config::{SdkConfig, sts::AssumeRoleProvider};
use aws_credential_types::provider::{self, future};
use aws_sdk_bedrockruntime::{
    config::{ProvideCredentials, SharedCredentialsProvider},
    error::DisplayErrorContext,
};
use tokio::sync::OnceCell;
use tracing::warn;

use crate::error::{ProviderError, ProviderErrorKind};

use super::error::failure;

/// The credentials of a role; while it cannot be assumed, those that were to assume it.
#[derive(Debug)]
pub(super) struct RoleOrBase {
    arn: String,
    sdk: SdkConfig,
    role: OnceCell<AssumeRoleProvider>,
    base: SharedCredentialsProvider,
}

impl RoleOrBase {
    /// The role `arn`, assumed with what `base` provides.
    pub(super) fn new(arn: String, sdk: &SdkConfig, base: SharedCredentialsProvider) -> Self {
        Self {
            arn,
            sdk: sdk.clone(),
            role: OnceCell::new(),
            base,
        }
    }

    async fn resolve(&self) -> provider::Result {
        if self.sdk.time_source().is_none() {
            // The SDK's provider would panic; a configuration that was loaded always has one.
            warn!("the AWS configuration has no time source, so no role can be assumed");
            return self.base.provide_credentials().await;
        }
        let assume = async {
            self.role
                .get_or_init(|| {
                    AssumeRoleProvider::builder(&self.arn)
                        .session_name("novavoice")
                        .session_length(ROLE_SESSION)
                        .configure(&self.sdk)
                        .build()
                })
                .await
                .provide_credentials()
                .await
        };
        match tokio::time::timeout(ASSUME_TIMEOUT, assume).await {
            Ok(Ok(credentials)) => return Ok(credentials),
            Ok(Err(error)) => warn!(
                role = self.arn,
                error = %DisplayErrorContext(&error),
                "the role cannot be assumed; going on with the base credentials"
            ),
            Err(_) => warn!(
                role = self.arn,
                "assuming the role takes too long; going on with the base credentials"
            ),
        }
        self.base.provide_credentials().await
    }
}

impl ProvideCredentials for RoleOrBase {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.resolve())
    }
}

/// Whether `provider` yields credentials within `timeout`.
pub(super) async fn probe(
    provider: Option<&SharedCredentialsProvider>,
    timeout: Duration,
) -> Result<(), ProviderError> {
    let missing = |why: &str| {
        failure(
            ProviderErrorKind::Unauthorized,
            format!("no AWS credentials: {why}"),
        )
    };
    let Some(provider) = provider else {
        return Err(missing("the configuration has no credentials provider"));
    };
    // The last link of the chain asks the machine's metadata service, which hardly any machine
    // has: it answers nothing, slowly and more than once.
    match tokio::time::timeout(timeout, provider.provide_credentials()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(missing("no link of the chain has any").with_source(error)),
        Err(_) => Err(missing("no link of the chain answered in time")),
    }
}

/// The longest that a role allows which was itself assumed with a role (AWS STS API reference).
const ROLE_SESSION: Duration = Duration::from_secs(3600);

/// A call waits for this; STS answers in a fraction of a second.
const ASSUME_TIMEOUT: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use aws_config::{BehaviorVersion, Region};
    use aws_sdk_bedrockruntime::config::Credentials;

    use super::*;

    /// Stands for a chain that ends at a metadata service that nobody runs.
    #[derive(Debug)]
    struct Silent;

    impl ProvideCredentials for Silent {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(std::future::pending())
        }
    }

    fn keys() -> SharedCredentialsProvider {
        SharedCredentialsProvider::new(Credentials::new("AKIDBASE", "s", None, None, "test"))
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_that_exist_are_found_at_once() {
        assert!(probe(Some(&keys()), Duration::from_secs(1)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_metadata_service_is_not_waited_for() {
        let silent = SharedCredentialsProvider::new(Silent);
        let begun = crate::clock::now();
        let error = probe(Some(&silent), Duration::from_millis(1500))
            .await
            .unwrap_err();
        assert_eq!(*error.kind(), ProviderErrorKind::Unauthorized);
        assert_eq!(crate::clock::now() - begun, Duration::from_millis(1500));
    }

    #[tokio::test]
    async fn no_provider_is_no_credentials() {
        let error = probe(None, Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(*error.kind(), ProviderErrorKind::Unauthorized);
    }

    #[tokio::test]
    async fn a_role_that_cannot_be_assumed_falls_back_to_the_base_credentials() {
        // Nothing listens on port 9, so STS cannot be reached.
        let sdk = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(keys())
            .endpoint_url("http://127.0.0.1:9")
            .load()
            .await;
        let role = RoleOrBase::new("arn:aws:iam::123456789012:role/demo".into(), &sdk, keys());
        let credentials = role.provide_credentials().await.unwrap();
        assert_eq!(credentials.access_key_id(), "AKIDBASE");
    }
}
