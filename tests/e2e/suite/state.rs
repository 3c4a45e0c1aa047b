use std::fmt;
use std::net::TcpStream;

use nix::sys::signal::Signal;

use super::Stage;
use crate::harness::http;

/// Where the machine is when something goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// Nothing has ever been live, and is being built.
    FirstBuild,
    /// It is built, and starts.
    FirstStart,
    /// One is live, and nothing happens.
    Live,
    /// Another one is built.
    Building,
    /// Another one starts.
    Starting,
    /// Another one has just said that it is ready.
    Switching,
    /// Another one is live, and somebody is connected to the one before who has not said what he wants.
    Settling,
    /// The one before has got its stop signal, and cleans up.
    Draining,
    /// Nothing is live after a crash, and nothing is on its way.
    Held,
    /// hotrun was asked to end, and the program cleans up.
    Quitting,
}

impl State {
    pub(crate) const ALL: [Self; 10] = [
        Self::FirstBuild,
        Self::FirstStart,
        Self::Live,
        Self::Building,
        Self::Starting,
        Self::Switching,
        Self::Settling,
        Self::Draining,
        Self::Held,
        Self::Quitting,
    ];

    /// Gets a machine there that was just made.
    pub(super) fn reach(self, stage: &mut Stage) {
        match self {
            Self::FirstBuild => {
                stage.gated_build("exit 0");
                stage.spawn();
                stage.at_the_gate(1);
                stage.client_waits();
            }
            Self::FirstStart => {
                stage.gated_start("one");
                stage.spawn();
                stage.at_the_gate(1);
                stage.client_waits();
            }
            Self::Live => stage.serve("one"),
            Self::Building => {
                stage.serve("one");
                stage.gated_build("exit 0");
                stage.at_the_gate(2);
            }
            Self::Starting => {
                stage.serve("one");
                stage.gated_start("two");
                stage.at_the_gate(2);
            }
            Self::Switching => {
                stage.serve("one");
                stage.gated_start("two");
                stage.at_the_gate(2);
                stage.open_gates();
                stage.told_of("ready", 2);
            }
            Self::Settling => {
                stage.serve("one");
                let silent = TcpStream::connect(stage.run().address());
                stage.silent = Some(silent.expect("it is open"));
                stage.project.server("two");
                stage.told_of("live", 2);
            }
            Self::Draining => {
                stage.serve("cleanup=1500 one");
                stage.project.server("two");
                stage.told_of("live", 2);
                stage.run().printed(1, "stop signal 1");
            }
            Self::Held => {
                stage.serve("one");
                stage.crash();
                stage.run().expect("waiting");
            }
            Self::Quitting => {
                stage.serve("cleanup=1500 one");
                stage.stop_load();
                stage.run().signal(Signal::SIGINT);
                stage.run().expect("quitting");
                stage.run().printed(1, "stop signal 1");
            }
        }
    }
}

impl Stage {
    /// The live one ends as by a crash. What it has in hand is lost: the two requests of the load, and this one.
    pub(super) fn crash(&mut self) {
        self.allow(2);
        self.is_held();
        let _ = http::get(self.run().address(), "/crash");
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FirstBuild => "first build",
            Self::FirstStart => "first start",
            Self::Live => "live",
            Self::Building => "building",
            Self::Starting => "starting",
            Self::Switching => "switching",
            Self::Settling => "settling",
            Self::Draining => "draining",
            Self::Held => "held",
            Self::Quitting => "quitting",
        })
    }
}
