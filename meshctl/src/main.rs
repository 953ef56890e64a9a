//! Runs one command of [`meshctl::cli`] and turns its outcome into an exit code.

use std::io::{IsTerminal, Write, stderr, stdin, stdout};
use std::process::ExitCode;

use clap::Parser;
use meshctl::cli::Cli;
use meshctl::console::Console;

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stderr, reason = "a command line program complains there")]
#[expect(clippy::disallowed_methods, reason = "the one clock of a command is read here")]
async fn main() -> ExitCode {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("meshctl: the TLS provider is installed twice");
        return ExitCode::FAILURE;
    }
    let cli = Cli::parse();
    let is_terminal = stdout().is_terminal();
    let mut console = Console {
        out: &mut stdout().lock(),
        err: &mut stderr(),
        input: &mut stdin().lock(),
        is_interactive: stdin().is_terminal() && stderr().is_terminal(),
        has_color: is_terminal,
        width: terminal_size::terminal_size().map(|(width, _)| width.0).filter(|_| is_terminal),
        err_width: terminal_size::terminal_size_of(stderr()).map(|(width, _)| width.0),
        now: std::time::SystemTime::now(),
    };
    match cli.run(&mut console).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // A terminal that is gone takes nothing; the exit code still says how it ended.
            writeln!(stderr(), "meshctl: {failure}").ok();
            ExitCode::from(failure.exit_code())
        }
    }
}
