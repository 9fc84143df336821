//! Which file a call's transcript is in. Pure: ids come from outside, so no path is made from
//! one unchecked.

use jiff::Timestamp;
use uuid::Uuid;

use crate::call::CallId;

/// What may stand for `call` in a file name, best first.
///
/// An id that is fit for a name stands for itself. Any other one is made fit and followed by a
/// hash of the true id, so that two ids that differ only in what was replaced stay apart. The
/// second choice is for file systems that take two names for the same (`CON-1` and `con-1`).
pub(crate) fn stems(call: &CallId) -> Vec<String> {
    let id = call.as_str();
    let fit = !id.is_empty() && id.len() <= MAX_ID && id.chars().all(is_fit) && !looks_hashed(id);
    fit.then(|| id.to_owned())
        .into_iter()
        .chain([hashed(id)])
        .collect()
}

/// `call-{stem}-{start}.md`, the start as `20260622T203532Z`.
pub(super) fn file_name(stem: &str, started: Timestamp) -> String {
    let started = stamp(started);
    format!("{PREFIX}{stem}-{started}{SUFFIX}")
}

/// A time for a file name: `20260622T203532Z`.
pub(crate) fn stamp(time: Timestamp) -> String {
    let time = time.max(Timestamp::UNIX_EPOCH);
    time.strftime(START_FORMAT).to_string()
}

/// The stem of a name that [`file_name`] made; `None` for any other name.
pub(super) fn stem_of(name: &str) -> Option<&str> {
    let name = name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    let (stem, started) = name.split_at_checked(name.len().checked_sub(START_LEN + 1)?)?;
    let started = started.strip_prefix('-')?.as_bytes();
    let is_start = started.iter().enumerate().all(|(at, byte)| match at {
        8 => *byte == b'T',
        15 => *byte == b'Z',
        _ => byte.is_ascii_digit(),
    });
    is_start.then_some(stem)
}

fn is_fit(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

fn hashed(id: &str) -> String {
    let fit: String = id
        .chars()
        .take(MAX_KEPT)
        .map(|c| if is_fit(c) { c } else { '_' })
        .collect();
    // UUID version 5 is a SHA-1 of the id; half of it is plenty for the calls of one directory.
    let (hash, _) = Uuid::new_v5(&Uuid::NAMESPACE_OID, id.as_bytes()).as_u64_pair();
    format!("{fit}.{hash:016x}")
}

/// Ends like the result of [`hashed`], so it could be taken for another id's.
fn looks_hashed(id: &str) -> bool {
    id.rsplit_once('.').is_some_and(|(_, hash)| {
        hash.len() == HASH_LEN && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

const PREFIX: &str = "call-";
const SUFFIX: &str = ".md";
const START_FORMAT: &str = "%Y%m%dT%H%M%SZ";
const START_LEN: usize = "20260622T203532Z".len();
const HASH_LEN: usize = 16;
/// Longest id that stands for itself; a file name may have 255 bytes on most systems.
const MAX_ID: usize = 96;
/// How much of any other id stays readable in front of its hash.
const MAX_KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn first(id: &str) -> String {
        stems(&CallId::new(id)).remove(0)
    }

    #[test]
    fn a_carriers_usual_ids_stand_for_themselves() {
        let started = "2026-06-22T20:35:32.9Z".parse().unwrap();
        for id in [
            "63f61863-4a51-4f6b-86e1-46edebcf9356",
            "63f618634a514f6b86e146edebcf9356",
            "CON-63f61863",
        ] {
            let name = file_name(&first(id), started);
            assert_eq!(name, format!("call-{id}-20260622T203532Z.md"));
            assert_eq!(stem_of(&name), Some(id));
        }
    }

    #[test]
    fn hostile_ids_make_short_harmless_names_that_never_collide() {
        let long = "a".repeat(300);
        let longer = "a".repeat(301);
        let lookalike = first("a/b");
        let ids = [
            "../../etc/passwd",
            ".._.._etc_passwd",
            "a/b",
            "a\\b",
            "a_b",
            "a b",
            "",
            "_",
            "\0",
            "\n",
            "añ",
            "aö",
            "通話",
            &long,
            &longer,
            &lookalike,
            "x-20260622T203532Z",
        ];
        let mut seen = HashSet::new();
        for id in ids {
            for started in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
                let name = file_name(&first(id), started);
                assert!(name.chars().all(is_fit), "{id:?} gave {name}");
                assert!(name.len() < 140, "{id:?} gave {name}");
                assert_eq!(stem_of(&name), Some(first(id).as_str()));
            }
            assert!(seen.insert(first(id)), "{id:?} shares a name");
        }
    }

    #[test]
    fn names_of_other_things_have_no_stem() {
        for name in [
            "call-a.md",
            "notes.md",
            "call-.md",
            "call-a-20260622T203532Z.json",
            "call-a-20260622T203532Z.md.bak",
            "call-a-20260622X203532Z.md",
            "call-ö20260622T203532Z.md",
        ] {
            assert_eq!(stem_of(name), None, "{name}");
        }
    }
}
