//! Tools: what the agent can do besides talking.
//!
//! A [`Tool`] is an async function over a struct of arguments. The struct's doc comment tells the
//! model what the tool does, those of its fields what to say; whatever the function returns goes
//! back to the model.
//!
//! ```
//! use std::time::Duration;
//!
//! use novavoice::tool::{Tool, ToolContext, ToolError, Tools, builtin};
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! /// Looks up when the office is open. Use it whenever the caller asks for opening hours.
//! #[derive(Deserialize, JsonSchema)]
//! struct OpeningHours {
//!     /// The day of the week, in English and lower case.
//!     day: String,
//! }
//!
//! #[derive(Serialize)]
//! struct Hours {
//!     from: &'static str,
//!     to: &'static str,
//! }
//!
//! async fn opening_hours(_: ToolContext, asked: OpeningHours) -> Result<Hours, ToolError> {
//!     match asked.day.as_str() {
//!         "saturday" | "sunday" => Err(ToolError::new("The office is closed at the weekend.")),
//!         _ => Ok(Hours { from: "9:00", to: "17:00" }),
//!     }
//! }
//!
//! let tools = Tools::new([
//!     Tool::new("opening_hours", opening_hours)
//!         .deadline(Duration::from_secs(3))
//!         .filler("One moment, let me look that up.")
//!         .interruptible(),
//!     builtin::end_call(),
//! ]);
//! assert_eq!(tools.specs().len(), 2);
//! ```
//!
//! Give them to the agent with
//! [`VoiceAgentBuilder::tools`](crate::agent::VoiceAgentBuilder::tools). A use runs beside the
//! call and never holds up its audio. The model gets exactly one answer to each, whatever
//! happens: what the function returns, an error for bad arguments, a panic, a missed deadline or
//! a tool that does not exist. When the model's session is exchanged meanwhile, the next one is
//! told in words.

mod arguments;

pub mod builtin;

mod call;
pub use call::{ToolCall, ToolCallId, ToolOutput, ToolResult, ToolRunId, ToolSpec};

mod context;
pub(crate) use context::WISHES;
pub use context::{ToolContext, ToolWish, ToolWishes};

mod error;
pub use error::ToolError;

mod registry;
pub use registry::{NoArguments, Tool, Tools};

mod schema;
