//! A real systemd-journald, started by hand in a mount namespace of its own. Needs root and Debian's systemd.
//!
//! Its socket, its journals and its configuration lie in a folder of the lab, bound over the places that journald knows:
//! so several run beside each other and beside the machine's own, and nothing stays. From outside the journals are read
//! and the socket is written to through that folder.
//!
//! | in the folder | in the namespace |
//! |---|---|
//! | `systemd/` | `/run/systemd` |
//! | `run/`, `var/` | `/run/log`, `/var/log` |
//! | `etc/` | `/etc/systemd` |

use std::fs;
use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::Signal;
use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};

use crate::process::{Process, Program, run};
use crate::{LabError, parts, wait};

const DAEMON: &str = "/lib/systemd/systemd-journald";
const DEADLINE: Duration = Duration::from_secs(20);
/// Larger messages do not fit into a datagram and travel in a sealed file.
const DATAGRAM: usize = 100_000;
/// Debian's libfaketime.
const FAKETIME: &str = "faketime/libfaketime.so.1";

/// How it runs.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Lines of `[Journal]` beside the lab's own, such as `SystemMaxUse=16M`.
    pub lines: Vec<String>,
    /// Keeps journals in `/var/log/journal`; else in `/run/log/journal`.
    pub is_persistent: bool,
    /// A journal namespace.
    pub namespace: Option<String>,
    /// Its wall clock as libfaketime takes it, such as `-2h`; `None`: the machine's. The clock of the boot goes with it:
    /// libfaketime cannot leave that alone without breaking journald's timers.
    pub clock: Option<String>,
}

/// A running journald.
#[derive(Debug)]
pub struct Journald {
    process: Process,
    folder: PathBuf,
    settings: Settings,
    starts: u32,
    machine: String,
}

impl Journald {
    /// Whether this machine can have one; `Err` says why not.
    pub fn is_possible() -> Result<(), String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("journald in a mount namespace needs root".to_owned());
        }
        if parts::real_part("journald").is_none() && !Path::new(DAEMON).exists() {
            return Err(format!("{DAEMON} is missing; install the package systemd"));
        }
        Ok(())
    }

    /// Starts one below `folder`, and waits until it takes messages.
    pub async fn start(folder: &Path, settings: Settings) -> Result<Self, LabError> {
        let namespace = settings.namespace.as_ref().map(|name| format!("systemd/journal.{name}"));
        let usual = ["systemd/journal", "run/journal", "var/journal", "etc"].map(str::to_owned);
        for name in usual.into_iter().chain(namespace) {
            let path = folder.join(name);
            fs::create_dir_all(&path).map_err(LabError::io(format!("make {}", path.display())))?;
        }
        if settings.is_persistent {
            // Without it journald waits for `journalctl --flush`, which a boot sends.
            let flag = folder.join("systemd/journal/flushed");
            fs::write(&flag, "").map_err(LabError::io(format!("write {}", flag.display())))?;
        }
        let machine = fs::read_to_string("/etc/machine-id")
            .map_err(LabError::io("read /etc/machine-id"))?
            .trim()
            .to_owned();
        let process = launch(folder, &settings, 0)?;
        let mut own = Self { process, folder: folder.to_owned(), settings, starts: 1, machine };
        own.until_listening().await?;
        Ok(own)
    }

    /// Where its journals are: what `sd_journal_open_directory` takes.
    pub fn journals(&self) -> PathBuf {
        let below = if self.settings.is_persistent { "var/journal" } else { "run/journal" };
        self.folder.join(below)
    }

    /// The directory of its files.
    pub fn directory(&self) -> PathBuf {
        let namespace = self.settings.namespace.as_ref();
        let suffix = namespace.map(|name| format!(".{name}")).unwrap_or_default();
        self.journals().join(format!("{}{suffix}", self.machine))
    }

    /// Its process, in whose namespace others can be started with `nsenter -m -t ID`.
    pub fn id(&self) -> i32 {
        self.process.id()
    }

    /// The names of its files, sorted.
    pub fn files(&self) -> Result<Vec<String>, LabError> {
        let step = || format!("list {}", self.directory().display());
        let mut names = Vec::new();
        for entry in fs::read_dir(self.directory()).map_err(LabError::io(step()))? {
            let entry = entry.map_err(LabError::io(step()))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// Sends an entry by the native protocol, whatever its fields hold.
    pub fn send(&self, fields: &[(&str, &[u8])]) -> Result<(), LabError> {
        let folder = self.socket_folder();
        let datagram = encode(fields);
        let step = || format!("send an entry to {}", folder.display());
        let socket = UnixDatagram::unbound().map_err(LabError::io(step()))?;
        let path = folder.join("socket");
        if datagram.len() <= DATAGRAM {
            return socket.send_to(&datagram, &path).map(drop).map_err(LabError::io(step()));
        }
        let name = c"entry";
        let file = memfd_create(name, MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_CLOEXEC)
            .map_err(|errno| LabError::io(step())(errno.into()))?;
        let mut file = fs::File::from(file);
        file.write_all(&datagram).map_err(LabError::io(step()))?;
        fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::all()))
            .map_err(|errno| LabError::io(step())(errno.into()))?;
        let address = UnixAddr::new(&path).map_err(|errno| LabError::io(step())(errno.into()))?;
        let descriptors = [std::os::fd::AsRawFd::as_raw_fd(&file)];
        let message = [ControlMessage::ScmRights(&descriptors)];
        let socket = std::os::fd::AsRawFd::as_raw_fd(&socket);
        sendmsg(socket, &[], &message, MsgFlags::empty(), Some(&address))
            .map(drop)
            .map_err(|errno| LabError::io(step())(errno.into()))
    }

    /// Begins new files (SIGUSR2), and waits until that is done.
    pub async fn rotate(&mut self) -> Result<(), LabError> {
        let before = self.files()?.len();
        self.process.signal(Signal::SIGUSR2)?;
        let directory = self.directory();
        self.process
            .until("journald has a new file", DEADLINE, async || {
                let count = fs::read_dir(&directory).map_or(0, Iterator::count);
                if count > before { Ok(()) } else { Err(format!("{count} files")) }
            })
            .await
    }

    /// Deletes closed files, oldest first, until at most so many bytes are left.
    pub async fn vacuum(&self, bytes: u64) -> Result<String, LabError> {
        let program = Program::new("vacuum", Path::new("/usr/bin/journalctl")).args([
            "-D".to_owned(),
            self.directory().display().to_string(),
            format!("--vacuum-size={bytes}"),
        ]);
        run(&program).await
    }

    /// Kills it at once, as a crash would.
    pub async fn kill(&mut self) -> Result<(), LabError> {
        self.process.kill().await.map(drop)
    }

    /// Stops it in peace.
    pub async fn stop(&mut self) -> Result<(), LabError> {
        self.process.stop(DEADLINE).await.map(drop)
    }

    /// Starts it again on the same files, with another wall clock if one is given.
    pub async fn restart(&mut self, clock: Option<&str>) -> Result<(), LabError> {
        self.settings.clock = clock.map(str::to_owned);
        let socket = self.socket_folder().join("socket");
        if socket.exists() {
            fs::remove_file(&socket)
                .map_err(LabError::io(format!("remove {}", socket.display())))?;
        }
        self.process = launch(&self.folder, &self.settings, self.starts)?;
        self.starts += 1;
        self.until_listening().await
    }

    /// Its last lines of output.
    pub fn tail(&self) -> String {
        self.process.tail()
    }

    fn socket_folder(&self) -> PathBuf {
        match &self.settings.namespace {
            Some(name) => self.folder.join(format!("systemd/journal.{name}")),
            None => self.folder.join("systemd/journal"),
        }
    }

    async fn until_listening(&mut self) -> Result<(), LabError> {
        let path = self.socket_folder().join("socket");
        self.process
            .until("journald takes messages", DEADLINE, async || {
                let socket = UnixDatagram::unbound()?;
                socket.connect(&path)
            })
            .await?;
        let directory = self.directory();
        wait::until("journald has a file", DEADLINE, async || fs::read_dir(&directory).map(drop))
            .await
    }
}

fn launch(folder: &Path, settings: &Settings, number: u32) -> Result<Process, LabError> {
    let name = settings.namespace.as_ref();
    let file = name.map_or("journald.conf".to_owned(), |name| format!("journald@{name}.conf"));
    let storage = if settings.is_persistent { "persistent" } else { "volatile" };
    let own = ["ReadKMsg=no", "Audit=no", "RateLimitIntervalSec=0", "ForwardToWall=no"];
    let lines: Vec<&str> =
        own.into_iter().chain(settings.lines.iter().map(String::as_str)).collect();
    let text = format!("[Journal]\nStorage={storage}\n{}\n", lines.join("\n"));
    let path = folder.join("etc").join(file);
    fs::write(&path, text).map_err(LabError::io(format!("write {}", path.display())))?;

    let mut script = "set -e; mount --make-rprivate /\n".to_owned();
    let places = [
        ("systemd", "/run/systemd"),
        ("run", "/run/log"),
        ("var", "/var/log"),
        ("etc", "/etc/systemd"),
    ];
    for (name, place) in places {
        script.push_str(&format!("mount --bind {} {place}\n", folder.join(name).display()));
    }
    if let Some(clock) = &settings.clock {
        let library = faketime()?;
        script.push_str(&format!("export LD_PRELOAD={} FAKETIME='{clock}'\n", library.display()));
    }
    script.push_str(&format!("exec {DAEMON} {}\n", name.map_or("", String::as_str)));
    let label = name.map_or("journald".to_owned(), |name| format!("journald-{name}"));
    let program = Program::new(format!("{label}-{number}"), Path::new("/usr/bin/unshare"))
        .args(["-m", "sh", "-c", &script]);
    Process::start(&program, folder)
}

/// libfaketime, from setup's list or where Debian puts it.
fn faketime() -> Result<PathBuf, LabError> {
    let usual = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let usual = usual.map(|entry| entry.path().join(FAKETIME)).find(|path| path.exists());
    parts::real_part("libfaketime").or(usual).ok_or_else(|| LabError::Missing {
        what: "libfaketime".to_owned(),
        next: "run `make setup` as root, or install the package libfaketime".to_owned(),
    })
}

/// `NAME\n`, the length, the value: the form that takes any bytes (systemd's native protocol).
fn encode(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut datagram = Vec::new();
    for (name, value) in fields {
        datagram.extend_from_slice(name.as_bytes());
        datagram.push(b'\n');
        let length = u64::try_from(value.len()).unwrap_or(u64::MAX);
        datagram.extend_from_slice(&length.to_le_bytes());
        datagram.extend_from_slice(value);
        datagram.push(b'\n');
    }
    datagram
}

/// Writes a journal file from text in journald's export format, with Debian's systemd-journal-remote: any fields, `_…` too.
pub async fn write_journal(export: &Path, journal: &Path) -> Result<(), LabError> {
    let program = parts::real_part("journal-remote").ok_or_else(|| LabError::Missing {
        what: "systemd-journal-remote".to_owned(),
        next: "run `make setup` as root, or install the package systemd-journal-remote".to_owned(),
    })?;
    let output = format!("--output={}", journal.display());
    let program =
        Program::new("journal-remote", &program).args([output, export.display().to_string()]);
    run(&program).await.map(drop)
}
