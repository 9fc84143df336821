//! What a right value looks like, one function for each kind. A function answers with the value
//! or with the words that follow "expected" in a message.

use std::{
    fs,
    net::IpAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use axum::http::Uri;
use jsonwebtoken::EncodingKey;
use novavoice::{
    journal::JournalKey,
    lead::PhoneNumber,
    model::price::{PriceList, WrongPrices},
    private::Private,
};
use tracing_subscriber::EnvFilter;

use super::reader::{Parsed, expected};

/// A host to listen on: an address or a name, IPv6 with or without brackets.
pub(crate) fn host(text: &str) -> Parsed<String> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    let name = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    if bare.parse::<IpAddr>().is_ok() || bare.chars().all(name) {
        Ok(bare.to_owned())
    } else {
        expected("an IP address or a host name")
    }
}

/// A whole number inside `range`.
pub(crate) fn number(range: RangeInclusive<u32>) -> impl Fn(&str) -> Parsed<u32> {
    move |text| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => expected(format!(
            "a whole number from {} to {}",
            range.start(),
            range.end()
        )),
    }
}

/// A port.
pub(crate) fn port(text: &str) -> Parsed<u16> {
    text.parse()
        .or_else(|_| expected("a whole number from 0 to 65535"))
}

/// Seconds, at least `least`.
pub(crate) fn seconds(least: u32) -> impl Fn(&str) -> Parsed<Duration> {
    move |text| {
        number(least..=WEEK)(text)
            .map(|seconds| Duration::from_secs(seconds.into()))
            .map_err(|numbers| format!("seconds, {numbers}"))
    }
}

/// Seconds, where 0 means never.
pub(crate) fn seconds_or_never(text: &str) -> Parsed<Option<Duration>> {
    let length = seconds(0)(text)?;
    Ok((!length.is_zero()).then_some(length))
}

/// The address of a service, without a slash at its end.
pub(crate) fn url(text: &str) -> Parsed<String> {
    let shape = "an address such as https://esther.example.org";
    let uri: Uri = text.parse().or_else(|_| expected(shape))?;
    let host = uri.host().unwrap_or_default();
    let user = uri
        .authority()
        .is_some_and(|all| all.as_str().contains('@'));
    if !matches!(uri.scheme_str(), Some("http" | "https")) || host.is_empty() {
        return expected(shape);
    }
    if user || uri.query().is_some() || text.contains('#') {
        return expected(format!("{shape}, without a user, a query or a fragment"));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// One of a few words.
pub(crate) fn one_of<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&str) -> Parsed<T> {
    move |text| {
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            format!("one of: {}", words.join(", "))
        })
    }
}

/// A name of printable ASCII characters without spaces: a model id, a voice, a region, a token.
pub(crate) fn word(text: &str) -> Parsed<String> {
    if text.chars().all(|c| c.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        expected("printable ASCII characters without spaces")
    }
}

/// The same, kept from being printed.
pub(crate) fn secret(text: &str) -> Parsed<Private<String>> {
    word(text).map(Private::new)
}

/// What tokens cost.
pub(crate) fn prices(text: &str) -> Parsed<PriceList> {
    text.parse()
        .map_err(|problem: WrongPrices| problem.to_string())
}

/// A region's name.
pub(crate) fn region(text: &str) -> Parsed<String> {
    let right = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if text.chars().all(right) && text.contains('-') {
        Ok(text.to_owned())
    } else {
        expected("the name of an AWS region such as us-east-1")
    }
}

/// The ARN of a role.
pub(crate) fn role(text: &str) -> Parsed<String> {
    if text.starts_with("arn:") && text.contains(":role/") && word(text).is_ok() {
        Ok(text.to_owned())
    } else {
        expected("the ARN of a role such as arn:aws:iam::123456789012:role/esther")
    }
}

/// A file that can be read.
pub(crate) fn readable_file(text: &str) -> Parsed<PathBuf> {
    match fs::File::open(text) {
        Ok(_) => Ok(PathBuf::from(text)),
        Err(problem) => expected(format!("a file that can be read ({problem})")),
    }
}

/// A folder that is there or can be made.
pub(crate) fn folder(text: &str) -> Parsed<PathBuf> {
    if Path::new(text).is_file() {
        expected("a folder, not a file")
    } else {
        Ok(PathBuf::from(text))
    }
}

/// Application ids, one or several with commas.
pub(crate) fn applications(text: &str) -> Parsed<Vec<String>> {
    text.split(',')
        .map(str::trim)
        .filter(|id| !id.is_empty())
        .map(|id| {
            uuid::Uuid::parse_str(id)
                .map(|_| id.to_owned())
                .or_else(|_| expected("an application id, a UUID, or several with commas"))
        })
        .collect()
}

/// A private key: PEM text, where `\n` may stand for a line break, or a path to it.
pub(crate) fn private_key(text: &str) -> Parsed<Private<String>> {
    if text.contains("-----BEGIN") {
        return pem(text);
    }
    match fs::read_to_string(text) {
        Ok(text) => pem(&text),
        Err(problem) => expected(format!(
            "PEM text or the path of a readable file ({problem})"
        )),
    }
}

/// A private key as PEM text, and nothing else.
pub(crate) fn pem(text: &str) -> Parsed<Private<String>> {
    let text = text
        .replace("\\r", "")
        .replace("\\n", "\n")
        .replace('\r', "");
    match EncodingKey::from_rsa_pem(text.trim().as_bytes()) {
        Ok(_) => Ok(Private::new(text.trim().to_owned() + "\n")),
        Err(_) => expected("an RSA private key in PEM form"),
    }
}

/// A key that seals journals.
pub(crate) fn journal_key(text: &str) -> Parsed<JournalKey> {
    JournalKey::from_hex(text).or_else(|wrong| expected(wrong.to_string()))
}

/// A phone number with its country code.
pub(crate) fn phone(text: &str) -> Parsed<PhoneNumber> {
    PhoneNumber::parse(text)
        .or_else(|_| expected("a phone number with its country code such as +12125550101"))
}

/// The name of a DynamoDB table.
pub(crate) fn table(text: &str) -> Parsed<String> {
    let right = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (3..=255).contains(&text.len()) && text.chars().all(right) {
        Ok(text.to_owned())
    } else {
        expected("the name of a table: 3 to 255 letters, digits, `-`, `_` or `.`")
    }
}

/// What is logged.
pub(crate) fn log_filter(text: &str) -> Parsed<String> {
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => expected("log directives such as info or info,novavoice=debug"),
    }
}

/// Longer than any wait that makes sense, and far from where clocks overflow.
const WEEK: u32 = 7 * 24 * 60 * 60;
