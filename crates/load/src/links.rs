//! Many links at once.

use std::time::{Duration, Instant};

use heartwire::{Link, Status};

use crate::error::{LoadError, patiently};
use crate::figures::Latencies;

/// Makes one more link to the server under load.
pub type Dial<'a> = &'a (dyn Fn() -> Result<Link, LoadError> + Sync);

/// Opens so many links, `at_once` at a time, and tells how long each took from its dial to its
/// welcome.
///
/// # Errors
///
/// When a link ends for good, or takes too long.
///
/// # Panics
///
/// Outside of a tokio runtime.
pub async fn open(
    dial: Dial<'_>,
    count: usize,
    at_once: usize,
) -> Result<(Vec<Link>, Latencies), LoadError> {
    let mut links = Vec::with_capacity(count);
    let mut latencies = Latencies::default();
    while links.len() < count {
        let wave = at_once.clamp(1, count - links.len());
        let mut opening = Vec::with_capacity(wave);
        for _ in 0..wave {
            let link = dial()?;
            opening.push(tokio::spawn(until_open(link.clone())));
            links.push(link);
        }
        for opened in opening {
            latencies.note(opened.await.expect("waiting does not panic")?);
        }
    }
    Ok((links, latencies))
}

/// How long it takes from here until the link is open.
pub(crate) async fn until_open(link: Link) -> Result<Duration, LoadError> {
    let begun = Instant::now();
    let mut status = link.status();
    let is_over = |status: &Status| matches!(status, Status::Open { .. } | Status::Closed { .. });
    let reached = patiently("opening a link", status.wait_for(is_over)).await?;
    match reached.as_deref() {
        Ok(Status::Closed { why }) => Err(LoadError::Ended(why.clone())),
        _ => Ok(begun.elapsed()),
    }
}
