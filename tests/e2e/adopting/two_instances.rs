//! Two instances of hotrun on one port.

use super::{App, PYTHON, installed_or_skip, wait_until_serving};
use crate::harness::TIMEOUT;
use crate::harness::request_loop::RequestLoop;

/// Checks that a second hotrun on the same port names the holder, while the first one keeps serving.
fn assert_second_instance_names_the_holder(server: &str) {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(server);
    let mut first = app.run().spawn();
    wait_until_serving(&mut first);
    let asking = RequestLoop::start(app.address());
    let other = App {
        project: crate::harness::Project::new(),
        port: app.port,
    };
    for round in 1..=3 {
        other.save(server);
        let mut second = other.run().spawn();
        let report = second.expect_that("a report that the port is in use", TIMEOUT, |event| {
            event.mentions("is in use by")
        });
        let holder = report
            .text("hint")
            .split(['`', ' '])
            .find_map(|word| word.parse::<i32>().ok());
        let holder = holder.expect("the hint contains a pid");
        let name =
            std::fs::read_to_string(format!("/proc/{holder}/comm")).expect("the holder is running");
        assert!(report.mentions(name.trim()), "{report}");
        // The program may fail before or after the holder is reported.
        if second.count("failed") == 0 {
            second.expect("failed");
        }
        assert_eq!(first.get("/"), format!("generation {round}"));
        // The first instance keeps the port when the second one exits.
        second.signal(nix::sys::signal::Signal::SIGINT);
        second.wait_for_exit();
        app.save(&format!("{server}\n# {round}"));
        assert_eq!(first.live(), round + 1);
        asking.more(50);
    }
    asking.assert_none_lost();
    first.quit();
}

#[test]
#[ignore = "needs python3"]
fn hc29_the_second_instance_names_the_holder_and_the_first_loses_no_request() {
    assert_second_instance_names_the_holder("serve(open_socket())");
}

#[test]
#[ignore = "needs python3"]
fn hc29_a_program_with_reuse_port_does_not_share_its_port_with_another_hotrun() {
    assert_second_instance_names_the_holder(
        "serve(open_socket(options=[(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)]))",
    );
}
