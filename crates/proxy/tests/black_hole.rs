//! A black hole loses no bytes and closes nothing; it stops the path, and `pass` goes on.

mod common;

use common::{Path, QUIET, apply, arrives, end_of, is_reset, passes, soon, stays_quiet};
use heartwire_proxy::Proxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

#[tokio::test]
async fn an_open_path_passes_both_ways_and_each_end() {
    let Path {
        mut client,
        mut server,
        proxy: _proxy,
        ..
    } = Path::open().await;
    passes(&mut client, &mut server, "up").await;
    passes(&mut server, &mut client, "down").await;
    client.shutdown().await.expect("FIN sent");
    assert_eq!(end_of(&mut server).await.expect("FIN"), 0);
    passes(&mut server, &mut client, "after the client's FIN").await;
    drop(server);
    assert_eq!(end_of(&mut client).await.expect("FIN"), 0);
}

#[tokio::test]
async fn what_is_written_into_the_hole_arrives_after_pass() {
    let mut path = Path::open().await;
    path.apply("blackhole").await;
    path.client.write_all(b"up").await.expect("buffered");
    path.server.write_all(b"down").await.expect("buffered");
    assert!(stays_quiet(path.server.read_u8()).await);
    assert!(stays_quiet(path.client.read_u8()).await);
    path.apply("pass").await;
    arrives(&mut path.server, "up").await;
    arrives(&mut path.client, "down").await;
}

#[tokio::test]
async fn neither_fin_nor_rst_passes() {
    let mut path = Path::open().await;
    path.apply("blackhole").await;
    path.client.shutdown().await.expect("FIN sent");
    path.server.set_zero_linger().expect("an open socket");
    drop(path.server);
    assert!(stays_quiet(path.client.read(&mut [0; 8])).await);
    apply(&path.proxy, "pass").await;
    assert!(is_reset(&end_of(&mut path.client).await));
}

#[tokio::test]
async fn a_hole_one_way_lets_the_other_way_pass() {
    let mut path = Path::open().await;
    path.apply("blackhole up").await;
    path.client
        .write_all(b"lost for a while")
        .await
        .expect("buffered");
    passes(&mut path.server, &mut path.client, "down").await;
    assert!(stays_quiet(path.server.read_u8()).await);

    path.apply("blackhole down").await;
    arrives(&mut path.server, "lost for a while").await;
    path.server.write_all(b"held").await.expect("buffered");
    assert!(stays_quiet(path.client.read_u8()).await);
    path.apply("pass").await;
    arrives(&mut path.client, "held").await;
}

#[tokio::test]
async fn the_reset_of_an_end_behind_a_hole_is_no_news_before_it() {
    let mut path = Path::open().await;
    path.apply("blackhole down").await;
    path.server.set_zero_linger().expect("an open socket");
    drop(path.server);
    // Writing to the dead server must not end the connection in the client's eyes.
    path.client.write_all(b"to nobody").await.expect("buffered");
    assert!(stays_quiet(path.client.read(&mut [0; 8])).await);
    apply(&path.proxy, "pass").await;
    assert!(is_reset(&end_of(&mut path.client).await));
}

#[tokio::test]
async fn a_new_connection_is_accepted_and_dialled_on_after_pass() {
    let path = Path::open().await;
    path.apply("blackhole").await;
    let mut late = soon(TcpStream::connect(path.proxy.addr()))
        .await
        .expect("accepted");
    late.write_all(b"hello").await.expect("buffered");
    assert!(stays_quiet(path.listener.accept()).await);
    path.apply("pass").await;
    let (mut server, _) = soon(path.listener.accept()).await.expect("dialled on");
    arrives(&mut server, "hello").await;
}

#[tokio::test]
async fn a_full_hole_stops_the_writer() {
    let mut path = Path::open().await;
    path.apply("blackhole").await;
    let piece = [0; 64 * 1024];
    let mut written = 0_usize;
    while let Ok(count) = timeout(QUIET, path.client.write(&piece)).await {
        written += count.expect("the connection lives");
        assert!(written < 256 << 20, "somebody reads the black hole");
    }
    path.apply("pass").await;
    let mut read = 0;
    let mut bytes = vec![0; 64 * 1024];
    while read < written {
        read += soon(path.server.read(&mut bytes)).await.expect("alive");
    }
    assert_eq!(read, written);
}

#[tokio::test]
async fn dropping_the_proxy_resets_and_frees_the_port() {
    let mut path = Path::open().await;
    let addr = path.proxy.addr();
    drop(path.proxy);
    assert!(is_reset(&end_of(&mut path.client).await));
    assert!(is_reset(&end_of(&mut path.server).await));
    soon(async {
        while Proxy::start(addr, "127.0.0.1:1").await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
