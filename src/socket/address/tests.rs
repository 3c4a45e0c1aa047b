//! Tests the forms that `--listen` accepts, and the names that the sockets get.

use super::*;

fn shown(value: &str) -> String {
    match value.parse::<ListenSpec>() {
        Ok(ListenSpec { name, address, .. }) => {
            name.map_or_else(String::new, |name| name + "=") + &address.to_string()
        }
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn every_documented_form_is_parsed() {
    for (value, expected) in [
        ("3000", "127.0.0.1:3000"),
        (":3000", "127.0.0.1:3000"),
        ("0", "127.0.0.1:0"),
        ("127.0.0.1:3000", "127.0.0.1:3000"),
        ("0.0.0.0:80", "0.0.0.0:80"),
        ("[::]:3000", "[::]:3000"),
        ("[fe80::1%2]:3000", "[fe80::1%2]:3000"),
        ("localhost:3000", "127.0.0.1:3000"),
        ("unix:/run/app.sock", "unix:/run/app.sock"),
        ("unix:app.sock", "unix:app.sock"),
        ("unix:/tmp/a=b", "unix:/tmp/a=b"),
        ("web=3000", "web=127.0.0.1:3000"),
        ("web=unix:/tmp/a=b", "web=unix:/tmp/a=b"),
        ("http::3000", "127.0.0.1:3000"),
        ("http://localhost:3000/", "127.0.0.1:3000"),
        ("https::0.0.0.0:8443", "0.0.0.0:8443"),
        ("https:::8443", "127.0.0.1:8443"),
        ("tcp::[::1]:25", "[::1]:25"),
        ("unix::/run/app.sock", "unix:/run/app.sock"),
        ("api=http::3000", "api=127.0.0.1:3000"),
    ] {
        assert_eq!(shown(value), expected, "{value}");
    }
}

#[test]
fn the_displayed_form_can_be_parsed() {
    for value in [
        "127.0.0.1:3000",
        "web=[::]:80",
        "unix:/run/a b.sock",
        "x=unix:s",
    ] {
        assert_eq!(shown(value), value);
    }
}

#[test]
fn an_error_names_the_value_and_the_mistake() {
    for (value, expected) in [
        ("", "not an address"),
        ("three", "not an address"),
        ("70000", "`70000` is not a port from 0 to 65535"),
        ("127.0.0.1", "use `3000`, `127.0.0.1:3000`"),
        ("::1", "needs brackets"),
        ("::1:3000", "needs brackets"),
        ("localhost:99999", "`99999` is not a port"),
        ("example.org:80", "not an address; use `3000`"),
        ("udp:53", "UDP is not supported"),
        ("udp::53", "UDP is not supported"),
        ("unix:", "the file name is missing"),
        ("unix:/run/", "the file name is missing"),
        ("unix:@name", "abstract"),
        ("=3000", "`` is not a valid name"),
        ("a b=3000", "`a b` is not a valid name"),
        ("grün=3000", "`grün` is not a valid name"),
    ] {
        let shown = shown(value);
        assert!(
            shown.starts_with(&format!("error: cannot listen on `{value}`: ")),
            "{shown}"
        );
        assert!(shown.contains(expected), "{shown}");
    }
}

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
