//! One connection through the proxy: dial on, pump both ways, end as the ends do.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::command::Direction;
use crate::conditions::Conditions;
use crate::pump::{End, Pump, Side};
use crate::socket;

/// How long the server may take to accept a connection.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// What all connections of a proxy share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) to: String,
    pub(crate) bytes_up: AtomicU64,
    pub(crate) bytes_down: AtomicU64,
}

/// Serves one accepted connection until it ends. Aborting the future resets both sockets.
pub(crate) async fn serve(
    client: TcpStream,
    shared: Arc<Shared>,
    mut conditions: watch::Receiver<Conditions>,
) {
    socket::reset_on_close(&client);
    if open_way(&mut conditions, Direction::Up).await.is_err() {
        return;
    }
    let throttle = conditions.borrow().throttle;
    let dialled = timeout(DIAL_TIMEOUT, socket::dial(&shared.to, throttle)).await;
    let Ok(Ok(server)) = dialled else {
        // Dropping the client's socket tells it, once news passes that way.
        let _ = open_way(&mut conditions, Direction::Down).await;
        return;
    };
    socket::reset_on_close(&server);
    // Small pieces pass as they come; a socket without the option is only a little slower.
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (client, server) = (Side::new(client), Side::new(server));
    tokio::select! {
        () = pump_both(&client, &server, &shared, conditions.clone()) => {}
        () = until_cut(&client, &server, conditions) => {}
    }
}

/// Forwards both ways until both are over. The sockets are reset when they are dropped, unless
/// both ends have said goodbye in order.
async fn pump_both(
    client: &Side,
    server: &Side,
    shared: &Shared,
    conditions: watch::Receiver<Conditions>,
) {
    let pump = |direction, from, to, bytes| {
        Pump::new(direction, from, to, bytes, conditions.clone()).run()
    };
    let up = pump(Direction::Up, client, server, &shared.bytes_up);
    let down = pump(Direction::Down, server, client, &shared.bytes_down);
    if let Ok((End::Finished, End::Finished)) = tokio::try_join!(up, down) {
        socket::finish_on_close(&client.stream);
        socket::finish_on_close(&server.stream);
    }
}

/// Keeps the sockets' buffers as the path demands, and returns when the connection's time is up.
async fn until_cut(client: &Side, server: &Side, mut conditions: watch::Receiver<Conditions>) {
    let mut path = Conditions::default();
    let mut cut_at = None;
    loop {
        let before = std::mem::replace(&mut path, *conditions.borrow_and_update());
        for side in [client, server] {
            socket::shape(&SockRef::from(&side.stream), before.throttle, path.throttle);
        }
        if path.cut_every != before.cut_every {
            cut_at = path.cut_every.map(|after| Instant::now() + after);
        }
        let may_cut = cut_at.is_some() && !path.blackhole_up && !path.blackhole_down;
        tokio::select! {
            changed = conditions.changed() => if changed.is_err() { return },
            () = sleep_until(cut_at.unwrap_or_else(Instant::now)), if may_cut => return,
        }
    }
}

/// Waits until something passes that way; an error says that the proxy has stopped.
async fn open_way(
    conditions: &mut watch::Receiver<Conditions>,
    direction: Direction,
) -> Result<(), watch::error::RecvError> {
    conditions
        .wait_for(|path| !path.holed(direction))
        .await
        .map(|_| ())
}
