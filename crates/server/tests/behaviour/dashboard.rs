//! The dashboard and the alarms that come with the server ask for metrics that there are.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::metrics::Scrape;
use crate::support::receiver::idle_webhook;
use crate::support::{Fixture, Outcome};

const DASHBOARD: &str = include_str!("../../../../deploy/grafana/heartwire.json");
const OPERATIONS: &str = include_str!("../../../../docs/operations.md");

/// Every word that looks like one of our metrics.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.split(|letter: char| !is_part(letter))
        .filter(|word| word.starts_with("heartwire_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

/// All panels, those inside rows included.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let top = dashboard["panels"].as_array().into_iter().flatten();
    top.flat_map(|panel| {
        let inner = panel["panels"].as_array().into_iter().flatten();
        std::iter::once(panel).chain(inner)
    })
    .collect()
}

#[tokio::test]
async fn each_panel_asks_for_metrics_that_exist() -> Outcome {
    let server = Fixture::with(|hub| hub.webhook(idle_webhook())).await;
    let names = Scrape::of(server.address).await.names();
    let dashboard: Value = serde_json::from_str(DASHBOARD)?;
    let mut asked = BTreeSet::new();
    let mut queries = 0;
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().expect("a panel has a title");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().expect("a target has a query");
            let metrics = metrics_in(query);
            assert!(!metrics.is_empty(), "{title}: {query}");
            let unknown: Vec<_> = metrics.difference(&names).collect();
            assert!(unknown.is_empty(), "{title} asks for {unknown:?}");
            asked.extend(metrics);
            queries += 1;
        }
    }
    assert!(queries >= 20 && asked.len() >= 20, "{queries} {asked:?}");
    Ok(())
}

#[test]
fn the_dashboard_can_be_imported() -> Outcome {
    let dashboard: Value = serde_json::from_str(DASHBOARD)?;
    assert!(dashboard["title"].is_string() && dashboard["uid"].is_string());
    assert!(dashboard["schemaVersion"].as_u64() >= Some(36));
    assert_eq!(dashboard["id"], Value::Null, "the importer gives one");
    let panels = panels(&dashboard);
    let ids: BTreeSet<u64> = panels
        .iter()
        .filter_map(|panel| panel["id"].as_u64())
        .collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let source = &panel["datasource"];
        assert_eq!(source["uid"], "${datasource}", "{}", panel["title"]);
        let place = &panel["gridPos"];
        let (x, width) = (place["x"].as_u64(), place["w"].as_u64());
        assert!(x.zip(width).is_some_and(|(x, width)| x + width <= 24));
    }
    let variables = dashboard["templating"]["list"].as_array();
    let source = variables.and_then(|list| list.iter().find(|one| one["name"] == "datasource"));
    assert_eq!(source.map(|one| &one["query"]), Some(&"prometheus".into()));
    Ok(())
}

#[tokio::test]
async fn each_alarm_watches_metrics_that_exist() {
    let server = Fixture::start().await;
    let scrape = Scrape::of(server.address).await;
    let mut names = scrape.names();
    // What is explained in prose is the whole family.
    names.extend(scrape.types.into_keys());
    let families = metrics_in(OPERATIONS);
    let unknown: Vec<_> = families.difference(&names).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(families.len() >= 10, "{families:?}");
}
