//! The demonstration: a campaign from the leads to the bookings, without keys and without a
//! network.
//!
//! The people on the phone and the model are simulated; they speak sounds that carry their words
//! ([`novavoice::testkit::words`]). All that is between them is the service as ever, with its
//! sockets, webhooks and streams on loopback; carrier and Bedrock are the strict ones of the
//! testkit.
//!
//! [`stories`] says who says what, [`model`] and [`people`] act it, [`stage`] puts everything up,
//! [`live`] shows it as it happens and [`report`] what came of it, on a [`screen`].

pub(crate) mod live;
mod model;
mod people;
pub(crate) mod report;
pub(crate) mod screen;
pub(crate) mod stage;
mod stories;
