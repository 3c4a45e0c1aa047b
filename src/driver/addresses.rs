//! Reports which addresses generations lack, give up or close.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::ready::{OnUnready, UnreadyReason, list};
use crate::reload::{GenEvent, GenId};
use crate::socket::{Address, AddressEvent, Adopter};
use crate::ui::{Feed, Level};

use super::state::{Driver, TaskSender};

/// How long hotrun waits before it reports that a starting generation lacks an address or does not use one.
const PATIENCE: Duration = Duration::from_secs(1);

/// The hint for a program that looks for a free port.
const FREE_PORT: &str =
    "if the program looks for a free port, `--adopt never` lets it find the same one again";

/// Reports which addresses a starting generation lacks or does not use.
pub(super) struct AddressReporter {
    id: GenId,
    sender: TaskSender,
    feed: Feed,
    adopter: Option<Adopter>,
    /// The `--listen` addresses.
    listed: Vec<Address>,
    timeout: Duration,
    /// Whether the generation lacks nothing but addresses.
    otherwise_ready: bool,
    /// Since when it has lacked or not used an address.
    since: Option<Instant>,
    reported: bool,
    /// Whether the hint has been shown.
    explained: Arc<AtomicBool>,
}

impl AddressReporter {
    pub(super) fn new(id: GenId, driver: &Driver) -> Self {
        let listed = driver.sockets.listening();
        Self {
            id,
            sender: driver.sender.clone(),
            feed: driver.feed.clone(),
            adopter: driver.sockets.adopter(),
            listed: listed.into_iter().map(|one| one.address).collect(),
            timeout: driver.config.cli.ready_timeout,
            otherwise_ready: false,
            since: None,
            reported: false,
            explained: driver.reported.missing.clone(),
        }
    }

    /// Returns a function that reports addresses and records the reason why the generation is not ready.
    pub(super) fn recorder(mut self, mut record: OnUnready) -> OnUnready {
        Box::new(move |reason| {
            self.unready(&reason);
            record(reason);
        })
    }

    fn unready(&mut self, reason: &UnreadyReason) {
        let lack = reason.lack();
        let otherwise_ready = lack.is_some_and(|lack| lack.otherwise_ready);
        if std::mem::replace(&mut self.otherwise_ready, otherwise_ready) != otherwise_ready {
            let event = GenEvent::LacksAddresses { otherwise_ready };
            self.sender.event(self.id, event);
        }
        let text = match lack {
            Some(lack) if lack.addresses.is_empty() => None,
            Some(lack) => Some(format!("gen {} is not live yet: {lack}", self.id)),
            None => self.unused(reason),
        };
        let Some(text) = text.filter(|_| !self.reported) else {
            return;
        };
        if self.since.get_or_insert_with(Instant::now).elapsed() < PATIENCE {
            return;
        }
        self.reported = true;
        let hint = match lack {
            Some(_) if self.explained.swap(true, Ordering::Relaxed) => None,
            Some(_) => Some(format!("hotrun waits until `--ready-timeout` ({:?}); {FREE_PORT}", self.timeout)),
            None => Some("drop `--listen`, or have the program use the sockets that it inherits (`LISTEN_FDS`)".into()),
        };
        self.feed.message(Level::Info, text, hint);
    }

    /// Returns a message if the program opens its own sockets and does not use one that it inherited.
    fn unused(&self, reason: &UnreadyReason) -> Option<String> {
        // The `--listen` sockets come first.
        let unused = self.listed.get(reason.not_accepting()?)?;
        let mut own = self.adopter.as_ref()?.opened(self.id).addresses;
        own.retain(|one| !self.listed.contains(&Address::Tcp(*one)));
        let text = format!(
            "gen {} takes no connections from `--listen {unused}`, only from {}",
            self.id,
            list(&own)
        );
        (!own.is_empty()).then_some(text)
    }
}

impl Driver {
    /// Has address events sent to the main loop.
    pub(super) fn report_address_events(&self) {
        let sender = self.sender.clone();
        self.sockets.on_event(move |address, event| {
            sender.send(move |driver| driver.address_event(address, event));
        });
    }

    pub(super) fn address_event(&mut self, address: SocketAddr, event: AddressEvent) {
        let Some(live) = self.machine.live() else {
            return;
        };
        let (text, hint) = match event {
            AddressEvent::GivenUp => {
                let adopter = self.sockets.adopter();
                let addresses = adopter.map(|adopter| adopter.opened(live).addresses);
                let addresses = addresses.unwrap_or_default();
                let only = match addresses.is_empty() {
                    true => String::new(),
                    false => format!(", only on {}", list(&addresses)),
                };
                let text = format!("gen {live} does not listen on `{address}`{only}");
                let hint = "connections to it wait for 10s and are then refused";
                (text, Some(format!("{hint}; {FREE_PORT}")))
            }
            AddressEvent::Closed => {
                let text =
                    format!("gen {live} has closed `{address}`; connections to it are refused");
                (text, None)
            }
            AddressEvent::ClosedDuringReload => {
                if std::mem::replace(&mut self.reported.restarts_itself, true) {
                    return;
                }
                let text = format!(
                    "gen {live} closed `{address}` during a reload; it seems to restart itself when its files change"
                );
                let hint = "hotrun restarts it, so turn that off (`--noreload`, `use_reloader=False`, ...)";
                (text, Some(hint.into()))
            }
        };
        self.feed.message(Level::Warning, text, hint);
    }
}
