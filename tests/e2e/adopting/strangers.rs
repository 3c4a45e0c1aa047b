//! Two instances of hotrun on one port.

use super::{App, PYTHON, has, serving};
use crate::harness::PATIENCE;
use crate::harness::request_loop::RequestLoop;

fn the_second_names_the_holder(server: &str) {
    if !has(PYTHON) {
        return;
    }
    let app = App::python(server);
    let mut first = app.run().spawn();
    serving(&mut first);
    let asking = RequestLoop::start(app.address());
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
        // The holder may be reported only after the program has ended.
        if second.count("failed") == 0 {
            second.expect("failed");
        }
        assert_eq!(first.get("/"), format!("generation {round}"));
        // The first instance keeps the port when the second ends.
        second.signal(nix::sys::signal::Signal::SIGINT);
        second.wait_for_exit();
        app.save(&format!("{server}\n# {round}"));
        assert_eq!(first.live(), round + 1);
        asking.more(50);
    }
    asking.stop_losing_none();
    first.quit();
}

#[test]
#[ignore = "needs python3"]
fn hc29_the_second_instance_names_the_holder_and_the_first_loses_no_request() {
    the_second_names_the_holder("serve(open_socket())");
}

#[test]
#[ignore = "needs python3"]
fn hc29_a_program_with_reuse_port_does_not_share_its_port_with_another_hotrun() {
    the_second_names_the_holder(
        "serve(open_socket(options=[(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)]))",
    );
}
