//! The settings that are explored.

use std::net::SocketAddr;

use super::setting::{Budget, Setting};
use crate::socket::{Endpoint, Transport};

fn endpoint(text: &str) -> Endpoint {
    Endpoint::from(text.parse::<SocketAddr>().expect("the text is an address"))
}

fn at(text: &str) -> Option<Endpoint> {
    Some(endpoint(text))
}

pub(super) fn only(generations: u8) -> Budget {
    Budget {
        generations,
        ..Budget::default()
    }
}

/// Returns a setting with one `--listen` address.
pub(super) fn listed(name: &'static str, budget: Budget) -> Setting {
    Setting {
        name,
        listed: vec![at(WEB)],
        opened: Vec::new(),
        multipath: false,
        instances: false,
        budget,
    }
}

/// Returns a setting in which each generation opens its own addresses: the first list is for the first generation.
fn opened(name: &'static str, opened: &[&[&str]], budget: Budget) -> Setting {
    let endpoints = |all: &&[&str]| all.iter().map(|text| endpoint(text)).collect();
    Setting {
        listed: Vec::new(),
        opened: opened.iter().map(endpoints).collect(),
        ..listed(name, budget)
    }
}

const WEB: &str = "127.0.0.1:80";
const ALL: &str = "0.0.0.0:80";
const OTHER: &str = "127.0.0.1:81";
/// All generations open the same address.
const SAME: &[&[&str]] = &[&[WEB], &[WEB], &[WEB]];

pub(super) fn settings() -> Vec<Setting> {
    let mut all = with_listed_addresses();
    all.extend(with_opened_addresses());
    all
}

fn with_listed_addresses() -> Vec<Setting> {
    let client = Budget {
        clients: 1,
        ..only(2)
    };
    let failure = Budget {
        failures: 1,
        ..client
    };
    vec![
        listed("a client", client),
        listed("three generations", only(3)),
        Setting {
            instances: true,
            ..listed(
                "instances",
                Budget {
                    generations: 3,
                    ..failure
                },
            )
        },
        Setting {
            instances: true,
            listed: vec![at(WEB), None],
            ..listed("instances, one address of which is a path", only(3))
        },
        Setting {
            instances: true,
            ..listed(
                "instances, and probes",
                Budget {
                    generations: 3,
                    probes: 1,
                    closes: 1,
                    ..client
                },
            )
        },
        listed("ops that fail", failure),
        listed(
            "a listener is shut down",
            Budget {
                closes: 1,
                returns: 1,
                ..only(2)
            },
        ),
        listed(
            "a share",
            Budget {
                generations: 3,
                shares: 2,
                ..failure
            },
        ),
        listed(
            "shares, probes, and a listener that is shut down",
            Budget {
                shares: 2,
                probes: 1,
                closes: 1,
                ..only(2)
            },
        ),
        listed(
            "a share while new connections wait, then get a response",
            Budget {
                shares: 1,
                holds: 1,
                responses: 1,
                ..client
            },
        ),
        listed(
            "a share beside strangers",
            Budget {
                shares: 1,
                strangers: 1,
                ..only(2)
            },
        ),
        Setting {
            listed: vec![at(WEB), None],
            ..listed(
                "a share of two addresses, one of which is a path",
                Budget {
                    shares: 2,
                    ..failure
                },
            )
        },
        listed(
            "strangers",
            Budget {
                strangers: 1,
                ..only(2)
            },
        ),
        listed(
            "probes",
            Budget {
                probes: 2,
                returns: 1,
                ..only(2)
            },
        ),
        listed(
            "responses",
            Budget {
                responses: 1,
                ..failure
            },
        ),
        listed(
            "responses that can't be stopped",
            Budget {
                responses: 1,
                failures: 2,
                ..only(1)
            },
        ),
        listed(
            "new connections wait, then get a response",
            Budget {
                holds: 2,
                responses: 1,
                ..failure
            },
        ),
        Setting {
            listed: vec![None],
            ..listed("a path", failure)
        },
        Setting {
            listed: vec![at(WEB), None],
            ..listed(
                "two addresses",
                Budget {
                    failures: 1,
                    returns: 1,
                    ..only(2)
                },
            )
        },
    ]
}

fn with_opened_addresses() -> Vec<Setting> {
    let client = Budget {
        clients: 1,
        ..only(2)
    };
    let failure = Budget {
        failures: 1,
        ..only(2)
    };
    let closes = Budget {
        closes: 1,
        ..only(2)
    };
    let three = Budget {
        generations: 3,
        failures: 1,
        ..client
    };
    let datagrams = Endpoint {
        transport: Transport::Udp,
        ..endpoint(WEB)
    };
    vec![
        opened("opened", SAME, client),
        Setting {
            instances: true,
            ..opened("instances", SAME, three)
        },
        Setting {
            instances: true,
            ..opened(
                "instances that close addresses, and a wider one",
                &[&[WEB, OTHER], &[WEB], &[ALL]],
                Budget {
                    closes: 1,
                    ..only(3)
                },
            )
        },
        Setting {
            instances: true,
            opened: vec![vec![datagrams]; 3],
            ..opened("instances with datagrams", SAME, only(3))
        },
        opened(
            "a share of opened addresses",
            &[&[WEB, OTHER], &[WEB], &[OTHER]],
            Budget {
                generations: 3,
                shares: 2,
                failures: 1,
                ..client
            },
        ),
        opened(
            "a share of an address that is opened twice, and closed",
            &[&[WEB, WEB], &[WEB, WEB]],
            Budget {
                shares: 1,
                closes: 1,
                ..client
            },
        ),
        opened(
            "a share beside a wider address",
            &[&[ALL], &[WEB, ALL]],
            Budget {
                shares: 1,
                closes: 1,
                ..client
            },
        ),
        Setting {
            opened: vec![vec![datagrams]; 2],
            ..opened(
                "a share of datagrams",
                SAME,
                Budget {
                    shares: 2,
                    closes: 1,
                    ..failure
                },
            )
        },
        opened("opened by three generations", SAME, only(3)),
        opened("opened, with ops that fail", SAME, failure),
        opened(
            "new connections to opened addresses wait",
            &[&[WEB], &[ALL]],
            Budget {
                holds: 2,
                responses: 1,
                ..client
            },
        ),
        opened(
            "a wider address is only checked",
            &[&[ALL, WEB], &[ALL, WEB]],
            Budget {
                closes: 1,
                ..client
            },
        ),
        opened(
            "a narrower address",
            &[&[ALL], &[WEB]],
            Budget {
                returns: 1,
                ..client
            },
        ),
        opened("opened twice", &[&[WEB, WEB], &[WEB]], closes),
        opened(
            "moved",
            &[&[WEB], &[ALL], &[WEB]],
            Budget {
                failures: 1,
                ..only(3)
            },
        ),
        opened(
            "an address that is no longer opened",
            &[&[WEB], &[OTHER]],
            client,
        ),
        opened(
            "addresses that are closed and moved",
            &[&[WEB, OTHER], &[OTHER], &[WEB]],
            Budget {
                closes: 2,
                returns: 1,
                ..only(3)
            },
        ),
        opened(
            "an address that is closed during a reload",
            &[&[WEB, WEB], &[WEB]],
            Budget {
                closes: 1,
                ..client
            },
        ),
        opened(
            "closed and opened again",
            &[&[WEB, WEB]],
            Budget {
                clients: 1,
                closes: 1,
                ..only(1)
            },
        ),
        Setting {
            multipath: true,
            ..opened(
                "multipath",
                SAME,
                Budget {
                    closes: 1,
                    ..failure
                },
            )
        },
        Setting {
            listed: vec![at(WEB)],
            ..opened(
                "addresses passed and opened",
                SAME,
                Budget {
                    clients: 1,
                    ..failure
                },
            )
        },
        Setting {
            opened: vec![vec![datagrams]; 2],
            ..opened(
                "datagrams",
                SAME,
                Budget {
                    closes: 1,
                    ..failure
                },
            )
        },
    ]
}
