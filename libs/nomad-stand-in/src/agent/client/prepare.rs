//! What comes before a task's process: folders, the dispatch's payload, artifacts, templates.
//!
//! In: a task's run. Out: files below the allocation's folder, or why the task cannot start, with Nomad's event on the board.

use base64::Engine;

use super::driver::Refusal;
use super::environment::Environment;
use super::task::Run;
use super::{artifact, template};

impl Run<'_> {
    /// Prepares everything once.
    pub(super) async fn prepare(&self) -> Result<(), Refusal> {
        let name = &self.task.name;
        let fail = |kind: &str, why: String| {
            self.board.event(name, kind, why.clone());
            Refusal::Driver(why)
        };
        self.paths.make().map_err(|error| {
            fail("Setup Failure", format!("failed to build task directory: {error}"))
        })?;
        if let Some(file) = self
            .task
            .dispatch_payload
            .as_ref()
            .map(|payload| &payload.file)
            .filter(|file| !file.is_empty())
        {
            let payload =
                base64::engine::general_purpose::STANDARD.decode(&self.allocation.job.job.payload);
            let written = payload.map_err(|error| error.to_string()).and_then(|payload| {
                put(&self.paths.within(&format!("local/{file}"))?, &payload, "0644")
            });
            written.map_err(|why| {
                fail("Setup Failure", format!("failed to write the payload: {why}"))
            })?;
        }
        for one in &self.task.artifacts {
            self.board.event(name, "Downloading Artifacts", "Client is downloading artifacts");
            artifact::fetch(&self.client.http, one, &self.environment, &self.paths).await.map_err(
                |why| {
                    fail("Failed Artifact Download", format!("Failed to download artifacts: {why}"))
                },
            )?;
        }
        for one in &self.task.templates {
            self.render(one).map_err(|why| fail("Template", why))?;
        }
        Ok(())
    }

    fn render(&self, one: &crate::agent::job::Template) -> Result<(), String> {
        let text = if one.source_path.is_empty() {
            one.text.clone()
        } else {
            let path = self.paths.within(&self.environment.replace(&one.source_path))?;
            std::fs::read_to_string(&path)
                .map_err(|error| format!("Missing: {}: {error}", path.display()))?
        };
        let text = template::render(&text, &self.environment.variables)?;
        let path = self.paths.within(&self.environment.replace(&one.destination))?;
        put(&path, text.as_bytes(), &one.perms)
    }

    /// `KEY=VALUE` lines of templates with `env = true`.
    pub(super) fn load_variables(&self, environment: &mut Environment) -> Result<(), Refusal> {
        for one in self.task.templates.iter().filter(|one| one.envvars) {
            let path = self.paths.within(&one.destination).map_err(Refusal::Driver)?;
            let text = std::fs::read_to_string(&path)
                .map_err(|error| Refusal::Driver(format!("{}: {error}", path.display())))?;
            for (key, value) in text
                .lines()
                .filter_map(|line| line.trim().split_once('='))
                .filter(|(key, _)| !key.starts_with('#'))
            {
                environment
                    .variables
                    .insert(key.trim().to_owned(), value.trim().trim_matches('"').to_owned());
            }
        }
        Ok(())
    }
}

/// Writes a file with its permissions, in octal.
fn put(path: &std::path::Path, content: &[u8], perms: &str) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let written = || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, content)?;
        let mode = u32::from_str_radix(perms, 8).unwrap_or(0o644);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
    };
    written().map_err(|error: std::io::Error| format!("{}: {error}", path.display()))
}
