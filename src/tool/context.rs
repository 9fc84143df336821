//! What a tool knows of its call, and what it can do to it.

use std::{fmt, sync::Arc};

use tokio::sync::mpsc;

use super::{ToolError, ToolRunId};
use crate::{
    call::{CallInfo, Party},
    lead::Lead,
    private::Private,
    telephony::Keys,
};

/// A tool's view of the call that it is used in. Cheap to clone.
///
/// What it asks for is done by the conversation, in order, and before the tool's own result is
/// given to the model.
#[derive(Clone)]
pub struct ToolContext {
    call: Arc<CallInfo>,
    lead: Option<Arc<Lead>>,
    run: ToolRunId,
    wishes: mpsc::Sender<(ToolRunId, ToolWish)>,
}

/// What a tool asks of its conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ToolWish {
    /// Hang up once the agent's last words were heard.
    EndCall,
    /// Connect the caller with somebody else once the agent's last words were heard.
    Transfer(Party),
    /// Let somebody else be called first and told this, and connect the caller once they take the
    /// call over.
    WarmTransfer {
        /// Whom.
        to: Party,
        /// What they hear before they decide.
        briefing: Private<String>,
    },
    /// Press keys.
    SendDtmf(Keys),
    /// Give the model these words, which it answers as if the caller had said them.
    Tell(String),
    /// Let the agent say how far the tool is.
    Progress(String),
}

impl ToolContext {
    pub(crate) fn new(
        call: Arc<CallInfo>,
        lead: Option<Arc<Lead>>,
        run: ToolRunId,
        wishes: mpsc::Sender<(ToolRunId, ToolWish)>,
    ) -> Self {
        Self {
            call,
            lead,
            run,
            wishes,
        }
    }

    /// A context without a call behind it, to test tools with, and what they ask for.
    #[must_use]
    pub fn detached(call: CallInfo, lead: Option<Lead>) -> (Self, ToolWishes) {
        let (wishes, received) = mpsc::channel(WISHES);
        let context = Self::new(Arc::new(call), lead.map(Arc::new), ToolRunId(1), wishes);
        (context, ToolWishes(received))
    }

    /// The call.
    #[must_use]
    pub fn call(&self) -> &CallInfo {
        &self.call
    }

    /// What was known of the person on the phone when the call began.
    #[must_use]
    pub fn lead(&self) -> Option<&Lead> {
        self.lead.as_deref()
    }

    /// Hangs up once the agent's last words were heard.
    ///
    /// # Errors
    ///
    /// When the call is over.
    pub async fn end_call(&self) -> Result<(), ToolError> {
        self.wish(ToolWish::EndCall).await
    }

    /// Connects the caller with `to` once the agent's last words were heard, and leaves the call.
    /// If the carrier fails to, the model is told and the call goes on.
    ///
    /// # Errors
    ///
    /// When the carrier cannot transfer this call, or it is over.
    pub async fn transfer(&self, to: Party) -> Result<(), ToolError> {
        if !self.call.leg.transfer {
            return Err(ToolError::new("This call cannot be transferred."));
        }
        self.wish(ToolWish::Transfer(to)).await
    }

    /// Lets `to` be called and told `briefing`, and connects the caller with them once they take
    /// the call over; the call goes on meanwhile. If they do not, the model is told.
    ///
    /// # Errors
    ///
    /// When the carrier cannot transfer this call, or it is over.
    pub async fn warm_transfer(
        &self,
        to: Party,
        briefing: impl Into<String>,
    ) -> Result<(), ToolError> {
        if !self.call.leg.transfer {
            return Err(ToolError::new("This call cannot be transferred."));
        }
        let briefing = Private::new(briefing.into());
        self.wish(ToolWish::WarmTransfer { to, briefing }).await
    }

    /// Presses keys for the other side to hear. If the carrier fails to, the model is told.
    ///
    /// # Errors
    ///
    /// When the carrier cannot press keys on this call, or it is over.
    pub async fn send_dtmf(&self, keys: Keys) -> Result<(), ToolError> {
        if !self.call.leg.dtmf {
            return Err(ToolError::new("No keys can be pressed on this call."));
        }
        self.wish(ToolWish::SendDtmf(keys)).await
    }

    /// Gives the model these words, which it answers as if the caller had said them.
    ///
    /// # Errors
    ///
    /// When the call is over.
    pub async fn tell_model(&self, text: impl Into<String>) -> Result<(), ToolError> {
        self.wish(ToolWish::Tell(text.into())).await
    }

    /// Lets the agent say how far the tool is, in its own words and as soon as nobody speaks.
    /// Only the newest such report counts.
    ///
    /// # Errors
    ///
    /// When the call is over.
    pub async fn progress(&self, text: impl Into<String>) -> Result<(), ToolError> {
        self.wish(ToolWish::Progress(text.into())).await
    }

    async fn wish(&self, wish: ToolWish) -> Result<(), ToolError> {
        let sent = self.wishes.send((self.run, wish)).await;
        sent.map_err(|_| ToolError::new("The call is over."))
    }
}

impl fmt::Debug for ToolContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolContext")
            .field("call", &self.call.id)
            .field("run", &self.run)
            .finish_non_exhaustive()
    }
}

/// What tools with a [detached](ToolContext::detached) context ask for. Dropping it ends the call
/// for them.
#[derive(Debug)]
pub struct ToolWishes(mpsc::Receiver<(ToolRunId, ToolWish)>);

impl ToolWishes {
    /// The next wish. `None` once no context is left.
    pub async fn next(&mut self) -> Option<ToolWish> {
        self.0.recv().await.map(|(_, wish)| wish)
    }
}

/// Wishes that a call may be behind; a tool that asks for more waits.
pub(crate) const WISHES: usize = 16;
