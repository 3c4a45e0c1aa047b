//! Whether `--ready` and `--listen` fit each other.

use crate::error::Failure;
use crate::ready::ReadySpec;
use crate::socket::{Address, ListenSpec};

/// What could never be told is a mistake on the command line: without this it would show only after the first build.
/// What the program will open by itself, with `adopt`, is not known yet.
pub(super) fn check(ready: &ReadySpec, listen: &[ListenSpec], adopt: bool) -> Result<(), Failure> {
    if adopt {
        return Ok(());
    }
    if ready.needs_sockets() && listen.is_empty() {
        return Err(Failure::usage(format!(
            "`--ready {ready}` needs a socket that hotrun passes to the program"
        ))
        .hint(
            "add `--listen`, as in `--listen 3000`, or use `--ready` with `notify`, `log:REGEX`, `exec:COMMAND` \
             or `delay:DURATION`",
        ));
    }
    match probed_port(ready) {
        Some(port) if !listen.iter().any(|spec| may_have(spec, port)) => {
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

/// Which port `0` becomes is not known yet.
fn may_have(spec: &ListenSpec, port: u16) -> bool {
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
    Failure::usage(format!(
        "`--ready {ready}`: no `--listen` has the port {port}"
    ))
    .hint(format!(
        "there is {}; `--ready http:/path` asks the first",
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
    fn what_asks_a_socket_needs_one() {
        for ready in ["http:/", "http://localhost:3000/", "tcp", "listen"] {
            let failure = checked(ready, &[]).unwrap_err();
            let expected =
                format!("`--ready {ready}` needs a socket that hotrun passes to the program");
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
    fn the_port_of_a_probe_is_one_that_is_listened_on() {
        let ready = "http://localhost:4000/health";
        assert_eq!(checked(ready, &["unix:/run/x", "api=4000"]), Ok(()));
        assert_eq!(checked(ready, &["3000", "[::1]:0"]), Ok(()));
        let failure = checked(ready, &["3000", "unix:/run/x"]).unwrap_err();
        assert_eq!(
            failure.message(),
            format!("`--ready {ready}`: no `--listen` has the port 4000")
        );
        let hint =
            "hint: there is `127.0.0.1:3000`, `unix:/run/x`; `--ready http:/path` asks the first";
        assert!(failure.to_string().contains(hint), "{failure}");
    }
}
