//! Fault injection on a TCP path: a proxy that breaks connections on command.
//!
//! ```text
//!   client ──── up ───▶ ┌───────┐ ──── up ───▶ server
//!          ◀─── down ── │ Proxy │ ◀─── down ──
//!                       └───────┘
//!                           ▲
//!                  blackhole, reset, refuse, delay, throttle, cut-every, pass
//! ```
//!
//! [`Proxy::start`] listens and forwards; [`Proxy::apply`] changes what the path is like, while
//! connections live. The command line offers the same as `heartwire proxy`.
//!
//! ```no_run
//! # async fn example(server: std::net::SocketAddr) -> std::io::Result<()> {
//! use heartwire_proxy::{Command, Proxy};
//!
//! let proxy = Proxy::start("127.0.0.1:0", server).await?;
//! // … connect a client to `proxy.addr()` …
//! proxy.apply(Command::Blackhole(None)).await?;
//! // … both ends are to notice …
//! proxy.apply(Command::Pass).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What a black hole is
//!
//! A network that drops packets loses no bytes of a TCP connection: the sender keeps them and sends
//! them again, for many minutes. A proxy that read bytes and threw them away would do what no
//! network does, and so would one that closed anything. So in a black hole this proxy stops: it
//! neither reads nor writes, neither FIN nor RST passes, and new connections are accepted but not
//! dialled on. What has been read stands still, what has not fills the buffers of the two kernels.
//! After `pass` everything goes on where it stopped: whatever the ends wrote meanwhile arrives,
//! and so does the end of those who gave up. To somebody who waited long enough it looks as if
//! nothing had happened; a server also meets the late dials of clients that are long gone.
//!
//! One thing differs from dropped packets: the kernel of this machine goes on acknowledging until
//! its receive buffer is full, as the near side of any proxy or load balancer does.
//!
//! # Bounds
//!
//! A connection holds at most 64 KiB in each direction, with `delay` 256 KiB; at most
//! [`CONNECTIONS_MAX`] connections are held, later ones wait in the listener's backlog.

mod command;
mod conditions;
mod connection;
mod proxy;
mod pump;
mod socket;
mod status;

pub use command::{Command, CommandError, Direction};
pub use conditions::{Conditions, Throttle};
pub use proxy::{CONNECTIONS_MAX, Proxy};
pub use status::Status;
