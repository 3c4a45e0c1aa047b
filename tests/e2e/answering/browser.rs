//! The error page in a real browser.

use std::fs;

use super::chromium::{Chromium, is_installed};
use crate::harness::{BUILD_TIMEOUT, Project, Run, skip};

const MANIFEST: &str = "[package]\nname = \"shown\"\nversion = \"0.0.0\"\nedition = \"2024\"\n";

/// A source whose compiler errors contain HTML markup.
const BROKEN: &str =
    "compile_error!(\"<script>document.title = 'owned'</script> <img src=x onerror=\\\"document.title='owned'\\\"> &amp;\");
fn main() {}
";

const FIXED: &str = r#"
use std::io::{Read, Write};
use std::os::fd::FromRawFd;

fn main() {
    let listener = unsafe { std::net::TcpListener::from_raw_fd(3) };
    // Each connection gets its own thread, because browsers open connections in advance.
    for mut stream in listener.incoming().flatten() {
        std::thread::spawn(move || {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 17\r\nconnection: close\r\n\r\n<h1>it is back!\n\n");
        });
    }
}
"#;

#[test]
#[ignore = "needs chromium"]
fn a_browser_shows_the_errors_and_reloads_the_page_when_the_build_is_fixed() {
    if !is_installed() {
        return skip("`chromium` is not installed (`apt install chromium`)");
    }
    let project = Project::new();
    fs::create_dir(project.work().join("src")).expect("can create `src`");
    project.save("Cargo.toml", MANIFEST);
    project.save("src/main.rs", BROKEN);
    let target = project.beside("target");
    let run = Run::new(&project).env("CARGO_TARGET_DIR", target).listen();
    let mut run = run.spawn();
    run.expect_that("the build to fail", BUILD_TIMEOUT, |event| {
        event.is("failed")
    });

    let profile = project.beside("chromium");
    let mut chromium = Chromium::start(&profile);
    chromium.open(run.address());
    let shown = chromium.wait_for_text("failed to build");
    let markup = "error: <script>document.title = 'owned'</script> <img src=x onerror=\"document.title='owned'\"> &amp;";
    assert!(shown.contains(markup), "{shown}");
    assert!(
        shown.contains("--> src/main.rs:1:1"),
        "no source location in: {shown}"
    );
    assert!(!shown.contains('\u{1b}'), "{shown}");
    let title = chromium.evaluate("document.title");
    assert_eq!(title, "503: gen 1 failed to build");
    let height = chromium.evaluate("document.querySelector('pre').getClientRects()[0].height > 50");
    assert_eq!(height, "true", "line breaks are kept");
    chromium.evaluate("window.before = true");

    // The page reloads when the error changes.
    project.save("src/main.rs", "compile_error!(\"another\"); fn main() {}\n");
    let shown = chromium.wait_for_text("error: another");
    assert!(!shown.contains("<script>"), "{shown}");
    assert_eq!(
        chromium.evaluate("window.before"),
        "undefined",
        "the page has reloaded"
    );

    project.save("src/main.rs", FIXED);
    chromium.wait_for_text("it is back!");
    drop(chromium);
    run.live();
    run.quit();
}
