//! Every provider runs the suite of its trait.

mod lead;
mod model;
mod telephony;
mod transcript;
