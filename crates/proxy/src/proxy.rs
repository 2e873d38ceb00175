//! The proxy itself: accepts connections and carries out commands, in one task.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use socket2::{SockRef, Socket};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs, lookup_host};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::command::Command;
use crate::conditions::{Conditions, Throttle};
use crate::connection::{self, Shared};
use crate::socket;
use crate::status::Status;

/// How many connections a proxy holds; more wait in the listener's backlog.
pub const CONNECTIONS_MAX: usize = 1_024;

/// How long accepting rests when the system refuses another socket.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A running proxy. Dropping it resets all connections and frees the port.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    counts: Arc<Counts>,
    conditions: watch::Receiver<Conditions>,
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

/// A command, and where to say that it is in force.
type Order = (Command, oneshot::Sender<io::Result<()>>);

#[derive(Debug, Default)]
struct Counts {
    live: AtomicUsize,
    accepted: AtomicU64,
}

impl Proxy {
    /// Listens on `listen` (port 0 picks one) and takes connections to `to`, an address or
    /// `host:port`, which is looked up at each dial.
    ///
    /// # Errors
    ///
    /// The address cannot be bound.
    pub async fn start(listen: impl ToSocketAddrs, to: impl fmt::Display) -> io::Result<Self> {
        let (reserved, addr) = reserve_first(listen).await?;
        let shared = Arc::new(Shared {
            to: to.to_string(),
            bytes_up: AtomicU64::new(0),
            bytes_down: AtomicU64::new(0),
        });
        let counts = Arc::new(Counts::default());
        let (conditions, seen) = watch::channel(Conditions::default());
        // Whoever orders waits for the answer, so one place is enough.
        let (orders, received) = mpsc::channel(1);
        let keeper = Keeper {
            addr,
            door: Some(Door::listen(reserved)?),
            shared: Arc::clone(&shared),
            counts: Arc::clone(&counts),
            conditions,
            connections: JoinSet::new(),
        };
        let task = tokio::spawn(keeper.run(received));
        Ok(Self {
            addr,
            shared,
            counts,
            conditions: seen,
            orders,
            task,
        })
    }

    /// Where clients connect to.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Carries out a command. It is in force when this returns: a black hole lets no further byte
    /// through, a reset has been sent, a refused port refuses.
    ///
    /// # Errors
    ///
    /// `refuse` and the `pass` after it bind the port anew, which somebody may have taken.
    pub async fn apply(&self, command: Command) -> io::Result<()> {
        let stopped = || io::Error::other("the proxy has stopped");
        let (answer, answered) = oneshot::channel();
        let order = (command, answer);
        self.orders.send(order).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    /// The faults in force and what went through.
    pub fn status(&self) -> Status {
        Status {
            listen: self.addr,
            to: self.shared.to.clone(),
            conditions: *self.conditions.borrow(),
            connections_live: self.counts.live.load(Ordering::Relaxed),
            connections_accepted: self.counts.accepted.load(Ordering::Relaxed),
            bytes_up: self.shared.bytes_up.load(Ordering::Relaxed),
            bytes_down: self.shared.bytes_down.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn reserve_first(listen: impl ToSocketAddrs) -> io::Result<(Socket, SocketAddr)> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for addr in lookup_host(listen).await? {
        match socket::reserve(addr) {
            Ok(socket) => {
                let addr = socket.local_addr()?.as_socket().unwrap_or(addr);
                return Ok((socket, addr));
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// The port: open to new connections, or held without listening, so that dials are refused.
enum Door {
    Open {
        listener: TcpListener,
        /// What the listener's buffers are sized for.
        throttle: Throttle,
    },
    Shut(Socket),
}

impl Door {
    fn listen(reserved: Socket) -> io::Result<Self> {
        let listener = socket::listen(reserved)?;
        Ok(Self::Open {
            listener,
            throttle: None,
        })
    }
}

/// The task that owns the listener and all connections.
struct Keeper {
    addr: SocketAddr,
    /// `None` only after binding the port anew has failed.
    door: Option<Door>,
    shared: Arc<Shared>,
    counts: Arc<Counts>,
    conditions: watch::Sender<Conditions>,
    connections: JoinSet<()>,
}

impl Keeper {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            let has_room = self.connections.len() < CONNECTIONS_MAX;
            tokio::select! {
                order = orders.recv() => match order {
                    Some((command, answer)) => {
                        // Whoever ordered may have stopped waiting; the command stands.
                        let _ = answer.send(self.carry_out(command).await);
                    }
                    None => return,
                },
                accepted = accept(self.door.as_ref()), if has_room => match accepted {
                    Ok(client) => self.take_in(client),
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                },
                Some(_) = self.connections.join_next() => {}
            }
            self.counts
                .live
                .store(self.connections.len(), Ordering::Relaxed);
        }
    }

    fn take_in(&mut self, client: TcpStream) {
        self.counts.accepted.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::clone(&self.shared);
        self.connections.spawn(connection::serve(
            client,
            shared,
            self.conditions.subscribe(),
        ));
    }

    async fn carry_out(&mut self, command: Command) -> io::Result<()> {
        let path = self.conditions.borrow().after(command);
        if command == Command::Reset {
            // Before the path opens, so that nothing that stood in a black hole escapes.
            self.connections.shutdown().await;
        }
        self.conditions.send_replace(path);
        self.move_door(path.refuse)?;
        if let Some(Door::Open { listener, throttle }) = &mut self.door {
            // Accepted sockets inherit the sizes, and offer the client a window to match.
            socket::shape(&SockRef::from(&*listener), *throttle, path.throttle);
            *throttle = path.throttle;
        }
        Ok(())
    }

    fn move_door(&mut self, refuse: bool) -> io::Result<()> {
        self.door = Some(match self.door.take() {
            Some(Door::Open { listener, .. }) if refuse => {
                drop(listener);
                Door::Shut(socket::reserve(self.addr)?)
            }
            Some(Door::Shut(socket)) if !refuse => Door::listen(socket)?,
            None if !refuse => Door::listen(socket::reserve(self.addr)?)?,
            None => Door::Shut(socket::reserve(self.addr)?),
            Some(door) => door,
        });
        Ok(())
    }
}

/// The next connection; never, while the door is shut.
async fn accept(door: Option<&Door>) -> io::Result<TcpStream> {
    match door {
        Some(Door::Open { listener, .. }) => listener.accept().await.map(|(stream, _)| stream),
        Some(Door::Shut(_)) | None => std::future::pending().await,
    }
}
