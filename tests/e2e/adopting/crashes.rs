//! Crashes of the live generation.

use std::thread;

use super::{App, PYTHON, installed_or_skip};
use crate::harness::{TIMEOUT, http, until};

const FRAGILE: &str = "
def act(path):
    if path == '/crash': os._exit(3)
    return f'generation {generation}'
serve(open_socket(), act)
";

#[test]
#[ignore = "needs python3"]
fn hc15_after_a_crash_connections_wait_for_the_next_save() {
    if !installed_or_skip(PYTHON) {
        return;
    }
    let app = App::python(FRAGILE);
    let run = app
        .run()
        .args(["--no-error-page", "--rollback-within", "0s"]);
    let mut run = run.spawn();
    for generation in [1, 2] {
        run.live();
        until("the program responds", TIMEOUT, || {
            http::get(app.address(), "/").ok()
        });
        let _ = http::get(app.address(), "/crash");
        run.wait_until_gone(generation);
        run.expect("waiting");
        // These connections arrive after the crashed generation is gone.
        let to = app.address();
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let stream = http::open(to, "/");
                thread::spawn(move || http::finish(stream))
            })
            .collect();
        app.save(&format!("{FRAGILE}\n# {generation}"));
        for answer in waiting {
            let body = answer
                .join()
                .expect("the client has not panicked")
                .expect("a response");
            assert_eq!(body, format!("generation {}", generation + 1));
        }
    }
    assert_eq!(run.live(), 3);
    let last = until("the program responds", TIMEOUT, || {
        http::get(app.address(), "/").ok()
    });
    assert_eq!(last, "generation 3");
    run.quit();
}
