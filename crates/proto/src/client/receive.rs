//! Frames of v1, as they arrive.

use std::time::Duration;

use super::dial::State;
use super::event::Event;
use super::follow::{Content, Place};
use super::io::Now;
use super::session::ClientSession;
use crate::frame::{FrameError, Message, ServerFrame, Welcome};
use crate::heartbeat::{Heartbeat, HeartbeatConfig};

const FIRST: FrameError = FrameError::new("HELLO-6", "the first frame of a server is welcome");
const SECOND: FrameError = FrameError::new("HELLO-6", "a server says welcome once");
const HEARTBEAT: FrameError = FrameError::new("LIVE-8", "interval and timeout are 1 s to 1 h");

impl ClientSession {
    /// Takes one message.
    pub(super) fn receive(&mut self, message: Message<'_>, now: Now) {
        let outcome = match ServerFrame::parse(message) {
            Ok(ServerFrame::Bye {
                code,
                retry,
                reason,
            }) => return self.bye(code, retry, reason, now),
            Ok(frame) => match self.state {
                State::Greeting(_) => self.greeted(frame, now),
                State::Open(_) => self.receive_open(frame, now),
                _ => Ok(()),
            },
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => self.finish_if_flushed(),
            Err(error) => self.broken(error, now),
        }
    }

    /// The first frame of a connection.
    fn greeted(&mut self, frame: ServerFrame<'_>, now: Now) -> Result<(), FrameError> {
        match frame {
            ServerFrame::Welcome(welcome) => self.welcomed(welcome, now),
            ServerFrame::Unknown { .. } => Ok(()),
            _ => Err(FIRST),
        }
    }

    fn welcomed(&mut self, welcome: Box<Welcome>, now: Now) -> Result<(), FrameError> {
        let heartbeat = v1_heartbeat(welcome.heartbeat.interval_ms, welcome.heartbeat.timeout_ms)?;
        if self.is_cloned(&welcome) {
            self.change_client(now);
            self.id_in_use(now);
            return Ok(());
        }
        let State::Greeting(mut connection) = std::mem::replace(&mut self.state, State::Waiting)
        else {
            return Ok(());
        };
        connection.greeting_took = now.time.since(connection.opened_at);
        connection.opened_at = now.time;
        connection.heartbeat = Heartbeat::new(heartbeat, now.time);
        self.token_expired = false;
        self.open(connection, now);
        self.tell(Event::Welcome(welcome.clone()));
        self.reconcile(&welcome, now);
        self.welcome = Some(welcome);
        Ok(())
    }

    fn receive_open(&mut self, frame: ServerFrame<'_>, now: Now) -> Result<(), FrameError> {
        if let ServerFrame::Pong { id } = frame {
            self.ponged(id, now);
        }
        self.heard(now);
        match frame {
            ServerFrame::Welcome(_) => return Err(SECOND),
            ServerFrame::Ack { seq } => self.acked(seq, now)?,
            ServerFrame::Nack { seq, code, retry } => self.nacked(seq, code, retry, now)?,
            ServerFrame::Heartbeat { interval_ms } => self.interval_changed(interval_ms)?,
            ServerFrame::Ping { id, tails } => {
                for (topic, tail) in tails.iter() {
                    self.topics.tail(topic, tail, &mut self.counters);
                }
                if let Some(connection) = self.state.open() {
                    connection.slots.pong = Some(id);
                }
            }
            // A pong has been dealt with, a bye never comes here, and what is unknown is ignored.
            ServerFrame::Pong { .. } | ServerFrame::Bye { .. } | ServerFrame::Unknown { .. } => {}
            topical => {
                self.receive_topical(topical)?;
                if self.is_settling() {
                    self.settle();
                }
            }
        }
        Ok(())
    }

    /// Frames about one topic.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "a frame is consumed by being handled"
    )]
    fn receive_topical(&mut self, frame: ServerFrame<'_>) -> Result<(), FrameError> {
        let counters = &mut self.counters;
        let event = match frame {
            ServerFrame::Subbed { topic, cursor, gap } => {
                for event in self.topics.subbed(topic, cursor, gap)? {
                    self.tell(event);
                }
                None
            }
            ServerFrame::Msg {
                topic,
                offset,
                prev,
                time,
                from,
                payload,
            } => {
                let place = Place { offset, prev };
                let content = Content {
                    time,
                    from,
                    payload,
                };
                self.topics.message(topic, place, content, counters)?
            }
            ServerFrame::Gap { topic, gap } => self.topics.gap(topic, gap, counters)?,
            ServerFrame::Epoch { topic, epoch } => {
                self.topics.born(topic, epoch, counters)?;
                None
            }
            ServerFrame::Unsubbed { topic } => {
                self.topics.unsubbed(topic);
                None
            }
            ServerFrame::Refused { topic, code } => self.topics.refused(topic, code),
            ServerFrame::Ended { topic, code } => self.topics.ended(topic, code),
            _ => None,
        };
        if let Some(event) = event {
            self.tell(event);
        }
        Ok(())
    }

    /// The server keeps to another interval from here on, and so does this end `[LIVE-7]`.
    fn interval_changed(&mut self, interval_ms: u64) -> Result<(), FrameError> {
        if let Some(connection) = self.state.open() {
            let timeout = connection.heartbeat.config().timeout();
            let config = v1_heartbeat(interval_ms, timeout.as_millis() as u64)?;
            connection.heartbeat.set_config(config);
        }
        Ok(())
    }
}

/// The client's heartbeat beside a server's.
fn v1_heartbeat(interval_ms: u64, timeout_ms: u64) -> Result<HeartbeatConfig, FrameError> {
    let (interval, timeout) = (
        Duration::from_millis(interval_ms),
        Duration::from_millis(timeout_ms),
    );
    match HeartbeatConfig::new(interval, timeout) {
        Ok(config) => Ok(config.for_client()),
        Err(_) => Err(HEARTBEAT),
    }
}
