//! Tests the replies to calls, given the sockets that already exist.

use super::*;

/// The cookie of the new socket. The cookies of the other sockets count up from 1.
const NEW: u64 = 100;
const ALONE: Neighbours = Neighbours {
    ours: false,
    listed: None,
};
/// The address belongs to another generation.
const OURS: Neighbours = Neighbours {
    ours: true,
    listed: None,
};

fn endpoint(address: &str) -> Endpoint {
    Endpoint::from(address.parse::<std::net::SocketAddr>().unwrap())
}

fn binding(address: &str) -> Binding {
    Binding {
        endpoint: endpoint(address),
        reuse_address: true,
        reuse_port: false,
    }
}

/// Returns the reply to a `bind` of a new socket while the program has `others`.
fn on_bind(binding: Binding, others: &ProgramSockets, neighbours: Neighbours) -> OnBind {
    others.on_bind(&call(binding, neighbours))
}

fn call(binding: Binding, neighbours: Neighbours) -> BindCall {
    BindCall {
        cookie: NEW,
        thread: 1,
        binding,
        bound: false,
        may_repeat: true,
        neighbours,
    }
}

fn sockets(all: &[(Binding, bool)]) -> ProgramSockets {
    let sockets = all
        .iter()
        .zip(1..)
        .map(|((binding, listens), cookie)| ProgramSocket {
            cookie,
            inode: cookie,
            binding: *binding,
            listens: *listens,
            thread: 1,
        });
    ProgramSockets(sockets.collect())
}

fn listening(binding: Binding) -> ProgramSockets {
    sockets(&[(binding, true)])
}

fn bound(binding: Binding) -> ProgramSockets {
    sockets(&[(binding, false)])
}

/// Returns the reply to a `listen` on a new socket while the program has `others`.
fn on_listen(binding: Binding, mut others: ProgramSockets) -> OnListen {
    let mut new = bound(binding);
    new.0[0].cookie = NEW;
    others.0.append(&mut new.0);
    others.on_listen(NEW, false)
}

#[test]
fn a_free_address_is_bound_exclusively() {
    let web = binding("0.0.0.0:80");
    let reply = on_bind(web, &sockets(&[]), ALONE);
    assert_eq!(reply, OnBind::Bind { shared: false });
}

#[test]
fn another_generations_address_is_shared() {
    let web = binding("127.0.0.1:80");
    let reply = on_bind(web, &sockets(&[]), OURS);
    assert_eq!(reply, OnBind::Bind { shared: true });
}

#[test]
fn sockets_of_one_program_conflict_as_they_would_in_the_kernel() {
    let web = binding("127.0.0.1:80");
    let everywhere = binding("0.0.0.0:80");
    for others in [listening(web), listening(everywhere)] {
        assert_eq!(on_bind(web, &others, OURS), OnBind::InUse);
    }
    // Both may be bound, but only one may listen (`socket(7)`, SO_REUSEADDR).
    let shared = OnBind::Bind { shared: true };
    assert_eq!(on_bind(web, &bound(everywhere), OURS), shared);
    let strict = Binding {
        reuse_address: false,
        ..web
    };
    assert_eq!(on_bind(strict, &bound(web), OURS), OnBind::InUse);
    assert_eq!(on_bind(web, &bound(strict), OURS), OnBind::InUse);
    assert_eq!(on_listen(web, listening(everywhere)), OnListen::InUse);
    let elsewhere = listening(binding("127.0.0.2:80"));
    assert_eq!(on_bind(web, &elsewhere, OURS), shared);
}

#[test]
fn a_program_that_sets_reuse_port_may_have_several_sockets_on_one_address() {
    let worker = Binding {
        reuse_port: true,
        ..binding("127.0.0.1:80")
    };
    let others = listening(worker);
    let shared = OnBind::Bind { shared: true };
    assert_eq!(on_bind(worker, &others, OURS), shared);
    let alone = binding("127.0.0.1:80");
    assert_eq!(on_bind(alone, &others, OURS), OnBind::InUse);
    assert_eq!(on_listen(worker, others), OnListen::Join(worker.endpoint));
    let first = on_bind(worker, &sockets(&[]), ALONE);
    assert_eq!(
        first,
        OnBind::Bind { shared: false },
        "the first socket shares its address with no stranger"
    );
}

#[test]
fn an_overlapping_listen_address_is_reported() {
    let listed = endpoint("127.0.0.1:80");
    let around = Neighbours {
        ours: true,
        listed: Some(listed),
    };
    let reply = on_bind(binding("0.0.0.0:80"), &sockets(&[]), around);
    assert_eq!(reply, OnBind::Listed(listed));
}

#[test]
fn the_kernel_binds_datagram_sockets_only_if_they_set_a_reuse_option() {
    let tcp = binding("0.0.0.0:53");
    let udp = Binding {
        endpoint: Endpoint {
            transport: Transport::Udp,
            ..tcp.endpoint
        },
        reuse_address: false,
        ..tcp
    };
    let multicast = Binding {
        reuse_address: true,
        ..udp
    };
    let shared = OnBind::Bind { shared: true };
    assert_eq!(on_bind(udp, &sockets(&[]), OURS), shared);
    assert_eq!(on_bind(multicast, &sockets(&[]), OURS), OnBind::PassOn);
    assert_eq!(on_bind(udp, &bound(udp), OURS), OnBind::InUse);
    assert_eq!(on_bind(udp, &listening(tcp), OURS), shared);
    assert_eq!(on_listen(udp, sockets(&[])), OnListen::PassOn);
}

#[test]
fn a_socket_joins_only_once_and_only_if_hotrun_has_bound_it() {
    let web = binding("127.0.0.1:80");
    assert_eq!(sockets(&[]).on_listen(NEW, false), OnListen::PassOn);
    assert_eq!(on_listen(web, sockets(&[])), OnListen::Join(web.endpoint));
    assert_eq!(bound(web).on_listen(1, true), OnListen::Again);
}

#[test]
fn a_bind_counts_as_repeated_only_if_thread_socket_and_address_are_the_same() {
    let web = binding("127.0.0.1:80");
    let sockets = bound(web);
    let again = BindCall {
        cookie: 1,
        bound: true,
        ..call(web, ALONE)
    };
    let check = |call: BindCall| sockets.on_bind(&call);
    assert_eq!(check(again), OnBind::Repeated);
    assert_eq!(check(BindCall { thread: 2, ..again }), OnBind::PassOn);
    assert_eq!(check(BindCall { cookie: 2, ..again }), OnBind::PassOn);
    let elsewhere = binding("127.0.0.1:81");
    let moved = BindCall {
        binding: elsewhere,
        ..again
    };
    assert_eq!(check(moved), OnBind::PassOn);
    let never = BindCall {
        may_repeat: false,
        ..again
    };
    assert_eq!(check(never), OnBind::PassOn);
}

#[test]
fn only_tcp_and_udp_sockets_are_handled() {
    let binding = |domain, kind, protocol| {
        let socket = Socket::new(domain, kind, protocol).unwrap();
        let address: SocketAddr = match domain {
            socket2::Domain::IPV6 => "[::1]:80".parse().unwrap(),
            _ => "127.0.0.1:80".parse().unwrap(),
        };
        Binding::of(&socket, address).unwrap()
    };
    let tcp = binding(Domain::IPV4, Type::STREAM, None).unwrap();
    assert_eq!(tcp.endpoint.transport, Transport::Tcp);
    assert!(!tcp.reuse_address && !tcp.reuse_port);
    let udp = binding(Domain::IPV6, Type::DGRAM, None).unwrap();
    assert_eq!(udp.endpoint.transport, Transport::Udp);
    assert_eq!(binding(Domain::UNIX, Type::STREAM, None), None);
}

/// The groups in which another generation listens. `own` means that the starting generation
/// listens there too, and `target` that it gets the connections.
fn reached(groups: &[&str]) -> Vec<ReachedGroup> {
    let groups = groups.iter().map(|text| {
        let mut words = text.split(' ');
        let at = words.next().unwrap();
        let words: Vec<_> = words.collect();
        ReachedGroup {
            endpoint: endpoint(at),
            listens: words.contains(&"own"),
            is_target: words.contains(&"target"),
        }
    });
    groups.collect()
}

fn connects(to: &str, groups: &[&str]) -> OnConnect {
    on_connect(to.parse().unwrap(), &reached(groups))
}

/// The decision to divert the connection to the generation's own listener in this group.
fn itself(group: &str) -> OnConnect {
    OnConnect::ToItself(reached(&[group])[0].endpoint)
}

#[test]
fn a_starting_generation_is_refused_where_only_others_listen() {
    for group in ["127.0.0.1:80", "0.0.0.0:80", "[::]:80"] {
        assert_eq!(connects("127.0.0.1:80", &[group]), OnConnect::Refused);
    }
    assert_eq!(connects("127.0.0.1:80", &[]), OnConnect::PassOn);
}

#[test]
fn a_starting_generation_reaches_its_own_listener() {
    for group in ["127.0.0.1:80 own", "0.0.0.0:80 own", "[::]:80 own"] {
        assert_eq!(connects("127.0.0.1:80", &[group]), itself(group));
    }
    let target = ["127.0.0.1:80 own target"];
    assert_eq!(connects("127.0.0.1:80", &target), OnConnect::PassOn);
}

#[test]
fn the_most_specific_address_gets_the_connection() {
    let check = |to: &str, groups: &[&str]| {
        let decision = connects(to, groups);
        let reversed: Vec<_> = groups.iter().rev().copied().collect();
        let other = connects(to, &reversed);
        assert_eq!(decision, other, "the order does not matter");
        decision
    };
    let own_exact = ["0.0.0.0:80", "127.0.0.1:80 own", "[::]:80"];
    assert_eq!(check("127.0.0.1:80", &own_exact), itself(own_exact[1]));
    let own_v4 = ["[::]:80", "0.0.0.0:80 own"];
    assert_eq!(check("127.0.0.1:80", &own_v4), itself(own_v4[1]));
    // The kernel prefers the other generation's group, from which connections cannot be diverted to this generation.
    let own_wider = ["0.0.0.0:80 own", "127.0.0.1:80"];
    assert_eq!(check("127.0.0.1:80", &own_wider), OnConnect::PassOn);
    assert_eq!(
        check("[::1]:80", &["[::]:80 own", "[::1]:80"]),
        OnConnect::PassOn
    );
}

#[test]
fn an_unspecified_destination_means_loopback() {
    let check = |to: &str| destination(to.parse().unwrap()).to_string();
    assert_eq!(check("0.0.0.0:80"), "127.0.0.1:80");
    assert_eq!(check("[::]:80"), "[::1]:80");
    assert_eq!(check("[::ffff:0.0.0.0]:80"), "127.0.0.1:80");
    assert_eq!(check("[::ffff:127.0.0.1]:80"), "127.0.0.1:80");
    assert_eq!(check("192.0.2.1:80"), "192.0.2.1:80");
}
