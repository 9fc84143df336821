//! What the operating system asks of the process.

use tokio::sync::watch;

use crate::service::Stop;

/// The first SIGTERM or Ctrl-C asks for the drain, the second one for the end.
pub(crate) fn watch() -> watch::Receiver<Stop> {
    let (stop, watching) = watch::channel(Stop::Never);
    tokio::spawn(async move {
        for stage in [Stop::Drain, Stop::Now] {
            asked().await;
            match stage {
                Stop::Drain => tracing::info!("asked to stop: no new calls from now on"),
                _ => tracing::warn!("asked again: live calls are closed now"),
            }
            stop.send_replace(stage);
        }
        stop.closed().await;
    });
    watching
}

#[cfg(unix)]
async fn asked() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return interrupted().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        () = interrupted() => {}
    }
}

#[cfg(not(unix))]
async fn asked() {
    interrupted().await;
}

async fn interrupted() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        tracing::error!(%error, "Ctrl-C cannot be watched");
        std::future::pending::<()>().await;
    }
}
