//! `meshctl run-envoy`: an Envoy that is rendered its bootstrap, started, and drained before it ends.
//!
//! In: the flags of `meshctl bootstrap`, the Envoy to run, signals. Out: the bootstrap file, a running Envoy, an exit code.
//! Called as the command of a proxy's task or unit.
//!
//! Envoy ends at once on SIGTERM and cuts what is under way. Between the first SIGTERM and Envoy's end this process
//! makes Envoy say that it is not ready, lets it answer with `connection: close`, and waits until nobody asks any more
//! ([`drain`]) or the time is over. A second SIGTERM ends it at once.
//!
//! **Invariants**: one Envoy, whose end ends this process; the bootstrap is written once, before Envoy starts, and
//! depends on the flags alone. Deliberately absent: restarts (the placer's), hot restart, any other child.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use clap::Args;
use contract::duration::Span;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::bootstrap::{self, BootstrapArgs};
use crate::console::Console;
use crate::envoy_admin::EnvoyAdmin;
use crate::failure::Failure;
use crate::run_envoy::drain::{Drain, Policy, Step};
use crate::run_envoy::signals::{Signals, Told};

pub mod drain;
mod signals;

/// How often Envoy is asked what is under way.
const PAUSE: Duration = Duration::from_millis(100);
/// How long Envoy has to end once nothing is under way.
const LAST_GRACE: Duration = Duration::from_secs(2);

/// Run an Envoy with the bootstrap of these flags, and drain it before it ends.
///
/// On SIGTERM or SIGINT: /ready answers 503, answers carry `connection: close`, new requests are still served. Envoy
/// ends when none is under way and none came for --quiet, or when --drain is over. A second signal ends it at once.
/// SIGHUP and SIGUSR1 are passed on.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes:
  0         Envoy ended after the signal, nothing was cut
  1         Envoy could not be started, or requests were still under way when --drain was over
  2         the command line makes no sense
  otherwise Envoy ended unasked: its own exit code, or 128 and the number of the signal that ended it

Example (the command of a Nomad task; its kill_timeout must be longer than --drain):
  meshctl run-envoy --bootstrap-file /local/envoy.yaml --drain 20s \\
      --role gateway --system trading --id 0f3c --service trading-gateway=10000 --ingress 10001 \\
      --stats 10002 --xds control-plane.service.consul:18000 \\
      -- /usr/local/bin/envoy --log-level warning")]
pub struct RunEnvoyArgs {
    /// Where the bootstrap is written.
    #[arg(long, value_name = "FILE")]
    bootstrap_file: PathBuf,
    /// How long Envoy may go on after the signal.
    #[arg(long, value_name = "TIME", default_value = "20s")]
    drain: Span,
    /// How long it goes on at least: until those in front have seen that it is not ready.
    #[arg(long, value_name = "TIME", default_value = "0s")]
    linger: Span,
    /// How long nobody must have asked before it ends early.
    #[arg(long, value_name = "TIME", default_value = "1s")]
    quiet: Span,
    #[command(flatten)]
    bootstrap: BootstrapArgs,
    /// Envoy and its arguments; `-c`, `--drain-time-s` and `--drain-strategy` are added.
    #[arg(last = true, required = true, value_name = "ENVOY")]
    envoy: Vec<String>,
}

impl RunEnvoyArgs {
    /// How long Envoy may go on after the signal, its own end included.
    pub fn longest_stop(&self) -> Duration {
        self.drain.as_duration() + LAST_GRACE
    }

    /// Checks everything that can be known without running it.
    ///
    /// # Errors
    /// As [`bootstrap::run`].
    pub fn check(self) -> Result<(), Failure> {
        self.policy()?;
        bootstrap::run(self.bootstrap).map(drop)
    }

    fn policy(&self) -> Result<Policy, Failure> {
        let policy = Policy {
            linger: self.linger.as_duration(),
            quiet: self.quiet.as_duration(),
            limit: self.drain.as_duration(),
        };
        if policy.linger > policy.limit {
            return Err(Failure::Usage(format!(
                "--linger {} is longer than --drain {}: Envoy would be ended while it lingers",
                self.linger, self.drain
            )));
        }
        Ok(policy)
    }
}

/// Runs Envoy to its end.
///
/// # Errors
/// When it cannot be started, ends unasked, or is ended with requests under way.
pub async fn run(args: RunEnvoyArgs, console: &mut Console<'_>) -> Result<(), Failure> {
    let policy = args.policy()?;
    let admin = EnvoyAdmin::new(args.bootstrap.admin())?;
    let file = &args.bootstrap_file;
    std::fs::write(file, bootstrap::run(args.bootstrap)?).map_err(|error| {
        Failure::Refused(format!("cannot write the bootstrap to {}: {error}", file.display()))
    })?;
    // Before Envoy, so that no signal finds nobody.
    let mut signals = Signals::listen()?;
    let mut envoy = start(&args.envoy, file, policy.limit)?;
    loop {
        tokio::select! {
            status = envoy.wait() => return unasked(&status, console),
            told = signals.next() => match told {
                Told::Stop => break,
                Told::PassOn(signal) => send(&envoy, signal)?,
            }
        }
    }
    console.remark("run-envoy: asked to stop, draining")?;
    let begin = Instant::now();
    let cut = tokio::select! {
        status = envoy.wait() => return unasked(&status, console),
        cut = quieten(&admin, policy, begin) => cut,
        () = signals.stop() => Err("a second signal came".to_owned()),
    };
    end(&mut envoy, &mut signals).await?;
    let seconds = begin.elapsed().as_secs_f64();
    match cut {
        Ok(0) => {
            console.remark(&format!("run-envoy: Envoy ended after {seconds:.1} s, nothing was cut"))
        }
        Ok(active) => Err(Failure::Refused(format!(
            "Envoy was ended after {seconds:.1} s with {active} requests or connections under way: a longer --drain \
             (and kill_timeout) would have let them end"
        ))),
        Err(reason) => {
            Err(Failure::Refused(format!("Envoy was ended after {seconds:.1} s: {reason}")))
        }
    }
}

fn start(command: &[String], file: &Path, limit: Duration) -> Result<Child, Failure> {
    let Some((binary, args)) = command.split_first() else {
        return Err(Failure::Usage("no Envoy after --".to_owned()));
    };
    Command::new(binary)
        .args(args)
        .arg("-c")
        .arg(file)
        // With `immediate` each answer asks the client to go from the first moment on.
        .args(["--drain-strategy", "immediate", "--drain-time-s"])
        .arg(limit.as_secs().max(1).to_string())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Failure::Refused(format!("cannot start {binary}: {error}")))
}

/// Drains until nothing is under way; gives what was when the time was over, or why nobody knows.
async fn quieten(admin: &EnvoyAdmin, policy: Policy, begin: Instant) -> Result<u64, String> {
    let over = begin + policy.limit;
    insist(over, async || admin.post("/healthcheck/fail").await).await?;
    insist(over, async || admin.post("/drain_listeners?graceful&skip_exit").await).await?;
    let mut drain = Drain::new(policy);
    loop {
        let traffic = insist(over, async || admin.traffic().await).await?;
        match drain.observe(begin.elapsed(), traffic) {
            Step::Wait => tokio::time::sleep(PAUSE).await,
            Step::Quiet => break,
            Step::Over { active } => return Ok(active),
        }
    }
    // Whoever still comes is refused, which every client may try again; who came in the last moment is answered.
    insist(over, async || admin.post("/drain_listeners").await).await?;
    loop {
        let active = insist(over, async || admin.traffic().await).await?.active;
        if active == 0 || Instant::now() >= over {
            return Ok(active);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asks until Envoy answers or the time is over: a busy Envoy that misses one question is not to be cut off.
async fn insist<T>(over: Instant, ask: impl AsyncFn() -> Result<T, String>) -> Result<T, String> {
    loop {
        match ask().await {
            Err(reason) if Instant::now() >= over => return Err(reason),
            Err(_) => tokio::time::sleep(PAUSE).await,
            Ok(answer) => return Ok(answer),
        }
    }
}

/// SIGTERM, then SIGKILL to what is still there, or at the next signal.
async fn end(envoy: &mut Child, signals: &mut Signals) -> Result<(), Failure> {
    send(envoy, Signal::SIGTERM)?;
    tokio::select! {
        _ = envoy.wait() => return Ok(()),
        () = tokio::time::sleep(LAST_GRACE) => {}
        () = signals.stop() => {}
    }
    envoy.kill().await.map_err(|error| Failure::Refused(format!("cannot kill Envoy: {error}")))
}

/// Sends a signal to Envoy, if it still runs.
fn send(envoy: &Child, signal: Signal) -> Result<(), Failure> {
    let Some(id) = envoy.id().and_then(|id| i32::try_from(id).ok()) else { return Ok(()) };
    kill(Pid::from_raw(id), signal)
        .map_err(|errno| Failure::Refused(format!("cannot send {signal} to Envoy: {errno}")))
}

fn unasked(status: &std::io::Result<ExitStatus>, console: &mut Console<'_>) -> Result<(), Failure> {
    use std::os::unix::process::ExitStatusExt;
    let status = status
        .as_ref()
        .map_err(|error| Failure::Refused(format!("cannot wait for Envoy: {error}")))?;
    if status.success() {
        return console.remark("run-envoy: Envoy ended by itself");
    }
    let code = status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(1);
    Err(Failure::Ended {
        what: format!("Envoy ended unasked: {status}"),
        code: u8::try_from(code).unwrap_or(1),
    })
}
