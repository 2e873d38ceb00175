//! Which crate may depend on which: one way, from the command line down to the protocol.

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::Finding;
use crate::process::{cargo, output, root};

/// One crate of the workspace.
struct Member {
    name: &'static str,
    /// The crates of the workspace that it may be built on. Its tests may use any.
    on: &'static [&'static str],
    nature: Nature,
}

#[derive(PartialEq)]
enum Nature {
    /// No clock, socket, thread or random source, so that a simulator can drive it.
    Pure,
    /// Meets the world.
    Shell,
}

const MEMBERS: &[Member] = &[
    Member {
        name: "heartwire-proto",
        on: &[],
        nature: Nature::Pure,
    },
    Member {
        name: "heartwire-disk",
        on: &[],
        nature: Nature::Shell,
    },
    Member {
        name: "heartwire-log",
        on: &["heartwire-disk", "heartwire-proto"],
        nature: Nature::Pure,
    },
    Member {
        name: "heartwire-hub",
        on: &["heartwire-log", "heartwire-proto"],
        nature: Nature::Pure,
    },
    Member {
        name: "heartwire-server",
        on: &[
            "heartwire-disk",
            "heartwire-hub",
            "heartwire-log",
            "heartwire-proto",
            "heartwire-websocket",
        ],
        nature: Nature::Shell,
    },
    Member {
        name: "heartwire-sim",
        on: &[
            "heartwire-disk",
            "heartwire-hub",
            "heartwire-log",
            "heartwire-proto",
            "heartwire-websocket",
        ],
        nature: Nature::Shell,
    },
    Member {
        name: "heartwire-websocket",
        on: &["heartwire-proto"],
        nature: Nature::Shell,
    },
    Member {
        name: "heartwire",
        on: &["heartwire-proto"],
        nature: Nature::Shell,
    },
    Member {
        name: "heartwire-cli",
        on: &[
            "heartwire",
            "heartwire-disk",
            "heartwire-load",
            "heartwire-log",
            "heartwire-proto",
            "heartwire-proxy",
            "heartwire-server",
        ],
        nature: Nature::Shell,
    },
    Member {
        name: "heartwire-load",
        on: &["heartwire"],
        nature: Nature::Shell,
    },
    Member {
        name: "heartwire-proxy",
        on: &[],
        nature: Nature::Shell,
    },
    Member {
        name: "heartwire-testing",
        on: &["heartwire-disk"],
        nature: Nature::Shell,
    },
    Member {
        name: "heartwire-fuzz-targets",
        on: &[
            "heartwire-disk",
            "heartwire-hub",
            "heartwire-log",
            "heartwire-proto",
            "heartwire-server",
            "heartwire-websocket",
        ],
        nature: Nature::Shell,
    },
    Member {
        name: "heartwire-bench",
        on: &["heartwire", "heartwire-load"],
        nature: Nature::Shell,
    },
    Member {
        name: "xtask",
        on: &[],
        nature: Nature::Shell,
    },
];

/// What a pure crate may not be built on.
const IMPURE: [&str; 9] = [
    "axum",
    "getrandom",
    "hyper",
    "mio",
    "rand",
    "rustix",
    "socket2",
    "tokio",
    "tungstenite",
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    req: String,
    /// `null` for what the crate is built on, else `dev` or `build`.
    kind: Option<String>,
    /// Set for crates of the workspace.
    path: Option<String>,
}

pub(super) fn check() -> Result<Vec<Finding>> {
    let arguments = ["metadata", "--format-version", "1", "--no-deps", "--locked"];
    let metadata = output(cargo().args(arguments))?;
    let metadata: Metadata = serde_json::from_str(&metadata).context("cargo metadata")?;
    let findings = metadata.packages.iter().flat_map(|package| {
        let member = MEMBERS.iter().find(|member| member.name == package.name);
        let complaints = match member {
            Some(member) => check_member(member, package),
            None => vec!["a new crate: say in xtask what it may depend on".to_owned()],
        };
        complaints.into_iter().map(|what| Finding {
            file: package.name.clone(),
            line: None,
            what,
        })
    });
    Ok(findings.collect())
}

fn check_member(member: &Member, package: &Package) -> Vec<String> {
    let mut complaints: Vec<String> = package
        .dependencies
        .iter()
        .filter_map(|dependency| wrong_with(member, dependency))
        .collect();
    let folder = member.name.trim_start_matches("heartwire-");
    let rules = root().join("crates").join(folder).join("clippy.toml");
    if member.nature == Nature::Pure && !rules.exists() {
        complaints.push("a pure crate needs a clippy.toml that forbids clocks".to_owned());
    }
    complaints
}

fn wrong_with(member: &Member, dependency: &Dependency) -> Option<String> {
    let name = &dependency.name;
    if dependency.path.is_none() && dependency.req == "*" {
        return Some(format!("{name} is asked for in any version; name one"));
    }
    if dependency.kind.is_some() {
        return None;
    }
    if dependency.path.is_some() && !member.on.contains(&name.as_str()) {
        return Some(format!("it may not depend on {name}"));
    }
    let impure = member.nature == Nature::Pure && IMPURE.contains(&name.as_str());
    impure.then(|| format!("it is pure and may not depend on {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(
        member: &str,
        name: &str,
        path: Option<&str>,
        kind: Option<&str>,
    ) -> Option<String> {
        let member = MEMBERS
            .iter()
            .find(|m| m.name == member)
            .expect("it is a member");
        let dependency = Dependency {
            name: name.to_owned(),
            req: "^1".to_owned(),
            kind: kind.map(str::to_owned),
            path: path.map(str::to_owned),
        };
        wrong_with(member, &dependency)
    }

    #[test]
    fn dependencies_point_one_way() {
        let path = Some("crates/x");
        assert_eq!(
            complaint("heartwire-hub", "heartwire-log", path, None),
            None
        );
        assert!(complaint("heartwire-log", "heartwire-hub", path, None).is_some());
        assert!(complaint("heartwire", "heartwire-server", path, None).is_some());
        assert_eq!(
            complaint("heartwire", "heartwire-server", path, Some("dev")),
            None
        );
    }

    #[test]
    fn pure_crates_meet_no_runtime() {
        assert!(complaint("heartwire-proto", "tokio", None, None).is_some());
        assert_eq!(complaint("heartwire-server", "tokio", None, None), None);
        assert_eq!(complaint("heartwire-proto", "bytes", None, None), None);
    }
}
