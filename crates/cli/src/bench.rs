//! `heartwire bench`: measures a running server through real links.

use clap::{Args, ValueEnum};
use heartwire::{Link, TopicName};
use heartwire_load::LoadError;
use heartwire_load::bench::{self, Figure, Report};
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::output;
use crate::signals::Stop;
use crate::token::TokenArgs;
use crate::{AGENT, url};

/// More links than one process can have sockets in most places.
const COUNT_MAX: u64 = 100_000;
/// The most messages of one measurement.
const MESSAGES_MAX: u64 = 1_000_000;

/// Measure a running server.
///
/// Opens links as applications do, uses them, and tells what they met. The load is the server's own
/// to carry: mind who else is on it. Exits with 1 when a link cannot be opened or a message is lost,
/// doubled or out of order.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// The server: http://HOST:PORT, wss://HOST/PATH or HOST:PORT.
    url: String,
    /// What to measure.
    what: What,
    /// How many links take part, besides the publisher: 1 to 100000 [default: 1000 connections,
    /// 100 otherwise].
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=COUNT_MAX))]
    count: Option<u64>,
    /// How many messages are published: 1 to 1000000; fan-out and latency.
    #[arg(long, value_name = "COUNT", default_value_t = 1_000,
          value_parser = clap::value_parser!(u64).range(1..=MESSAGES_MAX))]
    messages: u64,
    /// The topic, which nobody else may publish to meanwhile [default: bench:, and a random name].
    #[arg(long, value_name = "TOPIC")]
    topic: Option<TopicName>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    token: TokenArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum What {
    /// Open links and hold them all: how fast that goes.
    Connections,
    /// Publish to a topic that all links follow: how fast messages reach everybody.
    FanOut,
    /// Publish one message when the other is stored: how long storing and delivering take.
    Latency,
    /// Have all links give up their connections at once: how long until they are back.
    Recovery,
}

/// Measures until done, or until the user has seen enough.
pub(crate) async fn run(args: BenchArgs) -> Result<(), Failure> {
    let mut stop = Stop::on_signals()?;
    let report = tokio::select! {
        measured = measure(&args) => measured.map_err(|error| failure(&error))?,
        () = stop.asked() => return Err(Failure::Failed("interrupted".to_owned())),
    };
    if args.json {
        output::line(json(&args, &report))
    } else {
        report
            .figures
            .iter()
            .try_for_each(|figure| output::line(row(figure)))
    }
}

async fn measure(args: &BenchArgs) -> Result<Report, LoadError> {
    let dial = || dial(args);
    let topic = match &args.topic {
        Some(topic) => topic.as_str().to_owned(),
        None => format!("bench:{:016x}", getrandom::u64().unwrap_or_default()),
    };
    let count = args.count() as usize;
    match args.what {
        What::Connections => bench::connections(&dial, count).await,
        What::FanOut => bench::fan_out(&dial, &topic, count, args.messages).await,
        What::Latency => bench::latency(&dial, &topic, args.messages).await,
        What::Recovery => bench::recovery(&dial, &topic, count).await,
    }
}

impl BenchArgs {
    fn count(&self) -> u64 {
        let usual = match self.what {
            What::Connections => 1_000,
            What::Latency => 1,
            What::FanOut | What::Recovery => 100,
        };
        self.count.unwrap_or(usual)
    }
}

fn dial(args: &BenchArgs) -> Result<Link, LoadError> {
    let builder = Link::builder(&url::of_heartwire(&args.url)).agent(AGENT);
    let builder = args.token.apply(builder).map_err(|failure| {
        let message = failure.message().unwrap_or_default();
        LoadError::Settings(message.to_owned())
    })?;
    Ok(builder.connect()?)
}

fn failure(error: &LoadError) -> Failure {
    match error {
        LoadError::Config(_) | LoadError::Settings(_) | LoadError::Subscribe(_) => {
            Failure::usage(error)
        }
        other => Failure::Failed(other.to_string()),
    }
}

/// `NAME VALUE UNIT`, in columns.
fn row(figure: &Figure) -> String {
    let Figure { name, value, unit } = figure;
    let decimals = if unit.is_empty() { 0 } else { 2 };
    format!("{name:16} {value:>14.decimals$} {unit}")
        .trim_end()
        .to_owned()
}

/// One object: what was measured, and each figure under its name with its unit.
fn json(args: &BenchArgs, report: &Report) -> Value {
    let what = args.what.to_possible_value().expect("none is hidden");
    let mut object = Map::new();
    object.insert("bench".to_owned(), what.get_name().into());
    for Figure { name, value, unit } in &report.figures {
        let name = match *unit {
            "" => name.clone(),
            unit => format!("{name}_{}", unit.replace(' ', "_")),
        };
        object.insert(name, (*value).into());
    }
    object.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_in_columns() {
        let figure = |name: &str, value, unit| Figure {
            name: name.to_owned(),
            value,
            unit,
        };
        assert_eq!(
            row(&figure("links", 100.0, "")),
            "links                       100"
        );
        assert_eq!(
            row(&figure("back_p99", 1.25, "ms")),
            "back_p99                   1.25 ms"
        );
    }
}
