//! `heartwire serve`: the server as a program.

mod logging;
mod options;
mod settings;
mod topic_rule;

use heartwire_server::{OpenError, Server};

pub(crate) use options::ServeArgs;

use crate::failure::Failure;
use crate::output;
use crate::signals::Stop;
use settings::Settings;

/// Serves until a signal comes, then drains.
pub(crate) async fn run(args: ServeArgs) -> Result<(), Failure> {
    let settings = Settings::check(&args.options()?)?;
    logging::install(settings.log_format);
    let mut stop = Stop::on_signals()?;
    let hub = settings.hub.open().await.map_err(refused)?;
    let mut server = Server::bind(settings.listen, hub).await.map_err(|error| {
        Failure::failed(format_args!("cannot listen on {}", settings.listen), error)
    })?;
    if let Some(window) = settings.drain_window {
        server = server.drain_window(window);
    }
    if settings.is_open_to_this_machine_only {
        tracing::warn!("no API key is set: everything is allowed, on loopback only");
    }
    output::line(format_args!(
        "heartwire listening on http://{} (data: {})",
        server.local_addr(),
        settings.data
    ))?;
    server.run(async move { stop.asked().await }).await;
    tracing::info!("stopped");
    Ok(())
}

/// Settings that contradict each other are wrong usage; a log that cannot be opened is a failure.
fn refused(error: OpenError) -> Failure {
    match error {
        OpenError::Store(error) => Failure::failed("cannot open the log", error),
        contradiction => Failure::usage(contradiction),
    }
}
