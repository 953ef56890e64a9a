//! Every command: its words, its flags, how many arguments it takes, what it does.

use super::args::Flag;
use super::args::Takes::{Nothing, Value};
use super::session::{Done, Session};
use super::{alloc, deployment, job_file, jobs, node, others, plan, submit};

/// A command.
pub(super) struct Command {
    /// Its words, such as `job run`.
    pub(super) words: &'static str,
    pub(super) flags: &'static [Flag],
    /// Whether it takes the flags of commands that read a job.
    pub(super) reads_job: bool,
    /// The least and the most arguments.
    pub(super) takes: (usize, usize),
    pub(super) run: fn(&Session) -> Done,
}

const fn command(
    words: &'static str,
    takes: (usize, usize),
    flags: &'static [Flag],
    run: fn(&Session) -> Done,
) -> Command {
    Command { words, flags, reads_job: false, takes, run }
}

const fn with_job(
    words: &'static str,
    flags: &'static [Flag],
    run: fn(&Session) -> Done,
) -> Command {
    Command { words, flags, reads_job: true, takes: (1, 1), run }
}

const DETACH: Flag = ("detach", Nothing);
const JSON: Flag = ("json", Nothing);
const TEMPLATE: Flag = ("t", Value);
const UI: Flag = ("ui", Nothing);
const VERBOSE: Flag = ("verbose", Nothing);
const YES: Flag = ("yes", Nothing);

const LIST: &[Flag] = &[JSON, TEMPLATE, VERBOSE, UI, ("filter", Value)];
const RUN: &[Flag] = &[
    DETACH,
    VERBOSE,
    UI,
    ("check-index", Value),
    ("output", Nothing),
    ("preserve-counts", Nothing),
    ("policy-override", Nothing),
    ("eval-priority", Value),
];
const PLAN: &[Flag] = &[VERBOSE, ("diff", Value), ("policy-override", Nothing)];
const STOP: &[Flag] = &[
    DETACH,
    VERBOSE,
    YES,
    ("purge", Nothing),
    ("global", Nothing),
    ("eval-priority", Value),
    ("no-shutdown-delay", Nothing),
];
const STATUS: &[Flag] = &[
    JSON,
    TEMPLATE,
    VERBOSE,
    UI,
    ("short", Nothing),
    ("evals", Nothing),
    ("all-allocs", Nothing),
    ("stats", Nothing),
];
const CHANGE: &[Flag] =
    &[DETACH, VERBOSE, UI, YES, ("group", Value), ("force-reschedule", Nothing)];
const DISPATCH: &[Flag] = &[
    DETACH,
    VERBOSE,
    UI,
    ("meta", Value),
    ("idempotency-token", Value),
    ("id-prefix-template", Value),
    ("priority", Value),
];
const HISTORY: &[Flag] =
    &[JSON, TEMPLATE, VERBOSE, ("p", Nothing), ("full", Nothing), ("version", Value)];
const OF_JOB: &[Flag] = &[JSON, TEMPLATE, VERBOSE, ("latest", Nothing), ("all", Nothing)];
const DEPLOYMENT: &[Flag] = &[JSON, TEMPLATE, VERBOSE, UI, ("monitor", Nothing), ("wait", Value)];
const LOGS: &[Flag] = &[
    VERBOSE,
    ("stdout", Nothing),
    ("stderr", Nothing),
    ("f", Nothing),
    ("tail", Nothing),
    ("n", Value),
    ("c", Value),
    ("job", Nothing),
    ("task", Value),
];
const NODE: &[Flag] = &[
    JSON,
    TEMPLATE,
    VERBOSE,
    ("self", Nothing),
    ("short", Nothing),
    ("stats", Nothing),
    ("allocs", Nothing),
    ("filter", Value),
];
const DRAIN: &[Flag] = &[
    DETACH,
    VERBOSE,
    YES,
    ("enable", Nothing),
    ("disable", Nothing),
    ("deadline", Value),
    ("force", Nothing),
    ("no-deadline", Nothing),
    ("ignore-system", Nothing),
    ("keep-ineligible", Nothing),
    ("m", Value),
    ("meta", Value),
    ("monitor", Nothing),
    ("self", Nothing),
];
const ELIGIBILITY: &[Flag] = &[("enable", Nothing), ("disable", Nothing), ("self", Nothing)];
const EVAL: &[Flag] = &[JSON, TEMPLATE, VERBOSE, UI, ("monitor", Nothing)];

/// All of them. Of two that fit, the one with more words is meant.
pub(super) static COMMANDS: &[Command] = &[
    command("alloc checks", (1, 1), LIST, alloc::checks),
    command("alloc logs", (1, 2), LOGS, alloc::logs),
    command("alloc status", (0, 1), STATUS, alloc::status),
    command("alloc stop", (1, 1), STOP, alloc::stop),
    command("agent-info", (0, 0), LIST, others::agent_info),
    command("config validate", (1, usize::MAX), &[], others::config_validate),
    command("deployment fail", (1, 1), CHANGE, deployment::fail),
    command("deployment list", (0, 0), LIST, deployment::list),
    command("deployment pause", (1, 1), CHANGE, deployment::pause),
    command("deployment promote", (1, 1), CHANGE, deployment::promote),
    command("deployment resume", (1, 1), CHANGE, deployment::resume),
    command("deployment status", (0, 1), DEPLOYMENT, deployment::status),
    command("eval list", (0, 0), LIST, others::eval_list),
    command("eval status", (0, 1), EVAL, others::eval_status),
    command("job allocs", (1, 1), OF_JOB, jobs::allocs),
    command("job deployments", (1, 1), OF_JOB, jobs::deployments),
    command("job dispatch", (1, 2), DISPATCH, submit::dispatch),
    command("job eval", (1, 1), CHANGE, submit::evaluate),
    command("job history", (1, 1), HISTORY, jobs::history),
    command("job inspect", (1, 1), HISTORY, jobs::inspect),
    with_job("job plan", PLAN, plan::plan),
    command("job promote", (1, 1), CHANGE, submit::promote),
    command("job revert", (2, 2), CHANGE, submit::revert),
    with_job("job run", RUN, submit::run),
    command("job scale", (2, 3), CHANGE, submit::scale),
    command("job status", (0, 1), STATUS, jobs::status),
    command("job stop", (1, usize::MAX), STOP, submit::stop),
    with_job("job validate", VERBOSE_ONLY, submit::validate_job),
    command("logs", (1, 2), LOGS, alloc::logs),
    command("node drain", (0, 1), DRAIN, node::drain),
    command("node eligibility", (0, 1), ELIGIBILITY, node::eligibility),
    command("node status", (0, 1), NODE, node::status),
    command("operator api", (1, 1), &[("X", Value), ("d", Value), VERBOSE], others::raw),
    with_job("plan", PLAN, plan::plan),
    with_job("run", RUN, submit::run),
    command("server members", (0, 0), LIST, others::members),
    command("service info", (1, 1), LIST, others::service_info),
    command("service list", (0, 0), LIST, others::service_list),
    command("status", (0, 1), STATUS, jobs::status),
    command("stop", (1, usize::MAX), STOP, submit::stop),
    command("system gc", (0, 0), &[], others::collect),
    with_job("validate", VERBOSE_ONLY, submit::validate_job),
];

const VERBOSE_ONLY: &[Flag] = &[VERBOSE];

/// The flags of a command.
pub(super) fn flags(own: &Command) -> [&'static [Flag]; 2] {
    [own.flags, if own.reads_job { job_file::FLAGS } else { &[] }]
}
