//! `delay` and `throttle`: a slow path is slow for both ends, and loses nothing.

mod common;

use std::time::{Duration, Instant};

use heartwire_testing::Lateness;

use common::{Path, arrives, connect, passes, soon};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn each_direction_is_delayed() {
    let mut path = Path::open().await;
    path.apply("delay 100ms").await;
    let start = Instant::now();
    passes(&mut path.client, &mut path.server, "ping").await;
    passes(&mut path.server, &mut path.client, "pong").await;
    assert!(start.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn jitter_keeps_the_order() {
    let mut path = Path::open().await;
    path.apply("delay 5ms 20ms").await;
    let (_, mut writer) = path.client.split();
    let mut all = String::new();
    for number in 0..50 {
        let word = format!("{number} ");
        writer.write_all(word.as_bytes()).await.expect("buffered");
        // A pause lets the proxy read the words one by one, each with its own delay.
        tokio::time::sleep(Duration::from_millis(1)).await;
        all.push_str(&word);
    }
    arrives(&mut path.server, &all).await;
}

#[tokio::test]
async fn a_delayed_end_comes_after_the_bytes_before_it() {
    let mut path = Path::open().await;
    path.apply("delay 100ms").await;
    path.client
        .write_all(b"last words")
        .await
        .expect("buffered");
    drop(path.client);
    arrives(&mut path.server, "last words").await;
    assert_eq!(soon(path.server.read(&mut [0; 8])).await.expect("FIN"), 0);
}

#[tokio::test]
async fn a_throttled_path_keeps_its_rate() {
    let path = Path::open().await;
    path.apply("throttle 100000").await;
    let (mut client, mut server) = connect(&path.proxy, &path.listener).await;
    let (start, lateness) = (Instant::now(), Lateness::watch());
    let writer = tokio::spawn(async move {
        let _ = server.write_all(&[7; 100_000]).await;
        server
    });
    let mut bytes = vec![0; 100_000];
    soon(client.read_exact(&mut bytes))
        .await
        .expect("all bytes");
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(900), "too fast: {took:?}");
    let bound = Duration::from_secs(1) + lateness.allowance();
    assert!(took <= bound, "too slow: {took:?}, not {bound:?}");
    drop(writer.await.expect("no panic"));
}

#[tokio::test]
async fn a_throttled_path_is_felt_by_the_sender() {
    let path = Path::open().await;
    path.apply("throttle 50000").await;
    let (client, server) = connect(&path.proxy, &path.listener).await;
    socket2::SockRef::from(&server)
        .set_send_buffer_size(16 * 1024)
        .expect("an open socket");
    let start = Instant::now();
    let written = tokio::spawn(write_for(server, Duration::from_secs(1)));
    let mut client = client;
    let reader =
        tokio::spawn(async move { tokio::io::copy(&mut client, &mut tokio::io::sink()).await });
    let written = soon(written).await.expect("no panic");
    // The bytes of the time that it took, and what the buffers between the two ends hold.
    let took = start.elapsed();
    let passed = (took.as_secs_f64() * 50_000.0) as usize;
    assert!(
        written < passed + 200_000,
        "{written} bytes taken in {took:?}"
    );
    reader.abort();
}

async fn write_for(mut stream: TcpStream, span: Duration) -> usize {
    let mut written = 0;
    let writing = async {
        loop {
            written += stream.write(&[0; 4_096]).await.expect("alive");
        }
    };
    let _: Result<(), _> = tokio::time::timeout(span, writing).await;
    written
}

#[tokio::test]
async fn pass_makes_a_throttled_connection_fast_again() {
    let mut path = Path::open().await;
    path.apply("throttle 1000").await;
    passes(&mut path.client, &mut path.server, "slow").await;
    path.apply("pass").await;
    let (start, lateness) = (Instant::now(), Lateness::watch());
    let bytes = vec![1; 1 << 20];
    let mut read = vec![0; bytes.len()];
    let (write, all) = tokio::join!(
        path.client.write_all(&bytes),
        soon(path.server.read_exact(&mut read))
    );
    write.expect("written");
    all.expect("read");
    // At the rate of before it would take a quarter of an hour.
    let (took, bound) = (
        start.elapsed(),
        Duration::from_secs(5) + lateness.allowance(),
    );
    assert!(took <= bound, "after {took:?}, not {bound:?}");
}
