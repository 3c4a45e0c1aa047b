//! A debugger that listens before the program that it runs.

use super::{App, wait_until_serving};
use crate::activation::{warm_cache, works_or_skip};
use crate::harness::request_loop::RequestLoop;
use crate::harness::sockets::free_port;
use crate::harness::{BUILD_TIMEOUT, Run, app_builds};

const SERVER: &str = r#"package main

import ("fmt"; "net/http"; "os")

const version = 1

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, version) })
	http.ListenAndServe("127.0.0.1:" + os.Getenv("PORT"), nil)
}
"#;

#[test]
#[ignore = "needs go and dlv"]
fn a_program_in_a_debugger_is_replaced_once_it_listens_itself() {
    if !works_or_skip("go", &["version"], "golang-go")
        || !works_or_skip("dlv", &["version"], "delve")
    {
        return;
    }
    let app = App::new();
    app.project.save("main.go", SERVER);
    let cache = app_builds().join("go");
    warm_cache(&app.project.work(), &cache);
    let debugger = format!("127.0.0.1:{}", free_port());
    let run = app.complete(
        Run::new(&app.project)
            .env("GOCACHE", &cache)
            .env("GO111MODULE", "off")
            // A debugger ends on this signal, but not on SIGTERM.
            .args(["--stop-signal", "INT"])
            .args(["--build", "go build -o ../app main.go"]),
        [
            "dlv",
            "exec",
            "--headless",
            "--continue",
            "--accept-multiclient",
            "--listen",
            &debugger,
            "../app",
        ],
    );
    let mut run = run.spawn();
    wait_until_serving(&mut run);
    let asking = RequestLoop::start(app.address());
    for version in 2..=4 {
        let changed = SERVER.replace("version = 1", &format!("version = {version}"));
        app.project.save("main.go", &changed);
        run.expect_that("the new version is live", BUILD_TIMEOUT, |event| {
            event.is("live")
        });
        assert_eq!(run.get("/"), version.to_string());
        run.wait_until_gone(version - 1);
        asking.more(10);
    }
    asking.assert_none_lost();
    run.quit();
}
