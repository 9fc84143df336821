//! Mike's office: the calendar that meetings go into, and the mail that tells guests of them.

use std::{sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use novavoice::{
    ProviderError,
    booking::{
        CalDavCalendar, CalDavConfig, Calendar, EmbeddedCalendar, Hours, Invitation, MailConfig,
        Outbox,
    },
    state::StateStore,
};

use crate::{clock::wall, config::BookingSettings};

/// Where meetings are kept. Cheap to clone; clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Office {
    pub(crate) calendar: Arc<dyn Calendar>,
    pub(crate) hours: Arc<Hours>,
    /// The host's own calendar, where there is one.
    host: Option<CalDavCalendar>,
    mail: Option<Outbox>,
}

impl Office {
    /// The office that the settings describe, whose meetings `state` keeps.
    pub(crate) fn open(
        settings: &BookingSettings,
        state: &Arc<dyn StateStore>,
    ) -> Result<Self, ProviderError> {
        let invitation = invitation(settings);
        let mail = match &settings.mail {
            Some(mail) => {
                let mut invitation = invitation.clone();
                if invitation.host_email.is_empty() {
                    bare(mail.from.reveal()).clone_into(&mut invitation.host_email);
                }
                let config = MailConfig::new(mail.url.clone(), mail.from.reveal(), invitation);
                Some(Outbox::new(config, Arc::clone(state))?)
            }
            None => None,
        };
        let host = match &settings.calendar {
            Some(calendar) => {
                let (url, zone) = (calendar.url.reveal(), settings.hours.zone.clone());
                let mut config = CalDavConfig::new(url, zone, invitation);
                config.user = calendar.user.as_ref().map(|user| user.reveal().clone());
                config.password.clone_from(&calendar.password);
                Some(CalDavCalendar::new(config, Arc::clone(state))?)
            }
            None => None,
        };
        let host = host.map(|host| match mail {
            Some(_) => host.with_invitations(),
            None => host,
        });
        let embedded = EmbeddedCalendar::new(Arc::clone(state));
        let calendar: Arc<dyn Calendar> = match (&host, &mail) {
            (Some(host), _) => Arc::new(host.clone()),
            (None, Some(_)) => Arc::new(embedded.with_invitations()),
            (None, None) => Arc::new(embedded),
        };
        Ok(Self {
            calendar,
            hours: Arc::new(settings.hours.clone()),
            host,
            mail,
        })
    }

    /// An office with nothing but `state`.
    pub(crate) fn embedded(state: Arc<dyn StateStore>) -> Self {
        // Where Mike lives; the database of zones is a part of the program.
        let zone = TimeZone::get("America/Chicago").unwrap_or(TimeZone::UTC);
        Self {
            calendar: Arc::new(EmbeddedCalendar::new(state)),
            hours: Arc::new(Hours::new(zone)),
            host: None,
            mail: None,
        }
    }

    /// Whether guests are told by mail.
    pub(crate) const fn sends_mail(&self) -> bool {
        self.mail.is_some()
    }

    /// A meeting has changed: whoever is to be told may be told.
    pub(crate) fn changed(&self) {
        if let Some(mail) = &self.mail {
            mail.wake();
        }
    }

    /// Sends invitations, and tells the host's calendar what it has missed, for as long as the
    /// process runs.
    pub(crate) async fn work(self) {
        let send = async {
            match &self.mail {
                Some(mail) => mail.run().await,
                None => std::future::pending().await,
            }
        };
        let settle = async {
            let Some(host) = &self.host else {
                return std::future::pending().await;
            };
            loop {
                if let Err(error) = host.settle(wall()).await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the host's calendar does not follow yet"
                    );
                }
                tokio::time::sleep(SETTLE).await;
            }
        };
        tokio::join!(send, settle);
    }

    /// Whether the host's calendar can be used; `None` where there is none.
    pub(crate) async fn check_calendar(&self) -> Option<Result<(), ProviderError>> {
        Some(self.host.as_ref()?.check().await)
    }

    /// Whether the mail server can be used; `None` where there is none.
    pub(crate) async fn check_mail(&self) -> Option<Result<(), ProviderError>> {
        Some(self.mail.as_ref()?.check().await)
    }
}

fn invitation(settings: &BookingSettings) -> Invitation {
    let text = |value: &Option<novavoice::private::Private<String>>| {
        value.as_ref().map(|value| value.reveal().clone())
    };
    Invitation {
        host: "Mike Lawrence".to_owned(),
        host_email: text(&settings.host_email).unwrap_or_default(),
        summary: "Gospel outreach with Mike Lawrence".to_owned(),
        description: Some("A web meeting about a Gospel outreach event at your church.".to_owned()),
        location: text(&settings.link),
    }
}

/// The address in `Esther <esther@example.org>`.
fn bare(mailbox: &str) -> &str {
    let inner = mailbox.rsplit_once('<').map(|(_, address)| address);
    inner.unwrap_or(mailbox).trim_end_matches('>').trim()
}

/// How often the host's calendar is told what it has missed.
const SETTLE: Duration = Duration::from_secs(10);
