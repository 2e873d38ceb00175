//! The HTTP side.

pub(crate) mod error;
