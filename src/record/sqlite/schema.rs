//! The tables of calls, and how calls are numbered in them.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use crate::{
    call::CallId,
    sqlite::{Failure, Schema},
};

pub(super) const SCHEMA: Schema = Schema {
    name: "calls",
    steps: &[FIRST, PROMPTS, TRANSFERS],
};

/// `calls.id` grows with the start of the call, so that the order of time is the order of rows,
/// in the index of words as well: a page of a list or of a search is read without sorting.
///
/// A transcript is indexed at the end of its call, and before a search where the call goes on.
/// The index holds which calls a word is in and nothing else: not where, and not the text. Every
/// beginning of a word counts as a word, since FTS5 collects all rows of a prefix before it gives
/// the first, and reads those of a word one by one.
const FIRST: &str = "
    CREATE TABLE calls (
        id INTEGER PRIMARY KEY,
        call_uuid TEXT NOT NULL UNIQUE,
        phone_number TEXT,
        phone TEXT,
        direction TEXT NOT NULL,
        status TEXT NOT NULL,
        outcome TEXT,
        day TEXT NOT NULL,
        start_time TEXT NOT NULL,
        end_time TEXT,
        duration_seconds REAL,
        input_speech_tokens INTEGER NOT NULL DEFAULT 0,
        input_text_tokens INTEGER NOT NULL DEFAULT 0,
        output_speech_tokens INTEGER NOT NULL DEFAULT 0,
        output_text_tokens INTEGER NOT NULL DEFAULT 0,
        cost_usd REAL,
        owner_alias TEXT,
        campaign TEXT,
        reply_count INTEGER,
        reply_latency_ms REAL,
        reply_latency_max_ms REAL,
        md_file_path TEXT,
        alive_at TEXT,
        created_at TEXT,
        updated_at TEXT,
        lines INTEGER NOT NULL DEFAULT 0,
        indexed INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX calls_by_phone ON calls (phone, id) WHERE phone IS NOT NULL;
    CREATE INDEX calls_by_status ON calls (status, id);
    CREATE INDEX calls_by_outcome ON calls (outcome, id);
    CREATE INDEX calls_to_index ON calls (id) WHERE indexed < lines;

    CREATE TABLE utterances (
        call INTEGER NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
        seq INTEGER NOT NULL,
        at TEXT NOT NULL,
        speaker TEXT NOT NULL,
        text TEXT NOT NULL,
        cut INTEGER NOT NULL,
        PRIMARY KEY (call, seq)
    ) WITHOUT ROWID;

    CREATE VIRTUAL TABLE transcripts USING fts5 (
        words, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii'
    );

    CREATE VIEW call_records AS SELECT
        call_uuid, phone_number, direction, status, outcome, day, start_time, end_time,
        duration_seconds,
        (SELECT group_concat(text, char(10)) FROM (
            SELECT text FROM utterances WHERE call = calls.id ORDER BY seq
        )) AS transcript,
        (SELECT json_group_array(json_object(
            'seq', seq, 'at', at, 'speaker', speaker, 'text', text,
            'cut', json(iif(cut, 'true', 'false'))
        )) FROM (SELECT * FROM utterances WHERE call = calls.id ORDER BY seq)) AS utterances,
        json_object(
            'input_speech_tokens', input_speech_tokens, 'input_text_tokens', input_text_tokens,
            'output_speech_tokens', output_speech_tokens, 'output_text_tokens', output_text_tokens
        ) AS usage,
        cost_usd, owner_alias, campaign, reply_count, reply_latency_ms, reply_latency_max_ms,
        md_file_path, alive_at, created_at, updated_at
    FROM calls;
";

/// The version of the prompt.
const PROMPTS: &str = "
    ALTER TABLE calls ADD COLUMN prompt_version TEXT;
    DROP VIEW call_records;
    CREATE VIEW call_records AS SELECT
        call_uuid, phone_number, direction, status, outcome, day, start_time, end_time,
        duration_seconds,
        (SELECT group_concat(text, char(10)) FROM (
            SELECT text FROM utterances WHERE call = calls.id ORDER BY seq
        )) AS transcript,
        (SELECT json_group_array(json_object(
            'seq', seq, 'at', at, 'speaker', speaker, 'text', text,
            'cut', json(iif(cut, 'true', 'false'))
        )) FROM (SELECT * FROM utterances WHERE call = calls.id ORDER BY seq)) AS utterances,
        json_object(
            'input_speech_tokens', input_speech_tokens, 'input_text_tokens', input_text_tokens,
            'output_speech_tokens', output_speech_tokens, 'output_text_tokens', output_text_tokens
        ) AS usage,
        cost_usd, owner_alias, campaign, prompt_version, reply_count, reply_latency_ms, reply_latency_max_ms,
        md_file_path, alive_at, created_at, updated_at
    FROM calls;
";

/// What came of handing callers over.
const TRANSFERS: &str = "
    ALTER TABLE calls ADD COLUMN transfer TEXT;
    DROP VIEW call_records;
    CREATE VIEW call_records AS SELECT
        call_uuid, phone_number, direction, status, outcome, day, start_time, end_time,
        duration_seconds,
        (SELECT group_concat(text, char(10)) FROM (
            SELECT text FROM utterances WHERE call = calls.id ORDER BY seq
        )) AS transcript,
        (SELECT json_group_array(json_object(
            'seq', seq, 'at', at, 'speaker', speaker, 'text', text,
            'cut', json(iif(cut, 'true', 'false'))
        )) FROM (SELECT * FROM utterances WHERE call = calls.id ORDER BY seq)) AS utterances,
        json_object(
            'input_speech_tokens', input_speech_tokens, 'input_text_tokens', input_text_tokens,
            'output_speech_tokens', output_speech_tokens, 'output_text_tokens', output_text_tokens
        ) AS usage,
        cost_usd, owner_alias, campaign, prompt_version, reply_count, reply_latency_ms,
        reply_latency_max_ms, md_file_path, alive_at, created_at, updated_at, transfer
    FROM calls;
";

/// The number of a call that is there.
pub(super) fn number_of(connection: &Connection, call: &CallId) -> Result<Option<i64>, Failure> {
    let mut find = connection.prepare_cached("SELECT id FROM calls WHERE call_uuid = ?1")?;
    let found = find.query_row([call.as_str()], |row| row.get(0));
    Ok(found.optional()?)
}

/// A free number for a call that began at `started`.
pub(super) fn free_number(
    connection: &Connection,
    call: &CallId,
    started: Timestamp,
) -> Result<i64, Failure> {
    let mut taken = connection.prepare_cached("SELECT 1 FROM calls WHERE id = ?1")?;
    let first = first_number(started.as_millisecond());
    let mut offset = i64::from(crc32fast::hash(call.as_str().as_bytes())) % PER_MILLI;
    while taken.exists([first + offset])? {
        offset = (offset + 1) % PER_MILLI;
    }
    Ok(first + offset)
}

/// The first number of the calls that began at `moment` or later; fractions of a millisecond
/// count as the next one.
pub(super) fn first_number_from(moment: Timestamp) -> i64 {
    let millis = moment.as_nanosecond().div_euclid(1_000_000);
    let fraction = moment.as_nanosecond().rem_euclid(1_000_000);
    let millis = i64::try_from(millis).unwrap_or(i64::MAX);
    first_number(millis.saturating_add((fraction > 0).into()))
}

/// Years from 1413 to 2527 have numbers of their own; anything before or after shares the ends.
fn first_number(millis: i64) -> i64 {
    const MOST: i64 = i64::MAX / PER_MILLI - 1;
    millis.clamp(-MOST, MOST) * PER_MILLI
}

/// Far more calls than begin in one millisecond.
const PER_MILLI: i64 = 1 << 19;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_with_time() {
        let moments = [
            "-009999-01-02T01:59:59Z",
            "1969-12-31T23:59:59.999Z",
            "1970-01-01T00:00:00Z",
            "2026-06-22T20:35:32.000Z",
            "2026-06-22T20:35:32.0001Z",
            "2026-06-22T20:35:32.001Z",
            "9999-12-30T00:00:00Z",
        ];
        let moments = moments.map(|text| text.parse::<Timestamp>().unwrap());
        let numbers = moments.map(first_number_from);
        assert!(numbers.is_sorted(), "{numbers:?}");
        assert_eq!(numbers[4], numbers[5], "the next millisecond");
        assert_eq!(numbers[5] - numbers[3], PER_MILLI);
    }
}
