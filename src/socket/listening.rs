use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::path::{self, Path};

use super::{Address, ListenSpec, OpenError, exclusive};

/// What is listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// Its name in `LISTEN_FDNAMES`; no other has the same.
    pub name: String,
    /// The actual address, where port 0 was asked for the one that was free.
    pub address: Address,
}

/// A listening socket for a program.
#[derive(Debug)]
pub struct Passed {
    /// Its name in `LISTEN_FDNAMES`.
    pub name: String,
    /// A duplicate, closed on exec.
    pub fd: OwnedFd,
    /// The inode of the socket: what `/proc/PID/fd` shows.
    pub inode: u64,
}

/// A path means the same whatever the working directory.
pub(super) fn absolute(address: &Address) -> Result<Address, OpenError> {
    Ok(match address {
        Address::Tcp(address) => Address::Tcp(*address),
        Address::Unix(path) => {
            let absolute = path::absolute(path);
            Address::Unix(absolute.map_err(|error| exclusive::unix_error(path, "finding", error))?)
        }
    })
}

pub(super) fn check_names(specs: &[ListenSpec]) -> Result<(), OpenError> {
    let mut names = HashSet::new();
    match specs
        .iter()
        .filter_map(|spec| spec.name.as_ref())
        .find(|name| !names.insert(*name))
    {
        Some(name) => Err(OpenError::SameName { name: name.clone() }),
        None => Ok(()),
    }
}

pub(super) fn check_addresses(addresses: &[Address]) -> Result<(), OpenError> {
    let mut seen = HashSet::new();
    let is_any_port =
        |address: &Address| matches!(address, Address::Tcp(address) if address.port() == 0);
    match addresses
        .iter()
        .find(|address| !is_any_port(address) && !seen.insert(*address))
    {
        Some(address) => Err(OpenError::SameAddress {
            address: address.clone(),
        }),
        None => Ok(()),
    }
}

/// Gives a name to those that have none, and to each another.
pub(super) fn name_all(specs: &[ListenSpec], actual: Vec<Address>) -> Vec<Listening> {
    let mut taken: HashSet<String> = specs.iter().filter_map(|spec| spec.name.clone()).collect();
    let named = specs.iter().zip(actual).map(|(spec, address)| {
        let name = spec
            .name
            .clone()
            .unwrap_or_else(|| free_name(&address, &mut taken));
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

/// The file's name without what `LISTEN_FDNAMES` cannot carry.
fn plain_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let plain = |c: char| {
        if c.is_ascii_graphic() && c != ':' {
            c
        } else {
            '_'
        }
    };
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
    fn every_socket_has_a_name_of_its_own() {
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
    fn one_name_or_address_for_two_is_an_error() {
        let open = |values: [&str; 2]| {
            let specs = values.map(|value| value.parse::<ListenSpec>().unwrap());
            let addresses = specs.clone().map(|spec| spec.address);
            check_names(&specs)
                .and(check_addresses(&addresses))
                .map_err(|error| error.to_string())
        };
        assert_eq!(
            open(["a=1", "a=2"]),
            Err("two sockets have the name `a`".to_owned())
        );
        assert_eq!(
            open(["1", "a=:1"]),
            Err("`127.0.0.1:1` is to be listened on twice".to_owned())
        );
        assert_eq!(open(["0", "0"]), Ok(()));
    }
}
