//! `server [VERSION]`: the plain server. See the library.

use std::{env, io};

fn main() -> io::Result<()> {
    let version = env::args().nth(1).unwrap_or_else(|| "1".to_owned());
    server_std::serve(&server_std::listener()?, &version, |_| {})
}
