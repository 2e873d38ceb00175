//! Who follows what: the pure core of the Heartwire server, driven alike by the server and the
//! simulator.
//!
//! [`HubState`] holds the topics, who follows them, and who is connected. A [`Connection`] is one
//! WebSocket, `heartwire.v1` or plain: it reads messages, asks the hub, and has its [`Outgoing`]
//! bytes ready for the socket. Neither opens a socket, reads a clock or waits.
//!
//! ```text
//!   socket ─► Connection::receive ─► Step::Hub(request) ─► Connection::apply ─► HubState, Log
//!                                                                                  │ commit
//!   socket ◄─ Outgoing ◄─ Connection::fill ◄─ handle, woken ◄─ take_wakes ◄── followers marked
//! ```
//!
//! **Pull, not push.** Publishing marks the followers of a topic and wakes those that are not awake
//! yet; nothing is copied into queues. A woken connection is [filled](Connection::fill): it takes
//! what lies between its cursors and the topics' durable ends, as much as it has room for. A
//! follower that does not read stays behind and costs a mark, nothing more.
//!
//! # How to drive it
//!
//! Locks, where there are threads: a connection's own first, then the hub's; never two connections'.
//!
//! 1. For each message read: [`Connection::receive`], which needs no hub. It may say that the hub is
//!    needed: then [`Connection::welcome`] or [`Connection::apply`]. Stop reading while
//!    [`Connection::wants_input`] says no. When the bytes of a read are used up, whatever they held:
//!    [`Connection::heard`].
//! 2. After `welcome` and `apply`, before the hub is unlocked: [`HubState::commit_memory`] where the log
//!    is in memory, then [`Connection::fill`], then [`HubState::take_wakes`]; whoever was woken is
//!    filled after the hub is unlocked.
//! 3. Write [`Connection::outgoing`], tell [`Connection::written`] how much the socket took, and go
//!    on filling and writing until `fill` answers [`Filled::Drained`] or the socket takes no more;
//!    then go on when it does. No wake is missed: whoever has not been drained is not woken again.
//! 4. Before the hub is unlocked, and at [`HubState::presence_deadline`]: where
//!    [`HubState::has_presence_news`], [`HubState::settle_presence`], and then commit and take the
//!    wakes as in 2.
//! 5. At [`Connection::deadline`]: [`Connection::poll`], and do what it says.
//! 6. When [`Connection::is_finished`], drop the socket. In the end, however it came:
//!    [`Connection::leave`].

mod agents;
mod config;
mod connection;
mod counts;
mod grant;
mod outgoing;
mod presence;
mod state;

pub use config::HubConfig;
pub use connection::{Asked, Connection, Death, Due, End, Life, Reason, Side, Step};
pub use counts::{ByKind, Counts, Delivered, Gaps, Outcome, Publishes, RefusedFollows, Starts};
pub use grant::Grant;
pub use heartwire_log::Pattern;
pub use heartwire_log::{
    Append, AppendError, Entry, Form, Log, LogConfig, Lsn, Now, Place, ProducerKey, Retention,
    Start, Stats, TopicLog,
};
pub use heartwire_proto::id::TopicRef;
pub use heartwire_proto::server::Request;
pub use outgoing::Outgoing;
pub use presence::{Attendance, PresenceConfig, PresenceCounts, PresentMember};
pub use state::{
    ConnKey, ConnectionInfo, Delivery, Filled, FollowError, Followed, Full, History, HubState,
    LagPart, Mode, Moved, PageLimits, Peer, SubjectInfo, SubjectsFull, TopicInfo, WatchKey,
};
