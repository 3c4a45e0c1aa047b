use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;

use super::*;

fn spec() -> Spec {
    let argv = vec![
        "prog".into(),
        "".into(),
        OsString::from_vec(vec![b'a', 0xff]),
    ];
    let env = vec![("A".into(), "b=c".into()), ("PATH".into(), "/x".into())];
    Spec {
        listen_pid: true,
        cleanup: vec![Cleanup::Socket {
            path: OsString::from_vec(b"/run/a:\xff.sock".to_vec()),
            names: ".hotrun-1-".to_owned(),
            file: Some((1, 2)),
        }],
        ..Spec::new(argv, env, "/tmp".into())
    }
}

#[test]
fn a_request_is_received_as_it_was_sent() {
    let (here, there) = UnixStream::pair().unwrap();
    let mut spec = spec();
    spec.sockets
        .push(("s".into(), std::io::pipe().unwrap().0.into()));
    send(&here, &encode(&spec, StdioMode::Pty).unwrap(), &spec).unwrap();
    let request = receive(&there).unwrap();
    assert_eq!(request.argv, [c"prog", c"", c"a\xff"]);
    assert_eq!(
        request.env,
        [c"A=b=c", c"PATH=/x", c"LISTEN_FDS=1", c"LISTEN_FDNAMES=s"]
    );
    assert_eq!(request.workdir.as_c_str(), c"/tmp");
    assert_eq!((request.sockets.len(), request.listen_pid), (1, true));
    assert_eq!(request.stdio, StdioMode::Pty);
    assert_eq!(request.cleanup, spec.cleanup);
}

/// There are more descriptors than fit into one message.
#[test]
fn all_descriptors_are_received_in_order() {
    let (here, there) = UnixStream::pair().unwrap();
    let mut spec = spec();
    let pipe = || std::io::pipe().unwrap();
    spec.sockets.push(("s".into(), pipe().0.into()));
    let stored: Arc<OwnedFd> = Arc::new(pipe().0.into());
    spec.stored = vec![("ws".into(), stored); 2 * scm_rights::MAX_FDS];
    let (mut last, _writer) = pipe();
    let end = last.try_clone().unwrap();
    spec.stored.push(("last".into(), Arc::new(end.into())));
    let sender = std::thread::spawn(move || {
        send(&here, &encode(&spec, StdioMode::Pipes).unwrap(), &spec).unwrap();
    });
    let mut request = receive(&there).unwrap();
    sender.join().unwrap();
    assert_eq!(request.sockets.len(), 2 * scm_rights::MAX_FDS + 2);
    drop(_writer);
    let arrived = request.sockets.pop().unwrap();
    assert!(same(&arrived, &last));
    assert_eq!(last.read(&mut [0]).unwrap(), 0);
}

fn same(one: &impl AsFd, other: &impl AsFd) -> bool {
    crate::os::inode(one).unwrap() == crate::os::inode(other).unwrap()
}

#[test]
fn an_invalid_spec_is_refused() {
    let refusal = |spec: Spec| encode(&spec, StdioMode::Pipes).unwrap_err().to_string();
    let mut bad = spec();
    bad.argv.clear();
    assert_eq!(refusal(bad), "no program to start");
    let mut bad = spec();
    bad.argv.push("a\0b".into());
    assert_eq!(refusal(bad), "cannot pass `a\0b` to the program");
    let mut bad = spec();
    bad.sockets
        .push(("a:b".into(), std::io::pipe().unwrap().0.into()));
    assert!(refusal(bad).contains("`a:b`"));
    assert!(encode(&spec(), StdioMode::Pipes).is_ok());
}

fn with_env(env: &[(&str, &str)]) -> Spec {
    let env = env.iter().map(|(k, v)| (k.into(), v.into())).collect();
    Spec::new(vec!["true".into()], env, "/".into())
}

fn pairs(spec: &Spec) -> Vec<String> {
    let pair =
        |(key, value): &(OsString, OsString)| format!("{}={}", key.display(), value.display());
    environment(spec).iter().map(pair).collect()
}

#[test]
fn variables_for_hotrun_are_not_passed_on() {
    let spec = with_env(&[
        ("LISTEN_PID", "1"),
        ("LISTEN_FDS", "2"),
        ("LISTEN_FDNAMES", "a:b"),
        ("LISTEN_PIDFDID", "7"),
        ("NOTIFY_SOCKET", "/run/x"),
        ("WATCHDOG_USEC", "1"),
        ("WATCHDOG_PID", "1"),
        ("FDSTORE", "16"),
        ("PATH", "/bin"),
    ]);
    assert_eq!(pairs(&spec), ["PATH=/bin"]);
}

#[test]
fn the_users_own_variables_with_similar_names_are_passed_on() {
    let own = [
        ("LISTEN_ADDR", "a"),
        ("LISTEN_PORT", "80"),
        ("WATCHDOG_NAME", "rex"),
    ];
    let kept = ["LISTEN_ADDR=a", "LISTEN_PORT=80", "WATCHDOG_NAME=rex"];
    assert_eq!(pairs(&with_env(&own)), kept);
}

#[test]
fn variables_for_the_program_are_set() {
    let fd = || std::io::pipe().unwrap().0.into();
    let mut spec = with_env(&[("LISTEN_FDS", "9")]);
    spec.sockets = vec![("http".into(), fd()), ("admin".into(), fd())];
    spec.notify = Some("@n".into());
    spec.watchdog = Some(std::time::Duration::from_millis(1500));
    let stored = |name: &str| (name.to_owned(), std::sync::Arc::new(fd()));
    spec.stored = vec![stored("ws"), stored("ws")];
    let wanted = [
        "NOTIFY_SOCKET=@n",
        "WATCHDOG_USEC=1500000",
        "LISTEN_FDS=4",
        "LISTEN_FDNAMES=http:admin:ws:ws",
    ];
    assert_eq!(pairs(&spec), wanted);
}
