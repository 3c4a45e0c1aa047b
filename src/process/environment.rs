//! The variables by which a program is handed sockets and a place to notify.

use std::ffi::{OsStr, OsString};

use super::Spec;

/// The program's environment, all but `LISTEN_PID`, which only the program's own process can know.
pub(super) fn of(spec: &Spec) -> Vec<(OsString, OsString)> {
    let mut env: Vec<_> = spec
        .env
        .iter()
        .filter(|(key, _)| !is_handover(key))
        .cloned()
        .collect();
    if let Some(path) = &spec.notify {
        env.push(("NOTIFY_SOCKET".into(), path.clone()));
    }
    if !spec.sockets.is_empty() {
        let names: Vec<&str> = spec.sockets.iter().map(|(name, _)| name.as_str()).collect();
        env.push(("LISTEN_FDS".into(), names.len().to_string().into()));
        env.push(("LISTEN_FDNAMES".into(), names.join(":").into()));
    }
    env
}

/// Whether the variable was meant for hotrun alone: `sd_listen_fds(3)`, `sd_notify(3)`,
/// `sd_watchdog_enabled(3)`. `LISTEN_PIDFDID` is the younger companion of `LISTEN_PID`.
fn is_handover(key: &OsStr) -> bool {
    let key = key.as_encoded_bytes();
    key == b"NOTIFY_SOCKET" || key.starts_with(b"LISTEN_") || key.starts_with(b"WATCHDOG_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(env: &[(&str, &str)]) -> Spec {
        Spec {
            argv: vec!["true".into()],
            env: env.iter().map(|(k, v)| (k.into(), v.into())).collect(),
            workdir: "/".into(),
            sockets: Vec::new(),
            listen_pid: true,
            notify: None,
        }
    }

    fn pairs(spec: &Spec) -> Vec<String> {
        let pair =
            |(key, value): &(OsString, OsString)| format!("{}={}", key.display(), value.display());
        of(spec).iter().map(pair).collect()
    }

    #[test]
    fn what_was_meant_for_hotrun_is_not_passed_on() {
        let spec = spec(&[
            ("LISTEN_PID", "1"),
            ("LISTEN_FDS", "2"),
            ("LISTEN_FDNAMES", "a:b"),
            ("LISTEN_PIDFDID", "7"),
            ("NOTIFY_SOCKET", "/run/x"),
            ("WATCHDOG_USEC", "1"),
            ("WATCHDOG_PID", "1"),
            ("PATH", "/bin"),
            ("LISTENER", "kept"),
        ]);
        assert_eq!(pairs(&spec), ["PATH=/bin", "LISTENER=kept"]);
    }

    #[test]
    fn what_is_meant_for_the_program_is_there() {
        let fd = || std::io::pipe().unwrap().0.into();
        let mut spec = spec(&[("LISTEN_FDS", "9")]);
        spec.sockets = vec![("http".into(), fd()), ("admin".into(), fd())];
        spec.notify = Some("@n".into());
        let wanted = [
            "NOTIFY_SOCKET=@n",
            "LISTEN_FDS=2",
            "LISTEN_FDNAMES=http:admin",
        ];
        assert_eq!(pairs(&spec), wanted);
    }
}
