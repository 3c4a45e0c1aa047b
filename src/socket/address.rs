//! Parses the values of `--listen`, and names each socket.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The address that a socket listens on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP address.
    Tcp(SocketAddr),
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    /// Formats the address as `--listen` accepts it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The value of `--listen`: `[NAME=]ADDR`.
///
/// `ADDR` is `3000` or `:3000` (on loopback), `127.0.0.1:3000`, `[::]:3000`, `localhost:3000`, `unix:PATH`, one of
/// systemfd's forms (`http::3000`, `https::…`, `tcp::…`, `unix::…`), or a URL without a path (`http://localhost:3000`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenSpec {
    /// The name in `LISTEN_FDNAMES`. If it is `None`, a name is derived from the address.
    pub name: Option<String>,
    /// The address to listen on. A path must be absolute when the socket is opened.
    pub address: Address,
    /// The descriptor of a listening socket for this address, if hotrun was started with one.
    pub inherited: Option<RawFd>,
}

const FORMS: &str = "`3000`, `127.0.0.1:3000`, `[::]:3000`, `localhost:3000`, `unix:PATH`, optionally preceded by `NAME=`";
/// The longest descriptor name that systemd allows (`sd_listen_fds_with_names(3)`).
const LONGEST_NAME: usize = 255;

impl FromStr for ListenSpec {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, String> {
        parse(value).map_err(|problem| format!("cannot listen on `{value}`: {problem}"))
    }
}

fn parse(value: &str) -> Result<ListenSpec, String> {
    let (name, text) = match value.split_once('=') {
        // The `=` may belong to a path (`unix:/tmp/a=b`).
        Some((name, text)) if !name.contains([':', '/']) => (Some(name), text),
        Some(_) | None => (None, value),
    };
    let valid = |name: &str| {
        (1..=LONGEST_NAME).contains(&name.len()) && name.chars().all(|c| c.is_ascii_graphic())
    };
    if let Some(name) = name.filter(|name| !valid(name)) {
        return Err(format!(
            "`{name}` is not a valid name; use 1 to {LONGEST_NAME} printable ASCII characters without `:`"
        ));
    }
    Ok(ListenSpec {
        name: name.map(str::to_owned),
        address: address(text)?,
        inherited: None,
    })
}

fn address(text: &str) -> Result<Address, String> {
    if text.starts_with("udp:") {
        return Err("UDP is not supported; use a TCP address or `unix:PATH`".into());
    }
    let without = |prefixes: &[&str]| prefixes.iter().find_map(|prefix| text.strip_prefix(prefix));
    match without(&["unix::", "unix:"]) {
        Some(path) if path.starts_with('@') => {
            Err("abstract unix sockets are not supported; use `unix:PATH`".into())
        }
        Some(path) if path.is_empty() || path.ends_with('/') || path.contains('\0') => {
            Err("the file name is missing; use `unix:PATH`".into())
        }
        Some(path) => Ok(Address::Unix(PathBuf::from(path))),
        None => {
            let prefixes = ["http::", "https::", "tcp::", "http://"];
            let address = without(&prefixes).unwrap_or(text).trim_end_matches('/');
            tcp(address).map(Address::Tcp)
        }
    }
}

fn tcp(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let bare = text.strip_prefix("localhost:");
    let bare = bare.or_else(|| text.strip_prefix(':')).unwrap_or(text);
    if !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_digit()) {
        let port = bare.parse();
        let port = port.map_err(|_| format!("`{bare}` is not a port from 0 to 65535"))?;
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    Err(match text.parse::<Ipv6Addr>() {
        Ok(_) => "an IPv6 address needs brackets, as in `[::1]:3000`".into(),
        Err(_) => format!("not an address; use {FORMS}"),
    })
}

/// The name and address of a listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The socket's unique name in `LISTEN_FDNAMES`.
    pub name: String,
    /// The socket's address, with the actual port if port 0 was requested.
    pub address: Address,
}

/// Names the sockets. Derives a unique name from the address of each socket that was given no name. `actual` contains the
/// actual addresses of `specs`, in the same order.
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
    let free = names.find(|name| taken.insert(name.clone()));
    free.unwrap_or(base)
}

/// Returns up to 200 characters of the file name, with `_` for each one that is not allowed in `LISTEN_FDNAMES`.
fn plain_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let allowed = |c: char| c.is_ascii_graphic() && c != ':';
    let plain = |c: char| if allowed(c) { c } else { '_' };
    name.chars().take(200).map(plain).collect()
}

#[cfg(test)]
mod tests;
