//! `heartwire log`: a log on disk, looked at and repaired while no server has it.

mod check;
mod dump;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use heartwire_disk::{FileDisk, Threads};
use heartwire_log::store::{self, StoreConfig};
use heartwire_proto::TopicName;

use crate::failure::Failure;
use crate::output;

/// On how many threads a log is read.
const THREADS_MAX: NonZeroUsize = NonZeroUsize::new(8).expect("8 is not 0");

/// Look at a log on disk, or prepare one that was restored from a copy.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Debug, Subcommand)]
enum LogCommand {
    /// Read every byte of a log: what it holds, and what is damaged. Exit code 1 when something is.
    Check {
        /// The folder.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Print the messages of a topic, one JSON object a line, oldest first.
    Dump {
        /// The folder.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// The topic.
        topic: TopicName,
    },
    /// Begin a new epoch in every topic of a log that was restored from an older copy: clients that
    /// have seen more than the copy holds are told so, instead of missing what comes next.
    ResetEpochs {
        /// The folder.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

/// Runs the command. It blocks: there is nothing beside it.
pub(crate) fn run(args: &LogArgs) -> Result<(), Failure> {
    match &args.command {
        LogCommand::Check { folder } => check::run(folder),
        LogCommand::Dump { folder, topic } => dump::run(folder, topic),
        LogCommand::ResetEpochs { folder } => reset_epochs(folder),
    }
}

fn reset_epochs(folder: &Path) -> Result<(), Failure> {
    let random = getrandom::u64()
        .map_err(|error| Failure::failed("the system gives no random numbers", error))?;
    let topics = store::reset_epochs(
        disk(folder)?,
        &StoreConfig::default(),
        random,
        &Threads::available(THREADS_MAX),
    );
    let topics = topics.map_err(|error| Failure::failed("nothing was changed", error))?;
    output::line(format_args!("{topics} topics have a new epoch"))
}

/// The folder, which must hold a log.
fn disk(folder: &Path) -> Result<FileDisk, Failure> {
    FileDisk::open(folder)
        .map_err(|error| Failure::failed(format_args!("cannot open {}", folder.display()), error))
}
