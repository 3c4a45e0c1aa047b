//! What `--listen` opens: checked, and each socket with a name of its own.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::path::{self, Path};

use super::address::{Address, ListenSpec};
use super::open_error::OpenError;

/// A listening socket and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Its unique name in `LISTEN_FDNAMES`.
    pub name: String,
    /// Its address, with the actual port if port 0 was requested.
    pub address: Address,
}

/// A listening socket to pass to a program.
#[derive(Debug)]
pub struct Passed {
    /// Its name in `LISTEN_FDNAMES`.
    pub name: String,
    /// A duplicate, closed on exec.
    pub fd: OwnedFd,
    /// The inode of the socket, as in `/proc/PID/fd`.
    pub inode: u64,
}

/// The addresses of `specs`. Paths become absolute, because a program may change its working directory.
pub(super) fn addresses(specs: &[ListenSpec]) -> Result<Vec<Address>, OpenError> {
    let mut names = HashSet::new();
    let mut given = specs.iter().filter_map(|spec| spec.name.as_ref());
    if let Some(name) = given.find(|name| !names.insert(*name)) {
        return Err(OpenError::SameName { name: name.clone() });
    }
    let addresses: Vec<Address> = specs.iter().map(absolute).collect::<Result<_, _>>()?;
    let mut seen = HashSet::new();
    let any_port =
        |address: &Address| matches!(address, Address::Tcp(address) if address.port() == 0);
    let mut specific = addresses.iter().filter(|address| !any_port(address));
    match specific.find(|address| !seen.insert(*address)) {
        Some(address) => Err(OpenError::SameAddress {
            address: address.clone(),
        }),
        None => Ok(addresses),
    }
}

fn absolute(spec: &ListenSpec) -> Result<Address, OpenError> {
    match &spec.address {
        Address::Tcp(address) => Ok(Address::Tcp(*address)),
        Address::Unix(path) => path::absolute(path)
            .map(Address::Unix)
            .map_err(|error| OpenError::at_path("finding", path, error)),
    }
}

/// Adds names: the given ones, and unique ones made from the address. `actual` are the addresses of `specs`, in order.
pub(super) fn name_all(specs: &[ListenSpec], actual: Vec<Address>) -> Vec<Listening> {
    let mut taken: HashSet<String> = specs.iter().filter_map(|spec| spec.name.clone()).collect();
    let named = specs.iter().zip(actual).map(|(spec, address)| {
        let given = spec.name.clone();
        let name = given.unwrap_or_else(|| free_name(&address, &mut taken));
        Listening { name, address }
    });
    named.collect()
}

fn free_name(address: &Address, taken: &mut HashSet<String>) -> String {
    let base = match address {
        Address::Tcp(address) => format!("tcp-{}", address.port()),
        Address::Unix(path) => format!("unix-{}", plain_name(path)),
    };
    let numbered = (2..).map(|number: u32| format!("{base}-{number}"));
    let mut names = std::iter::once(base.clone()).chain(numbered);
    names
        .find(|name| taken.insert(name.clone()))
        .unwrap_or(base)
}

/// The file name, with `_` for every character that `LISTEN_FDNAMES` cannot hold.
fn plain_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let allowed = |c: char| c.is_ascii_graphic() && c != ':';
    let plain = |c: char| if allowed(c) { c } else { '_' };
    name.chars().take(200).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(values: &[&str]) -> Vec<String> {
        let specs: Vec<ListenSpec> = values.iter().map(|value| value.parse().unwrap()).collect();
        let actual = specs.iter().map(|spec| spec.address.clone()).collect();
        name_all(&specs, actual)
            .into_iter()
            .map(|listening| listening.name)
            .collect()
    }

    #[test]
    fn every_socket_has_a_unique_name() {
        let given = [
            "3000",
            "web=3001",
            "0.0.0.0:3000",
            "tcp-3000-2=4",
            "unix:/run/a:b c.sock",
        ];
        assert_eq!(
            names(&given),
            [
                "tcp-3000",
                "web",
                "tcp-3000-3",
                "tcp-3000-2",
                "unix-a_b_c.sock"
            ]
        );
    }

    #[test]
    fn a_name_or_address_given_twice_is_an_error() {
        let open = |values: [&str; 2]| {
            let specs = values.map(|value| value.parse::<ListenSpec>().unwrap());
            addresses(&specs)
                .map(drop)
                .map_err(|error| error.to_string())
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
}
