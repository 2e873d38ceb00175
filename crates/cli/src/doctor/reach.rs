//! Name resolution and TCP: the first two stretches of a path.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::endpoint::Endpoint;
use super::report::{Check, Outcome, Verdict, millis, shown};

/// How many addresses of a name are tried; a name with more has them for balancing.
const ADDRESSES_MAX: usize = 8;

/// Name resolution slower than this is felt with every dial.
const SLOW_LOOKUP: Duration = Duration::from_millis(500);

/// The addresses of the host.
pub(super) async fn resolve(endpoint: &Endpoint, wait: Duration) -> Outcome<Vec<SocketAddr>> {
    let host = &endpoint.host;
    let asked_at = Instant::now();
    let found = timeout(wait, lookup_host((host.as_str(), endpoint.port))).await;
    let took = asked_at.elapsed();
    let mut addresses: Vec<_> = match found {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(error)) => return (unresolved(host, &error.to_string()), None),
        Err(_) => {
            return (
                unresolved(host, &format!("no answer in {}", shown(wait))),
                None,
            );
        }
    };
    if addresses.is_empty() {
        return (unresolved(host, "it has no address"), None);
    }
    addresses.truncate(ADDRESSES_MAX);
    let list: Vec<_> = addresses.iter().map(|a| a.ip().to_string()).collect();
    let is_slow = took > SLOW_LOOKUP;
    let verdict = if is_slow {
        Verdict::Warning
    } else {
        Verdict::Ok
    };
    let mut check = Check::new(
        "dns",
        verdict,
        format_args!("{} in {}", list.join(", "), shown(took)),
    )
    .fact("addresses", list)
    .fact("took_ms", millis(took));
    if is_slow {
        check = check.advise(format_args!(
            "Looking up {host} takes {}, with every dial: use a resolver that is nearer, or one that caches.",
            shown(took)
        ));
    }
    (check, Some(addresses))
}

fn unresolved(host: &str, why: &str) -> Check {
    Check::new("dns", Verdict::Failed, format_args!("{host}: {why}")).advise(format_args!(
        "The name {host} cannot be resolved from here: check its spelling, and that this machine's resolver knows it."
    ))
}

/// What came of one address.
struct Tried {
    address: SocketAddr,
    outcome: io::Result<TcpStream>,
    took: Duration,
}

/// Connects to every address, as clients meet all of them; the first that works is used further.
pub(super) async fn connect(
    addresses: &[SocketAddr],
    wait: Duration,
) -> Outcome<(SocketAddr, TcpStream)> {
    let tried = join_all(addresses.iter().map(|address| attempt(*address, wait))).await;
    let facts: Vec<_> = tried
        .iter()
        .map(|tried| match &tried.outcome {
            Ok(_) => json!({"address": tried.address.to_string(), "took_ms": millis(tried.took)}),
            Err(error) => json!({"address": tried.address.to_string(), "error": error.to_string()}),
        })
        .collect();
    let dead: Vec<_> = tried
        .iter()
        .filter_map(|tried| {
            Some(format!(
                "{}: {}",
                tried.address,
                tried.outcome.as_ref().err()?
            ))
        })
        .collect();
    let works = tried.into_iter().find_map(|tried| {
        let stream = tried.outcome.ok()?;
        Some((tried.address, stream, tried.took))
    });
    let Some((address, stream, took)) = works else {
        let check = Check::new("tcp", Verdict::Failed, dead.join("; "))
            .fact("addresses", facts)
            .advise("No address takes a TCP connection: check the port, that the server runs and listens on that address, and that no firewall stands between.");
        return (check, None);
    };
    let check = connected(address, took, &dead).fact("addresses", facts);
    (check, Some((address, stream)))
}

fn connected(address: SocketAddr, took: Duration, dead: &[String]) -> Check {
    let summary = format!("{address} in {}", shown(took));
    let check = |verdict, summary| {
        Check::new("tcp", verdict, summary)
            .fact("address", address.to_string())
            .fact("took_ms", millis(took))
    };
    if dead.is_empty() {
        return check(Verdict::Ok, summary);
    }
    let dead = dead.join("; ");
    let summary = format!("{summary}; not reached: {dead}");
    if address.ip().is_loopback() {
        // `localhost` has two addresses wherever one looks, and servers of which one is enough.
        return check(Verdict::Note, summary);
    }
    check(Verdict::Warning, summary).advise(format_args!(
        "The name has addresses that do not answer ({dead}): clients that try them first lose time. Take them out of DNS, or let the server listen there too."
    ))
}

async fn attempt(address: SocketAddr, wait: Duration) -> Tried {
    let begun = Instant::now();
    let outcome = dial(address, wait).await;
    Tried {
        address,
        outcome,
        took: begun.elapsed(),
    }
}

/// One TCP connection, without delay for small writes.
pub(super) async fn dial(address: SocketAddr, wait: Duration) -> io::Result<TcpStream> {
    let stream = timeout(wait, TcpStream::connect(address))
        .await
        .map_err(|_| {
            io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no answer in {}", shown(wait)),
            )
        })??;
    stream.set_nodelay(true)?;
    Ok(stream)
}
