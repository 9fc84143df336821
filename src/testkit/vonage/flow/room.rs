//! Named conversations: who is in them, and how they end.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Flow, Next};
use crate::testkit::vonage::{call::Line, ncco::Join};

/// All named conversations of one carrier.
#[derive(Debug, Default)]
pub(in super::super) struct Rooms(Mutex<HashMap<String, Room>>);

#[derive(Debug, Default)]
struct Room {
    begun: bool,
    members: HashMap<String, Arc<Line>>,
}

impl Rooms {
    /// The ids of those whom the leg `uuid` talks with.
    pub(in super::super) fn others(&self, uuid: &str) -> Vec<String> {
        let rooms = self.lock();
        let own = rooms
            .values()
            .find(|room| room.begun && room.members.contains_key(uuid));
        let members = own.into_iter().flat_map(|room| room.members.keys());
        members.filter(|it| *it != uuid).cloned().collect()
    }

    fn enter(&self, join: &Join, line: &Arc<Line>) {
        let members = {
            let mut rooms = self.lock();
            let room = rooms.entry(join.name.clone()).or_default();
            room.begun |= join.starts;
            let uuid = line.card.uuid.clone();
            room.members.insert(uuid, Arc::clone(line));
            room.members.values().cloned().collect::<Vec<_>>()
        };
        let mut state = line.lock();
        state.room = Some(join.name.clone());
        state.room_over = false;
        drop(state);
        members.iter().for_each(|member| member.bump());
    }

    fn leave(&self, join: &Join, line: &Arc<Line>) {
        let rest = {
            let mut rooms = self.lock();
            let Some(room) = rooms.get_mut(&join.name) else {
                return;
            };
            room.members.remove(&line.card.uuid);
            let rest: Vec<_> = room.members.values().cloned().collect();
            if rest.is_empty() || join.ends {
                rooms.remove(&join.name);
            }
            rest
        };
        line.lock().room = None;
        for member in rest {
            if join.ends {
                member.lock().room_over = true;
            }
            member.bump();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Room>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flow {
    /// Talks with whoever else is there, until the leg leaves or the conversation ends.
    pub(super) async fn join(&self, join: Join) -> Next {
        let line = Arc::clone(&self.line);
        line.carrier.rooms.enter(&join, &line);
        self.report_transfer().await;
        let next = line.until(|state, _| match state.ending {
            Some(end) => Ok(Next::End(end)),
            None if state.moved.is_some() || state.room_over => Ok(Next::Continue),
            None => Err(None),
        });
        let next = next.await;
        line.carrier.rooms.leave(&join, &line);
        next
    }
}
