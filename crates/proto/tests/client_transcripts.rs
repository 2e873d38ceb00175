//! Every transcript of `spec/transcripts/client`, run against the client session.

mod support;

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;
use support::{read_json, spec, transcript};

fn transcripts() -> Vec<(String, Value)> {
    let mut transcripts = Vec::new();
    for entry in fs::read_dir(spec("transcripts/client")).expect("the folder of transcripts") {
        let path = entry.expect("a readable entry").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let name = path.file_name().expect("a file has a name");
            transcripts.push((name.to_string_lossy().into_owned(), read_json(&path)));
        }
    }
    transcripts.sort_by(|(a, _), (b, _)| a.cmp(b));
    transcripts
}

#[test]
fn every_transcript_holds() {
    let mut failures = Vec::new();
    let transcripts = transcripts();
    for (name, value) in &transcripts {
        if let Err(error) = transcript::run(value) {
            failures.push(format!("{name}: {error}"));
        }
    }
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
    assert!(transcripts.len() >= 25, "where are the transcripts?");
}

#[test]
fn every_transcript_says_what_it_is_about() {
    let protocol = fs::read_to_string(spec("../PROTOCOL.md")).expect("the protocol");
    let mut names = BTreeSet::new();
    for (file, value) in transcripts() {
        let name = value["name"].as_str().unwrap_or_default();
        assert!(!name.is_empty(), "{file} has no name");
        assert!(names.insert(name.to_owned()), "{file}: {name:?} exists");
        assert!(value["about"].is_string(), "{file} does not say why");
        let requirements = value["requirements"].as_array();
        let requirements = requirements.expect("an array of requirements");
        assert!(!requirements.is_empty(), "{file} shows no requirement");
        for id in requirements {
            let id = format!("**[{}]**", id.as_str().unwrap_or_default());
            assert!(protocol.contains(&id), "{file}: there is no {id}");
        }
    }
}
