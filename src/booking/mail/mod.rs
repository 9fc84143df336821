//! Invitations by mail: an outbox in the shared state, emptied over SMTP (RFC 5321).
//!
//! The calendar writes an invitation into the outbox in the same step as the change of a meeting,
//! so no call waits for a mail server and no crash loses one. Any node sends what is due. A mail
//! is sent at least once: a second one has the same `UID` and `SEQUENCE` and changes nothing (RFC
//! 5546, section 2.1.4), nor does one that a newer change has made pointless go out at all.

mod message;

use std::{fmt, net::IpAddr, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use lettre::{
    AsyncSmtpTransport, AsyncTransport, Tokio1Executor,
    message::Mailbox,
    transport::smtp::{
        Error as SmtpError,
        authentication::Credentials,
        client::{Tls, TlsParameters},
        extension::ClientId,
    },
};
use serde_json::json;
use tokio::sync::Notify;
use url::{Host, Url};

use super::{
    EmbeddedCalendar, Invitation, Meeting, Method,
    queue::{self, Queued},
};
use crate::{
    clock,
    error::{ProviderError, ProviderErrorKind},
    private::Private,
    state::{IdRange, Key, Record, StateStore, Write},
};

/// Which server takes mail, and what stands in it.
#[derive(Clone)]
#[non_exhaustive]
pub struct MailConfig {
    /// `smtps://user:password@host:465`, or `smtp://user:password@host:587`, where encryption is
    /// asked for by STARTTLS and nothing is sent without it but on this machine. User and
    /// password are percent-encoded.
    pub url: Private<String>,
    /// Whom mail comes from, such as `Esther <esther@example.org>`.
    pub from: String,
    /// What invitations say.
    pub invitation: Invitation,
    /// How long a step of the exchange with the server may take. Default: 20 s.
    pub timeout: Duration,
}

impl MailConfig {
    /// Mail from `from` by the server at `url`.
    #[must_use]
    pub fn new(url: Private<String>, from: impl Into<String>, invitation: Invitation) -> Self {
        Self {
            url,
            from: from.into(),
            invitation,
            timeout: Duration::from_secs(20),
        }
    }
}

impl fmt::Debug for MailConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailConfig")
            .field("url", &self.url)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Sends the invitations that a calendar `with_invitations` has written down. Cheap to clone.
#[derive(Clone)]
pub struct Outbox {
    state: Arc<dyn StateStore>,
    smtp: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    invitation: Arc<Invitation>,
    wake: Arc<Notify>,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").finish_non_exhaustive()
    }
}

/// What became of an attempt.
enum Fate {
    Sent,
    /// The server will not take it, as its code says.
    Refused(String),
    Later(ProviderError),
}

impl Outbox {
    /// The outbox that `state` keeps, emptied by the server that `config` names.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ProviderErrorKind::Invalid) when the address of the server or of the sender is
    /// none.
    pub fn new(config: MailConfig, state: Arc<dyn StateStore>) -> Result<Self, ProviderError> {
        let from: Mailbox = config.from.parse().map_err(|_| {
            invalid("the sender must be like esther@example.org or Esther <esther@example.org>")
        })?;
        Ok(Self {
            smtp: transport(&config, &from)?,
            state,
            from,
            invitation: Arc::new(config.invitation),
            wake: Arc::default(),
        })
    }

    /// Looks whether the server answers and lets the user in.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub async fn check(&self) -> Result<(), ProviderError> {
        match self.smtp.test_connection().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(ProviderError::new(PROVIDER, ProviderErrorKind::Unavailable)),
            Err(error) => Err(failed(error)),
        }
    }

    /// There is something to send.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Sends what comes to be due, for ever.
    pub async fn run(&self) {
        loop {
            if let Err(error) = self.send_due(clock::wall()).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the outbox cannot be read"
                );
            }
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// Sends what is due at `now`; answers with how many are left.
    ///
    /// # Errors
    ///
    /// When the state cannot be read or written. A mail server that fails is no error: what it did
    /// not take stays, to be sent later.
    pub async fn send_due(&self, now: Timestamp) -> Result<usize, ProviderError> {
        let mut left = 0;
        let mut range = IdRange::all();
        loop {
            let records = self.state.list(queue::INVITATIONS, &range, PAGE, now);
            let records = records.await?;
            let Some(last) = records.last() else {
                return Ok(left);
            };
            range.after = Some(last.key.id.clone());
            for record in &records {
                left += usize::from(!self.see_to(record, now).await?);
            }
        }
    }

    /// Sends one if it is due; whether it is done with.
    async fn see_to(&self, record: &Record, now: Timestamp) -> Result<bool, ProviderError> {
        let Ok(mut queued) = serde_json::from_value::<Queued>(record.value.clone()) else {
            // It must not keep the others from being sent.
            tracing::error!(record = record.key.id, "a record is no invitation");
            return Ok(false);
        };
        if queued.due > now || self.waits(&queued, now).await? {
            return Ok(false);
        }
        if self.is_pointless(&queued, now).await? {
            return self.remove(record, now).await;
        }
        // Whoever else looks at it now leaves it alone.
        let tries = queued.tries;
        queued.tries += 1;
        queued.due = now.checked_add(LEASE).unwrap_or(now);
        let write = Write::to(record.key.clone()).if_version(record.version);
        let write = write.set(queue::value(&queued)?);
        match self.state.apply(vec![write], now).await {
            Err(failed) if *failed.kind() == ProviderErrorKind::Conflict => return Ok(false),
            claimed => claimed?,
        }
        let mut claimed = record.clone();
        claimed.version += 1;
        let uid = &queued.meeting.uid;
        match self.send(&queued, now).await {
            Fate::Sent => {
                tracing::info!(
                    uid,
                    method = queued.method.as_str(),
                    "an invitation is sent"
                );
                self.remove(&claimed, now).await
            }
            Fate::Refused(code) => {
                tracing::warn!(
                    uid,
                    code,
                    "the mail server refuses an invitation for good: it is given up"
                );
                self.give_up(&claimed, &queued, &code, now).await
            }
            Fate::Later(error) => {
                let pause = pause(tries);
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    uid,
                    ?pause,
                    "an invitation is not sent yet"
                );
                queued.due = now.checked_add(pause).unwrap_or(now);
                let write = Write::to(claimed.key).if_version(claimed.version);
                let write = write.set(queue::value(&queued)?);
                self.settle(vec![write], now).await?;
                Ok(false)
            }
        }
    }

    async fn send(&self, queued: &Queued, now: Timestamp) -> Fate {
        let message = message::compose(
            &self.from,
            &self.invitation,
            &queued.meeting,
            queued.method,
            now,
        );
        let message = match message {
            Ok(message) => message,
            Err(message::Unsendable) => return Fate::Refused("no address".to_owned()),
        };
        let sent = tokio::time::timeout(PATIENCE, self.smtp.send(message)).await;
        match sent {
            Ok(Ok(_)) => Fate::Sent,
            Ok(Err(error)) => match refusal(&error) {
                Some(code) => Fate::Refused(code),
                None => Fate::Later(failed(error)),
            },
            Err(_) => Fate::Later(ProviderError::new(PROVIDER, ProviderErrorKind::TimedOut)),
        }
    }

    /// The host's calendar has not taken the meeting yet, and may still refuse it. A calendar
    /// that stays away is not waited for.
    async fn waits(&self, queued: &Queued, now: Timestamp) -> Result<bool, ProviderError> {
        if now.duration_since(queued.since) > FOR_CALENDAR {
            return Ok(false);
        }
        let note = queue::note_key(&queued.meeting.uid);
        Ok(self.state.get(&note, now).await?.is_some())
    }

    /// A newer change has its own invitation, and nobody comes to a meeting that is over.
    async fn is_pointless(&self, queued: &Queued, now: Timestamp) -> Result<bool, ProviderError> {
        let Meeting {
            uid, sequence, end, ..
        } = &queued.meeting;
        if *end <= now {
            tracing::warn!(uid, "an invitation could not be sent in time");
            return Ok(true);
        }
        if queued.method == Method::Cancel {
            return Ok(false);
        }
        let meetings = EmbeddedCalendar::new(Arc::clone(&self.state));
        let current = meetings.find(uid).await?;
        Ok(current.is_none_or(|(current, _)| current.sequence != *sequence))
    }

    async fn remove(&self, record: &Record, now: Timestamp) -> Result<bool, ProviderError> {
        let write = Write::to(record.key.clone()).if_version(record.version);
        self.settle(vec![write.delete()], now).await
    }

    async fn give_up(
        &self,
        record: &Record,
        queued: &Queued,
        code: &str,
        now: Timestamp,
    ) -> Result<bool, ProviderError> {
        let key = Key::new(REFUSED, record.key.id.clone());
        let about =
            json!({ "method": queued.method, "since": queued.since, "at": now, "code": code });
        let until = now.checked_add(REMEMBERED).unwrap_or(Timestamp::MAX);
        let writes = vec![
            Write::to(record.key.clone())
                .if_version(record.version)
                .delete(),
            Write::to(key).set(about).expires(until),
        ];
        self.settle(writes, now).await
    }

    /// Whoever changed it in between, after a claim that was over, sees to it.
    async fn settle(&self, writes: Vec<Write>, now: Timestamp) -> Result<bool, ProviderError> {
        match self.state.apply(writes, now).await {
            Err(failed) if *failed.kind() == ProviderErrorKind::Conflict => Ok(false),
            done => done.map(|()| true),
        }
    }
}

fn transport(
    config: &MailConfig,
    from: &Mailbox,
) -> Result<AsyncSmtpTransport<Tokio1Executor>, ProviderError> {
    let shape = || invalid("the mail server must be like smtps://user:password@smtp.example.org");
    let url = Url::parse(config.url.reveal().trim()).map_err(|_| shape())?;
    let (host, is_local) = match url.host().ok_or_else(shape)? {
        // Of an address whose scheme it does not know, the library reads no numbers.
        Host::Domain(name) => {
            let ip = name.parse::<IpAddr>().ok();
            let is_local = match ip {
                Some(ip) => ip.is_loopback(),
                None => name.eq_ignore_ascii_case("localhost"),
            };
            (name.to_owned(), is_local)
        }
        Host::Ipv4(ip) => (ip.to_string(), ip.is_loopback()),
        Host::Ipv6(ip) => (ip.to_string(), ip.is_loopback()),
    };
    let rest = url.query().is_some() || url.fragment().is_some();
    if rest || !matches!(url.path(), "" | "/") {
        return Err(shape());
    }
    let tls = || {
        let tls = TlsParameters::new(host.clone());
        tls.map_err(|error| invalid("the mail server's name is none").with_source(error))
    };
    let (tls, port) = match url.scheme() {
        "smtps" => (Tls::Wrapper(tls()?), 465),
        "smtp" if is_local => (Tls::None, 587),
        "smtp" => (Tls::Required(tls()?), 587),
        _ => return Err(shape()),
    };
    let mut smtp = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&host)
        .port(url.port().unwrap_or(port))
        .tls(tls)
        .hello_name(ClientId::Domain(from.email.domain().to_owned()))
        .timeout(Some(config.timeout));
    if !url.username().is_empty() {
        let plain = |text: &str| percent_decoded(text).ok_or_else(shape);
        let password = url.password().unwrap_or_default();
        smtp = smtp.credentials(Credentials::new(plain(url.username())?, plain(password)?));
    }
    Ok(smtp.build())
}

/// `a%40b` is `a@b`.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        let digits = std::str::from_utf8(&digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
    }
    String::from_utf8(bytes).ok()
}

/// The code of a refusal of this very mail (RFC 5321, section 4.2.1). What is refused to a user
/// who is not let in (RFC 4954, section 6) is refused to all mail, until somebody mends it.
fn refusal(error: &SmtpError) -> Option<String> {
    let code = error.status().filter(|_| error.is_permanent())?.to_string();
    (!NOT_LET_IN.contains(&code.as_str())).then_some(code)
}

/// What a server says in full often repeats addresses, so its code alone is kept.
fn failed(error: SmtpError) -> ProviderError {
    let code = error.status().map(|code| code.to_string());
    let Some(code) = code else {
        let kind = match error.is_timeout() {
            true => ProviderErrorKind::TimedOut,
            false => ProviderErrorKind::Unavailable,
        };
        let error = (!error.is_response()).then_some(error);
        let failed = ProviderError::new(PROVIDER, kind).with_detail(
            "the mail server cannot be reached, or does not speak as it should: check its address",
        );
        return match error {
            Some(error) => failed.with_source(error),
            None => failed,
        };
    };
    let (kind, detail) = match NOT_LET_IN.contains(&code.as_str()) {
        true => (
            ProviderErrorKind::Unauthorized,
            "the mail server does not take this user with this password",
        ),
        false => (ProviderErrorKind::Unavailable, "the mail server refuses"),
    };
    ProviderError::new(PROVIDER, kind).with_detail(format!("{detail} ({code})"))
}

/// How long to wait after so many failures before.
fn pause(tries: u32) -> SignedDuration {
    let pause = FIRST_PAUSE.saturating_mul(1 << tries.min(10));
    pause.min(LONGEST_PAUSE)
}

fn invalid(detail: &str) -> ProviderError {
    ProviderError::new(PROVIDER, ProviderErrorKind::Invalid).with_detail(detail)
}

const PROVIDER: &str = "mail";
const PAGE: usize = 100;
/// Invitations that were given up.
const REFUSED: &str = "invitations-refused";
const NOT_LET_IN: [&str; 4] = ["530", "534", "535", "538"];

/// How often it is looked for what others have written.
const POLL: Duration = Duration::from_secs(5);
/// How long the whole exchange over one mail may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// After this, whoever claimed it is gone; longer than [`PATIENCE`].
const LEASE: SignedDuration = SignedDuration::from_secs(90);
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(5);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(10);
/// How long an invitation waits for the host's calendar.
const FOR_CALENDAR: SignedDuration = SignedDuration::from_mins(10);
/// How long it is known that an invitation was given up.
const REMEMBERED: SignedDuration = SignedDuration::from_hours(90 * 24);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::MemoryState;

    fn outbox(url: &str, from: &str) -> Result<Outbox, ProviderError> {
        let invitation = Invitation {
            host: "Mike Lawrence".to_owned(),
            host_email: "mike@lawrence.example".to_owned(),
            summary: "Gospel outreach".to_owned(),
            description: None,
            location: None,
        };
        let config = MailConfig::new(Private::new(url.to_owned()), from, invitation);
        Outbox::new(config, Arc::new(MemoryState::new()))
    }

    #[test]
    fn servers_and_senders_are_checked_at_the_start() {
        for right in [
            "smtps://esther:p%40ss@smtp.example.org",
            "smtp://smtp.example.org:2525",
            "smtp://127.0.0.1:2525",
            "smtp://[::1]:2525/",
        ] {
            assert!(
                outbox(right, "Esther <esther@example.org>").is_ok(),
                "{right}"
            );
        }
        for wrong in [
            "https://smtp.example.org",
            "smtps://",
            "smtps://smtp.example.org/?tls=none",
            "smtps://smtp.example.org/path",
            "smtps://a:s%zzecret@smtp.example.org",
            "",
        ] {
            let refused = outbox(wrong, "esther@example.org").unwrap_err();
            assert_eq!(*refused.kind(), ProviderErrorKind::Invalid, "{wrong}");
            assert!(!format!("{refused:?}").contains("zzecret"), "{refused:?}");
        }
        assert!(outbox("smtp://localhost", "esther").is_err());
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        assert_eq!(pause(0), FIRST_PAUSE);
        assert_eq!(pause(2), FIRST_PAUSE * 4);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
        assert!(LEASE.as_secs() > i64::try_from(PATIENCE.as_secs()).unwrap());
    }
}
