//! What can go wrong at the service, on demand.

use std::time::Duration;

use serde_json::Value;

/// A refusal before the stream opens: an HTTP status with the service's error type.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The value of `x-amzn-errortype`.
    pub kind: String,
    /// The text of the error.
    pub message: String,
}

impl Refusal {
    /// Any status, error type and message.
    #[must_use]
    pub fn new(status: u16, kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            status,
            kind: kind.into(),
            message: message.into(),
        }
    }

    /// 403: the credentials may not use the model.
    #[must_use]
    pub fn access_denied() -> Self {
        Self::new(
            403,
            "AccessDeniedException",
            "You don't have access to the model with the specified model ID.",
        )
    }

    /// 404: no such model here.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(
            404,
            "ResourceNotFoundException",
            "Could not resolve the foundation model from the provided model identifier.",
        )
    }

    /// 400: the request makes no sense.
    #[must_use]
    pub fn validation() -> Self {
        Self::new(
            400,
            "ValidationException",
            "The provided model identifier is invalid.",
        )
    }

    /// 400: a quota of the account is used up.
    #[must_use]
    pub fn quota_exceeded() -> Self {
        Self::new(
            400,
            "ServiceQuotaExceededException",
            "Your account has reached its quota of concurrent sessions.",
        )
    }

    /// 429: too many requests.
    #[must_use]
    pub fn throttled() -> Self {
        Self::new(
            429,
            "ThrottlingException",
            "Too many requests, please wait before trying again.",
        )
    }

    /// 429: the model is still being loaded.
    #[must_use]
    pub fn model_not_ready() -> Self {
        Self::new(
            429,
            "ModelNotReadyException",
            "The model specified in the request is not ready to serve inference requests.",
        )
    }

    /// 424: the model failed.
    #[must_use]
    pub fn model_error() -> Self {
        Self::new(
            424,
            "ModelErrorException",
            "The request failed due to an error while processing the model.",
        )
    }

    /// 408: the model took too long.
    #[must_use]
    pub fn model_timeout() -> Self {
        Self::new(
            408,
            "ModelTimeoutException",
            "The request took too long to process.",
        )
    }

    /// 500: the service failed.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            500,
            "InternalServerException",
            "An internal server error occurred.",
        )
    }

    /// 503: the service is out of order for now.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::new(
            503,
            "ServiceUnavailableException",
            "The service isn't currently available. Try again later.",
        )
    }
}

/// An exception inside the stream, which ends it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exception {
    /// The value of `:exception-type`, in lower camel case where the service knows it.
    pub kind: String,
    /// The text; the service puts a request id in front.
    pub message: String,
}

impl Exception {
    /// Any type and message.
    #[must_use]
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            message: message.into(),
        }
    }

    /// A `validationException`.
    #[must_use]
    pub fn validation(message: impl Into<String>) -> Self {
        Self::new("validationException", message)
    }

    /// The age limit of a session.
    #[must_use]
    pub fn model_timeout() -> Self {
        Self::new(
            "modelTimeoutException",
            "Model has timed out in processing the request. Try your request again.",
        )
    }

    /// Neither audio nor interactive text for too long.
    #[must_use]
    pub fn idle() -> Self {
        Self::validation("Timed out waiting for audio bytes or interactive content")
    }

    /// The same, in the older wording.
    #[must_use]
    pub fn idle_in_older_words() -> Self {
        Self::validation("Timed out waiting for input events")
    }

    /// The transport behind the service broke.
    #[must_use]
    pub fn upstream_reset() -> Self {
        Self::validation(
            "InternalErrorCode=531::Received RST_STREAM closed stream with error code NO_ERROR",
        )
    }

    /// A transient failure, often early in a call.
    #[must_use]
    pub fn instability() -> Self {
        Self::validation("System instability detected. Please retry your request.")
    }

    /// A tool result that is no JSON.
    #[must_use]
    pub fn tool_parsing() -> Self {
        Self::validation("Tool Response parsing error")
    }

    /// A content filter struck.
    #[must_use]
    pub fn content_filter() -> Self {
        Self::validation("The generated text has been blocked by our content filters.")
    }

    /// A field or an order that the service does not accept.
    #[must_use]
    pub fn invalid_input() -> Self {
        Self::validation(INVALID_INPUT)
    }

    /// Too much history.
    #[must_use]
    pub fn history_over_limit() -> Self {
        Self::validation("Chat history is over max limit. Please trim the history and retry.")
    }

    /// The model's stream failed.
    #[must_use]
    pub fn model_stream_error() -> Self {
        Self::new(
            "modelStreamErrorException",
            "The system encountered an unexpected error during processing. Try your request again.",
        )
    }

    /// The service failed.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            "internalServerException",
            "The system encountered an unexpected error during processing. Try your request again.",
        )
    }

    /// Too much load.
    #[must_use]
    pub fn throttling() -> Self {
        Self::new(
            "throttlingException",
            "Too many requests, please wait before trying again.",
        )
    }

    /// Out of order for now.
    #[must_use]
    pub fn unavailable() -> Self {
        Self::new(
            "serviceUnavailableException",
            "The service isn't currently available. Try again later.",
        )
    }

    /// A type that no client knows.
    #[must_use]
    pub fn unknown() -> Self {
        Self::new("brandNewException", "Something new went wrong.")
    }
}

/// Something that goes wrong inside an open session.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// An exception frame, then the end of the output. The input stays open until the client
    /// closes it.
    Exception(Exception),
    /// The output ends as if all were well, and the input is refused from then on.
    EndStream,
    /// RST_STREAM.
    ResetStream,
    /// A TCP reset, with every session of the connection.
    ResetTcp,
    /// A graceful GOAWAY: running sessions go on, new ones need another connection.
    GoAway,
    /// A frame whose checksum is wrong; then nothing more comes.
    CorruptFrame,
    /// Half a frame, then the end of the output.
    TruncatedFrame,
    /// An event with a name that no client knows.
    UnknownEvent,
    /// An event frame of a type that the operation does not define.
    UnknownEventType,
    /// The input is no longer read: flow control stops the client in time. Nothing else stops.
    StallInput,
    /// Nothing is sent any more, though everything is read.
    StallOutput,
    /// Any event, as the whole `{"event":{…}}`.
    Emit(Value),
}

/// When a fault strikes. Frames and audio count from the start of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum When {
    /// As soon as the response headers are out.
    Opened,
    /// After this long, in service time: divided by
    /// [`Options::time_scale`](super::Options::time_scale).
    After(Duration),
    /// After this many input events.
    Inputs(u64),
    /// After this much caller audio.
    Audio(Duration),
    /// After this many output events.
    Outputs(u64),
    /// When the audio of this reply begins, counted from 0.
    Reply(usize),
}

/// Legal but awkward habits of the service, which a client must bear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    clippy::struct_excessive_bools,
    reason = "independent switches, built with struct update syntax"
)]
pub struct Quirks {
    /// No `completionEnd` at the end.
    pub no_completion_end: bool,
    /// No `role` on content and text.
    pub no_role: bool,
    /// Every FINAL sentence of the assistant comes twice, with another `contentId`.
    pub double_final: bool,
    /// Every SPECULATIVE sentence comes twice, with another `contentId`.
    pub double_speculative: bool,
    /// The arguments of a tool call are a JSON string inside a JSON string.
    pub double_encoded_tool: bool,
    /// Every tool call comes twice, with the same `toolUseId` and another `contentId`.
    pub double_tool: bool,
    /// What the caller said comes word by word, each in its own block.
    pub caller_in_pieces: bool,
    /// Interactive text comes back as the caller's text.
    pub echo_interactive: bool,
    /// How a barge-in is announced.
    pub interruption: Interruption,
}

/// How the service announces that the caller interrupted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Interruption {
    /// AUDIO ends with `END_TURN`, then a FINAL text block with the marker ends `INTERRUPTED`.
    #[default]
    Usual,
    /// The marker in other white space, alone: its block ends `PARTIAL_TURN`.
    MarkerOnly,
    /// A text block without the marker that ends `INTERRUPTED`.
    TextOnly,
    /// AUDIO ends with `INTERRUPTED`, and nothing else says so.
    AudioOnly,
    /// All three signals.
    All,
}

pub(super) const INVALID_INPUT: &str =
    "Invalid input request, please fix your input and try again.";
