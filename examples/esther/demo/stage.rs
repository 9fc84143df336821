//! Everything that a demonstration needs, put up on loopback and taken down again.

use std::{net::Ipv4Addr, path::Path, sync::Arc};

use anyhow::Context;
use jiff::{SignedDuration, Timestamp, ToSpan, civil::Time, tz::TimeZone};
use novavoice::{
    lead::PhoneNumber,
    model::nova_sonic::{NovaSonic, NovaSonicConfig},
    outbound::Window,
    private::Private,
    testkit::{
        bedrock::{FakeBedrock, Options as BedrockOptions},
        vonage::{FakeVonage, Options as CarrierOptions, RestOptions, RestServer},
    },
};
use tokio::{net::TcpListener, task::JoinHandle};
use uuid::Uuid;

use super::{model, people, stories::Stories};
use crate::{
    clock,
    config::{Config, StoreChoice},
    service::Service,
    speech,
    stores::Stores,
};

/// The world around the service.
pub(crate) struct Stage {
    bedrock: FakeBedrock,
    carrier: FakeVonage,
    people: JoinHandle<()>,
}

/// Puts everything up: nothing is read or written but below `folder` and `transcripts`, and
/// nothing is reached but on this machine, whatever `config` and the environment say.
pub(crate) async fn set_up(
    mut config: Config,
    folder: &Path,
    transcripts: &Path,
) -> anyhow::Result<(Stage, Service, Stores, Private<String>)> {
    let stories = Arc::new(Stories::load()?);
    let for_model = Arc::clone(&stories);
    let script = BedrockOptions::default().on_session(move |_| model::session(&for_model));
    let bedrock = FakeBedrock::start(script).await;
    let bedrock = bedrock.context("the simulated Bedrock cannot be started")?;

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.context("no port is free on this machine")?;
    let secret = || Private::new(Uuid::new_v4().to_string());
    let (signature, token) = (secret(), secret());
    let options = CarrierOptions {
        signature_secret: Some(signature.clone()),
        keep_audio: false,
        ..CarrierOptions::new(format!("http://{}", listener.local_addr()?))
    };
    let (api_key, application) = (options.api_key.clone(), options.application_id.clone());
    let carrier = FakeVonage::new(options);
    let rest = carrier.serve_rest(RestOptions::new()?).await;
    let rest = Arc::new(rest.context("the simulated carrier cannot be started")?);
    let people = cast(&rest, &stories)?;

    Ipv4Addr::LOCALHOST.to_string().clone_into(&mut config.host);
    config.public_url = None;
    config.api_token = Some(token.clone());
    config.traces = None;
    config.transcripts_dir = transcripts.to_path_buf();
    config.stores.data_dir = folder.join("data");
    (config.stores.leads, config.stores.calls) = (StoreChoice::Sqlite, StoreChoice::Sqlite);
    let vonage = &mut config.vonage;
    vonage.api_key = Some(Private::new(api_key));
    vonage.signature_secret = Some(signature);
    vonage.applications = application.into_iter().collect();
    vonage.private_key = Some(Private::new(rest.key().private_pem().to_owned()));
    vonage.from_number = Some(PhoneNumber::parse(OUR_NUMBER)?);
    rest.base_url().clone_into(&mut vonage.api_url);

    let stores = Stores::open(&config.stores, None).await?;
    let sdk = bedrock.sdk_config().await;
    let http = bedrock.http_clients();
    let nova = NovaSonic::with_http_clients(NovaSonicConfig::default(), &sdk, http);
    let speech = speech::alone(&config.speech, nova);
    let service = Service::start_with(config, listener, speech, stores.clone());
    let service = Box::pin(service).await?;
    let stage = Stage {
        bedrock,
        carrier,
        people,
    };
    Ok((stage, service, stores, token))
}

/// Sends everybody to their phones.
fn cast(rest: &Arc<RestServer>, stories: &Stories) -> anyhow::Result<JoinHandle<()>> {
    let stories = stories.by_number()?;
    for (number, story) in &stories {
        rest.reach(number, people::callee(story.reached));
    }
    Ok(tokio::spawn(people::play(Arc::clone(rest), stories)))
}

impl Stage {
    /// What the service did against the protocols of the carrier and of Bedrock.
    pub(crate) fn violations(&self) -> Vec<String> {
        let carrier = self.carrier.violations();
        let bedrock = self.bedrock.violations();
        let carrier = carrier.iter().map(|wrong| format!("Vonage: {wrong}"));
        let bedrock = bedrock.iter().map(|wrong| format!("Bedrock: {wrong:?}"));
        carrier.chain(bedrock).collect()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.people.abort();
    }
}

/// Sets the clock of calling hours and calendars to the morning of the next day at work that is
/// followed by another one, and says which moment that is.
pub(crate) fn set_clock() -> Timestamp {
    let now = clock::real();
    let morning = morning_after(now).unwrap_or(now);
    let ahead = morning.duration_since(now);
    clock::set_ahead(ahead.max(SignedDuration::ZERO));
    morning
}

fn morning_after(now: Timestamp) -> Option<Timestamp> {
    let zone = TimeZone::get(CLOCK_ZONE).ok()?;
    let window = Window::default();
    let is_open = |at: Timestamp| window.is_open(at, std::slice::from_ref(&zone));
    let today = now.to_zoned(zone.clone()).date();
    let mut days = today.series(1.day()).skip(1).take(LONGEST_HOLIDAY);
    days.find_map(|day| {
        let at = day.to_datetime(MORNING).to_zoned(zone.clone()).ok()?;
        let next = at.checked_add(1.day()).ok()?;
        (is_open(at.timestamp()) && is_open(next.timestamp())).then(|| at.timestamp())
    })
}

/// Where the clock hangs.
pub(crate) const CLOCK_ZONE: &str = "America/New_York";
/// Offices are open in the East and in the middle of the country, and shut farther west.
const MORNING: Time = Time::constant(10, 40, 0, 0);
/// Days.
const LONGEST_HOLIDAY: usize = 14;
/// Ours; nobody's.
const OUR_NUMBER: &str = "+12125550199";

#[cfg(test)]
mod tests {
    use super::*;

    fn after(now: &str) -> String {
        let morning = morning_after(now.parse().expect("a time")).expect("a morning");
        morning.to_string()
    }

    #[test]
    fn the_clock_shows_a_morning_with_another_day_at_work_behind_it() {
        assert_eq!(after("2026-06-22T13:00:00Z"), "2026-06-23T14:40:00Z");
        // A Thursday: Friday is followed by a weekend.
        assert_eq!(after("2026-06-25T13:00:00Z"), "2026-06-29T14:40:00Z");
        // The eve of Thanksgiving, and Christmas.
        assert_eq!(after("2026-11-25T12:00:00Z"), "2026-11-30T15:40:00Z");
        assert_eq!(after("2026-12-22T12:00:00Z"), "2026-12-23T15:40:00Z");
        assert_eq!(after("2026-12-23T23:00:00Z"), "2026-12-28T15:40:00Z");
    }
}
