//! An SDK for phone agents that speak.
//!
//! A [`VoiceAgent`](agent::VoiceAgent) takes calls from a carrier, lets a speech-to-speech model
//! talk, keeps what was said, and knows the people on the phone. Each of the four is a small
//! trait, so carriers, models, sinks and stores can be exchanged, wrapped and faked.
//!
//! # A whole call
//!
//! No keys, no network: calls come from inside the process, and a scripted model answers with
//! words and synthetic tones.
//!
//! ```
//! use std::time::Duration;
//!
//! use novavoice::{
//!     agent::{EventKind, Prompt, VoiceAgent},
//!     audio::SampleRate,
//!     call::{CallId, CallInfo, Direction},
//!     model::scripted::{Script, Scripted},
//!     telephony::memory::Loopback,
//!     transcript::MemorySink,
//! };
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), novavoice::ProviderError> {
//! let (telephony, callers) = Loopback::new();
//! let agent = VoiceAgent::builder()
//!     .telephony(telephony)
//!     .model(Scripted::new(Script::scheduling()))
//!     .transcripts(MemorySink::new())
//!     .prompt(|_call, _lead| Prompt::new("You book meetings.").with_greeting("Greet the caller."))
//!     .build();
//!
//! let mut events = agent.handle().subscribe();
//! let started = "2026-06-22T20:35:32Z".parse().expect("a time");
//! let call = CallInfo::new(CallId::random(), Direction::Inbound, started, SampleRate::Hz16000);
//! let phone = callers.call(call).await.into_phone();
//!
//! agent
//!     .serve(async {
//!         while let Ok(event) = events.recv().await {
//!             match event.kind {
//!                 EventKind::Utterance(line) => {
//!                     println!("{}: {}", line.speaker.as_str(), line.text);
//!                     phone.hang_up().await;
//!                 }
//!                 EventKind::Ended { .. } => break,
//!                 _ => {}
//!             }
//!         }
//!     })
//!     .await
//! # }
//! ```
//!
//! # How it hangs together
//!
//! ```text
//! caller → telephony → CallEvent → conversation → Action::Feed → model → provider
//! caller ← telephony ← CallCommand ← conversation ← ModelEvent ← model ← provider
//!                                        ├→ Action::Record   → transcript   (beside the call)
//!                                        ├→ Action::CallTool → tool         (beside the call) → Input::ToolDone
//!                                        ├→ Action::Publish  → observers    (never waited for)
//!                                        └→ Step::Wait(until) → the driver sleeps
//! ```
//!
//! [`conversation`] decides everything about a call and does no IO: it is told what happened and
//! when, and answers with what to do. [`agent`] is the thin shell that does it. So the rules of
//! turns, barge-in, pacing and endings can be tested in simulated time, hours in milliseconds.
//!
//! # The four traits
//!
//! | trait | brings | in this crate |
//! |---|---|---|
//! | [`Telephony`](telephony::Telephony) | callers, as legs | [`memory`](telephony::memory), `vonage`, `browser` |
//! | [`SpeechModel`](model::SpeechModel) | sessions that listen and speak | [`memory`](model::memory), [`scripted`](model::scripted), `nova_sonic` |
//! | [`TranscriptSink`](transcript::TranscriptSink) | a place for what was said | [`MemorySink`](transcript::MemorySink), [`FileSink`](transcript::FileSink), `DynamoSink`; [`Spool`](transcript::Spool) and [`FanOut`](transcript::FanOut) around others |
//! | [`LeadStore`](lead::LeadStore) | what is known of people | [`MemoryLeads`](lead::MemoryLeads), `SqliteLeads`, `DynamoLeads` |
//! | [`CallStore`](record::CallStore) | calls, found again | [`MemoryCalls`](record::MemoryCalls), `SqliteCalls`, `DynamoCalls` |
//!
//! All are dyn-compatible, and `Arc<T>` forwards them: an agent whose providers are chosen at run
//! time is a `VoiceAgent<Arc<dyn Telephony>, Arc<dyn SpeechModel>, …>`.
//!
//! # Tools
//!
//! What the agent can do besides talking is a set of [`Tools`](tool::Tools): async functions over
//! structs whose doc comments tell the model when to use them.
//!
//! ```
//! use novavoice::{
//!     agent::VoiceAgent,
//!     tool::{Tool, ToolContext, ToolError, Tools, builtin},
//! };
//! use schemars::JsonSchema;
//! use serde::Deserialize;
//!
//! /// Books a web meeting. Use it once the caller has agreed to a day.
//! #[derive(Deserialize, JsonSchema)]
//! struct Book {
//!     /// The day, as YYYY-MM-DD.
//!     day: String,
//! }
//!
//! async fn book(context: ToolContext, meeting: Book) -> Result<String, ToolError> {
//!     let day: jiff::civil::Date = meeting.day.parse()?;
//!     println!("a meeting on {day}, agreed in the call {}", context.call().id);
//!     Ok(format!("booked for {day}"))
//! }
//!
//! let agent = VoiceAgent::builder().tools(Tools::new([
//!     Tool::new("book", book).filler("One moment, I am booking it."),
//!     builtin::end_call(),
//! ]));
//! # drop(agent);
//! ```
//!
//! They run beside the call, and the model gets exactly one answer to each use; see [`tool`].
//!
//! # Prompts
//!
//! [`prompt`] keeps what an agent is told and says in versions that are changed without a restart,
//! with the fields of a lead as typed placeholders. The builder's
//! [`prompt_from`](agent::VoiceAgentBuilder::prompt_from) looks one up for each call.
//!
//! # Writing a provider
//!
//! Legs and sessions are values: a [`Duplex`](duplex::Duplex) of two bounded channels. Make a
//! pair, give one end away, and run a task on the other. The in-memory providers are the ones to
//! read first. Then run the conformance suite of the trait, `testkit::conformance`, on yours.
//!
//! # Testing an agent
//!
//! A [`journal`] is a call written down: it runs again through the core of another build, and the
//! first action that differs is named.
//!
//! The feature `testkit` brings a simulator of one conversation, random calls before a witness, a strict Bedrock that speaks TLS
//! and HTTP/2 and verifies signatures, a strict Vonage that signs webhooks and plays what it is
//! sent like a telephone, and the conformance suites.
//!
//! # Features
//!
//! None is on by default; each adds one provider and changes nothing else.
//!
//! | feature | adds | costs |
//! |---|---|---|
//! | `browser` | `telephony::browser`, `telephony::socket`: callers in a browser | axum, tungstenite |
//! | `vonage` | `telephony::vonage`: callers on the phone, and people to call; includes `browser`'s socket | an HTTP client |
//! | `nova-sonic` | `model::nova_sonic`: Amazon Nova Sonic | the AWS SDK for Bedrock |
//! | `caldav` | `booking::CalDavCalendar`: meetings in the host's own calendar | an HTTP client |
//! | `mail` | `booking::Outbox`: invitations by mail | an SMTP client |
//! | `dynamodb` | `dynamodb`, `transcript::dynamodb`: Amazon DynamoDB | the AWS SDK for DynamoDB |
//! | `testkit` | `testkit`: fakes, simulation, conformance; outside semver | a TLS server, an HTTP client |
//!
//! # Times and privacy
//!
//! The core's times are [`Instant`](std::time::Instant)s that it is given; the calendar's are
//! [`jiff::Timestamp`]s. Phone numbers, words and secrets are private by type: their `Debug` and
//! `Display` do not show them.
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::panic, clippy::print_stdout)
)]

mod clock;

#[cfg(feature = "sqlite")]
mod sqlite;

pub mod error;
pub use error::{ProviderError, ProviderErrorKind};

pub mod private;

pub mod audio;

pub mod call;

#[cfg(feature = "dynamodb")]
pub mod dynamodb;

pub mod duplex;

pub mod telephony;

pub mod conversation;

pub mod journal;

pub mod answer;

pub mod model;

pub mod tool;

pub mod transcript;

pub mod record;

pub mod lead;

pub mod state;

pub mod outbound;

pub mod booking;

pub mod prompt;

pub mod agent;

#[cfg(feature = "testkit")]
pub mod testkit;

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
