//! What Esther can do besides talking: find times, book, move and cancel meetings, and write down
//! what came of the call.

mod caller;
mod meetings;
mod notes;
mod outcome;
#[cfg(test)]
mod tests;
mod times;

use std::sync::Arc;

use novavoice::{
    call::Party,
    lead::{LeadStore, PhoneNumber},
    outbound::Gatekeeper,
    state::StateStore,
    tool::{Tools, builtin},
};

pub(crate) use self::{
    caller::zone_of,
    notes::{Judged, Notes},
};
use crate::office::Office;

/// What the tools work with. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    pub(crate) office: Office,
    leads: Arc<dyn LeadStore>,
    /// Who takes calls over, if anybody does.
    colleague: Option<PhoneNumber>,
    /// Keeps whoever opts out from being called by any node.
    gatekeeper: Option<Gatekeeper>,
    pub(crate) notes: Notes,
}

impl Desk {
    /// The desk of Mike Lawrence, whose meetings `state` keeps.
    pub(crate) fn new(state: Arc<dyn StateStore>, leads: Arc<dyn LeadStore>) -> Self {
        Self {
            office: Office::embedded(state),
            leads,
            colleague: None,
            gatekeeper: None,
            notes: Notes::default(),
        }
    }

    /// The same desk, in this office.
    pub(crate) fn at(mut self, office: Office) -> Self {
        self.office = office;
        self
    }

    /// The same desk, whose opt-outs `gatekeeper` heeds.
    pub(crate) fn with_gatekeeper(mut self, gatekeeper: Gatekeeper) -> Self {
        self.gatekeeper = Some(gatekeeper);
        self
    }

    /// The same desk, which hands callers over to `colleague` who want to talk with a person.
    pub(crate) fn with_colleague(mut self, colleague: Option<PhoneNumber>) -> Self {
        self.colleague = colleague;
        self
    }

    /// The tools of this desk.
    pub(crate) fn tools(&self) -> Tools {
        let transfer = self.colleague.as_ref().map(|number| {
            let destination = ("office".to_owned(), Party::new(number.reveal()));
            builtin::transfer_call([destination])
        });
        let own = [
            meetings::find_times(self.clone()),
            meetings::book_meeting(self.clone()),
            meetings::move_meeting(self.clone()),
            meetings::cancel_meeting(self.clone()),
            outcome::record_outcome(self.clone()),
            caller::look_up_lead(self.clone()),
            builtin::end_call(),
        ];
        Tools::new(own.into_iter().chain(transfer))
    }
}
