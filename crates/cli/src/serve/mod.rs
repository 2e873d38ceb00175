//! `heartwire serve`: the server as a program.

mod logging;
mod options;
mod settings;

use heartwire_server::Server;

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
    let hub = settings.hub.open().await.map_err(Failure::usage)?;
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
        "heartwire listening on http://{} (data: memory)",
        server.local_addr()
    ))?;
    server.run(async move { stop.asked().await }).await;
    tracing::info!("stopped");
    Ok(())
}
