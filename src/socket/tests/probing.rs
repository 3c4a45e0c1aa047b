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
