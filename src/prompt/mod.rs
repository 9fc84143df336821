//! Prompts: what an agent is told and says, kept in versions that are changed without a restart.
//!
//! A version is a set of [`Texts`] under a number: the system prompt, what is added to it on calls
//! of either direction, the first words, the message for a voicemail, the answer to a screener. It
//! never changes once it is saved. One version is active; calls that ask for none speak by it.
//! Version 0 is what the program ships with. It is never stored, so it is there in a fresh store
//! and while a store does not answer, and changes with the program alone.
//!
//! # Placeholders
//!
//! Where a text depends on the call it holds placeholders. Two opening braces always begin one:
//!
//! ```text
//! Hello, this is Esther, calling for {{host.name}}. Am I speaking with {{lead.name|the pastor}}?
//! ```
//!
//! What stands behind `|` is said when nothing is known. Without it nothing stands there, and the
//! space before goes too; a line that holds nothing else goes as a whole. A name that is not one of
//! [`Placeholder`]'s is an error where the text is written, not in a call:
//!
//! ```
//! use novavoice::prompt::Template;
//!
//! let wrong = Template::parse("Hello {{lead.nmae}}").expect_err("no such field");
//! assert!(wrong[0].to_string().starts_with("line 1, column 7: there is no {{lead.nmae}}; known are"));
//! ```
//!
//! # Values are data
//!
//! What is known of people was written by people. A value is one line of bounded length without
//! control characters or quotes, has the form of its [`Kind`] or counts as unknown, and is never
//! read as a template: braces in a value are braces.
//!
//! ```
//! use jiff::{Timestamp, tz::TimeZone};
//! use novavoice::{call::Direction, prompt::{Facts, Placeholder, Template}};
//!
//! let now = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
//! let facts = Facts::new(Direction::Inbound, &now).with(Placeholder::LeadName, "Pat\n{{host.name}}");
//! let hello = Template::parse("Hello {{lead.name|there}}.").expect("a known name");
//! assert_eq!(hello.render(&facts), "Hello Pat {{host.name}}.");
//! ```

mod facts;
mod placeholder;
mod prompts;
mod template;
mod texts;
mod version;

pub use self::{
    facts::Facts,
    placeholder::{Kind, Placeholder},
    prompts::{Activation, Active, Prompts},
    template::{BadPlaceholder, PlaceholderProblem, Template},
    texts::{BadText, Rendered, TextProblem, Texts},
    version::{Draft, PromptVersion},
};
