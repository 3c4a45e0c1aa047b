use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;

async fn only_probes_reach_the_new_generation(
    value: &str,
    ordinary: impl Fn(SocketAddr) -> SocketAddr,
) {
    let mut sockets = open(&[value]);
    let to = To::Tcp(ordinary(tcp(&sockets, 0)));
    let mut programs = start(&mut sockets, 1, Style::NonBlocking);
    sockets.switch(id(1)).unwrap();
    programs.extend(start(&mut sockets, 2, Style::NonBlocking));
    let route = route(&sockets, 2);
    let load = Load::start(&to, 1);
    for _ in 0..50 {
        assert_eq!(dial(&route).await, 2);
        assert_eq!(to.ask().unwrap(), 1);
    }
    load.finish().await;
    sockets.switch(id(2)).unwrap();
    assert_eq!((to.ask().unwrap(), dial(&route).await), (2, 2));
    let old = dial(&self::route(&sockets, 1)).await;
    assert_eq!(old, 1);
    programs.iter().for_each(Program::ask_to_stop);
}

#[tokio::test]
async fn only_a_probe_reaches_a_generation_that_is_not_live() {
    only_probes_reach_the_new_generation("127.0.0.1:0", |address| address).await;
}

#[tokio::test]
async fn only_a_probe_reaches_a_generation_that_is_not_live_on_a_dual_stack_socket() {
    let v6 = |address: SocketAddr| SocketAddr::from((Ipv6Addr::LOCALHOST, address.port()));
    only_probes_reach_the_new_generation("[::]:0", v6).await;
    let v4 = |address: SocketAddr| SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()));
    only_probes_reach_the_new_generation("[::]:0", v4).await;
}

#[tokio::test]
async fn a_probe_reaches_its_generation_before_any_is_live() {
    let mut sockets = open(&["0.0.0.0:0"]);
    let programs = start(&mut sockets, 1, Style::NonBlocking);
    let route = route(&sockets, 1);
    assert_eq!(dial(&route).await, 1);
    programs.iter().for_each(Program::ask_to_stop);
}

#[tokio::test]
async fn concurrent_probes_reach_their_own_generations() {
    let mut sockets = open(&["127.0.0.1:0"]);
    let programs: Vec<_> = (1..=3)
        .flat_map(|number| start(&mut sockets, number, Style::NonBlocking))
        .collect();
    sockets.switch(id(1)).unwrap();
    let routes = [2, 3].map(|number| route(&sockets, number));
    for _ in 0..20 {
        let answers = tokio::join!(dial(&routes[0]), dial(&routes[1]), dial(&routes[0]));
        assert_eq!(answers, (2, 3, 2));
    }
    programs.iter().for_each(Program::ask_to_stop);
}

#[tokio::test]
async fn a_probe_of_a_generation_that_is_gone_fails() {
    let mut sockets = open(&["127.0.0.1:0"]);
    let programs = start(&mut sockets, 1, Style::NonBlocking);
    sockets.switch(id(1)).unwrap();
    drop(sockets.prepare(id(2)).unwrap());
    let route = route(&sockets, 2);
    sockets.release(id(2)).unwrap();
    assert_eq!(
        route.dial().await.err().map(|error| error.kind()),
        Some(io::ErrorKind::NotFound)
    );
    assert_eq!(sockets.routes(id(2))().len(), 0);
    programs.iter().for_each(Program::ask_to_stop);
}

/// If the generation is starting: whether it listens on the address, and whether it gets the connections.
fn reached(adopter: &Adopter, number: u32, address: SocketAddr) -> Option<(bool, bool)> {
    let reached = adopter.reached(id(number), address.into())?;
    let [one] = reached[..] else {
        panic!("expected one group: {reached:?}");
    };
    Some((one.listens, one.is_target))
}

#[tokio::test]
async fn only_the_connections_of_a_starting_generation_are_examined() {
    use super::adopting::{ANY, leave, none, open_own};
    let (mut sockets, adopter) = none();
    let first = open_own(&adopter, 1, ANY.parse().unwrap());
    let at = first.address;
    assert_eq!(reached(&adopter, 1, at), Some((true, true)));
    sockets.switch(id(1)).unwrap();
    assert_eq!(reached(&adopter, 1, at), None, "it is live");
    assert_eq!(reached(&adopter, 2, at), Some((false, false)));
    let elsewhere: SocketAddr = "127.0.0.1:1".parse().unwrap();
    assert_eq!(adopter.reached(id(2), elsewhere.into()), Some(Vec::new()));
    let second = open_own(&adopter, 2, at);
    assert_eq!(reached(&adopter, 2, at), Some((true, false)));
    sockets.switch(id(2)).unwrap();
    assert_eq!(reached(&adopter, 2, at), None);
    assert_eq!(reached(&adopter, 1, at), None, "it was live");
    leave(&mut sockets, 1, &first).await;
    sockets.forward(id(3)).unwrap();
    assert_eq!(reached(&adopter, 3, at), None, "it cannot become live");
    second.program.ask_to_stop();
}
