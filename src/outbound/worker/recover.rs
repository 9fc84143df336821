//! What nodes leave behind that died.

use std::{collections::HashMap, sync::Arc};

use tokio::task::JoinSet;
use tracing::info;

use super::{Attempt, Inner, Stored, attempts_of, complain, node_key};
use crate::{
    error::{ProviderError, ProviderErrorKind},
    outbound::{Campaign, attempt},
    state::IdRange,
};

impl Inner {
    /// Sees to attempts of the campaign whose node is dead, and to those of our own that we lost
    /// hold of.
    pub(super) async fn take_over(
        self: &Arc<Self>,
        campaign: &Campaign,
        turns: &mut JoinSet<()>,
    ) -> Result<(), ProviderError> {
        if campaign.counts.in_progress == 0 {
            return Ok(());
        }
        let mut range = IdRange::all();
        let mut nodes = HashMap::new();
        loop {
            let now = self.now();
            let collection = attempts_of(&campaign.id);
            let page = self.desk.state.list(&collection, &range, PAGE, now).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            range = IdRange::after(&last.key.id);
            for record in page {
                let attempt: Stored<Attempt> = Stored::read(record)?;
                if !self.is_orphan(&attempt.value, &mut nodes).await? {
                    continue;
                }
                if let Some(attempt) = self.adopt(attempt).await? {
                    let (inner, campaign) = (Arc::clone(self), campaign.clone());
                    turns.spawn(async move {
                        // Before its lease runs out, and somebody else takes the lead.
                        let claim = inner.inherit(&attempt).await.unwrap_or_else(|failed| {
                            complain("the claim of a dead node cannot be taken over yet", &failed);
                            None
                        });
                        if let Some(call) = attempt.value.call.clone() {
                            inner
                                .belongs(&campaign, &attempt, &call, claim.as_ref())
                                .await;
                        }
                        inner.see_through(&campaign, attempt, claim).await;
                    });
                }
            }
        }
    }

    /// `nodes` remembers which nodes live.
    async fn is_orphan(
        &self,
        attempt: &Attempt,
        nodes: &mut HashMap<String, bool>,
    ) -> Result<bool, ProviderError> {
        if attempt.node == self.node {
            return Ok(!self.hands().attempts.contains(&attempt.id));
        }
        if let Some(lives) = nodes.get(&attempt.node) {
            return Ok(!lives);
        }
        let node = node_key(&attempt.node);
        let lives = self.desk.state.get(&node, self.now()).await?.is_some();
        nodes.insert(attempt.node.clone(), lives);
        Ok(!lives)
    }

    /// Makes an attempt ours. `None` when somebody else was faster.
    async fn adopt(
        &self,
        mut attempt: Stored<Attempt>,
    ) -> Result<Option<Stored<Attempt>>, ProviderError> {
        attempt.value.node.clone_from(&self.node);
        let write = attempt::update(&attempt)?;
        match self.desk.state.apply(vec![write], self.now()).await {
            Ok(()) => {
                info!(
                    attempt = attempt.value.id,
                    "an attempt was taken over from a node that is gone"
                );
                attempt.version += 1;
                self.hands().attempts.insert(attempt.value.id.clone());
                Ok(Some(attempt))
            }
            Err(failed) if *failed.kind() == ProviderErrorKind::Conflict => Ok(None),
            Err(failed) => Err(failed),
        }
    }
}

const PAGE: usize = 100;
