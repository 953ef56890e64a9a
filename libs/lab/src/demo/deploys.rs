//! A service that comes, and changes, as a Nomad job: `reports` of the System `trading`, by `meshctl deploy`.
//!
//! In: the running mesh. Out: a Nomad beside it (a real one where there is one, else the stand-in for tests), the job's
//! file, the command lines to try; or checks that a new version loses no request.
//!
//! **Absent**: a Nomad where there is no Consul: jobs register their services in it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::checks::Checks;
use super::paths::LOCAL;
use crate::load::{Call, Load, LoadSpec};
use crate::nomad::{Nomad, NomadOptions};
use crate::parts::Parts;
use crate::process::{self, Program};
use crate::world::World;
use crate::{LabError, chain, jobs};

const RATE: u32 = 50;
const PATIENCE: Duration = Duration::from_secs(15);

/// Nomad, and what is deployed there.
#[derive(Debug)]
pub struct Deploys {
    nomad: Nomad,
    meshctl: PathBuf,
    job: PathBuf,
    values: PathBuf,
    consul: String,
    apis: String,
}

impl Deploys {
    /// Starts Nomad and writes the job's file; `None` without a Consul.
    pub async fn start(world: &World, parts: &Parts, dir: &Path) -> Result<Option<Self>, LabError> {
        let Some(consul) = world.consul() else { return Ok(None) };
        let options = NomadOptions { consul: Some((consul.address(), None)), ..Default::default() };
        let nomad = Nomad::start(dir, &options).await?;
        let (job, values) = (dir.join("reports.nomad.hcl"), dir.join("reports.vars.hcl"));
        let planes = || world.control_planes.iter();
        write(&job, &job_of_reports())?;
        write(&values, &values_of(parts, planes().map(|one| one.xds())))?;
        let apis: Vec<String> = planes().map(|plane| format!("http://{}", plane.api())).collect();
        let (meshctl, consul) = (parts.our("meshctl")?, consul.url());
        Ok(Some(Self { nomad, meshctl, job, values, consul, apis: apis.join(",") }))
    }

    /// What to try.
    pub fn invitation(&self, router_port: u16) -> String {
        let meshctl = self.meshctl.display();
        let (where_to, first) = (self.where_to().join(" "), self.deploy("1").join(" "));
        let second = self.deploy("2").join(" ");
        let whose = if self.nomad.is_stand_in() {
            "a stand-in for Nomad, which is not on this machine"
        } else {
            "this machine's Nomad"
        };
        format!(
            "  A service as a Nomad job ({whose}), and its next version, blue/green:\n    \
             {meshctl} {first}\n    \
             curl http://127.0.0.1:{router_port}/trading/reports/7\n    \
             {meshctl} {second} --strategy blue-green\n    \
             {meshctl} status reports {where_to}\n    \
             {meshctl} rollback reports {where_to}\n"
        )
    }

    fn deploy(&self, version: &str) -> Vec<String> {
        let mut words = vec!["deploy".to_owned(), self.job.display().to_string()];
        words.push(format!("--var-file={}", self.values.display()));
        words.push(format!("--var=version={version}"));
        words.extend(self.where_to());
        words
    }

    fn where_to(&self) -> Vec<String> {
        vec![
            format!("--nomad={}", self.nomad.url()),
            format!("--consul={}", self.consul),
            format!("--api={}", self.apis),
        ]
    }

    async fn run(&self, words: Vec<String>) -> Result<String, LabError> {
        let program = Program::new("meshctl", &self.meshctl).args(words).args(["--yes"]);
        process::run(&program).await
    }
}

/// Deploys two versions and goes back, the second and the way back under load.
pub async fn check(deploys: Option<Deploys>, world: &World, checks: &mut Checks) {
    let Some(mut deploys) = deploys else {
        return checks
            .skip("meshctl deploy brings a job", "jobs register in Consul; there is none");
    };
    let first = deploys.run(deploys.deploy("1")).await.map(drop);
    if checks.step("meshctl deploy brings a job", first).is_some() {
        let mut load = Load::start(load(world));
        load.until_more_sent(RATE.into()).await;
        let mut second = deploys.deploy("2");
        second.push("--strategy=blue-green".to_owned());
        let second = deploys.run(second).await.map(drop);
        checks.step("meshctl deploy brings its next version, blue/green", second);
        checks.record("the next version answers", answered_by(world, "v2-").await);
        let back = ["rollback".to_owned(), "reports".to_owned()];
        let back = back.into_iter().chain(deploys.where_to()).collect();
        checks.step("meshctl rollback goes back", deploys.run(back).await.map(drop));
        checks.record("the first version answers again", answered_by(world, "v1-").await);
        let report = load.finish().await.map_err(|error| chain(&error));
        let report = report.and_then(|report| match report.lost() {
            0 if report.sent > 0 => Ok(report.to_string()),
            _ => Err(report.to_string()),
        });
        checks.record("no request lost meanwhile: reports, POST", report);
    }
    checks.step("Nomad ends", deploys.nomad.stop().await);
}

fn load(world: &World) -> LoadSpec {
    LoadSpec {
        client: world.client().clone(),
        address: world.router_address(),
        host: LOCAL.to_owned(),
        path: "/trading/reports/slow?ms=200".to_owned(),
        call: Call::Post,
        rate: RATE,
        timeout: PATIENCE,
    }
}

/// The instance that answers, if its name begins like this.
async fn answered_by(world: &World, version: &str) -> Result<String, String> {
    let path = "/trading/reports/7";
    let answer = world.client().get(world.router_address(), LOCAL, path).await;
    let answer = answer.map_err(|error| chain(&error))?;
    let body = answer.json()?;
    let instance = body.get("instance").and_then(|own| own.as_str()).unwrap_or_default();
    if instance.starts_with(version) { Ok(instance.to_owned()) } else { Err(answer.text()) }
}

/// The lab's job of a service under another name; the program stays.
fn job_of_reports() -> String {
    jobs::SERVICE.replace("orders", "reports").replace("bin}/reports", "bin}/orders")
}

fn values_of(parts: &Parts, planes: impl Iterator<Item = SocketAddr>) -> String {
    let planes: Vec<String> = planes.map(|plane| format!("{:?}", plane.to_string())).collect();
    format!(
        "bin            = {:?}\nenvoy          = {:?}\ncontrol_planes = [{}]\npath           = \"/reports\"\n",
        parts.ours.display().to_string(),
        parts.envoy.display().to_string(),
        planes.join(", ")
    )
}

fn write(file: &Path, text: &str) -> Result<(), LabError> {
    std::fs::write(file, text).map_err(LabError::io(format!("write {}", file.display())))
}
