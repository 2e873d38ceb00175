//! Why a command ends otherwise than asked, and what the shell is told.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// The end of a command that did not do its job.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked for makes no sense: exit code 2.
    Usage(String),
    /// It was attempted and failed: exit code 1.
    Failed(String),
    /// Whoever read standard output has seen enough, as `head -1` does: nobody is left to serve,
    /// and nothing went wrong.
    OutputClosed,
}

impl Failure {
    /// A failure with its cause: `WHAT: CAUSE`.
    pub(crate) fn failed(what: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self::Failed(format!("{what}: {cause}"))
    }

    /// Wrong usage.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::Usage(message.to_string())
    }

    /// What standard error says about it.
    pub(crate) fn message(&self) -> Option<&str> {
        match self {
            Self::Usage(message) | Self::Failed(message) => Some(message),
            Self::OutputClosed => None,
        }
    }

    /// What the shell is told.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Failed(_) => ExitCode::FAILURE,
            Self::OutputClosed => ExitCode::SUCCESS,
        }
    }

    /// Writing to standard output has failed.
    pub(crate) fn output(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::OutputClosed
        } else {
            Self::failed("cannot write to standard output", error)
        }
    }
}
