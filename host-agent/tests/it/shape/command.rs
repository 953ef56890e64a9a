//! `host-agent test-rules` as its users run it, and every example of `docs/logs-rules.md` through it.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Runs the command with a configuration and what it reads from standard input.
fn test_rules(config: &str, arguments: &[&str], input: &str) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("agent.toml");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_host-agent"));
    command.arg("test-rules").arg("--config").arg(&file).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> (Option<i32>, String) {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

const CONFIG: &str = r#"
    [[logs.rules]]
    name = "noise"
    when = { unit = "noise.service" }
    drop = true
"#;

#[test]
fn every_example_of_the_page_passes_its_own_test() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/logs-rules.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mut count = 0;
    for block in page.split("```toml\n").skip(1) {
        let example = block.split("```").next().unwrap();
        let (code, text) = said(&test_rules(example, &[], ""));
        assert_eq!(code, Some(0), "{text}\n{example}");
        assert!(text.ends_with("1 passed, 0 failed\n"), "{text}\n{example}");
        count += 1;
    }
    assert_eq!(count, 6);
}

#[test]
fn entries_and_what_becomes_of_them_are_shown_in_their_order() {
    let input = r#"{"MESSAGE":"a\u0007b","_SYSTEMD_UNIT":"a.service","PRIORITY":"4","_TRANSPORT":"syslog"}
{"MESSAGE":"x","_SYSTEMD_UNIT":"noise.service"}
"#;
    let expected = "\
1 ← a.service  a\\u{7}b
  → no destination · 1970-01-01T00:00:00Z · warn
    message         a\\u{7}b
    level_original  warning
    unit            a.service
    record_id       00000000000000000000000000000000-1
2 ← noise.service  x
  ✗ dropped by noise
";
    assert_eq!(said(&test_rules(CONFIG, &["-"], input)), (Some(0), expected.to_owned()));
    let (code, json) = said(&test_rules(CONFIG, &["-", "-o", "json"], input));
    assert_eq!(code, Some(0));
    assert!(json.ends_with("{\"dropped\":\"noise\",\"entries\":1}\n"), "{json}");
}

#[test]
fn differences_are_named_and_end_with_exit_code_1() {
    let folder = tempfile::tempdir().unwrap();
    let expect = folder.path().join("expected.json");
    std::fs::write(&expect, "{\"record\":{\"message\":\"b\",\"unit\":null}}\n").unwrap();
    let input = r#"{"MESSAGE":"a"}"#;
    let arguments = ["-", "--expect", expect.to_str().unwrap()];
    let text = "1.record.message: expected \"b\", got \"a\"\n1 came out, 1 differ\n";
    assert_eq!(said(&test_rules(CONFIG, &arguments, input)), (Some(1), text.to_owned()));
}

#[test]
fn all_problems_of_rules_are_named_at_once() {
    let config = r#"
        [[logs.rules]]
        name = "a"
        when = { message = "(" }
        multiline = "cobol"
        [[logs.rules]]
        name = "a"
        [[logs.routes]]
        to = ["nowhere"]
        tag = "a b"
    "#;
    let (code, text) = said(&test_rules(config, &["-"], ""));
    assert_eq!(code, Some(1));
    for part in [
        "logs.rules.0.when.message: \"(\" is no regular expression: unclosed group",
        "logs.rules.0.multiline: \"cobol\" is none of java, go, python",
        "logs.rules.1.name: every rule has a name of its own",
        "logs.rules.1: the rule does nothing",
        "logs.routes.0.to: no destination is called \"nowhere\"",
        "logs.routes.0.tag: \"a b\": a tag holds",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}
