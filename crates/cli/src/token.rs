//! What the links of these commands show of themselves, and whom they trust.

use std::future::ready;
use std::io;
use std::path::PathBuf;

use clap::Args;
use heartwire::Builder;

use crate::failure::Failure;
use crate::secret::Secret;

/// Who is calling.
#[derive(Clone, Debug, Args)]
pub(crate) struct TokenArgs {
    /// A token that opens the server.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "HEARTWIRE_TOKEN",
        hide_env_values = true
    )]
    token: Option<Secret>,

    /// A file that holds the token; it is read again before each dial.
    #[arg(
        long,
        value_name = "FILE",
        env = "HEARTWIRE_TOKEN_FILE",
        conflicts_with = "token"
    )]
    token_file: Option<PathBuf>,

    /// Certificates, as PEM, that are trusted beside those of this machine.
    #[arg(long, value_name = "FILE", env = "HEARTWIRE_CA")]
    ca: Option<PathBuf>,
}

impl TokenArgs {
    /// A link that shows the token, if there is one, and trusts as was said.
    pub(crate) fn apply<M>(&self, mut builder: Builder<M>) -> Result<Builder<M>, Failure> {
        if let Some(path) = &self.ca {
            let pem = std::fs::read(path)
                .map_err(|error| Failure::usage(format_args!("{}: {error}", path.display())))?;
            builder = builder.root_certificates(&pem);
        }
        Ok(self.with_token(builder))
    }

    fn with_token<M>(&self, builder: Builder<M>) -> Builder<M> {
        if let Some(token) = self.token.clone() {
            return builder.token(move || ready(Ok::<_, io::Error>(token.as_str().to_owned())));
        }
        let Some(path) = self.token_file.clone() else {
            return builder;
        };
        builder.token(move || {
            let read = std::fs::read_to_string(&path);
            ready(read.map(|token| token.trim().to_owned()))
        })
    }
}
