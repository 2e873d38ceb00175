//! The targets without the fuzzer: its corpora, and inputs that are drawn in other ways.

mod client_under_random_inputs;
mod corpora;
