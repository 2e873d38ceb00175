//! `heartwire connect`: talk to a server by hand.

mod editor;
mod input;
mod pulse;
mod screen;
mod session;
mod status_line;
mod topics;
mod typed;

use std::ops::ControlFlow;
use std::pin::pin;
use std::time::{Duration, Instant};

use clap::Args;
use heartwire::{Event, Missed, Status};
use tokio::time::{MissedTickBehavior, interval};

use crate::failure::Failure;
use crate::output;
use crate::signals::Stop;
use crate::story::Story;
use crate::token::TokenArgs;
use editor::Asked;
use input::{Came, Input};
use pulse::Pulse;
use screen::Screen;
use session::{Session, Shown};
use status_line::StatusLine;
use typed::Typed;

/// Talk to a server by hand, with heartbeat and reconnect.
///
/// On a terminal the bottom line shows the state of the link and its round trip beside what you
/// type; /help lists the commands. Topics named in the URL are followed at once. With --plain raw
/// messages go to and from any WebSocket server.
///
/// Lines can be piped in as well: messages then go to standard output, all else to standard error,
/// and the end of the input ends nothing; a line /quit does, and so does Ctrl-C.
#[derive(Debug, Args)]
pub(crate) struct ConnectArgs {
    /// The server: http://HOST:PORT, wss://HOST/PATH or HOST:PORT.
    url: String,
    /// Speak raw messages, as with any WebSocket server.
    #[arg(long, env = "HEARTWIRE_CONNECT_PLAIN")]
    plain: bool,
    /// Ask whether the server is there by this text, not by a WebSocket ping.
    #[arg(
        long,
        value_name = "TEXT",
        requires = "plain",
        env = "HEARTWIRE_CONNECT_PING"
    )]
    ping: Option<String>,
    /// The text that answers it, which is then not shown.
    #[arg(
        long,
        value_name = "TEXT",
        requires = "ping",
        env = "HEARTWIRE_CONNECT_PONG"
    )]
    pong: Option<String>,
    #[command(flatten)]
    token: TokenArgs,
}

/// Talks until the user has enough, or the server does not want to.
pub(crate) async fn run(args: ConnectArgs) -> Result<(), Failure> {
    let stop = Stop::on_signals()?;
    let session = Session::open(&args)?;
    let screen = Screen::open()?;
    let input = Input::open(screen.is_terminal());
    let mut conversation = Conversation {
        session,
        screen,
        story: Story::default(),
        pulse: Pulse::new(Instant::now()),
        status_since: Instant::now(),
        pong_is_awaited: false,
    };
    conversation.greet(&args)?;
    conversation.run(input, stop).await?;
    conversation.session.close().await
}

struct Conversation {
    session: Session,
    screen: Screen,
    story: Story,
    pulse: Pulse,
    /// When the link came into its present state.
    status_since: Instant,
    /// The user has asked for a round trip and not yet seen it.
    pong_is_awaited: bool,
}

impl Conversation {
    fn greet(&self, args: &ConnectArgs) -> Result<(), Failure> {
        if !self.screen.is_terminal() {
            return Ok(());
        }
        let url = session::url_of(args);
        self.screen
            .note(&format!("dialling {url}; /help lists what can be typed"))
    }

    async fn run(&mut self, mut input: Input, mut stop: Stop) -> Result<(), Failure> {
        let mut events = self.session.events();
        let mut seconds = interval(Duration::from_secs(1));
        seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let style = self.screen.style();
        let mut output_closed = pin!(output::closed());
        loop {
            let takes_input = self.screen.is_terminal() || self.session.takes_lines();
            tokio::select! {
                // However many messages come, the user is heard, and what happens to the link is
                // told before the messages behind it.
                biased;
                () = stop.asked() => return Ok(()),
                () = &mut output_closed => return Err(Failure::OutputClosed),
                event = events.next() => match event {
                    Some(event) => self.happened(&event)?,
                    None => return Err(self.closed()),
                },
                came = input.next(), if takes_input => {
                    if self.came(came?)?.is_break() {
                        return Ok(());
                    }
                }
                _ = seconds.tick() => self.measure(),
                shown = self.session.next(style) => self.show(shown)?,
            }
            let lasted = self.status_since.elapsed();
            let status = StatusLine::of(&self.session.status(), self.session.rtt(), lasted);
            self.screen.show(status)?;
        }
    }

    /// Something came from the user.
    fn came(&mut self, came: Came) -> Result<ControlFlow<()>, Failure> {
        let line = match came {
            Came::Line(line) => line,
            Came::Event(event) => match self.screen.event(&event)? {
                Some(Asked::Line(line)) => {
                    self.screen.message(format_args!("› {line}"))?;
                    line
                }
                Some(Asked::Quit) => return Ok(ControlFlow::Break(())),
                None => return Ok(ControlFlow::Continue(())),
            },
        };
        let typed = match Typed::read(&line) {
            Ok(Typed::Quit) => return Ok(ControlFlow::Break(())),
            Ok(typed) => typed,
            Err(error) => {
                self.screen.note(&error)?;
                return Ok(ControlFlow::Continue(()));
            }
        };
        self.pong_is_awaited |= typed == Typed::Ping;
        if let Some(answer) = self.session.carry_out(typed) {
            self.screen.note(&answer)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Something came from the server.
    fn show(&self, shown: Shown) -> Result<(), Failure> {
        match shown {
            Shown::Message(text) => self.screen.message(text),
            Shown::Note(text) => self.screen.note(&text),
            Shown::Aside(text) if self.screen.is_terminal() => self.screen.note(&text),
            Shown::Aside(_) | Shown::Nothing => Ok(()),
        }
    }

    /// Something happened to the link.
    fn happened(&mut self, event: &Result<Event, Missed>) -> Result<(), Failure> {
        let now = Instant::now();
        match event {
            Ok(Event::Status(status)) => {
                self.status_since = now;
                self.pulse.status(status, now);
                self.measure();
            }
            Ok(Event::Rtt(rtt)) if std::mem::take(&mut self.pong_is_awaited) => {
                self.screen
                    .note(&format!("answered after {} ms", rtt.last_ms))?;
            }
            Ok(event) => {
                if let Some(learnt) = self.session.learn(event) {
                    self.screen.note(&learnt)?;
                }
            }
            Err(_) => {}
        }
        match self.story.tell(event, now) {
            Some(told) => self.screen.note(&told),
            None => Ok(()),
        }
    }

    fn measure(&mut self) {
        if self.pulse.wants_probe(self.session.rtt(), Instant::now()) {
            self.session.probe();
        }
    }

    fn closed(&self) -> Failure {
        match self.session.status() {
            Status::Closed { why } => Failure::failed("the link is closed", why),
            status => Failure::failed("the link is closed", status.name()),
        }
    }
}
