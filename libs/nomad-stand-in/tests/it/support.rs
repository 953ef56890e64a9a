//! An agent for one test, an application for its jobs, and what both have said.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::consul::{Consul, ConsulOptions};
use lab::folder::Folder;
use lab::nomad::{Nomad, NomadOptions};
use lab::{chain, parts, wait};
use serde_json::Value;

mod image;
mod web;

pub(crate) use image::{image, orders};
pub(crate) use web::Web;

/// Within which every state of these tests is reached.
pub(crate) const SOON: Duration = Duration::from_secs(90);

const APP: &str = include_str!("app.py");

/// An agent, with Consul where the test wants it.
pub(crate) struct Scene {
    pub(crate) nomad: Nomad,
    pub(crate) consul: Option<Consul>,
    pub(crate) folder: Folder,
    python: PathBuf,
}

/// A line of the applications' log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    /// Seconds since 1970.
    pub(crate) at: f64,
    pub(crate) name: String,
    pub(crate) allocation: String,
    /// `start`, a signal, `end`.
    pub(crate) what: String,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Scene {
    /// An agent; `None` where a part is missing.
    pub(crate) async fn start(test: &str) -> Option<Self> {
        Self::with(test, NomadOptions::default()).await
    }

    pub(crate) async fn with(test: &str, options: NomadOptions) -> Option<Self> {
        let python = parts::real_part_or_skip(test, "python3")?;
        Some(Self::inside(test, Folder::new("nomad").unwrap(), python, None, options).await)
    }

    /// An agent and a Consul that it registers with.
    pub(crate) async fn with_consul(test: &str) -> Option<Self> {
        let python = parts::real_part_or_skip(test, "python3")?;
        let binary = parts::real_part_or_skip(test, "consul")?;
        let folder = Folder::new("nomad").unwrap();
        let consul =
            Consul::start(&binary, folder.path(), &ConsulOptions::default()).await.unwrap();
        let options =
            NomadOptions { consul: Some((consul.address(), None)), ..NomadOptions::default() };
        Some(Self::inside(test, folder, python, Some(consul), options).await)
    }

    #[expect(clippy::print_stdout, reason = "a test says which Nomad it has")]
    async fn inside(
        test: &str,
        folder: Folder,
        python: PathBuf,
        consul: Option<Consul>,
        options: NomadOptions,
    ) -> Self {
        std::fs::write(folder.path().join("app.py"), APP).unwrap();
        let nomad = Nomad::start(folder.path(), &options)
            .await
            .unwrap_or_else(|error| panic!("{}", chain(&error)));
        println!("{test}: {:?}", nomad.kind());
        Self { nomad, consul, folder, python }
    }

    /// `nomad` with these words.
    pub(crate) async fn say(&self, words: &[&str]) -> Said {
        let output = self.nomad.run(words, SOON * 2).await;
        let output =
            output.unwrap_or_else(|error| panic!("{}\n{}", chain(&error), self.nomad.tail()));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or(-1);
        Said { code, out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// A job file.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Runs a job without waiting for it.
    pub(crate) async fn run_detached(&self, text: &str) -> Said {
        let file = self.file("job.nomad.hcl", text);
        let said = self.say(&["job", "run", "-detach", &file]).await;
        assert_eq!(said.code, 0, "{said:?}");
        said
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.nomad
            .get(path)
            .await
            .unwrap_or_else(|error| panic!("{}\n{}", chain(&error), self.nomad.tail()))
    }

    /// Asks until what is read is as wanted.
    pub(crate) async fn until(&self, what: &str, path: &str, is: impl Fn(&Value) -> bool) -> Value {
        let probe = async || {
            let value = self.nomad.get(path).await.map_err(|error| chain(&error))?;
            if is(&value) { Ok(value) } else { Err(format!("{value:#}")) }
        };
        let found = wait::until(what, SOON, probe).await;
        found.unwrap_or_else(|error| panic!("{}\n{}", chain(&error), self.nomad.tail()))
    }

    /// Waits for the newest deployment of a job to have this status.
    pub(crate) async fn deployed(&self, job: &str, status: &str) -> Value {
        let path = format!("/v1/job/{job}/deployment");
        self.until(&format!("the deployment is {status}"), &path, |own| own["Status"] == status)
            .await
    }

    /// Waits for a job to have so many running allocations, and gives them.
    pub(crate) async fn running(&self, job: &str, count: usize) -> Vec<Value> {
        let path = format!("/v1/job/{job}/allocations");
        let all = self
            .until(&format!("{count} of {job} run"), &path, |all| {
                of_status(all, "running").len() == count
            })
            .await;
        of_status(&all, "running")
    }

    /// What the applications have said, in the order of time.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let line = |line: &str| {
            let mut words = line.split_whitespace().map(str::to_owned);
            Some(Line {
                at: words.next()?.parse().ok()?,
                name: words.next()?,
                allocation: words.next()?,
                what: words.next()?,
            })
        };
        let mut lines: Vec<Line> = text.lines().filter_map(line).collect();
        lines.sort_by(|left, right| left.at.total_cmp(&right.at));
        lines
    }

    /// Waits for an application to have said this, and gives the line.
    pub(crate) async fn said(&self, name: &str, what: &str) -> Line {
        let awaited = format!("{name} says {what}");
        let found = wait::until(&awaited, SOON, async || {
            let lines = self.lines();
            let own = lines.iter().find(|line| line.name == name && line.what == what);
            own.cloned().ok_or_else(|| format!("{lines:#?}"))
        });
        found.await.unwrap_or_else(|error| panic!("{}\n{}", chain(&error), self.nomad.tail()))
    }

    /// The process that runs this application of this scene.
    pub(crate) fn process_of(&self, name: &str) -> i32 {
        let script = self.folder.path().join("app.py").display().to_string();
        let of = |entry: std::fs::DirEntry| {
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let words: Vec<String> = line
                .split(|byte| *byte == 0)
                .map(|own| String::from_utf8_lossy(own).into_owned())
                .collect();
            let at = words.iter().position(|word| *word == script)?;
            // Not what started it: the interpreter stands first.
            (at == 1 && words.get(2).is_some_and(|own| own == name))
                .then(|| entry.file_name().to_str()?.parse().ok())?
        };
        std::fs::read_dir("/proc").unwrap().filter_map(Result::ok).find_map(of).unwrap()
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("app.log")
    }

    /// `config` of a task that runs the application.
    pub(crate) fn app(&self, name: &str, listen: &str) -> String {
        let script = self.folder.path().join("app.py");
        let args = [
            script.display().to_string(),
            name.to_owned(),
            self.log().display().to_string(),
            listen.to_owned(),
        ];
        format!(
            "config {{\n  command = {:?}\n  args    = {args:?}\n}}\n",
            self.python.display().to_string()
        )
    }

    /// The path of a file that makes an application with `SICK` of this path sick while it exists.
    pub(crate) fn switch(&self) -> PathBuf {
        self.folder.path().join("sick")
    }
}

/// The allocations of a list with this status of their client.
pub(crate) fn of_status(all: &Value, status: &str) -> Vec<Value> {
    all.as_array()
        .into_iter()
        .flatten()
        .filter(|own| own["ClientStatus"] == status)
        .cloned()
        .collect()
}

/// The ids of allocations, in order.
pub(crate) fn ids(all: &[Value]) -> Vec<String> {
    let mut ids: Vec<String> =
        all.iter().map(|own| own["ID"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

/// A job's id as a path has it.
pub(crate) fn encoded(id: &str) -> String {
    id.replace('/', "%2F")
}

/// Makes an empty file.
pub(crate) fn touch(path: &Path) {
    std::fs::write(path, "").unwrap();
}
