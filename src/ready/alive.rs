//! The `--alive` rule: whether a live generation still works.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::http::Purpose;
use super::probe;
use super::{Connect, Exec, ReadySpec, UnreadyReason};
use crate::value::{format_duration, parse_duration};

/// The check of a live generation, with the parameters that Kubernetes' liveness probes have.
#[derive(Clone, Debug)]
pub struct AliveSpec {
    /// [`ReadySpec::Http`] or [`ReadySpec::Exec`].
    probe: ReadySpec,
    /// The time from going live to the first check (`initialDelaySeconds`).
    after: Duration,
    /// The time from one check to the next (`periodSeconds`).
    every: Duration,
    /// How long a check may take (`timeoutSeconds`).
    timeout: Duration,
    /// How many checks in a row must fail (`failureThreshold`).
    failures: u32,
}

impl AliveSpec {
    /// Whether the check connects to the program.
    pub fn needs_sockets(&self) -> bool {
        self.probe.needs_sockets()
    }
}

impl fmt::Display for AliveSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [after, every, timeout] = [self.after, self.every, self.timeout].map(format_duration);
        let Self {
            probe, failures, ..
        } = self;
        write!(
            f,
            "{probe},after={after},every={every},timeout={timeout},failures={failures}"
        )
    }
}

impl FromStr for AliveSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut spec = Self {
            probe: ReadySpec::Auto,
            after: Duration::ZERO,
            every: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            failures: 3,
        };
        // A command may contain commas, so the parameters are read from the end.
        let mut rest = text;
        while let Some((before, parameter)) = rest.rsplit_once(',')
            && let Some((name, value)) = parameter.split_once('=')
            && ["after", "every", "timeout", "failures"].contains(&name)
        {
            let duration = || parse_duration(value).map_err(|why| format!("`{name}`: {why}"));
            let positive = || match duration()? {
                Duration::ZERO => Err(format!("`{name}` must be greater than 0")),
                duration => Ok(duration),
            };
            match name {
                "after" => spec.after = duration()?,
                "every" => spec.every = positive()?,
                "timeout" => spec.timeout = positive()?,
                _ => {
                    let count = value.parse().ok().filter(|count| *count > 0);
                    spec.failures = count.ok_or("`failures` must be a number from 1 on")?;
                }
            }
            rest = before;
        }
        spec.probe = rest.parse()?;
        match &spec.probe {
            ReadySpec::Http(_) | ReadySpec::Exec(_) => Ok(spec),
            ReadySpec::Tcp | ReadySpec::Listen => Err(
                "the kernel accepts connections for a program that hangs, too; use `http:/path` or `exec:COMMAND`"
                    .into(),
            ),
            ReadySpec::Auto | ReadySpec::Notify | ReadySpec::Log(_) | ReadySpec::Delay(_) => {
                Err("use `http:/path` or `exec:COMMAND`; for `WATCHDOG=1`, use `--watchdog`".into())
            }
        }
    }
}

/// What [`watch_alive`] needs to know about a generation.
pub struct AliveInputs {
    /// Connects to the generation.
    pub connect: Connect,
    /// Returns how many listeners the generation has.
    pub listeners: Box<dyn Fn() -> usize + Send>,
    /// Runs the `exec:` command.
    pub exec: Exec,
    /// Whether one of its processes is stopped or traced. Its checks do not count then.
    pub is_halted: Box<dyn Fn() -> bool + Send>,
}

/// How many checks have failed in a row.
#[derive(Debug, Default)]
struct Failures(u32);

impl Failures {
    /// Records the result of a check. Returns whether the generation is alive, if that has changed.
    fn record(&mut self, succeeded: bool, threshold: u32) -> Option<bool> {
        let before = self.0;
        self.0 = match succeeded {
            true => 0,
            false => before.saturating_add(1),
        };
        match succeeded {
            true => (before >= threshold).then_some(true),
            false => (self.0 == threshold).then_some(false),
        }
    }
}

/// Checks a live generation again and again. Reports the reason once as many checks in a row have failed as the rule says,
/// and `Ok` when a check succeeds again. Never returns.
pub async fn watch_alive(
    spec: &AliveSpec,
    mut inputs: AliveInputs,
    report: impl Fn(Result<(), UnreadyReason>),
) {
    sleep(spec.after).await;
    let mut ticks = interval(spec.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failures = Failures::default();
    loop {
        ticks.tick().await;
        if (inputs.is_halted)() {
            continue;
        }
        let result = match timeout(spec.timeout, check(&spec.probe, &mut inputs)).await {
            Ok(result) => result,
            Err(_) => Err(format!("it took longer than {}", format_duration(spec.timeout)).into()),
        };
        // A debugger may have stopped the program during the check.
        if result.is_err() && (inputs.is_halted)() {
            continue;
        }
        if failures.record(result.is_ok(), spec.failures).is_some() {
            report(result);
        }
    }
}

async fn check(probe: &ReadySpec, inputs: &mut AliveInputs) -> Result<(), UnreadyReason> {
    match probe {
        ReadySpec::Http(probe) => {
            let listeners = (inputs.listeners)();
            let connect = &mut inputs.connect;
            let got = probe::try_each(probe, Purpose::Liveness, connect, listeners).await;
            got.map(drop)
        }
        ReadySpec::Exec(command) => match (inputs.exec)(command).await {
            Ok(true) => Ok(()),
            Ok(false) => Err("the command failed".into()),
            Err(error) => Err(format!("cannot run the command: {error}").into()),
        },
        // Refused by `from_str`.
        ReadySpec::Auto
        | ReadySpec::Listen
        | ReadySpec::Notify
        | ReadySpec::Tcp
        | ReadySpec::Log(_)
        | ReadySpec::Delay(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};

    use tokio::time::Instant;

    use super::*;

    #[test]
    fn parameters_are_read_from_the_end() {
        let spec = |text: &str| text.parse::<AliveSpec>().map(|spec| spec.to_string());
        let all = "http:/health,after=5s,every=2s,timeout=500ms,failures=1";
        assert_eq!(spec(all).unwrap(), all);
        let defaults = "exec:curl -d a,b=c $X,after=0s,every=10s,timeout=1s,failures=3";
        assert_eq!(spec("exec:curl -d a,b=c $X").unwrap(), defaults);
        for (text, reason) in [
            ("http:/,every=0s", "`every` must be greater than 0"),
            ("http:/,failures=0", "`failures` must be a number from 1 on"),
            ("http:/,timeout=x", "`timeout`: "),
            ("tcp", "the kernel accepts"),
            ("notify", "use `--watchdog`"),
            ("http:", "`http` needs a path"),
            ("", "use `auto`"),
        ] {
            let refused = spec(text).unwrap_err();
            assert!(refused.contains(reason), "{text}: {refused}");
        }
    }

    /// Runs checks that succeed (`+`), fail (`-`) or hang (`?`), as `results` says. Returns what was reported when, in
    /// seconds.
    async fn reported(spec: &str, results: &str, halted: &'static str) -> Vec<(u64, bool)> {
        let spec: AliveSpec = spec.parse().unwrap();
        let (results, began) = (results.to_owned(), Instant::now());
        let (count, asked) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
        let (reports, end) = (Mutex::new(Vec::new()), results.len());
        let checks = count.clone();
        let inputs = AliveInputs {
            connect: Box::new(|_| panic!("the check is a command")),
            listeners: Box::new(|| 1),
            exec: Arc::new(move |_| {
                let index = checks.fetch_add(1, Ordering::Relaxed);
                let result = results.as_bytes()[index];
                Box::pin(async move {
                    match result {
                        b'?' => std::future::pending().await,
                        _ => Ok(result == b'+'),
                    }
                })
            }),
            is_halted: Box::new(move || {
                let index = asked.fetch_add(1, Ordering::Relaxed);
                halted.as_bytes().get(index) == Some(&b'h')
            }),
        };
        let report = |result: Result<(), _>| {
            let seconds = began.elapsed().as_secs();
            reports.lock().unwrap().push((seconds, result.is_ok()));
        };
        let all = async {
            while count.load(Ordering::Relaxed) < end {
                sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            () = watch_alive(&spec, inputs, report) => {}
            () = all => {}
        }
        reports.into_inner().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_generation_is_sick_after_so_many_failures_in_a_row() {
        let rule = "exec:x,after=5s,every=10s,failures=3";
        let reports = reported(rule, "+--+---++-", "").await;
        assert_eq!(reports, [(65, false), (75, true)]);
        assert_eq!(
            reported("exec:x,every=1s,failures=1", "-+", "").await,
            [(0, false), (1, true)]
        );
    }

    /// It hangs just after the first check, which is the worst time.
    #[tokio::test(start_paused = true)]
    async fn a_generation_that_hangs_is_sick_after_so_many_periods_and_one_timeout() {
        let rule = "exec:x,every=2s,timeout=1s,failures=3";
        let reports = reported(rule, "+???++", "").await;
        assert_eq!(reports, [(3 * 2 + 1, false), (8, true)]);
        let rule = "exec:x,every=1s,timeout=3s,failures=2";
        let reports = reported(rule, "+??+", "").await;
        assert_eq!(reports[0], (1 + 2 * 3, false));
    }

    #[tokio::test(start_paused = true)]
    async fn checks_of_a_stopped_program_do_not_count() {
        // Halted before the second check, and after the third one, which has failed.
        let reports = reported("exec:x,every=1s,failures=2", "-+--", " hh h").await;
        assert_eq!(reports.len(), 1, "{reports:?}");
        assert!(!reports[0].1);
    }
}
