//! Tests of the `http`, `tcp` and `exec` probes.

use std::io::{Read, Write};

use super::*;

/// Serves one connection after another: reads the request, and sends the next of `texts`, repeating the last one.
fn respond(socket: TcpListener, texts: &'static [&'static str]) {
    std::thread::spawn(move || {
        let last = texts.last().expect("there is at least one response");
        for text in texts.iter().chain(std::iter::repeat(last)) {
            let Ok((mut stream, _)) = socket.accept() else {
                return;
            };
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(text.as_bytes());
        }
    });
}

#[tokio::test]
async fn http_accepts_2xx_and_3xx_and_reports_other_statuses() {
    let socket = listener();
    let (inputs, program) = own_inputs(Some(&socket));
    let responses = [
        "HTTP/1.1 503 Busy\r\n\r\n",
        "SSH-2.0-x\r\n",
        "",
        "HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 302 Found\r\n\r\n",
    ];
    respond(socket, Box::leak(Box::new(responses)));
    assert_eq!(
        result(start("http:/health", inputs)).await,
        ReadyReason::Responded(302)
    );
    let expected = [
        "the probe got status 503",
        "the probe got a response that is not HTTP/1",
        "the probe's connection was closed without a response",
    ];
    assert_eq!(
        *program.unready_reasons.lock().expect("not poisoned"),
        expected
    );
}

/// The request is sent before the program accepts connections, so it waits in the accept queue.
#[tokio::test]
async fn http_gets_a_response_from_a_program_that_starts_slowly() {
    let socket = listener();
    let (inputs, program) = own_inputs(Some(&socket));
    let waiting = start("http:/", inputs);
    program.reports("the probe got no response within 1s").await;
    respond(socket, &["HTTP/1.1 204 No Content\r\n\r\n"]);
    assert_eq!(result(waiting).await, ReadyReason::Responded(204));
}

#[tokio::test]
async fn http_reports_a_refused_connection() {
    let gone = listener();
    let (mut inputs, program) = own_inputs(Some(&gone));
    inputs.connect = Box::new(|port| {
        assert_eq!(port, Some(81));
        Box::pin(async { Err(std::io::ErrorKind::ConnectionRefused.into()) })
    });
    let waiting = start("http://localhost:81/", inputs);
    program
        .reports("the probe could not connect: connection refused")
        .await;
    waiting.abort();
}

/// The kernel completes connections to any listening socket, so a successful connect proves nothing.
#[tokio::test]
async fn tcp_requires_an_accepted_connection() {
    let socket = listener();
    let (inputs, program) = own_inputs(Some(&socket));
    let waiting = start("tcp", inputs);
    program.reports("the probe got no response within 1s").await;
    assert!(!waiting.is_finished());
    respond(socket, &["+OK\r\n"]);
    assert_eq!(result(waiting).await, ReadyReason::Connected);
}

/// The server keeps the connection and sends nothing.
#[tokio::test]
async fn tcp_detects_that_a_silent_server_is_waiting_for_connections() {
    let socket = listener();
    let (inputs, _program) = own_inputs(Some(&socket));
    let _waits = register(&socket);
    assert_eq!(result(start("tcp", inputs)).await, ReadyReason::Connected);
}

#[tokio::test]
async fn exec_is_repeated_until_it_succeeds() {
    let (mut inputs, program) = own_inputs(None);
    let outcomes = [
        Ok(false),
        Err(std::io::ErrorKind::NotFound.into()),
        Ok(true),
    ];
    let outcomes = Mutex::new(outcomes.into_iter());
    inputs.exec = Arc::new(move |command| {
        assert_eq!(command, "test -e x");
        let outcome = outcomes
            .lock()
            .expect("not poisoned")
            .next()
            .expect("the command is not run again after it has succeeded");
        Box::pin(async { outcome })
    });
    assert_eq!(
        result(start("exec:test -e x", inputs)).await,
        ReadyReason::CommandSucceeded
    );
    let expected = [
        "the `--ready exec:` command failed",
        "cannot run the `--ready exec:` command: entity not found",
    ];
    assert_eq!(
        *program.unready_reasons.lock().expect("not poisoned"),
        expected
    );
}

#[tokio::test]
async fn dropping_the_wait_drops_its_command() {
    let (mut inputs, _program) = own_inputs(None);
    let (runs, running) = tokio::sync::oneshot::channel::<()>();
    let (started, start_seen) = tokio::sync::oneshot::channel();
    let kept = Mutex::new(Some((runs, started)));
    inputs.exec = Arc::new(move |_| {
        let kept = kept.lock().expect("not poisoned").take();
        let (runs, started) = kept.expect("the command is run only once");
        Box::pin(async move {
            started.send(()).expect("the test is waiting for the start");
            let _runs = runs;
            std::future::pending().await
        })
    });
    let waiting = start("exec:sleep 60", inputs);
    timeout(DEADLINE, start_seen)
        .await
        .expect("the command starts in time")
        .expect("the command was started");
    waiting.abort();
    timeout(DEADLINE, running)
        .await
        .expect("the command is dropped in time")
        .expect_err("the command is dropped with the wait");
}
