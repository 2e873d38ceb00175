//! `reset`, `refuse`, `cut-every`: connections that end, and dials that fail.

mod common;

use std::io;
use std::time::{Duration, Instant};

use common::{Path, connect, end_of, is_reset, passes, proxy, soon};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

#[tokio::test]
async fn a_reset_reaches_both_ends_and_the_next_connection_passes() {
    let mut path = Path::open().await;
    path.apply("reset").await;
    assert_eq!(path.proxy.status().connections_live, 0);
    assert!(is_reset(&end_of(&mut path.client).await));
    assert!(is_reset(&end_of(&mut path.server).await));
    let (mut client, mut server) = connect(&path.proxy, &path.listener).await;
    passes(&mut client, &mut server, "again").await;
}

#[tokio::test]
async fn nothing_that_stood_in_a_black_hole_survives_a_reset() {
    let mut path = Path::open().await;
    path.apply("blackhole").await;
    path.client.write_all(b"lost").await.expect("buffered");
    path.apply("reset").await;
    assert!(is_reset(&end_of(&mut path.server).await));
}

#[tokio::test]
async fn a_refusing_port_refuses_dials_and_keeps_living_connections() {
    let mut path = Path::open().await;
    for _ in 0..3 {
        path.apply("refuse").await;
        path.apply("refuse").await;
        let refused = TcpStream::connect(path.proxy.addr())
            .await
            .expect_err("refused");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        TcpListener::bind(path.proxy.addr())
            .await
            .expect_err("the port is still the proxy's");
        passes(&mut path.client, &mut path.server, "still here").await;
        path.apply("pass").await;
        let (mut client, mut server) = connect(&path.proxy, &path.listener).await;
        passes(&mut client, &mut server, "a new one").await;
    }
}

#[tokio::test]
async fn a_connection_is_cut_when_its_time_is_up() {
    let mut path = Path::open().await;
    let start = Instant::now();
    path.apply("cut-every 200ms").await;
    assert!(is_reset(&end_of(&mut path.client).await));
    assert!(is_reset(&end_of(&mut path.server).await));
    assert!(start.elapsed() >= Duration::from_millis(200));

    let start = Instant::now();
    let (mut client, _server) = connect(&path.proxy, &path.listener).await;
    assert!(is_reset(&end_of(&mut client).await));
    assert!(start.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_server_that_is_not_there_shows_as_a_reset() {
    let (proxy, listener) = proxy().await;
    drop(listener);
    let mut client = soon(TcpStream::connect(proxy.addr()))
        .await
        .expect("accepted");
    assert!(is_reset(&end_of(&mut client).await));
}
