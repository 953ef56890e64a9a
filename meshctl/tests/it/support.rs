//! Running commands, comparing with committed files, finding real programs.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Parser;
use meshctl::cli::Cli;
use meshctl::console::Console;
use meshctl::failure::Failure;

/// What a command did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) result: Result<(), Failure>,
}

impl Outcome {
    /// The exit code that the process would have.
    pub(crate) fn exit_code(&self) -> u8 {
        self.result.as_ref().err().map_or(0, Failure::exit_code)
    }

    /// Why it failed.
    pub(crate) fn failure(&self) -> String {
        self.result.as_ref().unwrap_err().to_string()
    }
}

/// Runs a command line where nobody can be asked, an hour after the epoch.
pub(crate) async fn meshctl(arguments: &[&str]) -> Outcome {
    converse(arguments, None).await
}

/// Runs a command line; with an `answer` there is somebody who gives it.
pub(crate) async fn converse(arguments: &[&str], answer: Option<&str>) -> Outcome {
    consul::testing::install_crypto_provider();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut console = Console {
        out: &mut out,
        err: &mut err,
        input: &mut answer.unwrap_or_default().as_bytes(),
        is_interactive: answer.is_some(),
        has_color: false,
        width: None,
        err_width: None,
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(3_600),
    };
    let command = std::iter::once("meshctl").chain(arguments.iter().copied());
    let result = match Cli::try_parse_from(command) {
        Ok(cli) => cli.run(&mut console).await,
        Err(error) => Err(Failure::Usage(error.to_string())),
    };
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Outcome { out: text(out), err: text(err), result }
}

/// Compares with `tests/golden/NAME`; `UPDATE_GOLDEN=1` writes it anew.
pub(crate) fn assert_golden(name: &str, actual: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, actual).unwrap();
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        expected == actual,
        "{} differs; UPDATE_GOLDEN=1 rewrites it, review the difference\n{actual}",
        file.display()
    );
}

/// The path of a real program, from its variable or `PATH`; says loudly when there is none, and fails when `E2E_REQUIRE`
/// names it.
pub(crate) fn real(program: &str, variable: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = named.or_else(|| {
        std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
    });
    if found.is_none() {
        let required = std::env::var_os("E2E_REQUIRE").unwrap_or_default();
        let required = required.to_string_lossy().into_owned();
        assert!(
            !required.split(',').any(|name| name.trim() == program),
            "E2E_REQUIRE names {program}, and neither {variable} nor PATH has it"
        );
        eprintln!("SKIP {program}: neither {variable} nor PATH has it");
    }
    found
}
