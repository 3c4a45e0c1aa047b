use std::fs;
use std::os::unix::fs::MetadataExt;

use socket2::{Domain, SockAddr, Socket, Type};

use super::adopting::settle;
use super::*;

fn open_at(path: &Path) -> Sockets {
    open(&[&format!("unix:{}", path.display())])
}

#[tokio::test]
async fn every_switch_of_a_path_takes_effect_at_once_and_refuses_no_connection() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let mut sockets = open_at(&path);
    let to = To::Unix(path);
    let programs: Vec<_> = (1..=3)
        .flat_map(|number| start(&mut sockets, number, Style::NonBlocking))
        .collect();
    sockets.switch(id(1)).unwrap();
    let load = Load::start(&to, 2);
    let mut took = Vec::new();
    for flip in 0..150 {
        let live = 1 + flip % 3;
        let begun = Instant::now();
        sockets.switch(id(live)).unwrap();
        took.push(begun.elapsed());
        for _ in 0..20 {
            assert_eq!(to.ask().unwrap(), live, "switch {flip}");
        }
    }
    took.sort();
    let answered = load.finish().await;
    report(&format!(
        "unix: 150 switches, 3000 + {answered} connections; the median switch took {:?}, the slowest {:?}",
        took[75], took[149]
    ));
    programs.iter().for_each(Program::ask_to_stop);
    drop(sockets);
    assert_eq!(names_in(directory.path()), [""; 0]);
}

#[tokio::test]
async fn many_generations_on_a_unix_socket_lose_no_connection() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let mut sockets = open_at(&path);
    let to = To::Unix(path);
    let load = Load::start(&to, 2);
    let mut programs = start(&mut sockets, 1, Style::NonBlocking);
    sockets.switch(id(1)).unwrap();
    for number in 2..=50 {
        load.more(10).await;
        let next = start(&mut sockets, number, Style::NonBlocking);
        sockets.switch(id(number)).unwrap();
        settle(&sockets, number - 1).await;
        sockets.forward(id(number - 1)).unwrap();
        let old = std::mem::replace(&mut programs, next);
        old.iter().for_each(Program::ask_to_stop);
        until("the program exits", || old.iter().all(Program::is_gone)).await;
        sockets.release(id(number - 1)).unwrap();
    }
    load.finish().await;
    until("the old listeners are closed", || {
        sockets.listener_count() == 1
    })
    .await;
    assert_eq!(
        names_in(directory.path()).len(),
        2,
        "only the path and the live listener's name are left"
    );
    programs.iter().for_each(Program::ask_to_stop);
}

#[tokio::test]
async fn hc33_a_path_that_the_old_program_removes_is_restored() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let mut sockets = open_at(&path);
    let to = To::Unix(path.clone());
    let old = start(&mut sockets, 1, Style::NonBlocking);
    sockets.switch(id(1)).unwrap();
    let new = start(&mut sockets, 2, Style::NonBlocking);
    sockets.switch(id(2)).unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    sockets.forward(id(1)).unwrap();
    fs::remove_file(&path).unwrap();
    until("the path is restored", || path.exists()).await;
    assert_eq!(
        (fs::metadata(&path).unwrap().ino(), to.ask().unwrap()),
        (inode, 2)
    );
    old.iter().for_each(Program::ask_to_stop);
    until("the program exits", || old.iter().all(Program::is_gone)).await;
    fs::remove_file(&path).unwrap();
    sockets.release(id(1)).unwrap();
    assert_eq!(
        to.ask().unwrap(),
        2,
        "the release restores the path at once"
    );
    new.iter().for_each(Program::ask_to_stop);
    until("the old listener is closed", || {
        sockets.listener_count() == 1
    })
    .await;
    drop(sockets);
    assert_eq!(names_in(directory.path()), [""; 0]);
}

/// Connects from a socket with a name, which the program sees as its client's address. A forwarded connection would
/// have no name.
fn connect_as(name: &Path, to: &Path) -> Box<dyn Duplex> {
    let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    client.bind(&SockAddr::unix(name).unwrap()).unwrap();
    client.connect(&SockAddr::unix(to).unwrap()).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    Box::new(UnixStream::from(std::os::fd::OwnedFd::from(client)))
}

/// Accepts connections, and returns the names of the clients.
fn accept(passed: Passed, count: usize) -> Vec<Option<std::path::PathBuf>> {
    let listener = UnixListener::from(passed.fd);
    let accepted = (0..count).map(|_| listener.accept().unwrap().1);
    accepted
        .map(|client| client.as_pathname().map(Path::to_owned))
        .collect()
}

#[tokio::test]
async fn connections_that_wait_while_nothing_is_live_are_left_to_the_next_program() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let names: Vec<_> = (0..4)
        .map(|at| directory.path().join(at.to_string()))
        .collect();
    let mut sockets = open_at(&path);
    sockets
        .respond(Arc::new(crate::unclaimed::Reason::default))
        .unwrap();
    let _before = connect_as(&names[0], &path);
    sockets.stop_responding().unwrap();
    // The first generation crashes without accepting anything.
    drop(sockets.prepare(id(1)).unwrap());
    sockets.switch(id(1)).unwrap();
    let _live = connect_as(&names[1], &path);
    sockets.forward(id(1)).unwrap();
    sockets.hold().unwrap();
    let _held = connect_as(&names[2], &path);
    assert_eq!(sockets.release(id(1)).unwrap(), []);
    sockets
        .respond(Arc::new(crate::unclaimed::Reason::default))
        .unwrap();
    let mut asks = connect_as(&names[3], &path);
    asks.write_all(REQUEST).unwrap();
    sockets.stop_responding().unwrap();
    let passed = sockets.prepare(id(2)).unwrap().remove(0);
    let accepted = tokio::task::spawn_blocking(move || accept(passed, 4));
    assert_eq!(
        accepted.await.unwrap(),
        names.into_iter().map(Some).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn connections_that_a_program_leaves_behind_while_another_is_live_are_closed_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let mut sockets = open_at(&path);
    drop(sockets.prepare(id(1)).unwrap());
    sockets.switch(id(1)).unwrap();
    let mut left = To::Unix(path.clone()).connect().unwrap();
    let programs = start(&mut sockets, 2, Style::NonBlocking);
    sockets.switch(id(2)).unwrap();
    sockets.forward(id(1)).unwrap();
    let lost = sockets.release(id(1)).unwrap();
    assert_eq!(lost, [(Address::Unix(path.clone()), 1)]);
    let closed = thread::spawn(move || read_answer(&mut *left).is_err());
    until("the connection is closed", || closed.is_finished()).await;
    assert!(closed.join().unwrap());
    assert_eq!(To::Unix(path).ask().unwrap(), 2);
    programs.iter().for_each(Program::ask_to_stop);
}

#[tokio::test]
async fn probes_that_a_program_leaves_unaccepted_are_not_counted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let mut sockets = open_at(&path);
    let programs = start(&mut sockets, 1, Style::NonBlocking);
    sockets.switch(id(1)).unwrap();
    drop(sockets.prepare(id(2)).unwrap());
    let _probe = route(&sockets, 2).dial().await.unwrap();
    sockets.forward(id(2)).unwrap();
    assert_eq!(sockets.release(id(2)).unwrap(), []);
    assert_eq!(To::Unix(path).ask().unwrap(), 1);
    programs.iter().for_each(Program::ask_to_stop);
}

/// Simulates a killed hotrun by cleaning up before anything is dropped.
#[tokio::test]
async fn hc22_a_killed_hotrun_leaves_no_socket_file_behind() {
    for sharing in [Sharing::Steered, Sharing::Shared] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        let value = format!("unix:{}", path.display());
        let mut sockets = try_open(&["127.0.0.1:0", &value], sharing).unwrap();
        let kept = sockets.paths();
        for number in 1..=3 {
            drop(sockets.prepare(id(number)).unwrap());
            sockets.switch(id(number)).unwrap();
        }
        assert!(path.exists());
        assert_eq!(
            sockets.paths(),
            kept,
            "the paths reported to the guardian must not change"
        );
        crate::os::cleanup::clean_up(&kept);
        assert_eq!(names_in(directory.path()), [""; 0], "{sharing:?}");
    }
}

#[tokio::test]
async fn a_probe_reaches_a_unix_listener_that_is_not_live() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let mut sockets = open_at(&path);
    let mut programs = start(&mut sockets, 1, Style::NonBlocking);
    sockets.switch(id(1)).unwrap();
    programs.extend(start(&mut sockets, 2, Style::NonBlocking));
    let route = route(&sockets, 2);
    assert_eq!(dial(&route).await, 2);
    assert_eq!(To::Unix(path).ask().unwrap(), 1);
    programs.iter().for_each(Program::ask_to_stop);
}

#[tokio::test]
async fn a_file_that_another_process_put_at_the_path_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let mut sockets = open_at(&path);
    drop(sockets.prepare(id(1)).unwrap());
    sockets.switch(id(1)).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "precious").unwrap();
    drop(sockets.prepare(id(2)).unwrap());
    let error = sockets.switch(id(2)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("was replaced by something that is not a socket"),
        "{error}"
    );
    drop(sockets);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    assert_eq!(names_in(directory.path()), ["app.sock"]);
}

/// The path itself must fit into a socket address, because clients connect to it. The paths of the generations'
/// listeners in the same directory may be too long for a socket address.
#[tokio::test]
async fn generations_can_listen_in_a_directory_with_a_long_path() {
    let directory = tempfile::tempdir().unwrap();
    let long = directory
        .path()
        .join("d".repeat(97 - directory.path().as_os_str().len()));
    fs::create_dir(&long).unwrap();
    let path = long.join("app.sock");
    assert_eq!(path.as_os_str().len(), 107);
    let mut sockets = open_at(&path);
    let mut programs = Vec::new();
    for number in 1..=3 {
        programs.extend(start(&mut sockets, number, Style::NonBlocking));
        sockets.switch(id(number)).unwrap();
        assert_eq!(To::Unix(path.clone()).ask().unwrap(), number);
        let route = route(&sockets, number);
        assert!(route.dial().await.is_ok());
    }
    programs.iter().for_each(Program::ask_to_stop);
    drop(sockets);
    assert_eq!(names_in(&long), [""; 0]);
}
