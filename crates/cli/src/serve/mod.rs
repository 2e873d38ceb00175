//! `heartwire serve`: the server as a program.

mod access;
mod logging;
mod options;
mod reload;
mod settings;
mod supervisor;
mod topic_rule;
mod webhook_rule;

use heartwire_log::store;
use heartwire_server::{OpenError, Server, StoreError, WebhooksError};

pub(crate) use options::{Options, ServeArgs};

use crate::failure::Failure;
use crate::output;
use crate::signals::Stop;
use settings::Settings;

/// Checks everything that can be checked without starting; what the operator should hear of it.
pub(crate) fn check(args: ServeArgs) -> Result<Vec<&'static str>, Failure> {
    check_options(&args.options()?).map(|settings| settings.warnings)
}

/// The same for keys alone.
pub(crate) fn check_options(options: &Options) -> Result<Settings, Failure> {
    Settings::check(options)
}

/// Serves until a signal comes, then drains.
pub(crate) async fn run(args: ServeArgs) -> Result<(), Failure> {
    let settings = Settings::check(&args.options()?)?;
    logging::install(settings.log_format);
    let mut stop = Stop::on_signals()?;
    let hub = settings.hub.open().await.map_err(refused)?;
    reload::on_hangup(hub.clone(), settings.tls.clone())?;
    let server = Server::bind(settings.listen, hub.clone())
        .await
        .map_err(|error| {
            Failure::failed(format_args!("cannot listen on {}", settings.listen), error)
        })?;
    let mut server = server.proxy_protocol(settings.proxy_protocol);
    let scheme = if settings.tls.is_some() {
        "https"
    } else {
        "http"
    };
    if let Some(tls) = settings.tls {
        server = server.tls(tls);
    }
    if let Some(window) = settings.drain_window {
        server = server.drain_window(window);
    }
    for warning in settings.warnings {
        tracing::warn!("{warning}");
    }
    output::line(format_args!(
        "heartwire listening on {scheme}://{} (data: {})",
        server.local_addr(),
        settings.data
    ))?;
    supervisor::ready(&hub);
    let asked = async move {
        stop.asked().await;
        supervisor::stopping();
    };
    server.run(asked).await;
    tracing::info!("stopped");
    Ok(())
}

/// Damage has to be accepted by the user: what that takes is told with it.
fn with_way_out(error: &StoreError) -> String {
    match error {
        StoreError::Log(store::OpenError::Damaged { .. }) => format!(
            "{error}; `heartwire log check DIR` tells all of it, `--accept-data-loss` keeps the rest"
        ),
        error => error.to_string(),
    }
}

/// Settings that contradict each other are wrong usage; a log that cannot be opened is a failure.
fn refused(error: OpenError) -> Failure {
    match error {
        OpenError::Store(error) => Failure::failed("cannot open the log", with_way_out(&error)),
        OpenError::ShutOut(error) => Failure::failed("cannot tell who is shut out", error),
        OpenError::Webhooks(error @ (WebhooksError::Cursors(_) | WebhooksError::Trust(_))) => {
            Failure::failed("cannot start the webhooks", error)
        }
        contradiction => Failure::usage(contradiction),
    }
}
