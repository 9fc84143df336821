//! What the journal holds that the sink behind it does not have yet. In memory, and small: the
//! words stay on the disk.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    entry::{Entry, Opened, What},
    journal::Place,
};
use crate::{
    call::{CallId, CallInfo, CallSummary},
    transcript::Utterance,
};

#[derive(Default)]
pub(super) struct Book {
    calls: HashMap<CallId, Kept>,
    /// The calls that wait for their turn, by where their first entry stands.
    fronts: BTreeMap<(u64, u64), CallId>,
    /// How many entries of each segment the sink does not have yet.
    outstanding: BTreeMap<u64, usize>,
    recent: Recent,
}

struct Kept {
    opened: Opened,
    open: bool,
    /// The sink knows that it is open.
    in_sink: bool,
    waiting: VecDeque<Waiting>,
    /// Since something waits.
    since: Option<Instant>,
    /// Entries that are being written.
    writing: usize,
    /// Somebody hands its entries to the sink.
    busy: bool,
    refusals: u32,
    not_before: Option<Instant>,
    /// Which process wrote of it last.
    life: u64,
    last_line: Option<Timestamp>,
}

#[derive(Clone, Copy)]
struct Waiting {
    kind: Kind,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Start,
    Line,
    End,
}

/// What happens to the book once an entry is on the disk.
pub(super) enum Note {
    Start {
        opened: Opened,
        /// The sink has it already.
        in_sink: bool,
    },
    Line {
        call: CallId,
        seq: u64,
    },
    End {
        call: CallId,
    },
    Done {
        call: CallId,
    },
    Alive,
}

impl Note {
    fn call(&self) -> Option<&CallId> {
        match self {
            Self::Start { opened, .. } => Some(&opened.call),
            Self::Line { call, .. } | Self::End { call } | Self::Done { call } => Some(call),
            Self::Alive => None,
        }
    }
}

/// What the sink is to be told next of a call.
pub(super) enum Step {
    Start {
        info: CallInfo,
        /// How many waiting entries that settles.
        settles: usize,
    },
    Lines(Vec<Place>),
    End(Place),
}

/// Whose turn it is.
pub(super) enum Turn {
    Now(CallId),
    At(Option<Instant>),
}

/// When a call's turn comes.
#[derive(Clone, Copy)]
pub(super) struct Linger {
    pub(super) lines: usize,
    pub(super) time: Duration,
}

impl Book {
    /// The last line that is known of a call, whether it is open or was a while ago.
    pub(super) fn last(&self, call: &CallId) -> Option<u64> {
        let kept = self.calls.get(call).map(|kept| kept.opened.last);
        kept.or_else(|| self.recent.get(call))
    }

    pub(super) fn is_open(&self, call: &CallId) -> bool {
        self.calls.get(call).is_some_and(|kept| kept.open)
    }

    /// The calls that are open, for the head of a segment.
    pub(super) fn open(&self) -> Vec<Opened> {
        let open = self.calls.values().filter(|kept| kept.open);
        open.map(|kept| kept.opened.clone()).collect()
    }

    pub(super) fn any_open(&self) -> bool {
        self.calls.values().any(|kept| kept.open)
    }

    /// How many entries the sink does not have yet.
    pub(super) fn waiting(&self) -> usize {
        self.outstanding.values().sum()
    }

    pub(super) fn waits_of(&self, call: &CallId) -> Vec<Place> {
        let kept = self.calls.get(call);
        let waiting = kept.into_iter().flat_map(|kept| &kept.waiting);
        let lines = waiting.filter(|waiting| waiting.kind == Kind::Line);
        lines.map(|waiting| waiting.place).collect()
    }

    /// Whether nothing waits and nothing is being written.
    pub(super) fn is_settled(&self) -> bool {
        self.outstanding.is_empty() && self.calls.values().all(|kept| kept.writing == 0)
    }

    /// The first segment that is still needed, if it is not the one that is written.
    pub(super) fn first_needed(&self) -> Option<u64> {
        self.outstanding
            .first_key_value()
            .map(|(number, _)| *number)
    }

    pub(super) fn write_begins(&mut self, note: &Note) {
        if let Some(kept) = note.call().and_then(|call| self.calls.get_mut(call)) {
            kept.writing += 1;
        }
    }

    pub(super) fn write_over(&mut self, note: &Note) {
        if let Some(kept) = note.call().and_then(|call| self.calls.get_mut(call)) {
            kept.writing = kept.writing.saturating_sub(1);
        }
    }

    pub(super) fn written(&mut self, note: Note, place: Place, now: Instant) {
        self.write_over(&note);
        match note {
            Note::Start { opened, in_sink } => {
                let call = opened.call.clone();
                let kept = self.open_call(opened);
                if in_sink && kept.waiting.is_empty() {
                    kept.in_sink = true;
                } else {
                    self.wait(&call, Kind::Start, place, now);
                }
            }
            Note::Line { call, seq } => {
                if let Some(kept) = self.calls.get_mut(&call) {
                    kept.opened.last = kept.opened.last.max(seq);
                }
                self.wait(&call, Kind::Line, place, now);
            }
            Note::End { call } => {
                if let Some(kept) = self.calls.get_mut(&call) {
                    kept.open = false;
                }
                self.wait(&call, Kind::End, place, now);
            }
            Note::Done { call } => self.drop_if_over(&call),
            Note::Alive => {}
        }
    }

    /// Takes an entry in that was found on the disk. `life` is the process that wrote it.
    pub(super) fn replay(&mut self, entry: Entry, life: u64, place: Place, now: Instant) {
        let call = match entry.what {
            What::Head { open, .. } => {
                for opened in open {
                    let call = opened.call.clone();
                    if !self.calls.contains_key(&call) {
                        self.open_call(opened).life = life;
                    }
                }
                return;
            }
            What::Alive => return,
            What::Done { call } => {
                self.settle(&call, usize::MAX);
                self.drop_if_over(&call);
                return;
            }
            What::Start(opened) => {
                let call = opened.call.clone();
                self.open_call(opened);
                self.wait(&call, Kind::Start, place, now);
                call
            }
            What::Line { call, line } => {
                let kept = self.known(&call, line.at);
                kept.opened.last = kept.opened.last.max(line.seq);
                kept.last_line = kept.last_line.max(Some(line.at));
                self.wait(&call, Kind::Line, place, now);
                call
            }
            What::End { call, .. } => {
                self.known(&call, entry.at).open = false;
                self.wait(&call, Kind::End, place, now);
                call
            }
        };
        if let Some(kept) = self.calls.get_mut(&call) {
            kept.life = life;
        }
    }

    /// The calls whose process died, with how they ended; `lives` says when each process was
    /// alive for the last time.
    pub(super) fn abandoned(&self, lives: &HashMap<u64, Timestamp>) -> Vec<(CallId, CallSummary)> {
        let open = self.calls.values().filter(|kept| kept.open);
        open.map(|kept| {
            let alive = lives.get(&kept.life).copied().max(kept.last_line);
            let alive = alive.unwrap_or(kept.opened.started);
            (kept.opened.call.clone(), kept.opened.abandoned(alive))
        })
        .collect()
    }

    /// Whose entries the sink should get now. Whoever is named is busy until
    /// [`rest`](Self::rest).
    pub(super) fn turn(&mut self, now: Instant, linger: Linger) -> Turn {
        let mut soonest: Option<Instant> = None;
        let mut turn = None;
        for (front, call) in &self.fronts {
            let Some(due) = self.calls.get(call).map(|kept| kept.due(linger)) else {
                continue;
            };
            match due {
                Some(due) if due > now => {
                    soonest = Some(soonest.map_or(due, |soonest| soonest.min(due)));
                }
                _ => {
                    turn = Some((*front, call.clone()));
                    break;
                }
            }
        }
        let Some((front, call)) = turn else {
            return Turn::At(soonest);
        };
        self.fronts.remove(&front);
        if let Some(kept) = self.calls.get_mut(&call) {
            kept.busy = true;
        }
        Turn::Now(call)
    }

    /// What to tell the sink next of a call that is busy.
    pub(super) fn step(&self, call: &CallId, lines: usize) -> Option<Step> {
        let kept = self.calls.get(call)?;
        let front = kept.waiting.front()?;
        if !kept.in_sink || front.kind == Kind::Start {
            return Some(Step::Start {
                info: kept.opened.info(),
                settles: usize::from(front.kind == Kind::Start),
            });
        }
        if front.kind == Kind::End {
            return Some(Step::End(front.place));
        }
        let run = kept
            .waiting
            .iter()
            .take_while(|waiting| waiting.kind == Kind::Line)
            .take(lines)
            .map(|waiting| waiting.place);
        Some(Step::Lines(run.collect()))
    }

    /// The sink has the first `count` entries of a call.
    pub(super) fn settle(&mut self, call: &CallId, count: usize) {
        let Some(kept) = self.calls.get_mut(call) else {
            return;
        };
        let front = kept.waiting.front().map(|waiting| waiting.place);
        let count = count.min(kept.waiting.len());
        for settled in kept.waiting.drain(..count) {
            if let Some(left) = self.outstanding.get_mut(&settled.place.segment) {
                *left -= 1;
                if *left == 0 {
                    self.outstanding.remove(&settled.place.segment);
                }
            }
        }
        if count > 0 {
            kept.refusals = 0;
            kept.not_before = None;
        }
        if kept.waiting.is_empty() {
            kept.since = None;
        }
        if let Some(front) = front
            && count > 0
            && !kept.busy
        {
            self.fronts.remove(&(front.segment, front.offset()));
            self.queue(call);
        }
    }

    pub(super) fn set_in_sink(&mut self, call: &CallId, in_sink: bool) {
        if let Some(kept) = self.calls.get_mut(call) {
            kept.in_sink = in_sink;
        }
    }

    /// A call's entry was refused for the how-many-th time.
    pub(super) fn refused(&mut self, call: &CallId) -> u32 {
        let Some(kept) = self.calls.get_mut(call) else {
            return u32::MAX;
        };
        // Whatever the sink thinks of the call, it is told again from the start.
        kept.in_sink = false;
        kept.refusals += 1;
        kept.refusals
    }

    pub(super) fn not_before(&mut self, call: &CallId, then: Instant) {
        if let Some(kept) = self.calls.get_mut(call) {
            kept.not_before = Some(then);
        }
    }

    /// Nobody handles the call any more. `true` when all of it is in the sink, so that this may
    /// be written down.
    pub(super) fn rest(&mut self, call: &CallId) -> bool {
        let Some(kept) = self.calls.get_mut(call) else {
            return false;
        };
        kept.busy = false;
        let over = !kept.open && kept.waiting.is_empty() && kept.writing == 0;
        self.queue(call);
        over
    }

    /// Forgets the open calls: others look after them.
    pub(super) fn release(&mut self) -> Vec<CallId> {
        let open = self.calls.values_mut().filter(|kept| kept.open);
        open.map(|kept| {
            kept.open = false;
            kept.opened.call.clone()
        })
        .collect()
    }

    fn open_call(&mut self, opened: Opened) -> &mut Kept {
        let kept = self
            .calls
            .entry(opened.call.clone())
            .or_insert_with(|| Kept::new(opened.clone()));
        let last = kept.opened.last.max(opened.last);
        kept.opened = opened.with_last(last);
        kept.open = true;
        kept
    }

    /// The call, also where the entry that opened it is lost.
    fn known(&mut self, call: &CallId, at: Timestamp) -> &mut Kept {
        if !self.calls.contains_key(call) {
            self.open_call(Opened::unknown(call.clone(), at));
        }
        self.calls
            .entry(call.clone())
            .or_insert_with(|| Kept::new(Opened::unknown(call.clone(), at)))
    }

    fn wait(&mut self, call: &CallId, kind: Kind, place: Place, now: Instant) {
        let Some(kept) = self.calls.get_mut(call) else {
            return;
        };
        kept.waiting.push_back(Waiting { kind, place });
        kept.since.get_or_insert(now);
        *self.outstanding.entry(place.segment).or_default() += 1;
        self.queue(call);
    }

    fn queue(&mut self, call: &CallId) {
        if let Some(kept) = self.calls.get(call)
            && !kept.busy
            && let Some(front) = kept.waiting.front()
        {
            let at = (front.place.segment, front.place.offset());
            self.fronts.insert(at, call.clone());
        }
    }

    fn drop_if_over(&mut self, call: &CallId) {
        if let Some(kept) = self.calls.get(call)
            && !kept.open
            && !kept.busy
            && kept.waiting.is_empty()
            && kept.writing == 0
        {
            self.recent.insert(call.clone(), kept.opened.last);
            self.calls.remove(call);
        }
    }
}

impl Kept {
    fn new(opened: Opened) -> Self {
        Self {
            opened,
            open: true,
            in_sink: false,
            waiting: VecDeque::new(),
            since: None,
            writing: 0,
            busy: false,
            refusals: 0,
            not_before: None,
            life: 0,
            last_line: None,
        }
    }

    /// `None` for at once.
    fn due(&self, linger: Linger) -> Option<Instant> {
        if self.not_before.is_some() {
            return self.not_before;
        }
        let at_once = self.waiting.len() >= linger.lines
            || self
                .waiting
                .iter()
                .any(|waiting| waiting.kind != Kind::Line);
        if at_once {
            return None;
        }
        self.since.map(|since| since + linger.time)
    }
}

/// The last lines of calls that are over: a call may go on after its end.
#[derive(Default)]
struct Recent {
    lasts: HashMap<CallId, u64>,
    order: VecDeque<CallId>,
}

impl Recent {
    fn get(&self, call: &CallId) -> Option<u64> {
        self.lasts.get(call).copied()
    }

    fn insert(&mut self, call: CallId, last: u64) {
        if self.lasts.insert(call.clone(), last).is_none() {
            self.order.push_back(call);
        }
        if self.order.len() > RECENT
            && let Some(oldest) = self.order.pop_front()
        {
            self.lasts.remove(&oldest);
        }
    }
}

/// Calls that are over and remembered.
const RECENT: usize = 4_096;

/// The lines among `entries`.
pub(super) fn lines(entries: Vec<What>) -> Vec<Utterance> {
    let mut seen = HashSet::new();
    let lines = entries.into_iter().filter_map(|entry| match entry {
        What::Line { line, .. } => Some(line),
        _ => None,
    });
    lines.filter(|line| seen.insert(line.seq)).collect()
}
