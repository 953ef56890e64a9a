//! What Docker's journald driver writes, as it comes out here.

use lab::dockerd::Dockerd;
use lab::journald::Settings;

use super::{Reading, config, head, journald};

#[tokio::test]
async fn docker_s_partial_lines_and_labels_arrive_as_dockerd_writes_them() {
    let folder = tempfile::tempdir().unwrap();
    let test = "docker_partials";
    if lab::parts::real_part_or_skip(test, "dockerd").is_none() {
        return;
    }
    let Some(journald) = journald(test, folder.path(), Settings::default()).await else { return };
    let mut docker = Dockerd::start(folder.path(), &journald).await.unwrap();
    let flags = [
        "--label",
        "com.hashicorp.nomad.job_name=web",
        "--log-opt",
        "labels=com.hashicorp.nomad.job_name",
    ];
    let script =
        "i=0; while [ $i -lt 4000 ]; do printf 0123456789; i=$((i+1)); done; echo; printf end";
    docker.run("web-1f", &flags, script).await.unwrap();
    docker.stop().await.unwrap();

    let mut reading = Reading::journal(&config(&journald.journals()), &head());
    let mut pieces = Vec::new();
    let mut labels = Vec::new();
    let begin = std::time::Instant::now();
    while pieces.len() < 4 {
        assert!(begin.elapsed() < super::DEADLINE, "{pieces:?}");
        reading.reader.wait(std::time::Duration::from_millis(50)).unwrap();
        while let host_agent::logs::read::Step::Entry { .. } =
            reading.reader.next(&mut reading.entry, 1).unwrap()
        {
            let fields = &reading.entry.fields;
            let text = |name: &str| {
                fields.get(name).map(|value| String::from_utf8_lossy(value).into_owned())
            };
            if text("CONTAINER_NAME").as_deref() == Some("web-1f") {
                pieces.push((
                    fields.get("MESSAGE").unwrap().len(),
                    text("CONTAINER_PARTIAL_ORDINAL"),
                    text("CONTAINER_PARTIAL_LAST"),
                    text("CONTAINER_PARTIAL_MESSAGE"),
                ));
                labels.push(text("COM_HASHICORP_NOMAD_JOB_NAME"));
            }
        }
    }
    let piece = |length, ordinal: &str, last: &str, partial: Option<&str>| {
        (length, Some(ordinal.to_owned()), Some(last.to_owned()), partial.map(str::to_owned))
    };
    let expected = [
        piece(16384, "1", "false", Some("true")),
        piece(16384, "2", "false", Some("true")),
        piece(7232, "3", "true", None),
        piece(3, "1", "false", Some("true")),
    ];
    assert_eq!(pieces, expected);
    assert_eq!(labels, vec![Some("web".to_owned()); 4]);
}
