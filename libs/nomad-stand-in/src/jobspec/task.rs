//! The blocks of a task.

use super::job::{AFFINITY, CONSTRAINT, IDENTITY, RESTART, VAULT};
use super::service::{NETWORK, SERVICE};
use super::table::Kind::{Duration, Text, Truth, Whole};
use super::table::Shape::{self, Absent, Free, Many, One};
use super::table::{Table, plain};

pub(super) static TASK: Table = Table {
    label: "Name",
    args: &[
        ("driver", "Driver", Text),
        ("user", "User", Text),
        ("leader", "Leader", Truth),
        ("kill_timeout", "KillTimeout", Duration),
        ("kill_signal", "KillSignal", Text),
        ("shutdown_delay", "ShutdownDelay", Duration),
        ("kind", "Kind", Text),
    ],
    blocks: &[
        ("affinity", "Affinities", Many(&AFFINITY)),
        ("artifact", "Artifacts", Many(&ARTIFACT)),
        ("config", "Config", Free),
        ("constraint", "Constraints", Many(&CONSTRAINT)),
        ("csi_plugin", "CSIPluginConfig", Absent("there are no CSI plugins")),
        ("dispatch_payload", "DispatchPayload", One(&DISPATCH_PAYLOAD)),
        ("env", "Env", Shape::Texts),
        ("identity", "Identity", IDENTITY),
        ("lifecycle", "Lifecycle", One(&LIFECYCLE)),
        ("logs", "LogConfig", One(&LOGS)),
        ("meta", "Meta", Shape::Texts),
        ("resources", "Resources", One(&RESOURCES)),
        ("restart", "RestartPolicy", One(&RESTART)),
        ("service", "Services", Many(&SERVICE)),
        ("template", "Templates", Many(&TEMPLATE)),
        ("vault", "Vault", VAULT),
        ("volume_mount", "VolumeMounts", Many(&VOLUME_MOUNT)),
    ],
    finish: None,
};

static LIFECYCLE: Table = plain(&[("hook", "Hook", Text), ("sidecar", "Sidecar", Truth)]);

static DISPATCH_PAYLOAD: Table = plain(&[("file", "File", Text)]);

static LOGS: Table = plain(&[
    ("max_files", "MaxFiles", Whole),
    ("max_file_size", "MaxFileSizeMB", Whole),
    ("disabled", "Disabled", Truth),
    ("enabled", "Enabled", Truth),
]);

static RESOURCES: Table = Table {
    label: "",
    args: &[
        ("cpu", "CPU", Whole),
        ("cores", "Cores", Whole),
        ("memory", "MemoryMB", Whole),
        ("memory_max", "MemoryMaxMB", Whole),
        ("disk", "DiskMB", Whole),
        ("secrets", "SecretsMB", Whole),
    ],
    blocks: &[
        ("network", "Networks", Many(&NETWORK)),
        ("device", "Devices", Absent("there are no device plugins")),
        ("numa", "NUMA", Absent("processors are not told apart")),
    ],
    finish: None,
};

static TEMPLATE: Table = Table {
    label: "",
    args: &[
        ("source", "SourcePath", Text),
        ("destination", "DestPath", Text),
        ("data", "EmbeddedTmpl", Text),
        ("change_mode", "ChangeMode", Text),
        ("change_signal", "ChangeSignal", Text),
        ("splay", "Splay", Duration),
        ("perms", "Perms", Text),
        ("uid", "Uid", Whole),
        ("gid", "Gid", Whole),
        ("left_delimiter", "LeftDelim", Text),
        ("right_delimiter", "RightDelim", Text),
        ("env", "Envvars", Truth),
        ("vault_grace", "VaultGrace", Duration),
        ("error_on_missing_key", "ErrMissingKey", Truth),
        ("once", "Once", Truth),
    ],
    blocks: &[
        ("wait", "Wait", One(&WAIT)),
        ("change_script", "ChangeScript", Absent("templates are rendered once")),
    ],
    finish: None,
};

static WAIT: Table = plain(&[("min", "Min", Duration), ("max", "Max", Duration)]);

static ARTIFACT: Table = Table {
    label: "",
    args: &[
        ("source", "GetterSource", Text),
        ("destination", "RelativeDest", Text),
        ("mode", "GetterMode", Text),
        ("insecure", "GetterInsecure", Truth),
        ("chown", "Chown", Truth),
    ],
    blocks: &[
        ("options", "GetterOptions", Shape::Texts),
        ("headers", "GetterHeaders", Shape::Texts),
    ],
    finish: None,
};

pub(super) static VOLUME: Table = Table {
    label: "Name",
    args: &[
        ("type", "Type", Text),
        ("source", "Source", Text),
        ("read_only", "ReadOnly", Truth),
        ("per_alloc", "PerAlloc", Truth),
        ("access_mode", "AccessMode", Text),
        ("attachment_mode", "AttachmentMode", Text),
        ("sticky", "Sticky", Truth),
    ],
    blocks: &[("mount_options", "MountOptions", Absent("there are no CSI plugins"))],
    finish: None,
};

static VOLUME_MOUNT: Table = plain(&[
    ("volume", "Volume", Text),
    ("destination", "Destination", Text),
    ("read_only", "ReadOnly", Truth),
    ("propagation_mode", "PropagationMode", Text),
]);
