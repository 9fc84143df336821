//! Tools: what the agent can do besides talking.

mod call;
pub use call::{ToolCall, ToolCallId, ToolOutput, ToolResult, ToolSpec};
