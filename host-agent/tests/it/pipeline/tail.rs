//! `host-agent tail`: the stream as it will be sent, without a running agent.

use std::path::Path;
use std::time::Duration;

use lab::process::{Process, Program};
use lab::wait;

const DEADLINE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn tail_shows_what_is_written_from_now_on_as_it_will_be_sent() {
    let folder = tempfile::tempdir().unwrap();
    let nomad = folder.path().join("nomad");
    let logs = nomad.join("alloc/a1b2c3d4-0000-0000-0000-000000000001/alloc/logs");
    std::fs::create_dir_all(&logs).unwrap();
    let file = logs.join("orders.stdout.0");
    std::fs::write(&file, "before\n").unwrap();
    let config = folder.path().join("host-agent.toml");
    let text = format!(
        "instances.consul = false\nlogs.journal.enabled = false\nlogs.files.nomad_data_dir = {nomad:?}\n\
         [[logs.rules]]\nname = \"secret\"\nredact = ['hunter\\d']\n"
    );
    std::fs::write(&config, text).unwrap();
    let program = Program::new("tail", Path::new(env!("CARGO_BIN_EXE_host-agent"))).args([
        "tail",
        "--config",
        &config.display().to_string(),
        "--level",
        "warn",
    ]);
    let mut tail = Process::start(&program, folder.path()).unwrap();
    let shown = folder.path().join("tail.log");
    let lines =
        "{\"level\":\"info\",\"msg\":\"fine\"}\n{\"level\":\"warn\",\"msg\":\"late hunter2\"}\n";
    // The file is found a moment after the start; until then nothing would be new in it.
    let line = tail.until("a line is shown", DEADLINE, async || {
        let text = std::fs::read_to_string(&shown)?;
        if let Some(line) = text.lines().next() {
            return Ok(line.to_owned());
        }
        let mut open = std::fs::File::options().append(true).open(&file)?;
        std::io::Write::write_all(&mut open, lines.as_bytes())?;
        Err(std::io::Error::other("nothing yet"))
    });
    let line = line.await.unwrap();
    assert!(line.contains(" warn  orders: late [redacted:secret] "), "{line}");
    let all = std::fs::read_to_string(&shown).unwrap();
    assert!(!all.contains("before") && !all.contains("fine"), "{all}");
    wait::holds("it goes on", Duration::from_millis(200), async || tail.check()).await.unwrap();
}
