//! Temporary.
#![allow(dead_code, clippy::all)]
use novavoice::{call::*, model::Usage};
use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub(crate) struct AgentHandle;
impl AgentHandle {
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            calls: 0,
            sessions: 0,
            tasks: 0,
        }
    }
    pub(crate) fn hang_up(&self, _: &CallId) -> bool {
        false
    }
}
pub(crate) struct Counts {
    pub calls: usize,
    pub sessions: usize,
    pub tasks: usize,
}
#[derive(Clone, Debug, Default)]
pub(crate) struct Sockets;
pub(crate) struct ChannelStatus {
    pub id: String,
    pub client_count: usize,
    pub active: bool,
}
#[derive(Default)]
pub(crate) struct SocketStats {
    pub opened: u64,
    pub refused: u64,
    pub ignored_messages: u64,
    pub dropped_audio: u64,
    pub violations: u64,
}
impl Sockets {
    pub(crate) fn list(&self) -> Vec<ChannelStatus> {
        vec![]
    }
    pub(crate) fn open_sockets(&self) -> usize {
        0
    }
    pub(crate) fn stats(&self) -> SocketStats {
        SocketStats::default()
    }
}
#[derive(Clone, Debug, Default)]
pub(crate) struct Browser;
pub(crate) struct NewChannel {
    pub id: String,
    pub token: novavoice::private::Private<String>,
    pub url: novavoice::private::Private<String>,
}
impl Browser {
    pub(crate) fn create_channel(&self, _: jiff::Timestamp) -> NewChannel {
        NewChannel {
            id: "x".into(),
            token: "t".to_owned().into(),
            url: "u".to_owned().into(),
        }
    }
}
#[derive(Default)]
pub(crate) struct CallStats {
    pub frames_received: u64,
    pub frames_fed: u64,
    pub frames_filled: u64,
    pub frames_trimmed: u64,
    pub frames_dropped: u64,
    pub frames_played: u64,
    pub frames_unplayed: u64,
    pub underruns: u64,
    pub interruptions: u64,
    pub false_interruptions: u64,
    pub utterances: u64,
    pub usage: Usage,
    pub turns: Vec<Turn>,
}
#[derive(Default)]
pub(crate) struct Turn {
    pub first_frame: Option<Duration>,
}
