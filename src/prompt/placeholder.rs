//! What a text may leave open.

use std::fmt;

/// A part of a text that depends on the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Placeholder {
    /// `lead.name`: the person's name.
    LeadName,
    /// `lead.company`: their church or company.
    LeadCompany,
    /// `lead.state`: the state they live in, field `state_province`.
    LeadState,
    /// `lead.email`
    LeadEmail,
    /// `lead.website`
    LeadWebsite,
    /// `lead.phone`: the number, as people write it.
    LeadPhone,
    /// `lead.source`: where we know them from.
    LeadSource,
    /// `lead.status`: how far we are with them.
    LeadStatus,
    /// `lead.owner`: whose lead it is, field `owner_alias`.
    LeadOwner,
    /// `lead.last_call`: the day of the last call, field `last_call_date`.
    LeadLastCall,
    /// `lead.known`: what the service tells of them, line by line.
    LeadKnown,
    /// `call.direction`: `inbound` or `outbound`.
    CallDirection,
    /// `call.clock`: what day and time it is for the person on the phone, and how sure that is.
    CallClock,
    /// `call.history`: the calls before, line by line.
    CallHistory,
    /// `host.name`: for whom the agent speaks.
    HostName,
    /// `host.company`: their company.
    HostCompany,
    /// `today`: the day, as in `Monday, June 22, 2026`.
    Today,
    /// `now`: day and time, as in `Monday, June 22, 2026, 10:30 PM (America/Chicago)`.
    Now,
    /// `voicemail`: this version's message for a voicemail; in instructions alone.
    Voicemail,
    /// `screening`: this version's answer to a screener; in instructions alone.
    Screening,
}

/// What a value looks like. One that does not counts as unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Words on one line.
    Text,
    /// One word of a small set.
    Word,
    /// An e-mail address.
    Email,
    /// An address in the web.
    Website,
    /// A phone number.
    Phone,
    /// A day.
    Date,
    /// A day and a time.
    Time,
    /// Several lines.
    Lines,
    /// Another text of the same version.
    Own,
}

impl Placeholder {
    /// Every one.
    pub const ALL: [Self; 20] = [
        Self::LeadName,
        Self::LeadCompany,
        Self::LeadState,
        Self::LeadEmail,
        Self::LeadWebsite,
        Self::LeadPhone,
        Self::LeadSource,
        Self::LeadStatus,
        Self::LeadOwner,
        Self::LeadLastCall,
        Self::LeadKnown,
        Self::CallDirection,
        Self::CallClock,
        Self::CallHistory,
        Self::HostName,
        Self::HostCompany,
        Self::Today,
        Self::Now,
        Self::Voicemail,
        Self::Screening,
    ];

    /// What stands between the braces.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LeadName => "lead.name",
            Self::LeadCompany => "lead.company",
            Self::LeadState => "lead.state",
            Self::LeadEmail => "lead.email",
            Self::LeadWebsite => "lead.website",
            Self::LeadPhone => "lead.phone",
            Self::LeadSource => "lead.source",
            Self::LeadStatus => "lead.status",
            Self::LeadOwner => "lead.owner",
            Self::LeadLastCall => "lead.last_call",
            Self::LeadKnown => "lead.known",
            Self::CallDirection => "call.direction",
            Self::CallClock => "call.clock",
            Self::CallHistory => "call.history",
            Self::HostName => "host.name",
            Self::HostCompany => "host.company",
            Self::Today => "today",
            Self::Now => "now",
            Self::Voicemail => "voicemail",
            Self::Screening => "screening",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }

    /// What its values look like.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::LeadName
            | Self::LeadCompany
            | Self::LeadState
            | Self::LeadSource
            | Self::LeadStatus
            | Self::LeadOwner
            | Self::HostName
            | Self::HostCompany => Kind::Text,
            Self::CallDirection => Kind::Word,
            Self::LeadEmail => Kind::Email,
            Self::LeadWebsite => Kind::Website,
            Self::LeadPhone => Kind::Phone,
            Self::LeadLastCall | Self::Today => Kind::Date,
            Self::Now => Kind::Time,
            Self::LeadKnown | Self::CallClock | Self::CallHistory => Kind::Lines,
            Self::Voicemail | Self::Screening => Kind::Own,
        }
    }

    /// The field of a lead that it shows, if it shows one.
    #[must_use]
    pub const fn field(self) -> Option<&'static str> {
        match self {
            Self::LeadName => Some("name"),
            Self::LeadCompany => Some("company"),
            Self::LeadState => Some("state_province"),
            Self::LeadEmail => Some("email"),
            Self::LeadWebsite => Some("website"),
            Self::LeadSource => Some("lead_source"),
            Self::LeadStatus => Some("lead_status"),
            Self::LeadOwner => Some("owner_alias"),
            Self::LeadLastCall => Some("last_call_date"),
            Self::LeadPhone
            | Self::LeadKnown
            | Self::CallDirection
            | Self::CallClock
            | Self::CallHistory
            | Self::HostName
            | Self::HostCompany
            | Self::Today
            | Self::Now
            | Self::Voicemail
            | Self::Screening => None,
        }
    }

    /// Whether there is always a value.
    #[must_use]
    pub const fn is_always_known(self) -> bool {
        matches!(
            self,
            Self::CallDirection | Self::Today | Self::Now | Self::Voicemail | Self::Screening
        )
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Kind {
    /// The word that the API uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Word => "word",
            Self::Email => "email",
            Self::Website => "website",
            Self::Phone => "phone",
            Self::Date => "date",
            Self::Time => "time",
            Self::Lines => "lines",
            Self::Own => "own text",
        }
    }

    /// How many bytes a value has at the most; of another text `own`, which bounds itself.
    pub(super) const fn longest(self, own: usize) -> usize {
        match self {
            Self::Word => LONGEST_WORD,
            Self::Phone | Self::Date | Self::Time | Self::Text | Self::Email | Self::Website => {
                LONGEST_VALUE
            }
            // With what ends each of them.
            Self::Lines => MOST_LINES * (LONGEST_LINE + 1),
            Self::Own => own,
        }
    }
}

/// Bytes of a value on one line: a long name, also where each character takes four.
pub(super) const LONGEST_VALUE: usize = 160;
/// Bytes of a word.
pub(super) const LONGEST_WORD: usize = 32;
/// Bytes of a line, and how many lines there are.
pub(super) const LONGEST_LINE: usize = 320;
pub(super) const MOST_LINES: usize = 8;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_names_one() {
        let names: BTreeSet<_> = Placeholder::ALL.iter().map(|one| one.as_str()).collect();
        assert_eq!(names.len(), Placeholder::ALL.len());
        for one in Placeholder::ALL {
            assert_eq!(Placeholder::named(one.as_str()), Some(one));
        }
        assert_eq!(Placeholder::named("lead.Name"), None);
    }
}
