//! Reports which addresses generations lack, give up or close.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::ready::{UnreadyReason, list};
use crate::reload::{GenEvent, GenId};
use crate::socket::{Address, AddressEvent, Adopter, OwnPath};
use crate::ui::Level;

use super::state::Driver;

/// How long hotrun waits before it reports that a starting generation lacks an address or does not use one.
const PATIENCE: Duration = Duration::from_secs(1);

/// The hint for a program that looks for a free port.
const FREE_PORT: &str =
    "if the program looks for a free port, `--adopt never` lets it find the same one again";

/// How long the live generation may take to open the paths of an earlier one.
const OPENS_PATHS: Duration = Duration::from_secs(2);

impl Driver {
    /// Returns a function that takes the reasons why a generation is not ready, and reports which addresses the
    /// generation lacks or does not use.
    pub(super) fn address_reporter(&self, id: GenId) -> impl FnMut(&UnreadyReason) + use<> {
        let (sender, adopter) = (self.sender.clone(), self.sockets.adopter());
        let listed = self.sockets.listening().into_iter();
        let listed: Vec<Address> = listed.map(|one| one.address).collect();
        // A generation that goes live at the timeout would not be warmed up.
        let may_move = self.config.cli.warm_up.is_none();
        let mut lacks_only_addresses = false;
        let mut reported = false;
        // Since when the generation has lacked or not used an address.
        let mut since = None;
        move |reason| {
            let otherwise_ready = may_move
                && matches!(
                    reason,
                    UnreadyReason::Missing {
                        otherwise_ready: true,
                        ..
                    }
                );
            if std::mem::replace(&mut lacks_only_addresses, otherwise_ready) != otherwise_ready {
                sender.event(id, GenEvent::LacksAddresses { otherwise_ready });
            }
            let text = match reason {
                UnreadyReason::Missing { addresses, .. } if !addresses.is_empty() => {
                    Some(format!("gen {id} is not live yet: {reason}"))
                }
                UnreadyReason::NotAccepting(index) => unused(id, *index, &listed, adopter.as_ref()),
                UnreadyReason::Missing { .. } | UnreadyReason::Other(_) => None,
            };
            let Some(text) = text.filter(|_| !reported) else {
                return;
            };
            if since.get_or_insert_with(Instant::now).elapsed() >= PATIENCE {
                reported = true;
                let lacks = matches!(reason, UnreadyReason::Missing { .. });
                sender.send(move |driver| driver.report_addresses(text, lacks));
            }
        }
    }

    /// `lacks`: whether the generation lacks an address. Otherwise, it does not use one.
    fn report_addresses(&mut self, text: String, lacks: bool) {
        let hint = match lacks {
            true if !self.reported.once.insert("missing address") => None,
            true => {
                let timeout = self.config.cli.ready_timeout;
                Some(format!("hotrun waits until `--ready-timeout` ({timeout:?}); {FREE_PORT}"))
            }
            false => Some("drop `--listen`, or have the program use the sockets that it inherits (`LISTEN_FDS`)".into()),
        };
        self.feed.message(Level::Info, text, hint);
    }

    pub(super) fn address_event(&mut self, address: SocketAddr, event: AddressEvent) {
        let Some(live) = self.machine.live().next() else {
            return;
        };
        let (text, hint) = match event {
            AddressEvent::GivenUp => {
                let adopter = self.sockets.adopter();
                let addresses = adopter.map_or_else(Vec::new, |one| one.opened(live).addresses);
                let only = match addresses.is_empty() {
                    true => String::new(),
                    false => format!(", only on {}", list(&addresses)),
                };
                let hint = "connections to it wait for 10s and are then refused";
                (
                    format!("gen {live} does not listen on `{address}`{only}"),
                    Some(format!("{hint}; {FREE_PORT}")),
                )
            }
            AddressEvent::Closed => (
                format!("gen {live} has closed `{address}`; connections to it are refused"),
                None,
            ),
            AddressEvent::ClosedDuringReload => {
                if !self.reported.once.insert("restarts itself") {
                    return;
                }
                let hint = "hotrun restarts it, so turn that off (`--noreload`, `use_reloader=False`, ...)";
                let text = format!(
                    "gen {live} closed `{address}` during a reload; it seems to restart itself when its files change"
                );
                (text, Some(hint.into()))
            }
        };
        self.feed.message(Level::Warning, text, hint);
    }

    /// Does this with each path of the generation's own unix sockets, and says once if that is impossible.
    pub(super) fn on_own_paths(
        &mut self,
        id: GenId,
        action: impl Fn(&mut OwnPath) -> io::Result<()>,
    ) {
        let running = self.generations.get_mut(&id);
        for own in running.map_or(&mut [][..], |running| &mut running.own_paths) {
            if let Err(error) = action(own)
                && self.reported.once.insert("own path")
            {
                let path = own.path().display();
                let text = format!(
                    "gen {id}: the unix socket `{path}` may be unreachable after a reload: hotrun cannot link its file: {error}"
                );
                let hint = format!("with `--listen unix:{path}`, hotrun opens the socket");
                self.feed.message(Level::Warning, text, Some(hint));
            }
        }
    }

    /// Says once if the paths of a generation that is gone lead nowhere, because the live one has opened fewer. Waits a
    /// moment, because a program may open a path after it is ready.
    pub(super) fn report_dead_paths(&mut self, id: GenId, mut paths: Vec<OwnPath>) {
        if paths.is_empty() {
            return;
        }
        paths.iter_mut().for_each(OwnPath::forget);
        let (live, sender) = (self.machine.live().next(), self.sender.clone());
        tokio::spawn(async move {
            sleep(OPENS_PATHS).await;
            sender.send(move |driver| {
                if driver.machine.live().next() == live {
                    driver.report_if_dead(id, &paths);
                }
            });
        });
    }

    fn report_if_dead(&mut self, id: GenId, paths: &[OwnPath]) {
        let live = self.machine.live().next();
        let Some((live, running)) =
            live.and_then(|live| Some((live, self.generations.get(&live)?)))
        else {
            return;
        };
        let own = &running.own_paths;
        let given_up =
            |one: &&OwnPath| own.iter().all(|other| other.path() != one.path()) && one.is_dead();
        if own.len() < paths.len()
            && let Some(dead) = paths.iter().find(given_up)
            && self.reported.once.insert("dead path")
        {
            let path = dead.path().display();
            let text = format!("gen {live} has not opened the unix socket `{path}` of gen {id}");
            let hint = "connections to it fail until a generation opens it again";
            self.feed.message(Level::Warning, text, Some(hint.into()));
        }
    }
}

/// Returns a message if the program opens its own sockets and does not use the inherited one with this index.
fn unused(
    id: GenId,
    index: usize,
    listed: &[Address],
    adopter: Option<&Adopter>,
) -> Option<String> {
    // The `--listen` sockets come first.
    let unused = listed.get(index)?;
    let mut own = adopter?.opened(id).addresses;
    own.retain(|one| !listed.contains(&Address::Tcp(*one)));
    let own = Some(own).filter(|own| !own.is_empty())?;
    let own = list(&own);
    Some(format!(
        "gen {id} takes no connections from `--listen {unused}`, only from {own}"
    ))
}
