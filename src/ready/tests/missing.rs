//! Tests how readiness depends on addresses that only the previous generation listens on.

use super::*;
use crate::ready::UnreadyReason;

const MISSING: &str = "it does not listen on `127.0.0.1:80`, only on `127.0.0.1:81`";

/// The inputs for a generation that listens on `socket`. Its other address is missing until the returned state is
/// changed.
fn lacking(socket: &TcpListener) -> (ReadyInputs, FakeProgram, Arc<Mutex<GenSockets>>) {
    let (mut inputs, program) = own_inputs(Some(socket));
    let state = Arc::new(Mutex::new(GenSockets {
        inodes: vec![inode(socket)],
        addresses: vec![([127, 0, 0, 1], 81).into()],
        missing: vec![([127, 0, 0, 1], 80).into()],
        beside: true,
        ..GenSockets::default()
    }));
    let shared = state.clone();
    inputs.sockets.state = Box::new(move || shared.lock().expect("not poisoned").clone());
    inputs.exec = Arc::new(|_| Box::pin(async { Ok(true) }));
    (inputs, program, state)
}

#[tokio::test]
async fn every_rule_also_waits_for_the_addresses_of_the_previous_generation() {
    for text in [
        "auto",
        "listen",
        "http:/",
        "tcp",
        "log:x",
        "exec:x",
        "delay:1ms",
    ] {
        let socket = listener();
        let (inputs, program, state) = lacking(&socket);
        let waits = register(&socket);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = waits.accept().await {
                let answer = b"HTTP/1.1 200 OK\r\n\r\n";
                let _ = tokio::io::AsyncWriteExt::write_all(&mut client, answer).await;
            }
        });
        program
            .lines
            .send(b"x".to_vec())
            .expect("the receiver exists");
        let waiting = start(text, inputs);
        program.reports(MISSING).await;
        assert!(!waiting.is_finished(), "{text}");
        state.lock().expect("not poisoned").missing.clear();
        result(waiting).await;
    }
}

#[tokio::test]
async fn ready_1_ends_the_wait_for_missing_addresses() {
    let socket = listener();
    let _waits = register(&socket);
    let (inputs, program, _state) = lacking(&socket);
    program.notify.send_replace(NotifyState::Ready);
    assert_eq!(result(start("notify", inputs)).await, ReadyReason::Notified);
}

#[tokio::test]
async fn a_program_that_narrows_an_address_is_ready_after_a_second() {
    let socket = listener();
    let _waits = register(&socket);
    let (inputs, program, state) = lacking(&socket);
    {
        let mut state = state.lock().expect("not poisoned");
        state.narrowed = std::mem::take(&mut state.missing);
    }
    let began = Instant::now();
    let waiting = start("auto", inputs);
    program.reports(MISSING).await;
    assert_eq!(result(waiting).await, ReadyReason::Accepting);
    assert!(began.elapsed() >= Duration::from_millis(990));
}

#[tokio::test]
async fn a_program_between_two_sockets_is_not_one_without_sockets() {
    let socket = listener();
    let (mut inputs, _program, _state) = lacking(&socket);
    let (listening, began) = (vec![inode(&socket)], Instant::now());
    inputs.adopts = true;
    inputs.sockets.state = Box::new(move || GenSockets {
        inodes: match began.elapsed() < Duration::from_millis(700) {
            true => listening.clone(),
            false => Vec::new(),
        },
        ..GenSockets::default()
    });
    let waiting = start("auto", inputs);
    assert_eq!(result(waiting).await, ReadyReason::Running);
    assert!(began.elapsed() >= Duration::from_millis(1150));
}

/// The state machine's tests check what happens at the timeout.
#[tokio::test]
async fn a_program_lacks_only_addresses_once_it_waits_on_all_its_sockets() {
    let socket = listener();
    let (mut inputs, _program, _state) = lacking(&socket);
    let (sender, mut lacks) = mpsc::unbounded_channel();
    inputs.on_unready = Box::new(move |reason| {
        if let UnreadyReason::Missing {
            otherwise_ready, ..
        } = reason
        {
            let _ = sender.send(otherwise_ready);
        }
    });
    let waiting = start("auto", inputs);
    assert_eq!(lacks.recv().await, Some(false));
    let _waits = register(&socket);
    while lacks.recv().await != Some(true) {}
    assert!(!waiting.is_finished());
    waiting.abort();
}

#[test]
fn addresses_are_listed_as_in_a_sentence() {
    let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let list = crate::ready::list;
    assert_eq!(list(&[at(1)]), "`127.0.0.1:1`");
    assert_eq!(
        list(&[at(1), at(2), at(3)]),
        "`127.0.0.1:1`, `127.0.0.1:2` and `127.0.0.1:3`"
    );
    let many: Vec<SocketAddr> = (1..=3000).map(at).collect();
    assert_eq!(
        list(&many),
        "`127.0.0.1:1`, `127.0.0.1:2`, `127.0.0.1:3` and 2997 more"
    );
}
