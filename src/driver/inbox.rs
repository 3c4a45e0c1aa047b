use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::build::{BuildError, Launch, Plan};
use crate::reload::{BuildOutcome, Event, GenEvent, GenId};
use crate::socket::intercept::InterceptEvent;

use super::notified::Said;
use super::print::Print;
use super::scope::Lesson;

/// What a task tells the driver.
#[derive(Debug)]
pub(super) enum Input {
    /// Something happened.
    Event(Event),
    /// A build's process ended with success, and this came of it.
    Built {
        /// Which build.
        id: GenId,
        /// What is to be started.
        launch: Result<Launch, BuildError>,
        /// What was made.
        print: Option<Box<Print>>,
        /// The generation that runs it already.
        like: Option<GenId>,
    },
    /// What programs had sent when a limit had passed has been heard.
    HeardOut,
    /// The shell line of a rule has come to its end.
    CommandEnded {
        /// Which.
        line: String,
    },
    /// A build has taught what counts.
    Learnt(Lesson),
    /// A program has opened a socket, or could not.
    Intercepted {
        /// Which generation.
        id: GenId,
        /// What.
        event: InterceptEvent,
    },
    /// A program has said something of itself.
    Said(Box<Said>),
    /// What decides how to build was read again.
    Planned {
        /// The how-manieth time that this was asked for.
        number: u32,
        /// What came of it.
        planned: Result<Plan, BuildError>,
    },
}

/// Where tasks put what happened.
#[derive(Clone, Debug)]
pub(super) struct Inbox(UnboundedSender<Input>);

pub(super) fn channel() -> (Inbox, UnboundedReceiver<Input>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Inbox(sender), receiver)
}

impl Inbox {
    pub(super) fn event(&self, event: Event) {
        self.input(Input::Event(event));
    }

    pub(super) fn build_ended(&self, id: GenId, outcome: BuildOutcome) {
        self.event(Event::Generation(id, GenEvent::BuildEnded(outcome)));
    }

    pub(super) fn input(&self, input: Input) {
        // Nobody listens any more when hotrun ends; then nothing matters any more.
        let _ = self.0.send(input);
    }
}
