//! An exhaustive check of the small core: every order of everything, for a few messages, cuts and
//! crashes.
//!
//! One client has published to a topic, which it follows, over the real client session, the real connection,
//! hub and log. Where the simulator draws one of the many orders in which things may happen, here all
//! of them are tried. A cut is seen by the client at once and by the server whenever it likes: what
//! was under way may still arrive, or not. Whom the hub has woken is filled whenever it likes, and what
//! followers miss in memory, which holds a message or two, is read back as late. The disk may fail, after
//! which nothing helps but a crash. A crash keeps what is durable, and any beginning of what was being
//! written; the hub begins anew from that.
//!
//! Time stands still but for the delays before dials, as life and death of connections are the
//! simulator's matter. Bytes are whole messages for the same reason.

mod disk;
mod state;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use heartwire_proto::planted::{self, Bug};
use stateright::{Checker, Model, Property};

pub use state::{Action, State};

/// The bounds of a check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// How many messages are published.
    pub messages: u8,
    /// How many connections are cut.
    pub cuts: u8,
    /// How often the server crashes.
    pub crashes: u8,
}

/// What a check came to.
#[derive(Clone, Debug)]
pub struct Checked {
    /// How many different states there are.
    pub states: usize,
    /// How many steps lead from one to another.
    pub steps: usize,
    /// How many steps the longest way has.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// What does not hold, and the shortest way there.
    pub broken: Vec<(&'static str, Vec<String>)>,
}

/// What is searched, and with which bug in it.
struct Search {
    bounds: Bounds,
    bug: Option<Bug>,
}

impl Search {
    /// Whatever thread a state is made on has the bug.
    fn plant(&self) {
        #[cfg(heartwire_planted)]
        planted::plant(self.bug);
        #[cfg(not(heartwire_planted))]
        debug_assert!(!self.bug.is_some_and(planted::has));
    }
}

impl Model for Search {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        self.plant();
        vec![State::new(&self.bounds)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        state.actions(actions);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        self.plant();
        let mut next = state.clone();
        if catch_unwind(AssertUnwindSafe(|| next.act(action))).is_err() {
            // A panic is found like anything else, with the way there.
            next = state.clone();
            next.break_off();
        }
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "I1 I2: handed over in order, once, without a hole",
                |_, state: &State| state.is_in_order(),
            ),
            Property::always("I3: what is acknowledged is durable", |_, state: &State| {
                state.acknowledged() <= state.durable()
            }),
            Property::always("I4: what is handed over is durable", |_, state: &State| {
                state.handed_over() <= state.durable()
            }),
            Property::always(
                "what is durable is visible, and no more",
                |_, state: &State| state.visible() == state.durable(),
            ),
            Property::always("I2: stored once", |model: &Self, state: &State| {
                state.durable() <= u64::from(model.bounds.messages)
            }),
            Property::always("I5: one live connection", |_, state: &State| {
                state.live() <= 1
            }),
            Property::always(
                "no rule is broken, no link given up, nothing panics",
                |_, state: &State| !state.is_closed(),
            ),
            Property::eventually(
                "everything is stored and handed over",
                |model: &Self, state: &State| state.is_done(&model.bounds),
            ),
            Property::sometimes(REACHED, |_, state: &State| state.has_suffered()),
        ]
    }
}

/// What is only to be reached once is discovered when all is well.
const REACHED: &str = "all cuts and crashes happen";

/// Tries everything within the bounds, on so many threads.
pub fn check(bounds: Bounds, threads: usize) -> Checked {
    let start = Instant::now();
    let search = Search { bounds, bug: None };
    let checker = search.checker().threads(threads).spawn_bfs().join();
    let mut broken = broken(&checker);
    if checker.discovery(REACHED).is_none() {
        broken.push((REACHED, Vec::new()));
    }
    Checked {
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        depth: checker.max_depth(),
        took: start.elapsed(),
        broken,
    }
}

/// Plants a bug, and searches until something does not hold: what, and the way there.
#[cfg(heartwire_planted)]
pub fn hunt(bug: Bug, bounds: Bounds, threads: usize) -> Option<(&'static str, Vec<String>)> {
    let bug = Some(bug);
    let checker = Search { bounds, bug }.checker().threads(threads);
    let checker = checker.finish_when(stateright::HasDiscoveries::AnyFailures);
    let found = broken(&checker.spawn_bfs().join()).into_iter().next();
    planted::plant(None);
    found
}

/// What does not hold, and the way there.
fn broken(checker: &impl Checker<Search>) -> Vec<(&'static str, Vec<String>)> {
    let discoveries = checker.discoveries().into_iter();
    let failures = discoveries.filter(|(name, _)| *name != REACHED);
    let shown = |action: &Action| format!("{action:?}");
    let failures = failures.map(|(name, path)| {
        let actions = path.into_actions();
        (name, actions.iter().map(shown).collect())
    });
    let mut broken: Vec<_> = failures.collect();
    broken.sort();
    broken
}
