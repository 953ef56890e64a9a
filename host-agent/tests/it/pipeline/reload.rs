//! SIGHUP under load: what changed takes effect, what did not goes on, nothing is lost.

use std::sync::Arc;

use lab::wait;

use super::agent::{Agent, DEADLINE, Load, WINDOW, forward, journald, receiver, until_all};

const RELOADED: &str = "Reloaded the configuration";
const KEPT: &str = "Keeping the configuration in force";

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_under_load_loses_nothing_and_disturbs_only_what_changed() {
    let test = "a_reload_under_load_loses_nothing_and_disturbs_only_what_changed";
    let folder = tempfile::tempdir().unwrap();
    let Some(journald) = journald(test, folder.path(), &[]).await else { return };
    let (journald, main, late) = (Arc::new(journald), receiver().await, receiver().await);
    let only_main = forward("main", main.address());
    let mut agent = Agent::start(folder.path(), &journald.journals(), &only_main).await;
    let load = Load::start(&journald, 2_000);
    let more = async |count: u64| {
        let had = main.records();
        wait::until("more records arrive", DEADLINE, async || {
            let now = main.records();
            if now >= had + count { Ok(()) } else { Err(now) }
        })
        .await
        .unwrap();
    };
    more(1_000).await;

    // A rule and a second destination: the first one is not disturbed.
    let rule = "[[logs.rules]]\nname = \"third\"\nset = { checked = \"yes\" }\nwhen = { container = \"orders-2\" }\n";
    let both = format!("{rule}{}{}", only_main, forward("late", late.address()));
    agent.configure(&both);
    agent.reload(RELOADED).await;
    more(1_000).await;
    assert_eq!(agent.said("The pipeline ended and its position is saved"), 0);
    assert_eq!(main.received().connections, 1, "the first destination was connected to again");

    // A file that is not good changes nothing.
    agent.configure("[[logs.rules]]\nname = \"\"\nredact = [\"(\"]\n");
    agent.reload(KEPT).await;
    more(1_000).await;
    assert_eq!(agent.said("The pipeline ended and its position is saved"), 0);

    // The first destination's own settings: it alone begins anew.
    let changed = both.replacen("backoff_max_s = 1", "backoff_max_s = 2", 1);
    agent.configure(&changed);
    agent.reload(RELOADED).await;
    more(1_000).await;
    assert_eq!(agent.said("The pipeline ended and its position is saved"), 1);

    let sent = load.end();
    assert!(until_all(&main, sent).await <= WINDOW);
    assert_eq!(until_all(&late, sent).await, 0);
    assert_eq!(agent.metric("mesh_logs_lost_records_total", &[]).await, 0);
    agent.stop().await;
}
