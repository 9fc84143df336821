//! Which model speaks, and how people are told.

/// What people are told about the model.
#[derive(Clone, Debug)]
pub(crate) struct Announcement {
    /// A short fixed name.
    pub(crate) name: &'static str,
    /// Whether it understands and speaks.
    pub(crate) real: bool,
    /// A sentence or two.
    pub(crate) notice: String,
}
