//! `heartwire config`: the configuration file of the server, written and checked.

mod default;

use clap::{Args, Subcommand};

use crate::failure::Failure;
use crate::output;
use crate::serve::{self, ServeArgs};

/// Write or check the configuration file of `serve`.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check what `serve` would be told by the same flags, environment and file; nothing is started.
    ///
    /// Exits with 0 when `serve` would start with it, and with 2 otherwise, naming the key and what
    /// it may be.
    Check(Box<ServeArgs>),
    /// Print a file with every key, commented out, at its default.
    Default,
}

/// Does what was asked for.
pub(crate) fn run(args: ConfigArgs) -> Result<(), Failure> {
    match args.command {
        Command::Check(args) => {
            for warning in serve::check(*args)? {
                output::note(format_args!("warning: {warning}"));
            }
            output::line("the configuration is good")
        }
        Command::Default => output::line(default::file().trim_end()),
    }
}
