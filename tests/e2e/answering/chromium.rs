//! A headless Chromium, controlled through the DevTools protocol over two pipes. A zero byte ends each JSON message.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{TIMEOUT, until};

/// A browser with one page.
pub(super) struct Chromium {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: Value,
    number: u64,
}

pub(super) fn is_installed() -> bool {
    let mut command = Command::new("chromium");
    let quiet = command
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

impl Chromium {
    /// Starts the browser with this profile directory.
    pub(super) fn start(directory: &Path) -> Self {
        // The pipes must be descriptors 3 and 4. The sandbox does not work as root or in a container.
        let line = "exec chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run \
                    --user-data-dir=\"$0\" --remote-debugging-pipe 3<&0 4>&1 </dev/null >/dev/null 2>&1";
        let mut command = Command::new("sh");
        command.args(["-c", line]).arg(directory);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.env("HOME", directory).stderr(Stdio::null());
        let mut child = command.spawn().expect("can start a shell");
        let to = child.stdin.take().expect("stdin is piped");
        let from = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Self {
            child,
            to,
            from,
            session: Value::Null,
            number: 0,
        }
    }

    /// Opens a page.
    pub(super) fn open(&mut self, address: SocketAddr) {
        let url = format!("http://{address}/");
        let created = self.call("Target.createTarget", &json!({ "url": url }));
        let target = json!({ "targetId": created["targetId"], "flatten": true });
        let attached = self.call("Target.attachToTarget", &target);
        self.session = attached["sessionId"].clone();
    }

    /// Evaluates a JavaScript expression on the page, and returns the result as text.
    pub(super) fn evaluate(&mut self, expression: &str) -> String {
        let asked = json!({ "expression": format!("String({expression})") });
        let answer = self.call("Runtime.evaluate", &asked);
        answer["result"]["value"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Waits until the page shows this text, and returns all of its text.
    #[track_caller]
    pub(super) fn wait_for_text(&mut self, text: &str) -> String {
        until(&format!("the page shows `{text}`"), TIMEOUT * 2, || {
            // A page that is still loading may show only its beginning.
            let whole = "document.readyState === 'complete' ? document.body.innerText : ''";
            let shown = self.evaluate(whole);
            shown.contains(text).then_some(shown)
        })
    }

    /// Calls a method of the DevTools protocol, and returns its result.
    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.number += 1;
        let mut message = json!({ "id": self.number, "method": method, "params": params });
        if !self.session.is_null() {
            message["sessionId"] = self.session.clone();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).expect("can write to the browser");
        loop {
            let mut answer = Vec::new();
            let read = self.from.read_until(0, &mut answer);
            assert!(
                read.expect("can read from the browser") > 0,
                "the browser has not exited"
            );
            answer.pop();
            let mut answer: Value =
                serde_json::from_slice(&answer).expect("the browser sends JSON");
            if answer["id"] == self.number {
                return answer["result"].take();
            }
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // The browser's child processes exit with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
