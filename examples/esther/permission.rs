//! Whether somebody may be called. Asked before every dial.

use std::sync::Arc;

use futures::future::BoxFuture;
use novavoice::{lead::PhoneNumber, outbound::Refusal};

/// Says yes, or every reason why not.
#[derive(Clone)]
pub(crate) struct Permission(Ask);

type Ask = Arc<dyn Fn(Wish) -> BoxFuture<'static, Result<(), Vec<Refusal>>> + Send + Sync>;

/// A call that somebody wants to place by hand.
#[derive(Clone, Debug)]
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "read by rules, which come later")
)]
pub(crate) struct Wish {
    /// Whom.
    pub(crate) to: PhoneNumber,
    /// Whether what an operator may overrule is to be overruled.
    pub(crate) overrule: bool,
}

impl Permission {
    /// Whatever these rules say.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "made by rules, which come later")
    )]
    pub(crate) fn by<F>(ask: impl Fn(Wish) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<(), Vec<Refusal>>> + Send + 'static,
    {
        Self(Arc::new(move |wish| Box::pin(ask(wish))))
    }

    /// No rules: everybody may be called.
    pub(crate) fn always() -> Self {
        Self(Arc::new(|_| Box::pin(std::future::ready(Ok(())))))
    }

    /// Asks for one call.
    pub(crate) async fn ask(&self, wish: Wish) -> Result<(), Vec<Refusal>> {
        (self.0)(wish).await
    }
}
