//! The link and the real server over TLS: the same promises.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::support::{at_once, next_text, soon, until};
use heartwire::{Link, SubFrom};
use heartwire_proxy::{Command, Proxy};
use heartwire_server::{Hub, Server, Tls};

/// A server with a certificate that nobody has signed, and that certificate as PEM.
async fn serve() -> (Hub, SocketAddr, String) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let name = std::process::id();
    let (chain, key) = (
        folder.join(format!("{name}.crt")),
        folder.join(format!("{name}.key")),
    );
    std::fs::write(&chain, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = Tls::files(&chain, &key).unwrap();
    let hub = Hub::builder().open().await.unwrap();
    let server = Server::bind("127.0.0.1:0", hub.clone()).await.unwrap();
    let server = server.tls(tls);
    let address = server.local_addr();
    tokio::spawn(server.run(std::future::pending()));
    (hub, address, made.cert.pem())
}

#[tokio::test]
async fn resets_in_the_middle_of_everything_lose_and_double_nothing() {
    const COUNT: usize = 200;
    let (hub, address, root) = serve().await;
    let proxy = Proxy::start("127.0.0.1:0", address).await.unwrap();
    let link = Link::builder(&format!("wss://{}/websocket", proxy.addr()))
        .root_certificates(root.as_bytes())
        .reconnect(at_once())
        .connect()
        .unwrap();
    let mut task = link.subscribe_from("task:42", SubFrom::Head).unwrap();
    let mut stored = hub.follow("inbox", SubFrom::Head).unwrap();
    let publishing = async {
        let mut waiting = Vec::new();
        let mut resets = 0;
        let mut pace = tokio::time::interval(std::time::Duration::from_millis(1));
        for number in 0..COUNT {
            waiting.push(link.publish("inbox", number.to_string()));
            hub.publish("task:42", number.to_string()).await.unwrap();
            if number % 100 == 50 {
                until(|| link.counters().opened > resets).await;
                proxy.apply(Command::Reset).await.unwrap();
                resets += 1;
            }
            pace.tick().await;
        }
        for publish in waiting {
            soon(publish).await.unwrap();
        }
        until(|| link.counters().opened > resets).await;
    };
    let receiving = async {
        for number in 0..COUNT {
            assert_eq!(next_text(&mut task).await, number.to_string());
        }
    };
    tokio::join!(publishing, receiving);
    for number in 0..COUNT {
        let next = soon(futures_util::StreamExt::next(&mut stored)).await;
        let Some(heartwire_server::Delivery::Message(message)) = next else {
            panic!("a message is next");
        };
        assert_eq!(message.text(), Some(number.to_string().as_str()));
    }
}
