//! The finished service as a black box: the real program as a process of its own, and nothing of
//! it but HTTP, sockets, files and signals.
#![allow(
    clippy::disallowed_methods,
    reason = "a real process runs in real time"
)]

mod access;
mod answer;
mod api;
mod booking;
mod breaker;
mod callers;
mod campaigns;
mod commands;
mod crash;
mod demo;
mod documents;
mod drain;
mod follower;
mod keyless;
mod model;
mod nodes;
mod nova;
mod outbound;
mod program;
mod prompts;
mod records;
mod replay;
mod service;
mod settings;
mod sockets;
mod softphone;
mod tokens;
mod traces;
mod transcript;
mod transfer;
mod webhooks;

#[path = "../support/dynamo.rs"]
#[allow(dead_code, reason = "what other tests need of it")]
mod dynamo;

#[path = "../support/mailbox.rs"]
#[allow(dead_code, reason = "what other tests need of it")]
mod mailbox;

#[path = "../support/python.rs"]
mod python;

#[path = "../support/radicale.rs"]
#[allow(dead_code, reason = "what other tests need of it")]
mod radicale;
