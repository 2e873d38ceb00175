//! .
#![allow(dead_code)]
mod dial;
