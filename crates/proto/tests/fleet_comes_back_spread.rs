//! A thousand clients that lose their server at the same moment do not come back at the same moment.

mod support;

use std::time::Duration;

use heartwire_proto::client::ClientConfig;
use heartwire_proto::{ClientId, Time};
use heartwire_testing::Dice;
use support::driver::{Driver, WELCOME};

const CLIENTS: u64 = 1_000;

/// Clients that have been connected for ten seconds.
fn fleet() -> Vec<Driver> {
    let client = |index| {
        let random = Dice::new(index).roll();
        let id = ClientId::from_random(u128::from(random));
        let mut driver = Driver::new(ClientConfig::default(), id, random);
        driver.call(|session, now| session.start(now));
        driver.open();
        driver.receive(WELCOME);
        driver.advance_ms(10_000);
        driver.take_dials();
        driver
    };
    (1..=CLIENTS).map(client).collect()
}

/// Runs each client to its next dial; when that is, in milliseconds.
fn next_dials(fleet: &mut [Driver]) -> Vec<u64> {
    let next_dial = |driver: &mut Driver| {
        let end = driver.time + Duration::from_secs(600);
        while driver.take_dials().is_empty() {
            assert!(driver.step(end), "the client never dials");
        }
        driver.time.as_millis()
    };
    fleet.iter_mut().map(next_dial).collect()
}

/// The largest number of dials that fall into the same 100 ms.
fn crowd(mut dials: Vec<u64>) -> usize {
    dials.sort_unstable();
    let within =
        |(index, first): (usize, &u64)| dials[index..].partition_point(|dial| *dial < first + 100);
    dials.iter().enumerate().map(within).max().unwrap_or(0)
}

#[test]
fn after_a_cut_no_100_ms_hold_more_than_6_percent_of_the_first_dials() {
    let mut fleet = fleet();
    for driver in &mut fleet {
        driver.cut();
    }
    let dials = next_dials(&mut fleet);
    assert!(dials.iter().all(|dial| (10_000..=13_000).contains(dial)));
    let crowd = crowd(dials);
    assert!(crowd <= 60, "{crowd} of {CLIENTS} dial within 100 ms");
}

#[test]
fn after_an_outage_of_a_minute_the_fleet_is_spread_further() {
    let mut fleet = fleet();
    for (index, driver) in fleet.iter_mut().enumerate() {
        driver.cut();
        let mut dice = Dice::new(index as u64);
        while driver.time < Time::from_millis(70_000) {
            let end = driver.time + Duration::from_secs(600);
            assert!(driver.step(end), "the client rests");
            driver.random = dice.roll();
            if !driver.take_dials().is_empty() && driver.time < Time::from_millis(70_000) {
                driver.refuse();
            }
        }
    }
    let crowd = crowd(fleet.iter().map(|driver| driver.time.as_millis()).collect());
    assert!(crowd <= 20, "{crowd} of {CLIENTS} dial within 100 ms");
}

#[test]
fn after_a_drain_the_dials_spread_over_the_window_that_the_server_named() {
    let mut fleet = fleet();
    // Paced over 20 s, as a draining server does: each connection has a delay of its own.
    for (index, driver) in fleet.iter_mut().enumerate() {
        let delay_ms = 5_000 + index * 20;
        driver.receive(&format!("bye 4201 {delay_ms} draining"));
    }
    let dials = next_dials(&mut fleet);
    for (index, dial) in dials.iter().enumerate() {
        let delay_ms = 5_000 + index as u64 * 20;
        let window = 10_000 + delay_ms..=10_000 + delay_ms * 11 / 10;
        assert!(window.contains(dial), "{dial} is not in {window:?}");
    }
    let crowd = crowd(dials);
    assert!(crowd <= 20, "{crowd} of {CLIENTS} dial within 100 ms");
}

#[test]
fn heartbeats_of_a_plain_fleet_do_not_beat_together() {
    use heartwire_proto::client::{Mode, PlainConfig};
    let first_ping = |index: u64| {
        let config = ClientConfig {
            mode: Mode::Plain(PlainConfig::default()),
            ..ClientConfig::default()
        };
        let random = Dice::new(index).roll();
        let mut driver = Driver::new(config, ClientId::from_random(1), random);
        driver.call(|session, now| session.start(now));
        driver.open();
        driver.wire.clear();
        while driver.wire.is_empty() {
            assert!(driver.step(Time::from_millis(20_000)), "it never asks");
        }
        driver.time.as_millis()
    };
    let crowd = crowd((1..=CLIENTS).map(first_ping).collect());
    assert!(crowd <= 25, "{crowd} of {CLIENTS} ask within 100 ms");
}
