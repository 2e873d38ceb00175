//! `heartwire proxy`: fault injection on a TCP path, on command.

mod console;
mod control;

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use heartwire_proxy::Proxy;
use tokio::net::TcpListener;

use crate::failure::Failure;
use crate::output;
use crate::signals::Stop;

/// Break the connections of a TCP path on command
///
/// Reads commands from standard input, one a line, and answers each with one line:
///
///   pass                      forward everything
///   blackhole [up|down]       let nothing through, not even the end of a connection
///   reset                     reset all connections, then pass
///   refuse                    refuse new connections
///   delay DURATION [JITTER]   hold bytes back, in each direction
///   throttle BYTES_PER_SECOND slow each connection and direction down
///   cut-every DURATION        reset each connection when it has lived this long
///   status                    say what is in force and what went through
///
/// Faults add up until `pass`. Over HTTP (--control) the words of a command are the path:
/// `curl -X POST CONTROL/delay/200ms/50ms`, and `curl CONTROL/status` answers JSON.
///
/// In a black hole bytes are not lost: they wait, as they do in the sender of a connection whose
/// packets are dropped, and `pass` goes on where the path stopped.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ProxyArgs {
    /// Where clients connect to; port 0 picks one and names it in the ready line.
    #[arg(long, value_name = "ADDR", env = "HEARTWIRE_PROXY_LISTEN")]
    listen: String,
    /// Where connections are taken: HOST:PORT.
    #[arg(long, value_name = "ADDR", env = "HEARTWIRE_PROXY_TO")]
    to: String,
    /// Take commands over HTTP as well; port 0 picks one and names it in the ready line.
    #[arg(long, value_name = "ADDR", env = "HEARTWIRE_PROXY_CONTROL")]
    control: Option<SocketAddr>,
}

/// Proxies until a signal comes.
pub(crate) async fn run(args: ProxyArgs) -> Result<(), Failure> {
    let mut stop = Stop::on_signals()?;
    let ProxyArgs {
        listen,
        to,
        control,
    } = args;
    let proxy = Proxy::start(&listen, &to)
        .await
        .map_err(|error| Failure::failed(format_args!("cannot listen on {listen}"), error))?;
    let proxy = Arc::new(proxy);
    let control = match control {
        Some(addr) => Some(bind_control(addr).await?),
        None => None,
    };
    output::line(ready_line(&proxy, &to, control.as_ref())?)?;
    tokio::select! {
        () = stop.asked() => Ok(()),
        outcome = console::run(&proxy) => outcome,
        outcome = control::run(control, Arc::clone(&proxy)) => outcome,
    }
}

async fn bind_control(addr: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(addr)
        .await
        .map_err(|error| Failure::failed(format_args!("cannot listen on {addr}"), error))
}

fn ready_line(proxy: &Proxy, to: &str, control: Option<&TcpListener>) -> Result<String, Failure> {
    let mut line = format!("heartwire proxy listening on {} → {to}", proxy.addr());
    if let Some(listener) = control {
        let addr = listener
            .local_addr()
            .map_err(|error| Failure::failed("cannot name the control address", error))?;
        line.push_str(&format!(" (control: http://{addr})"));
    }
    Ok(line)
}
