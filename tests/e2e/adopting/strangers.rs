//! Two hotruns on one port.

use super::{App, PYTHON, has, serving};
use crate::harness::PATIENCE;
use crate::harness::asking::Asking;

fn the_second_says_who_has_it(server: &str) {
    if !has(PYTHON) {
        return;
    }
    let app = App::python(server);
    let mut first = app.run().spawn();
    serving(&mut first);
    let asking = Asking::start(app.address());
    let other = App {
        project: crate::harness::Project::new(),
        port: app.port,
    };
    for round in 1..=3 {
        other.save(server);
        let mut second = other.run().spawn();
        let told = second.expect_that("in use", PATIENCE, |event| event.mentions("is in use by"));
        let holder = told
            .text("hint")
            .split(['`', ' '])
            .find_map(|word| word.parse::<i32>().ok());
        let holder = holder.expect("a pid is named");
        let name = std::fs::read_to_string(format!("/proc/{holder}/comm")).expect("it runs");
        assert!(told.mentions(name.trim()), "{told}");
        // Who has the port may be known only after its end.
        if second.count("failed") == 0 {
            second.expect("failed");
        }
        assert_eq!(first.get("/"), format!("generation {round}"));
        // The port stays the first one's when the second ends.
        second.signal(nix::sys::signal::Signal::SIGINT);
        second.ended();
        app.save(&format!("{server}\n# {round}"));
        assert_eq!(first.live(), round + 1);
        asking.more(50);
    }
    asking.stop_in_full();
    first.quit();
}

#[test]
fn hc29_the_second_says_who_has_the_port_and_the_first_loses_nothing() {
    the_second_says_who_has_it("serve(open_socket())");
}

#[test]
fn hc29_a_program_that_would_share_its_port_does_not_share_it_with_another_hotrun() {
    the_second_says_who_has_it(
        "serve(open_socket(options=[(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)]))",
    );
}
