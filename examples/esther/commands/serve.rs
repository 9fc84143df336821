//! `esther serve`: takes calls until it is told to stop.

use crate::{config::Config, service::Service, signals};

/// Runs the service.
pub(crate) async fn run(config: Config) -> anyhow::Result<()> {
    let stop = signals::watch();
    let service = Service::start(config).await?;
    // On standard error and past the logs: a filter must not hide either, and no log may keep
    // the token.
    eprintln!("{}", service.notice);
    if let Some(token) = &service.made_token {
        eprintln!("API token, made for this run: {}", token.reveal());
    }
    println!("Esther is at {}/", service.address);
    service.run(stop).await
}
