//! `/v1/client/fs/logs/ALLOC`: what a task wrote, as bytes (`plain=true`) or as Nomad's frames; with `follow=true` until the task's end.

use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use futures::stream::unfold;
use serde::Deserialize;
use serde_json::json;

use super::{Api, App, Refused, is_true};

const PAUSE: Duration = Duration::from_millis(200);
const CHUNK: u64 = 64 * 1024;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    task: String,
    #[serde(rename = "type")]
    stream: String,
    plain: String,
    follow: String,
    origin: String,
    offset: u64,
}

pub(super) async fn read(
    Shared(api): App,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Response, Refused> {
    let state = api.store.read();
    let known = state.allocations.get(&id).map(Arc::clone);
    let known = known
        .ok_or_else(|| Refused::new(StatusCode::NOT_FOUND, format!("unknown allocation {id:?}")))?;
    if asked.task.is_empty() {
        return Err(Refused::bad("must provide task name"));
    }
    if !["stdout", "stderr"].contains(&asked.stream.as_str()) {
        return Err(Refused::bad("must provide log type (stdout/stderr)"));
    }
    let Some(task) = known.task_states.get(&asked.task) else {
        return Err(Refused::new(
            StatusCode::NOT_FOUND,
            format!("unknown task name {:?}", asked.task),
        ));
    };
    if task.started_at == crate::agent::time::NEVER {
        return Err(Refused::new(
            StatusCode::NOT_FOUND,
            format!("task {:?} not started yet. No logs available", asked.task),
        ));
    }
    let name = format!("{}.{}.0", asked.task, asked.stream);
    let file = api.client.folder(&id).join("alloc/logs").join(&name);
    let size = std::fs::metadata(&file).map_or(0, |metadata| metadata.len());
    let start = if asked.origin == "end" {
        size.saturating_sub(asked.offset)
    } else {
        asked.offset.min(size)
    };
    let is_plain = is_true(&asked.plain);
    let tail = Tail { api, id, file, name, at: start, is_plain, follows: is_true(&asked.follow) };
    let kind = if is_plain { "text/plain" } else { "application/json" };
    let body = Body::from_stream(unfold(Some(tail), |tail| async move {
        let mut tail = tail?;
        let piece = tail.next().await?;
        Some((Ok::<Bytes, std::io::Error>(piece), Some(tail)))
    }));
    Ok(([("content-type", kind)], body).into_response())
}

struct Tail {
    api: Arc<Api>,
    id: String,
    file: PathBuf,
    name: String,
    at: u64,
    is_plain: bool,
    follows: bool,
}

impl Tail {
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            // Asked before the file is read: what was written until then is read.
            let is_over = self
                .api
                .store
                .read()
                .allocations
                .get(&self.id)
                .is_none_or(|one| one.client_status.is_terminal());
            let piece = self.piece().unwrap_or_default();
            if !piece.is_empty() {
                let offset = self.at;
                self.at += u64::try_from(piece.len()).unwrap_or_default();
                return Some(if self.is_plain { piece.into() } else { self.frame(&piece, offset) });
            }
            if !self.follows || is_over {
                return None;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn piece(&self) -> std::io::Result<Vec<u8>> {
        let mut file = std::fs::File::open(&self.file)?;
        file.seek(SeekFrom::Start(self.at))?;
        let mut piece = Vec::new();
        file.take(CHUNK).read_to_end(&mut piece)?;
        Ok(piece)
    }

    fn frame(&self, piece: &[u8], offset: u64) -> Bytes {
        let data = base64::engine::general_purpose::STANDARD.encode(piece);
        json!({"File": format!("alloc/logs/{}", self.name), "Offset": offset, "Data": data})
            .to_string()
            .into()
    }
}
