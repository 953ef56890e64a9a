//! Running commands, comparing with committed files, finding real programs.

use std::path::{Path, PathBuf};

use clap::Parser;
use meshctl::cli::Cli;
use meshctl::failure::Failure;

/// Runs a command line and returns what it printed.
pub(crate) fn meshctl(arguments: &[&str]) -> Result<String, Failure> {
    let cli = Cli::try_parse_from(std::iter::once("meshctl").chain(arguments.iter().copied()))
        .map_err(|error| Failure::Usage(error.to_string()))?;
    let mut out = Vec::new();
    cli.run(&mut out)?;
    Ok(String::from_utf8(out).unwrap())
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
