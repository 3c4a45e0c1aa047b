use std::fmt;
use std::net::TcpStream;

use nix::sys::signal::Signal;

use super::Scenario;
use crate::harness::http;

/// A warm-up that waits at the gate if the file `cold` exists next to the watched directory.
const WARM_UP: &str = "exec:if [ -e ../cold ]; then echo at the gate; until [ -e ../gate ]; do sleep 0.02; done; \
                       if [ -e ../then ]; then . ../then; fi; fi";

/// The state of hotrun when the fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// The first generation is being built.
    FirstBuild,
    /// The first generation is starting.
    FirstStart,
    /// A generation is live, and nothing else is happening.
    Live,
    /// Another generation is being built.
    Building,
    /// Another generation is starting.
    Starting,
    /// Another generation is being warmed up, and its command waits at the gate.
    WarmingUp,
    /// Another generation has half of the new connections for two seconds, and then all.
    Sharing,
    /// Another generation has just become ready.
    Switching,
    /// Another generation is live. A client that has not sent a request yet is still connected to the previous one.
    Quiescing,
    /// The previous generation has received its stop signal and is cleaning up.
    Draining,
    /// Another generation is live, and the previous one is kept.
    Kept,
    /// No generation is live after a crash, and nothing is being built or started.
    Held,
    /// hotrun is quitting, and the program is cleaning up.
    Quitting,
}

impl State {
    pub(crate) const ALL: [Self; 13] = [
        Self::FirstBuild,
        Self::FirstStart,
        Self::Live,
        Self::Building,
        Self::Starting,
        Self::WarmingUp,
        Self::Sharing,
        Self::Switching,
        Self::Quiescing,
        Self::Draining,
        Self::Kept,
        Self::Held,
        Self::Quitting,
    ];

    /// Brings a new scenario into this state.
    pub(super) fn reach(self, scenario: &mut Scenario) {
        match self {
            Self::FirstBuild => {
                scenario.gated_build("exit 0");
                scenario.spawn();
                scenario.wait_for_gate(1);
                scenario.add_waiting_client();
            }
            Self::FirstStart => {
                scenario.gated_start("one");
                scenario.spawn();
                scenario.wait_for_gate(1);
                scenario.add_waiting_client();
            }
            Self::Live => scenario.serve("one"),
            Self::Building => {
                scenario.serve("one");
                scenario.gated_build("exit 0");
                scenario.wait_for_gate(2);
            }
            Self::Starting => {
                scenario.serve("one");
                scenario.gated_start("two");
                scenario.wait_for_gate(2);
            }
            Self::WarmingUp => {
                scenario.add_options(&["--warm-up", WARM_UP]);
                scenario.serve("one");
                scenario.save_beside("cold");
                scenario.project.server("two");
                scenario.expect_text("[warm-up] at the gate");
            }
            Self::Sharing => {
                scenario.add_options(&["--share", "50%,100%", "--share-every", "2s"]);
                scenario.serve("one");
                scenario.project.server("two");
                scenario.expect_event("sharing", 2);
            }
            Self::Switching => {
                scenario.serve("one");
                scenario.gated_start("two");
                scenario.wait_for_gate(2);
                scenario.open_gates();
                scenario.expect_event("ready", 2);
            }
            Self::Quiescing => {
                scenario.serve("one");
                let silent = TcpStream::connect(scenario.run().address());
                scenario.silent = Some(silent.expect("can connect"));
                scenario.project.server("two");
                scenario.expect_event("live", 2);
            }
            Self::Draining => {
                scenario.serve("cleanup=1500 one");
                scenario.project.server("two");
                scenario.expect_event("live", 2);
                scenario.run().wait_for_line(1, "stop signal 1");
            }
            Self::Kept => {
                scenario.add_options(&["--keep", "60s"]);
                scenario.serve("one");
                scenario.project.server("two");
                scenario.expect_event("kept", 1);
            }
            Self::Held => {
                scenario.serve("one");
                scenario.crash();
                scenario.run().expect("waiting");
            }
            Self::Quitting => {
                scenario.serve("cleanup=1500 one");
                scenario.stop_load();
                scenario.run().signal(Signal::SIGINT);
                scenario.run().expect("quitting");
                scenario.run().wait_for_line(1, "stop signal 1");
            }
        }
    }
}

impl Scenario {
    /// Crashes the live generation. The requests that it is handling are lost: at most two from the load, and the one
    /// that crashes it.
    pub(super) fn crash(&mut self) {
        self.allow(2);
        self.mark_held();
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
            Self::WarmingUp => "warming up",
            Self::Sharing => "sharing",
            Self::Switching => "switching",
            Self::Quiescing => "quiescing",
            Self::Draining => "draining",
            Self::Kept => "kept",
            Self::Held => "held",
            Self::Quitting => "quitting",
        })
    }
}
