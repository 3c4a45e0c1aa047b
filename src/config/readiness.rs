use crate::error::Failure;
use crate::ready::ReadySpec;
use crate::socket::{Address, ListenSpec};

/// Checks that `--ready` can be met with the sockets of `--listen`, so that a mistake shows before the first build.
/// With `adopt` nothing is checked, because the program may open more sockets.
pub(super) fn check(ready: &ReadySpec, listen: &[ListenSpec], adopt: bool) -> Result<(), Failure> {
    if adopt {
        return Ok(());
    }
    if ready.needs_sockets() && listen.is_empty() {
        return Err(Failure::usage(format!(
            "`--ready {ready}` needs a socket from `--listen`"
        ))
        .hint(
            "add `--listen`, as in `--listen 3000`, or use `--ready` with `notify`, `log:REGEX`, `exec:COMMAND` \
             or `delay:DURATION`",
        ));
    }
    match probed_port(ready) {
        Some(port) if !listen.iter().any(|spec| may_use(spec, port)) => {
            Err(no_such_port(ready, port, listen))
        }
        Some(_) | None => Ok(()),
    }
}

fn probed_port(ready: &ReadySpec) -> Option<u16> {
    match ready {
        ReadySpec::Http(probe) => probe.port(),
        ReadySpec::Auto | ReadySpec::Listen | ReadySpec::Notify | ReadySpec::Tcp => None,
        ReadySpec::Log(_) | ReadySpec::Exec(_) | ReadySpec::Delay(_) => None,
    }
}

/// The port that replaces `0` is not known yet.
fn may_use(spec: &ListenSpec, port: u16) -> bool {
    match spec.address {
        Address::Tcp(address) => [0, port].contains(&address.port()),
        Address::Unix(_) => false,
    }
}

fn no_such_port(ready: &ReadySpec, port: u16, listen: &[ListenSpec]) -> Failure {
    let addresses: Vec<_> = listen
        .iter()
        .map(|spec| format!("`{}`", spec.address))
        .collect();
    Failure::usage(format!("`--ready {ready}`: no `--listen` uses port {port}")).hint(format!(
        "`--listen` has {}; `--ready http:/path` probes the first",
        addresses.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(ready: &str, listen: &[&str]) -> Result<(), Failure> {
        let listen: Vec<_> = listen.iter().map(|spec| spec.parse().unwrap()).collect();
        check(&ready.parse().unwrap(), &listen, false)
    }

    #[test]
    fn a_socket_probe_needs_a_socket() {
        for ready in ["http:/", "http://localhost:3000/", "tcp", "listen"] {
            let failure = checked(ready, &[]).unwrap_err();
            let expected = format!("`--ready {ready}` needs a socket from `--listen`");
            assert_eq!(failure.message(), expected);
            assert_eq!(failure.exit_code(), 2);
            assert!(
                failure.to_string().contains("hint: add `--listen`"),
                "{failure}"
            );
        }
        for ready in ["auto", "notify", "log:x", "exec:true", "delay:1s"] {
            assert_eq!(checked(ready, &[]), Ok(()), "{ready}");
        }
        for ready in ["http:/", "http://localhost/", "tcp", "listen"] {
            assert_eq!(checked(ready, &["unix:/run/x"]), Ok(()), "{ready}");
        }
    }

    #[test]
    fn the_port_of_a_probe_must_be_one_of_listen() {
        let ready = "http://localhost:4000/health";
        assert_eq!(checked(ready, &["unix:/run/x", "api=4000"]), Ok(()));
        assert_eq!(checked(ready, &["3000", "[::1]:0"]), Ok(()));
        let failure = checked(ready, &["3000", "unix:/run/x"]).unwrap_err();
        assert_eq!(
            failure.message(),
            format!("`--ready {ready}`: no `--listen` uses port 4000")
        );
        let hint = "hint: `--listen` has `127.0.0.1:3000`, `unix:/run/x`; `--ready http:/path` probes the first";
        assert!(failure.to_string().contains(hint), "{failure}");
    }
}
