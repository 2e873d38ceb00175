//! The file with every key at its default.
//!
//! It is made from the flags themselves, with their help and the default that stands in it, so that
//! it holds every key that there is and none that is not.

use clap::{Arg, ArgAction, Args as _, Command};

use crate::serve::Options;

/// The longest line of a comment.
const WIDTH: usize = 96;

const HEAD: &str = "\
# The configuration of `heartwire serve`: heartwire.toml in the working directory, or --config FILE.
# Each key is also a flag (--listen) and an environment variable (HEARTWIRE_LISTEN); flags win over
# the environment, and that over this file. What is commented out has its default.
";

/// The whole file.
pub(super) fn file() -> String {
    let mut file = HEAD.to_owned();
    for flag in Options::augment_args(Command::new("serve")).get_arguments() {
        file.push('\n');
        for line in wrapped(&explanation(flag)) {
            file.push_str(&format!("# {line}\n"));
        }
        let key = flag.get_long().unwrap_or_default();
        file.push_str(&format!("# {key} = {}\n", value(flag)));
    }
    file
}

fn help(flag: &Arg) -> String {
    flag.get_help().map(ToString::to_string).unwrap_or_default()
}

/// The help without the default, which stands below it.
fn explanation(flag: &Arg) -> String {
    let help = help(flag);
    let (what, _) = help.split_once(" [default: ").unwrap_or((&help, ""));
    format!("{}.", what.trim_end_matches('.'))
}

/// The default, as TOML; where there is none, what stands for a value.
fn value(flag: &Arg) -> String {
    let help = help(flag);
    let default = help
        .split_once("[default: ")
        .and_then(|(_, rest)| rest.split_once(']'));
    let is_list = matches!(flag.get_action(), ArgAction::Append);
    let is_switch = flag
        .get_num_args()
        .is_some_and(|count| count.min_values() == 0);
    let text = match default {
        _ if is_switch => return "false".to_owned(),
        Some((default, _)) if !default.contains(' ') => default.to_owned(),
        _ => placeholder(flag),
    };
    let quoted = |text: &str| {
        let is_number = text.parse::<u64>().is_ok();
        if is_number {
            text.to_owned()
        } else {
            format!("{text:?}")
        }
    };
    if is_list {
        let items: Vec<String> = text.split(',').map(quoted).collect();
        return format!("[{}]", items.join(", "));
    }
    quoted(&text)
}

fn placeholder(flag: &Arg) -> String {
    let names = flag.get_value_names().unwrap_or_default();
    let name = names.first().map(ToString::to_string).unwrap_or_default();
    match name.as_str() {
        "DURATION" => "10s".to_owned(),
        "COUNT" => "1000".to_owned(),
        "BYTES" => "1MiB".to_owned(),
        "WEBHOOK" => "inbox https://back.example/heartwire".to_owned(),
        _ => name,
    }
}

/// Lines of words.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is one from the beginning");
        if !line.is_empty() && line.len() + 1 + word.len() > WIDTH {
            lines.push(word.to_owned());
        } else {
            let between = if line.is_empty() { "" } else { " " };
            line.push_str(between);
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::check_options;

    fn parse(toml: &str) -> Options {
        toml::from_str(toml).unwrap_or_else(|error| panic!("{error} in {toml}"))
    }

    /// `key = value` lines, without their mark.
    fn keys(file: &str) -> Vec<(String, String)> {
        let lines = file.lines().filter_map(|line| {
            let (key, value) = line.strip_prefix("# ")?.split_once(" = ")?;
            let is_key = key
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-');
            is_key.then(|| (key.to_owned(), value.to_owned()))
        });
        lines.collect()
    }

    #[test]
    fn the_file_says_nothing_until_something_is_uncommented() {
        assert_eq!(parse(&file()), Options::default());
    }

    #[test]
    fn every_key_is_there_once_and_is_one() {
        let keys = keys(&file());
        let flags = Options::augment_args(Command::new("serve"));
        assert_eq!(keys.len(), flags.get_arguments().count());
        for (key, value) in keys {
            let says = parse(&format!("{key} = {value}"));
            assert_ne!(says, Options::default(), "{key} is read");
        }
    }

    /// The default that the help names is the one that the server has.
    #[test]
    fn saying_a_default_changes_nothing() {
        let settings = |options| check_options(&options).map(|settings| format!("{settings:?}"));
        let silent = settings(Options::default()).expect("the defaults are good");
        let flags = Options::augment_args(Command::new("serve"));
        let mut said = 0;
        for flag in flags.get_arguments() {
            let named = help(flag);
            let named = named.split_once("[default: ").map_or("", |(_, rest)| rest);
            if named.is_empty() || named.contains(' ') {
                continue;
            }
            let key = flag.get_long().expect("every key is a flag");
            let line = format!("{key} = {}", value(flag));
            let spoken = settings(parse(&line));
            assert_eq!(spoken.expect("it may be said"), silent, "{line}");
            said += 1;
        }
        assert!(said >= 12, "{said}");
    }

    /// `what: A to B [default: …]` in the help of a key is what is said about a value out of it.
    #[test]
    fn every_range_in_the_help_is_the_one_that_is_checked() {
        let mut checked = 0;
        for flag in Options::augment_args(Command::new("serve")).get_arguments() {
            let help = help(flag);
            let range = help
                .split_once(" [default: ")
                .and_then(|(what, _)| what.rsplit_once(": "))
                .map(|(_, range)| range.trim())
                .filter(|range| range.contains(" to "));
            let Some(range) = range else { continue };
            let key = flag.get_long().expect("every key is a flag");
            let values = ["0", "\"0s\"", "18446744073709551", "\"1000000d\""];
            let errors = values.iter().filter_map(|value| {
                let options = toml::from_str::<Options>(&format!("{key} = {value}")).ok()?;
                let failure = check_options(&options).err()?;
                failure.message().map(str::to_owned)
            });
            let errors: Vec<String> = errors.collect();
            assert!(
                !errors.is_empty(),
                "{key} takes everything, not only {range}"
            );
            for error in errors {
                let expected =
                    error.starts_with(key) && error.ends_with(&format!("may be {range}"));
                assert!(expected, "{key}: {range}, but: {error}");
            }
            checked += 1;
        }
        assert!(checked >= 12, "{checked}");
    }
}
