use std::net::{TcpListener, TcpStream};
use std::os::fd::IntoRawFd;

use super::*;

fn comm() -> String {
    std::fs::read_to_string("/proc/self/comm")
        .unwrap()
        .trim_end()
        .to_owned()
}

fn refused(value: &str, sharing: Sharing) -> (String, String) {
    let error = try_open(&[value], sharing)
        .err()
        .expect("the address is refused");
    (error.to_string(), error.hint.unwrap())
}

#[tokio::test]
async fn hc29_a_port_in_use_is_refused_and_its_holder_is_named() {
    let pid = std::process::id();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for sharing in [Sharing::Steered, Sharing::Shared] {
        for value in [address.to_string(), format!("0.0.0.0:{}", address.port())] {
            let (error, hint) = refused(&value, sharing);
            assert_eq!(
                error,
                format!("`{value}` is in use by `{}` (pid {pid})", comm())
            );
            assert_eq!(
                hint,
                format!("stop it (`kill {pid}`), or listen on another port")
            );
        }
    }
}

#[tokio::test]
async fn hc29_a_port_is_not_shared_with_another_hotrun() {
    let first = open(&["127.0.0.1:0"]);
    let address = tcp(&first, 0).to_string();
    let (error, _) = refused(&address, Sharing::Steered);
    assert!(
        error.contains(&format!("(pid {})", std::process::id())),
        "{error}"
    );
    drop(first);
    open(&[&address]);
}

#[tokio::test]
async fn hc29_hotrun_does_not_join_another_programs_reuse_port_group() {
    let taken = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    taken.set_reuse_address(true).unwrap();
    taken.set_reuse_port(true).unwrap();
    taken
        .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    taken.listen(1).unwrap();
    let address = taken.local_addr().unwrap().as_socket().unwrap();
    let (error, _) = refused(&address.to_string(), Sharing::Steered);
    assert!(error.contains("is in use by"), "{error}");
}

#[tokio::test]
async fn no_socket_stays_open_if_one_address_cannot_be_opened() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let values = [free.to_string(), taken.local_addr().unwrap().to_string()];
    assert!(try_open(&[&values[0], &values[1]], Sharing::Steered).is_err());
    open(&[&values[0]]);
}

#[tokio::test]
async fn an_address_that_is_not_local_is_refused() {
    let error = try_open(&["192.0.2.1:0"], Sharing::Steered).err().unwrap();
    assert_eq!(
        error.to_string(),
        "`192.0.2.1` is not an address of this machine"
    );
}

#[tokio::test]
async fn an_inherited_socket_keeps_its_connections_and_is_switched_like_any_other() {
    for sharing in [Sharing::Steered, Sharing::Shared] {
        // Unlike our own sockets, this one began to listen without `SO_REUSEPORT`.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let waiting = TcpStream::connect(address).unwrap();
        let spec = ListenSpec {
            inherited: Some(listener.into_raw_fd()),
            ..address.to_string().parse().unwrap()
        };
        let mut sockets = Sockets::open(&[spec], sharing).unwrap();
        let first = TcpListener::from(sockets.prepare(id(1)).unwrap().remove(0).fd);
        sockets.switch(id(1)).unwrap();
        let (_, peer) = first.accept().unwrap();
        assert_eq!(peer, waiting.local_addr().unwrap());
        let second = TcpListener::from(sockets.prepare(id(2)).unwrap().remove(0).fd);
        sockets.switch(id(2)).unwrap();
        let later = TcpStream::connect(address).unwrap();
        let (_, peer) = second.accept().unwrap();
        assert_eq!(peer, later.local_addr().unwrap());
    }
}

/// Constructs the error, because root may bind any port and would not get it from the kernel.
#[test]
fn the_error_for_a_privileged_port_suggests_a_fix() {
    let denied = io::Error::from_raw_os_error(nix::libc::EACCES);
    let error = OpenError::tcp(([127, 0, 0, 1], 80).into(), &denied);
    assert_eq!(error.to_string(), "no permission to listen on port `80`");
    let hint = error.hint.unwrap();
    assert!(
        hint.contains("net.ipv4.ip_unprivileged_port_start=80")
            && hint.contains("CAP_NET_BIND_SERVICE"),
        "{hint}"
    );
}

#[tokio::test]
async fn hc28_the_accept_queue_holds_500_connections() {
    let sockets = open(&["127.0.0.1:0"]);
    let to = tcp(&sockets, 0);
    let clients: Vec<TcpStream> = (0..500).map(|_| TcpStream::connect(to).unwrap()).collect();
    assert_eq!(clients.len(), 500);
}

#[tokio::test]
async fn a_regular_file_at_a_unix_path_is_refused_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    std::fs::write(&path, "precious").unwrap();
    for sharing in [Sharing::Steered, Sharing::Shared] {
        let error = try_open(&[&format!("unix:{}", path.display())], sharing)
            .err()
            .unwrap();
        assert_eq!(
            error.to_string(),
            format!("`{}` exists and is not a socket", path.display())
        );
        assert!(error.hint.is_some());
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    assert_eq!(names_in(directory.path()), ["app.sock"]);
}

#[tokio::test]
async fn a_stale_unix_socket_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    for sharing in [Sharing::Steered, Sharing::Shared] {
        drop(UnixListener::bind(&path).unwrap());
        let sockets = try_open(&[&format!("unix:{}", path.display())], sharing).unwrap();
        UnixStream::connect(&path).unwrap();
        drop(sockets);
        assert_eq!(names_in(directory.path()), [""; 0]);
    }
}

#[tokio::test]
async fn a_unix_socket_in_use_is_refused_and_its_holder_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.sock");
    let _taken = UnixListener::bind(&path).unwrap();
    for sharing in [Sharing::Steered, Sharing::Shared] {
        let (error, hint) = refused(&format!("unix:{}", path.display()), sharing);
        let pid = std::process::id();
        assert_eq!(
            error,
            format!(
                "`unix:{}` is in use by `{}` (pid {pid})",
                path.display(),
                comm()
            )
        );
        assert!(hint.contains("another path"), "{hint}");
    }
    UnixStream::connect(&path).unwrap();
}

#[tokio::test]
async fn the_error_for_a_missing_directory_names_the_path() {
    let error = try_open(&["unix:/nowhere/at/all/app.sock"], Sharing::Steered)
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .starts_with("listening on `/nowhere/at/all/app.sock`: No such file"),
        "{error}"
    );
}

#[tokio::test]
async fn hc22_socket_files_of_a_killed_hotrun_are_removed() {
    let directory = tempfile::tempdir().unwrap();
    // This number is larger than any pid (`kernel.pid_max` is at most 2^22).
    drop(UnixListener::bind(directory.path().join(".hotrun-99999999-1")).unwrap());
    std::fs::write(directory.path().join(".hotrun-99999999-2"), "not a socket").unwrap();
    let sockets = open(&[&format!(
        "unix:{}",
        directory.path().join("app.sock").display()
    )]);
    drop(sockets);
    assert_eq!(names_in(directory.path()), [".hotrun-99999999-2"]);
}

#[test]
fn a_repeated_name_or_address_is_an_error() {
    let open = |values: [&str; 2]| {
        let specs = values.map(|value| value.parse::<ListenSpec>().unwrap());
        super::super::open::check_distinct(&specs).map_err(|error| error.to_string())
    };
    assert_eq!(
        open(["a=1", "a=2"]),
        Err("two sockets have the name `a`".to_owned())
    );
    assert_eq!(
        open(["1", "a=:1"]),
        Err("`127.0.0.1:1` is given twice".to_owned())
    );
    assert_eq!(open(["0", "0"]), Ok(()));
}
