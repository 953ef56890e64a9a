//! Descriptor files: read, replaced, broken, absent.

use std::path::Path;

use crate::harness::{Gateway, bindings, one, quotes, restless, soon, two, without};

const BY_FILE: &str = "quotes quotes.v1.Quotes quotes.binpb";

fn start(folder: &Path) -> Gateway {
    Gateway::with_folder(folder, restless())
}

#[tokio::test]
async fn a_file_that_is_replaced_is_taken_up_and_the_old_schema_lives_on_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("quotes.binpb");
    std::fs::write(&file, quotes("one")).unwrap();
    let gateway = start(folder.path());
    let apis = soon("the schema", gateway.schemas.apis(BY_FILE)).await.unwrap();
    assert_eq!(bindings(&apis), [one()]);

    std::fs::write(&file, quotes("two")).unwrap();
    gateway.until("both", BY_FILE, |entry| entry.versions.len() == 2).await;
    assert_eq!(bindings(&gateway.schemas.apis(BY_FILE).await.unwrap()), [two(), one()]);
    gateway.until("the new one", BY_FILE, |entry| entry.versions.len() == 1).await;
    assert_eq!(bindings(&gateway.schemas.apis(BY_FILE).await.unwrap()), [two()]);
}

#[tokio::test]
async fn a_broken_file_keeps_the_schema_before_and_says_so_until_it_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("quotes.binpb");
    std::fs::write(&file, quotes("one")).unwrap();
    let gateway = start(folder.path());
    soon("the schema", gateway.schemas.apis(BY_FILE)).await.unwrap();

    std::fs::write(&file, "no descriptors").unwrap();
    let broken = gateway.until("the error", BY_FILE, |entry| entry.error.is_some()).await;
    let status = broken.status(tokio::time::Instant::now());
    let [status] = status.as_slice() else { panic!("{status:?}") };
    assert_eq!(
        status.error.as_deref(),
        Some(
            "the schema of descriptor file quotes.binpb cannot be learnt: quotes.binpb holds bytes that are no file \
             descriptor; build it anew"
        )
    );
    assert_eq!(bindings(&gateway.schemas.apis(BY_FILE).await.unwrap()), [one()]);

    // Moved into place, as a deployment does.
    std::fs::write(folder.path().join("new"), quotes("two")).unwrap();
    std::fs::rename(folder.path().join("new"), &file).unwrap();
    gateway.until("the mended file", BY_FILE, |entry| entry.error.is_none()).await;
    assert_eq!(bindings(&gateway.schemas.apis(BY_FILE).await.unwrap()), [two(), one()]);
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = start(folder.path());
    let absent = gateway.refusal(BY_FILE).await;
    let path = folder.path().join("quotes.binpb");
    assert_eq!(
        absent,
        format!(
            "the schema of descriptor file quotes.binpb cannot be learnt: {} cannot be read; put the descriptor set \
             there, readable: No such file or directory (os error 2)",
            path.display()
        )
    );
    let outside = gateway.refusal("quotes quotes.v1.Quotes ../quotes.binpb").await;
    assert!(outside.ends_with(
        "its name is not that of a file; name a file of the folder `schemas.directory` without a path"
    ));

    let partial = without(&quotes("one"), &["quotes/v1/money.proto"]);
    std::fs::write(folder.path().join("partial"), partial).unwrap();
    let partial = gateway.refusal("quotes quotes.v1.Quotes partial").await;
    assert!(partial.contains("quotes/v1/quotes.proto imports quotes/v1/money.proto"), "{partial}");
}
