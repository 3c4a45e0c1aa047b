//! The variables that pass sockets and the notification socket to a program.

use std::ffi::{OsStr, OsString};

use super::Spec;

/// The program's environment, without `LISTEN_PID` and `WATCHDOG_PID`, which only its own process can know.
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
    if let Some(period) = spec.watchdog {
        let period = period.as_micros().to_string();
        env.push(("WATCHDOG_USEC".into(), period.into()));
    }
    let sockets = spec.sockets.iter().map(|(name, _)| name.as_str());
    let stored = spec.stored.iter().map(|(name, _)| name.as_str());
    let names: Vec<&str> = sockets.chain(stored).collect();
    if !names.is_empty() {
        env.push(("LISTEN_FDS".into(), names.len().to_string().into()));
        env.push(("LISTEN_FDNAMES".into(), names.join(":").into()));
    }
    env
}

/// Variables that a supervisor of hotrun has set for hotrun alone: `sd_listen_fds(3)`, `sd_notify(3)`,
/// `sd_watchdog_enabled(3)`. `FDSTORE` limits the descriptor store (`systemd.exec(5)`); `LISTEN_PIDFDID` accompanies
/// `LISTEN_PID`. No prefixes, because `LISTEN_PORT` or `WATCHDOG_NAME` belong to the user.
const HANDOVER: &[&str] = &[
    "FDSTORE",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

fn is_handover(key: &OsStr) -> bool {
    HANDOVER.iter().any(|name| key == *name)
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
            stored: Vec::new(),
            watchdog: None,
            listen_pid: true,
            notify: None,
            cleanup: Vec::new(),
            intercept: None,
        }
    }

    fn pairs(spec: &Spec) -> Vec<String> {
        let pair =
            |(key, value): &(OsString, OsString)| format!("{}={}", key.display(), value.display());
        of(spec).iter().map(pair).collect()
    }

    #[test]
    fn variables_for_hotrun_are_not_passed_on() {
        let spec = spec(&[
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
    fn similar_variables_of_the_user_are_passed_on() {
        let own = [
            ("LISTEN_ADDR", "a"),
            ("LISTEN_PORT", "80"),
            ("WATCHDOG_NAME", "rex"),
        ];
        let kept = ["LISTEN_ADDR=a", "LISTEN_PORT=80", "WATCHDOG_NAME=rex"];
        assert_eq!(pairs(&spec(&own)), kept);
    }

    #[test]
    fn variables_for_the_program_are_set() {
        let fd = || std::io::pipe().unwrap().0.into();
        let mut spec = spec(&[("LISTEN_FDS", "9")]);
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
}
