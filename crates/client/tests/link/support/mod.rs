//! A scripted server on a loopback port: a test reads like the wire.

#![allow(unreachable_pub)]

use std::future::Future;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use heartwire::{Builder, Delivery, Link, Plain, Reconnect, Status, Subscription, V1};
use heartwire_proto::frame::{ClientFrame, Hello, Message as Said};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

/// Much longer than anything here takes, however busy the machine; a test that waits so long has
/// failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something that is about to happen.
pub async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it happens soon")
}

/// Waits until something is so that nothing tells of.
pub async fn until(mut is_so: impl FnMut() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    soon(async {
        while !is_so() {
            looks.tick().await;
        }
    })
    .await;
}

/// Waits for a state of the link, by its name.
pub async fn status_is<M>(link: &Link<M>, name: &str) -> Status {
    let mut status = link.status();
    let reached = soon(status.wait_for(|status| status.name() == name)).await;
    reached.expect("the link has a status").clone()
}

/// The text of the next message of a subscription.
pub async fn next_text(subscription: &mut Subscription) -> String {
    match soon(subscription.next()).await {
        Some(Delivery::Message(message)) => text(&message.payload),
        other => panic!("a message is next, not {other:?}"),
    }
}

/// The text of a payload.
pub fn text(payload: &heartwire::Payload) -> String {
    match payload {
        heartwire::Payload::Text(text) => text.clone(),
        heartwire::Payload::Binary(bytes) => panic!("text, not {bytes:?}"),
    }
}

pub struct Server {
    listener: TcpListener,
}

impl Server {
    pub async fn start() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        }
    }

    /// `127.0.0.1:PORT/websocket`.
    pub fn address(&self) -> String {
        format!("{}/websocket", self.listener.local_addr().unwrap())
    }

    /// A plain link to this server that dials again after a tenth of a second, for ever.
    pub fn plain_link(&self) -> Builder<Plain> {
        Link::plain(&format!("ws://{}", self.address())).reconnect(at_once())
    }

    /// A link to this server that dials again after a tenth of a second, for ever.
    pub fn link(&self) -> Builder<V1> {
        Link::builder(&format!("ws://{}", self.address())).reconnect(at_once())
    }

    /// The next connection, before its handshake.
    pub async fn accept_tcp(&self) -> TcpStream {
        soon(self.listener.accept()).await.unwrap().0
    }

    /// The next connection, with the subprotocol that it offered.
    pub async fn accept(&self) -> Peer {
        Peer::shake_hands(self.accept_tcp().await).await.unwrap()
    }

    /// The next connection, after its `hello`, welcomed.
    pub async fn accept_and_welcome(&self) -> (Peer, Hello) {
        let mut peer = self.accept().await;
        let hello = peer.hello().await;
        peer.welcome("").await;
        (peer, hello)
    }
}

/// A policy that keeps tests short.
pub fn at_once() -> Reconnect {
    Reconnect::fixed(Duration::from_millis(100), 1).unlimited()
}

/// The server's end of one connection.
pub struct Peer<S = TcpStream> {
    websocket: WebSocketStream<S>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// Accepts the upgrade, and agrees to whatever subprotocol is offered.
    pub async fn shake_hands(stream: S) -> Result<Self, tokio_tungstenite::tungstenite::Error> {
        // The callback's error is an HTTP response, as the library wants it.
        #[allow(clippy::result_large_err)]
        let agree = |request: &Request, mut response: Response| {
            if let Some(offer) = request.headers().get("sec-websocket-protocol") {
                let headers = response.headers_mut();
                headers.insert("sec-websocket-protocol", offer.clone());
            }
            Ok(response)
        };
        let websocket = soon(accept_hdr_async(stream, agree)).await?;
        Ok(Self { websocket })
    }

    /// The next message, whatever it is; `None` when the connection is over.
    pub async fn next(&mut self) -> Option<Message> {
        soon(self.websocket.next()).await?.ok()
    }

    /// The next text.
    pub async fn hear(&mut self) -> String {
        match self.next().await {
            Some(Message::Text(text)) => text.to_string(),
            other => panic!("a text is next, not {other:?}"),
        }
    }

    pub async fn expect(&mut self, frame: &str) {
        assert_eq!(self.hear().await, frame);
    }

    pub async fn hello(&mut self) -> Hello {
        let text = self.hear().await;
        match ClientFrame::parse(Said::Text(&text)) {
            Ok(ClientFrame::Hello(hello)) => *hello,
            other => panic!("hello is first, not {other:?}"),
        }
    }

    /// Says `welcome`; `more` are members that stand in place of the usual ones, with semicolons
    /// between them.
    pub async fn welcome(&mut self, more: &str) {
        let mut members = vec![
            r#""connection":"c1""#.to_owned(),
            r#""log":"m2x8""#.to_owned(),
            r#""acked":0"#.to_owned(),
            r#""producer_known":false"#.to_owned(),
            r#""heartbeat":{"interval_ms":10000,"timeout_ms":10000}"#.to_owned(),
        ];
        let name = |member: &str| member.split(':').next().unwrap_or_default().to_owned();
        for member in more.split(';').filter(|member| !member.is_empty()) {
            members.retain(|usual| name(usual) != name(member));
            members.push(member.to_owned());
        }
        self.say(&format!("welcome\n{{{}}}", members.join(",")))
            .await;
    }

    pub async fn say(&mut self, frame: &str) {
        self.send(Message::text(frame)).await;
    }

    pub async fn send(&mut self, message: Message) {
        soon(self.websocket.send(message)).await.unwrap();
    }

    /// Says many frames at once.
    pub async fn say_all(&mut self, frames: impl Iterator<Item = String>) {
        for frame in frames {
            soon(self.websocket.feed(Message::text(frame)))
                .await
                .unwrap();
        }
        soon(self.websocket.flush()).await.unwrap();
    }

    /// Closes with a code, and reads until the client has closed as well.
    pub async fn close(mut self, code: u16, reason: &str) {
        let frame = CloseFrame {
            code: code.into(),
            reason: reason.to_owned().into(),
        };
        self.send(Message::Close(Some(frame))).await;
        while self.next().await.is_some() {}
    }
}

impl Peer {
    /// Ends the connection as a dying machine's kernel does.
    pub fn reset(self) {
        let tcp = self.websocket.into_inner();
        tcp.set_zero_linger().unwrap();
    }

    /// The socket below, for what no WebSocket library would do.
    pub fn into_tcp(self) -> TcpStream {
        self.websocket.into_inner()
    }
}
