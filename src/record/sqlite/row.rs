//! Records as rows, and back.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, named_params};

use crate::{
    call::{CallId, Party, word},
    error::{ProviderError, ProviderErrorKind},
    lead::PhoneNumber,
    model::Usage,
    record::{
        CallRecord, Latency, Unreadable,
        entry::{millis, seconds, stamp},
    },
    sqlite::Failure,
    transcript::Utterance,
};

/// The columns that [`read`] reads, for a `SELECT`.
pub(super) const COLUMNS: &str = "calls.id, call_uuid, phone_number, direction, status, outcome, \
    start_time, end_time, duration_seconds, input_speech_tokens, input_text_tokens, \
    output_speech_tokens, output_text_tokens, cost_usd, owner_alias, campaign, prompt_version, \
    reply_count, reply_latency_ms, reply_latency_max_ms, md_file_path, alive_at, created_at, \
    updated_at, transfer";

/// A record, or what is wrong with its row.
pub(super) fn read(row: &Row<'_>) -> Result<CallRecord, Unreadable> {
    let key = row.get::<_, String>("call_uuid");
    let key = key.unwrap_or_else(|_| "a call whose key is no text".to_owned());
    let record = || -> Result<CallRecord, &'static str> {
        let id = CallId::new(get::<String>(row, "call_uuid")?);
        let direction = get_word(row, "direction")?.ok_or("direction")?;
        let started = get_time(row, "start_time")?.ok_or("start_time")?;
        let mut record = CallRecord::new(id, direction, started);
        record.remote = get::<Option<String>>(row, "phone_number")?.map(Party::new);
        record.status = get_word(row, "status")?.ok_or("status")?;
        record.outcome = get_word(row, "outcome")?;
        record.ended = get_time(row, "end_time")?;
        record.duration = get::<Option<f64>>(row, "duration_seconds")?
            .map(|length| Duration::try_from_secs_f64(length).map_err(|_| "duration_seconds"))
            .transpose()?;
        record.transfer = get_word(row, "transfer")?;
        record.usage = Usage {
            input_speech_tokens: get(row, "input_speech_tokens")?,
            input_text_tokens: get(row, "input_text_tokens")?,
            output_speech_tokens: get(row, "output_speech_tokens")?,
            output_text_tokens: get(row, "output_text_tokens")?,
        };
        record.cost_usd = get(row, "cost_usd")?;
        record.owner = get(row, "owner_alias")?;
        record.campaign = get(row, "campaign")?;
        record.prompt_version = get(row, "prompt_version")?;
        record.latency = match get::<Option<u64>>(row, "reply_count")? {
            None | Some(0) => None,
            Some(replies) => Some(Latency {
                replies,
                mean: get_millis(row, "reply_latency_ms")?,
                longest: get_millis(row, "reply_latency_max_ms")?,
            }),
        };
        record.file = get(row, "md_file_path")?;
        record.alive = get_time(row, "alive_at")?;
        record.created = get_time(row, "created_at")?;
        record.updated = get_time(row, "updated_at")?;
        Ok(record)
    };
    record().map_err(|column| Unreadable::new(key, format!("{column} has no value of its kind")))
}

/// The record with this number.
pub(super) fn load(connection: &Connection, id: i64) -> Result<Option<CallRecord>, Failure> {
    let select = format!("SELECT {COLUMNS} FROM calls WHERE id = ?1");
    let mut select = connection.prepare_cached(&select)?;
    let found = select.query_row([id], |row| Ok(read(row))).optional()?;
    found.transpose().map_err(|unreadable| damaged(&unreadable))
}

/// Writes a record over the one with this number, or as a new one.
pub(super) fn save(connection: &Connection, id: i64, record: &CallRecord) -> Result<(), Failure> {
    let phone = record.remote.as_ref();
    let phone = phone.and_then(|remote| PhoneNumber::try_from(remote).ok());
    let latency = record.latency;
    let mut write = connection.prepare_cached(SAVE)?;
    write.execute(named_params! {
        ":id": id,
        ":call_uuid": record.id.as_str(),
        ":phone_number": record.remote.as_ref().map(Party::reveal),
        ":phone": phone.as_ref().map(PhoneNumber::reveal),
        ":direction": record.direction.as_str(),
        ":status": record.status.as_str(),
        ":outcome": record.outcome.map(|outcome| outcome.as_str()),
        ":day": record.day(),
        ":start_time": stamp(record.started),
        ":end_time": record.ended.map(stamp),
        ":duration_seconds": record.duration.map(seconds),
        ":input_speech_tokens": record.usage.input_speech_tokens,
        ":input_text_tokens": record.usage.input_text_tokens,
        ":output_speech_tokens": record.usage.output_speech_tokens,
        ":output_text_tokens": record.usage.output_text_tokens,
        ":cost_usd": record.cost_usd,
        ":owner_alias": record.owner,
        ":campaign": record.campaign,
        ":prompt_version": record.prompt_version,
        ":reply_count": latency.map(|latency| latency.replies),
        ":reply_latency_ms": latency.map(|latency| millis(latency.mean)),
        ":reply_latency_max_ms": latency.map(|latency| millis(latency.longest)),
        ":md_file_path": record.file,
        ":alive_at": record.alive.map(stamp),
        ":created_at": record.created.map(stamp),
        ":updated_at": record.updated.map(stamp),
        ":transfer": record.transfer.map(|transfer| transfer.as_str()),
    })?;
    Ok(())
}

const SAVE: &str = "INSERT INTO calls (
        id, call_uuid, phone_number, phone, direction, status, outcome, day, start_time, end_time,
        duration_seconds, input_speech_tokens, input_text_tokens, output_speech_tokens,
        output_text_tokens, cost_usd, owner_alias, campaign, prompt_version, reply_count,
        reply_latency_ms, reply_latency_max_ms, md_file_path, alive_at, created_at, updated_at,
        transfer
    ) VALUES (
        :id, :call_uuid, :phone_number, :phone, :direction, :status, :outcome, :day, :start_time,
        :end_time, :duration_seconds, :input_speech_tokens, :input_text_tokens,
        :output_speech_tokens, :output_text_tokens, :cost_usd, :owner_alias, :campaign,
        :prompt_version, :reply_count, :reply_latency_ms, :reply_latency_max_ms, :md_file_path,
        :alive_at, :created_at, :updated_at, :transfer
    ) ON CONFLICT (id) DO UPDATE SET
        phone_number = excluded.phone_number, phone = excluded.phone,
        direction = excluded.direction, status = excluded.status, outcome = excluded.outcome,
        end_time = excluded.end_time, duration_seconds = excluded.duration_seconds,
        input_speech_tokens = excluded.input_speech_tokens,
        input_text_tokens = excluded.input_text_tokens,
        output_speech_tokens = excluded.output_speech_tokens,
        output_text_tokens = excluded.output_text_tokens, cost_usd = excluded.cost_usd,
        owner_alias = excluded.owner_alias, campaign = excluded.campaign,
        prompt_version = excluded.prompt_version,
        reply_count = excluded.reply_count, reply_latency_ms = excluded.reply_latency_ms,
        reply_latency_max_ms = excluded.reply_latency_max_ms,
        md_file_path = excluded.md_file_path, alive_at = excluded.alive_at,
        updated_at = excluded.updated_at, transfer = excluded.transfer";

/// The lines behind `after`, in order.
pub(super) fn lines(
    connection: &Connection,
    id: i64,
    after: u64,
) -> Result<Vec<Utterance>, Failure> {
    let mut select = connection.prepare_cached(
        "SELECT seq, at, speaker, text, cut FROM utterances WHERE call = ?1 AND seq > ?2 ORDER BY seq",
    )?;
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let mut rows = select.query((id, after))?;
    let mut lines = Vec::new();
    while let Some(row) = rows.next()? {
        let line = || -> Result<Utterance, &'static str> {
            Ok(Utterance {
                seq: get(row, "seq")?,
                at: get_time(row, "at")?.ok_or("at")?,
                speaker: get_word(row, "speaker")?.ok_or("speaker")?,
                text: get(row, "text")?,
                cut: get(row, "cut")?,
            })
        };
        match line() {
            Ok(line) => lines.push(line),
            Err(column) => {
                let seq: Option<i64> = row.get("seq").ok();
                tracing::warn!(
                    call = id,
                    seq,
                    column,
                    "a line cannot be read and is left out"
                );
            }
        }
    }
    Ok(lines)
}

/// Writes one line.
pub(super) fn save_line(connection: &Connection, id: i64, line: &Utterance) -> Result<(), Failure> {
    let mut insert = connection.prepare_cached(
        "INSERT INTO utterances (call, seq, at, speaker, text, cut) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    insert.execute((
        id,
        line.seq,
        stamp(line.at),
        line.speaker.as_str(),
        &line.text,
        line.cut,
    ))?;
    Ok(())
}

pub(super) fn damaged(unreadable: &Unreadable) -> Failure {
    let detail = format!("the record {}: {}", unreadable.key, unreadable.problem);
    ProviderError::new(super::PROVIDER, ProviderErrorKind::Protocol)
        .with_detail(detail)
        .into()
}

fn get<T: rusqlite::types::FromSql>(
    row: &Row<'_>,
    column: &'static str,
) -> Result<T, &'static str> {
    row.get(column).map_err(|_| column)
}

fn get_word<T: serde::de::DeserializeOwned>(
    row: &Row<'_>,
    column: &'static str,
) -> Result<Option<T>, &'static str> {
    get::<Option<String>>(row, column)?
        .map(|text| word(&text).ok_or(column))
        .transpose()
}

fn get_time(row: &Row<'_>, column: &'static str) -> Result<Option<Timestamp>, &'static str> {
    get::<Option<String>>(row, column)?
        .map(|text| text.parse().map_err(|_| column))
        .transpose()
}

fn get_millis(row: &Row<'_>, column: &'static str) -> Result<Duration, &'static str> {
    let millis: f64 = get(row, column)?;
    Duration::try_from_secs_f64(millis / 1e3).map_err(|_| column)
}
