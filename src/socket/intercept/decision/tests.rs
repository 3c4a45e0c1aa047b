//! The replies to calls, given the sockets that already exist.

use super::*;

/// The cookie of the new socket. The other sockets count up from 1.
const NEW: u64 = 100;
const ALONE: Neighbours = Neighbours {
    ours: false,
    listed: None,
};
/// Another generation has the address.
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

/// Returns the reply to a `listen` on a new socket, in addition to `others`.
fn on_listen(binding: Binding, mut others: ProgramSockets) -> OnListen {
    let mut new = bound(binding);
    new.0[0].cookie = NEW;
    others.0.append(&mut new.0);
    others.on_listen(NEW, false)
}

#[test]
fn a_free_address_is_bound_exclusively() {
    let web = binding("0.0.0.0:80");
    let reply = sockets(&[]).on_bind(NEW, &web, ALONE);
    assert_eq!(reply, OnBind::Bind { shared: false });
}

#[test]
fn another_generations_address_is_shared() {
    let web = binding("127.0.0.1:80");
    let reply = sockets(&[]).on_bind(NEW, &web, OURS);
    assert_eq!(reply, OnBind::Bind { shared: true });
}

#[test]
fn a_program_cannot_bind_its_own_address_twice() {
    let web = binding("127.0.0.1:80");
    let everywhere = binding("0.0.0.0:80");
    for others in [listening(web), listening(everywhere)] {
        assert_eq!(others.on_bind(NEW, &web, OURS), OnBind::InUse);
    }
    // Both may be bound, but only one may listen (`socket(7)`, SO_REUSEADDR).
    let shared = OnBind::Bind { shared: true };
    assert_eq!(bound(everywhere).on_bind(NEW, &web, OURS), shared);
    let strict = Binding {
        reuse_address: false,
        ..web
    };
    assert_eq!(bound(web).on_bind(NEW, &strict, OURS), OnBind::InUse);
    assert_eq!(bound(strict).on_bind(NEW, &web, OURS), OnBind::InUse);
    assert_eq!(on_listen(web, listening(everywhere)), OnListen::InUse);
    let elsewhere = listening(binding("127.0.0.2:80"));
    assert_eq!(elsewhere.on_bind(NEW, &web, OURS), shared);
}

#[test]
fn a_program_that_sets_reuse_port_may_have_several_sockets() {
    let worker = Binding {
        reuse_port: true,
        ..binding("127.0.0.1:80")
    };
    let others = listening(worker);
    let shared = OnBind::Bind { shared: true };
    assert_eq!(others.on_bind(NEW, &worker, OURS), shared);
    let alone = binding("127.0.0.1:80");
    assert_eq!(others.on_bind(NEW, &alone, OURS), OnBind::InUse);
    assert_eq!(on_listen(worker, others), OnListen::Join(worker));
    let first = sockets(&[]).on_bind(NEW, &worker, ALONE);
    assert_eq!(
        first,
        OnBind::Bind { shared: false },
        "must not share with strangers"
    );
}

#[test]
fn an_overlapping_listen_address_is_reported() {
    let listed = endpoint("127.0.0.1:80");
    let around = Neighbours {
        ours: true,
        listed: Some(listed),
    };
    let reply = sockets(&[]).on_bind(NEW, &binding("0.0.0.0:80"), around);
    assert_eq!(reply, OnBind::Listed(listed));
}

#[test]
fn shared_datagram_sockets_are_left_to_the_kernel() {
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
    assert_eq!(sockets(&[]).on_bind(NEW, &udp, OURS), shared);
    assert_eq!(sockets(&[]).on_bind(NEW, &multicast, OURS), OnBind::PassOn);
    assert_eq!(bound(udp).on_bind(NEW, &udp, OURS), OnBind::InUse);
    assert_eq!(listening(tcp).on_bind(NEW, &udp, OURS), shared);
    assert_eq!(on_listen(udp, sockets(&[])), OnListen::PassOn);
}

#[test]
fn a_socket_joins_only_once_and_only_if_hotrun_has_bound_it() {
    let web = binding("127.0.0.1:80");
    assert_eq!(sockets(&[]).on_listen(NEW, false), OnListen::PassOn);
    assert_eq!(on_listen(web, sockets(&[])), OnListen::Join(web));
    assert_eq!(bound(web).on_listen(1, true), OnListen::Again);
}

#[test]
fn a_bind_counts_as_repeated_only_from_the_same_thread() {
    let web = binding("127.0.0.1:80");
    let sockets = bound(web);
    assert!(sockets.is_repeated(1, 1, web.endpoint));
    assert!(!sockets.is_repeated(1, 2, web.endpoint));
    assert!(!sockets.is_repeated(2, 1, web.endpoint));
    assert!(!sockets.is_repeated(1, 1, endpoint("127.0.0.1:81")));
}
