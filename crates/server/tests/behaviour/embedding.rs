//! A hub inside somebody else's axum application.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use futures_util::StreamExt as _;
use heartwire_server::{Delivery, FollowRefused, Hub, PublishError, SubFrom};
use tokio::net::TcpListener;

use crate::support::peer::Peer;
use crate::support::{Fixture, Outcome, http, within};

/// Serves the hub at `/realtime` beside a route of the application's own.
async fn application(hub: &Hub) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let app = Router::new()
        .route("/own", get(|| async { "mine" }))
        .nest("/realtime", hub.router());
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

async fn next(follower: &mut (impl futures_util::Stream<Item = Delivery> + Unpin)) -> Delivery {
    within("a delivery", follower.next())
        .await
        .expect("the stream goes on")
}

fn text(delivery: &Delivery) -> &str {
    match delivery {
        Delivery::Message(message) => message.text().expect("a text"),
        Delivery::Gap(gap) => panic!("expected a message, not {gap:?}"),
    }
}

#[tokio::test]
async fn websockets_and_api_work_under_axum_serve_in_a_nest() -> Outcome {
    let hub = Hub::builder().open().await?;
    let address = application(&hub).await;
    assert_eq!(http::get(address, "/own").await.body, "mine");
    let mut peer = Peer::tcp(address).await;
    peer.upgrade("/realtime/websocket?task=42", &[]).await;
    peer.say("ping").await;
    assert_eq!(peer.text().await, "pong");
    let position = hub.publish("task:42", "50 %").await?;
    assert_eq!(peer.text().await, "50 %");
    let history = http::get(address, "/realtime/v1/topics/task:42")
        .await
        .json();
    assert_eq!(history["next"], position.to_string());
    let answer = http::get(address, "/realtime/v1/connections").await.json();
    let connection = answer["connections"][0]["connection"]
        .as_str()
        .expect("an id")
        .to_owned();
    let delete = format!("DELETE /realtime/v1/connections/{connection}");
    assert_eq!(http::request(address, &delete, &[], b"").await.status, 204);
    assert_eq!(peer.closed().await.0, 4202);
    Ok(())
}

#[tokio::test]
async fn without_connect_info_the_hub_says_what_it_needs() -> Outcome {
    let hub = Hub::builder().open().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = hub.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let answer = http::get(address, "/v1/topics").await;
    assert_eq!(
        (answer.status, answer.error().as_str()),
        (403, "unknown-peer")
    );
    Ok(())
}

#[tokio::test]
async fn an_application_that_decides_itself_is_asked_nothing() -> Outcome {
    let hub = Hub::builder().access_by_application().open().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = hub.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let mut peer = Peer::tcp(address).await;
    peer.upgrade(
        "/websocket",
        &["host: rt.example", "origin: https://app.example"],
    )
    .await;
    peer.say("ping").await;
    assert_eq!(peer.text().await, "pong");
    Ok(())
}

#[tokio::test]
async fn a_transport_that_is_no_tcp_socket_works_as_well() -> Outcome {
    let hub = Hub::builder().access_by_application().open().await?;
    let (client, server) = tokio::io::duplex(4_096);
    let service = hyper_util::service::TowerToHyperService::new(hub.router());
    tokio::spawn(async move {
        let io = hyper_util::rt::TokioIo::new(server);
        let http = hyper::server::conn::http1::Builder::new();
        http.serve_connection(io, service).with_upgrades().await
    });
    let mut websocket = Peer::over(client);
    websocket.upgrade("/websocket", &[]).await;
    websocket.say("ping").await;
    assert_eq!(websocket.text().await, "pong");
    // More than the pipe holds: the connection's own task writes on when there is room.
    for number in 0..20 {
        websocket
            .say(&format!("{number} {}", "x".repeat(1_000)))
            .await;
    }
    let mut inbox = hub.follow("inbox", SubFrom::Head)?;
    for number in 0..20 {
        assert!(text(&next(&mut inbox).await).starts_with(&format!("{number} ")));
    }
    Ok(())
}

#[tokio::test]
async fn a_follower_gets_everything_in_order_and_names_what_was_trimmed() -> Outcome {
    let retention = heartwire_server::Retention {
        count_max: 10,
        ..Default::default()
    };
    let hub = Hub::builder().retention(retention).open().await?;
    let mut live = hub.follow("a", SubFrom::Tail)?;
    let first = hub.publish("a", "1").await?;
    assert_eq!(text(&next(&mut live).await), "1");
    for number in 2..=30 {
        hub.publish("a", number.to_string()).await?;
    }
    let Delivery::Gap(gap) = next(&mut live).await else {
        panic!("it was overtaken");
    };
    assert_eq!((gap.first.0, gap.last.map(|last| last.0)), (2, Some(20)));
    for number in 21..=30 {
        assert_eq!(text(&next(&mut live).await), number.to_string());
    }
    let mut resumed = hub.follow("a", SubFrom::After(first.cursor()))?;
    assert!(matches!(next(&mut resumed).await, Delivery::Gap(_)));
    Ok(())
}

#[tokio::test]
async fn followers_end_when_the_hub_drains_and_nothing_more_is_published() -> Outcome {
    let hub = Hub::builder().open().await?;
    let mut follower = hub.follow("a", SubFrom::Tail)?;
    let ended = tokio::spawn(async move { follower.next().await });
    hub.drain(Duration::from_secs(1)).await;
    assert_eq!(within("the follower to end", ended).await?, None);
    assert_eq!(hub.publish("a", "x").await, Err(PublishError::Draining));
    let refused = hub.follow("a", SubFrom::Tail).err();
    assert_eq!(refused, Some(FollowRefused::Draining));
    Ok(())
}

#[tokio::test]
async fn publishing_says_what_is_wrong() -> Outcome {
    let hub = Hub::builder().open().await?;
    assert!(matches!(
        hub.publish("a b", "x").await,
        Err(PublishError::Topic(_))
    ));
    assert_eq!(hub.publish("$a", "x").await, Err(PublishError::Reserved));
    let large = vec![0_u8; (1 << 20) + 1];
    assert!(matches!(
        hub.publish("a", large).await,
        Err(PublishError::TooLarge { .. })
    ));
    Ok(())
}

#[tokio::test]
async fn connections_of_a_dropped_server_leave_no_trace() {
    let server = Fixture::start().await;
    let peer = Peer::plain(server.address, "/websocket").await;
    drop(peer);
    crate::support::until("the record to be gone", async || {
        server.hub.connections() == 0
    })
    .await;
}

#[tokio::test]
async fn a_task_that_publishes_in_a_loop_lets_others_run() -> Outcome {
    let hub = Hub::builder().open().await?;
    let publisher = tokio::spawn(async move {
        for _ in 0..1_000 {
            hub.publish("a", "x").await?;
        }
        Ok::<_, PublishError>(())
    });
    let mut turns = 0;
    while !publisher.is_finished() {
        turns += 1;
        tokio::task::yield_now().await;
    }
    publisher.await??;
    assert!(turns > 2, "others had {turns} turns among 1,000 messages");
    Ok(())
}
