//! What to do with a bind or a listen, from what is known. Pure.

use crate::socket::{Around, Endpoint, Transport};

/// A socket of the program, as it asks for an address or has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) endpoint: Endpoint,
    /// `SO_REUSEADDR`, as the program has set it.
    pub(super) reuse_address: bool,
    /// `SO_REUSEPORT`, as the program has set it: several sockets of its own may share the address.
    pub(super) reuse_port: bool,
}

/// Another socket of the same generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Other {
    pub(super) claim: Claim,
    pub(super) listens: bool,
}

/// What becomes of a bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnBind {
    /// It is none of ours: the kernel does it.
    Leave,
    /// As the kernel would answer if each generation were alone: the address is in use.
    InUse,
    /// An address of `--listen` is in the way.
    Listed(Endpoint),
    /// It is bound for the program.
    Bind {
        /// Whether it must share the address (`SO_REUSEPORT`) to be bound at all. Else it is bound alone, which fails if
        /// anybody has the address, and shares it only then; also if the program itself wants to share it: who shares
        /// with strangers, another hotrun above all, gets in the way of their steering and they in that of ours.
        shared: bool,
    },
}

/// What becomes of a listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnListen {
    /// It is none of ours.
    Leave,
    /// The address is in use.
    InUse,
    /// It listens already: a longer or shorter queue is all that it asks for.
    Again,
    /// It becomes a slot.
    Join,
}

/// What to do with a bind. `others` are sockets of the same generation that some process of it still has.
pub(super) fn on_bind(claim: &Claim, others: &[Other], around: Around) -> OnBind {
    if claim.endpoint.address.port() == 0 {
        return OnBind::Leave;
    }
    if others.iter().any(|other| keeps_from_binding(other, claim)) {
        return OnBind::InUse;
    }
    if claim.endpoint.transport == Transport::Udp && (claim.reuse_address || claim.reuse_port) {
        // Datagrams that are meant for several (multicast) or a program that shares by itself.
        return OnBind::Leave;
    }
    if let Some(listed) = around.listed {
        return OnBind::Listed(listed);
    }
    OnBind::Bind {
        shared: around.group,
    }
}

/// What to do with a listen of a socket that was bound by us, `claim`, or not, and that `listens` already or not.
pub(super) fn on_listen(claim: Option<&Claim>, listens: bool, others: &[Other]) -> OnListen {
    let Some(claim) = claim.filter(|claim| claim.endpoint.transport == Transport::Tcp) else {
        return OnListen::Leave;
    };
    if listens {
        return OnListen::Again;
    }
    let taken = |other: &Other| other.listens && meets(other, claim) && !both_share(other, claim);
    if others.iter().any(taken) {
        return OnListen::InUse;
    }
    OnListen::Join
}

/// As `inet_bind_conflict` in `net/ipv4/inet_connection_sock.c`, and `udp_lib_lport_inuse` in `net/ipv4/udp.c`.
fn keeps_from_binding(other: &Other, claim: &Claim) -> bool {
    let both_reuse = other.claim.reuse_address && claim.reuse_address && !other.listens;
    meets(other, claim) && !both_reuse && !both_share(other, claim)
}

fn both_share(other: &Other, claim: &Claim) -> bool {
    other.claim.reuse_port && claim.reuse_port
}

fn meets(other: &Other, claim: &Claim) -> bool {
    other.claim.endpoint.overlaps(&claim.endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(address: &str) -> Claim {
        Claim {
            endpoint: Endpoint::from(address.parse::<std::net::SocketAddr>().unwrap()),
            reuse_address: true,
            reuse_port: false,
        }
    }

    fn listening(claim: Claim) -> Other {
        Other {
            claim,
            listens: true,
        }
    }

    fn bound(claim: Claim) -> Other {
        Other {
            claim,
            listens: false,
        }
    }

    const NONE: Around = Around {
        group: false,
        listed: None,
    };
    const OURS: Around = Around {
        group: true,
        listed: None,
    };

    #[test]
    fn a_free_address_is_bound_as_the_kernel_would() {
        let web = claim("0.0.0.0:80");
        assert_eq!(on_bind(&web, &[], NONE), OnBind::Bind { shared: false });
    }

    #[test]
    fn an_address_that_another_generation_has_is_shared() {
        let web = claim("127.0.0.1:80");
        assert_eq!(on_bind(&web, &[], OURS), OnBind::Bind { shared: true });
    }

    #[test]
    fn any_port_is_left_alone() {
        assert_eq!(on_bind(&claim("0.0.0.0:0"), &[], OURS), OnBind::Leave);
    }

    #[test]
    fn a_program_cannot_take_its_own_address_twice() {
        let web = claim("127.0.0.1:80");
        let everywhere = claim("0.0.0.0:80");
        for other in [listening(web), listening(everywhere)] {
            assert_eq!(on_bind(&web, &[other], OURS), OnBind::InUse);
        }
        // Both may be bound, and one may listen (`socket(7)`, SO_REUSEADDR).
        let shared = OnBind::Bind { shared: true };
        assert_eq!(on_bind(&web, &[bound(everywhere)], OURS), shared);
        let strict = Claim {
            reuse_address: false,
            ..web
        };
        assert_eq!(on_bind(&strict, &[bound(web)], OURS), OnBind::InUse);
        assert_eq!(on_bind(&web, &[bound(strict)], OURS), OnBind::InUse);
        assert_eq!(
            on_listen(Some(&web), false, &[listening(everywhere)]),
            OnListen::InUse
        );
        let elsewhere = listening(claim("127.0.0.2:80"));
        assert_eq!(on_bind(&web, &[elsewhere], OURS), shared);
    }

    #[test]
    fn a_program_that_shares_by_itself_has_several() {
        let worker = Claim {
            reuse_port: true,
            ..claim("127.0.0.1:80")
        };
        let others = [listening(worker)];
        assert_eq!(
            on_bind(&worker, &others, OURS),
            OnBind::Bind { shared: true }
        );
        assert_eq!(on_listen(Some(&worker), false, &others), OnListen::Join);
        let first = OnBind::Bind { shared: false };
        assert_eq!(on_bind(&worker, &[], NONE), first, "not with strangers");
        let alone = claim("127.0.0.1:80");
        assert_eq!(on_bind(&alone, &others, OURS), OnBind::InUse);
    }

    #[test]
    fn an_address_of_listen_in_the_way_is_named() {
        let listed = Endpoint::from("127.0.0.1:80".parse::<std::net::SocketAddr>().unwrap());
        let around = Around {
            group: true,
            listed: Some(listed),
        };
        let verdict = on_bind(&claim("0.0.0.0:80"), &[], around);
        assert_eq!(verdict, OnBind::Listed(listed));
    }

    #[test]
    fn datagrams_that_are_shared_on_purpose_are_left_alone() {
        let dns = claim("0.0.0.0:53");
        let udp = Claim {
            endpoint: Endpoint {
                transport: Transport::Udp,
                ..dns.endpoint
            },
            reuse_address: false,
            ..dns
        };
        let multicast = Claim {
            reuse_address: true,
            ..udp
        };
        assert_eq!(on_bind(&udp, &[], OURS), OnBind::Bind { shared: true });
        assert_eq!(on_bind(&multicast, &[], OURS), OnBind::Leave);
        assert_eq!(on_bind(&udp, &[bound(udp)], OURS), OnBind::InUse);
        let tcp = listening(dns);
        assert_eq!(on_bind(&udp, &[tcp], OURS), OnBind::Bind { shared: true });
        assert_eq!(on_listen(Some(&udp), false, &[]), OnListen::Leave);
    }

    #[test]
    fn only_what_was_bound_by_us_becomes_a_slot_and_only_once() {
        let web = claim("127.0.0.1:80");
        assert_eq!(on_listen(None, false, &[]), OnListen::Leave);
        assert_eq!(on_listen(Some(&web), false, &[]), OnListen::Join);
        assert_eq!(on_listen(Some(&web), true, &[]), OnListen::Again);
    }
}
