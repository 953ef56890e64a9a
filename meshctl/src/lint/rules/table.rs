//! Every rule about jobs: how bad a breach is, what must hold, why, and what to write.
//!
//! The texts are the documents' ([`crate::lint::page`]) and the reports'; the checks are those of the modules beside.

use super::{Level, Rule, health, meta, ports, proxies, stop, tasks, update};

macro_rules! rules {
    ($($level:ident $id:literal $check:expr; $what:literal; $why:literal; $fix:literal)+) => {
        /// Every rule, in the order of the documents.
        pub const RULES: &[Rule] = &[$(Rule {
            id: $id, level: Level::$level, what: $what, why: $why, fix: $fix, check: $check,
        }),+];
    };
}

rules! {
    Error "shutdown-delay" Some(stop::shutdown_delay);
        "A group with a service of the mesh, or with a Router, has a `shutdown_delay` of 3 s or more.";
        "Nomad deregisters an instance, waits this long, and then ends it. Until proxies have learned of it they go on sending to it: within 0.2 s mostly, after up to a second when a large loss is confirmed first. Requests that are under way need time, too.";
        "`shutdown_delay = \"10s\"` in the group; more where requests take longer."
    Error "kill-timeout" Some(stop::kill_timeout);
        "No `kill_timeout` is longer than the client's `max_kill_timeout`, 30 s unless configured (`--max-kill-timeout`).";
        "Nomad shortens it without a word: the task is killed earlier than the job says.";
        "A shorter `kill_timeout`, or a longer `max_kill_timeout` in the clients' configuration."
    Warning "kill-signal" Some(stop::kill_signal);
        "Tasks of `exec`, `raw_exec` and `java` say `kill_signal = \"SIGTERM\"`.";
        "These drivers send SIGINT, on which many programs end without answering what they have.";
        "`kill_signal = \"SIGTERM\"` in the task."
    Error "kill-order" Some(stop::kill_order);
        "An Envoy beside an application is a prestart sidecar; no task is `leader`. A gateway's Envoy is a main task, and what stands behind it a sidecar.";
        "Main tasks are ended first, sidecars after them. What ends first must be what asks the other: an Envoy that goes before its application cuts the requests that are under way, an application that goes before its gateway's Envoy leaves it without answers.";
        "`lifecycle { hook = \"prestart\"  sidecar = true }` (on lines of their own) in the task that must live longer; no `leader`."
    Error "envoy-drain" Some(stop::envoy_drain);
        "The Envoy of a gateway or Router is run by `meshctl run-envoy`.";
        "Envoy ends at once on SIGTERM: of 612 requests at 200 a second, a stop cut 13.";
        "`command = \"meshctl\"`, `args = [\"run-envoy\", …, \"--\", \"envoy\"]`."
    Error "drain-time" Some(stop::drain_time);
        "`run-envoy --drain` and two seconds are less than the task's `kill_timeout` (5 s by default).";
        "Nomad kills the process while it still waits for requests to end.";
        "A longer `kill_timeout`, or a shorter `--drain`."
    Warning "wait-envoy" Some(proxies::waits);
        "A group with an Envoy beside an application has a prestart task, no sidecar, that runs `meshctl wait-envoy`.";
        "Nomad starts the application 0.1 to 0.4 s after Envoy runs, not when it is ready: its first calls to others fail.";
        "A task with `lifecycle { hook = \"prestart\" }` and `args = [\"wait-envoy\"]`, as in jobs/service.nomad.hcl."
    Error "meshctl-args" Some(proxies::args);
        "The command line of `meshctl` in a task can be typed, and makes a proxy that can work.";
        "The task fails when it is placed, with what `nomad job validate` does not look into.";
        "What the message says."
    Error "envoy-id" Some(proxies::id);
        "`--id` is `${NOMAD_ALLOC_ID}`.";
        "The id joins a registration to its proxy: with another one the control plane does not know whose Envoy it is.";
        "`\"--id\", \"${NOMAD_ALLOC_ID}\"`."
    Error "template-restart" Some(proxies::templates);
        "Templates of a task with an Envoy have `change_mode = \"noop\"` or `once = true`.";
        "The default is `restart`: one change of what a template reads restarts every Envoy at once.";
        "`change_mode = \"noop\"`; better no template: `meshctl run-envoy` takes flags."
    Warning "app-restart" Some(tasks::templates);
        "Templates of an application that read Consul, Nomad or Vault do not restart it.";
        "A restart by a template neither deregisters the instance nor waits, on all instances at once.";
        "`change_mode = \"signal\"` or `\"noop\"`, or a new version of the job for a new configuration."
    Error "check" Some(health::present);
        "A service of the mesh has a check on the port that it registers.";
        "A registration without a check counts as passing from the first moment: requests come before anything listens, and a broken version is rolled out to its end.";
        "A `check` with `port` of the service, so that it goes through the sidecar."
    Error "check-type" Some(health::kind);
        "Checks of a service of the mesh are of type `http`, `grpc` or `tcp`.";
        "A script runs inside the task, past the sidecar: it passes while nobody can reach the application.";
        "`type = \"http\"` and a `path`, or `type = \"grpc\"`."
    Warning "check-tcp" Some(health::tcp);
        "An application of HTTP or gRPC is checked by a request.";
        "A connection is taken by the sidecar as soon as it listens, whatever the application does.";
        "`type = \"http\"` with a `path`, or `type = \"grpc\"`, on the port of the service."
    Error "check-on-update" Some(health::on_update);
        "No check says `on_update = \"ignore\"` or `\"ignore_warnings\"` in a service of the mesh.";
        "A deployment succeeds although the check fails, and the old version is gone.";
        "No `on_update`."
    Error "port-label" Some(ports::labels);
        "Every port that a service, a check or `${NOMAD_PORT_…}` names is one of the group's network.";
        "The name stands for nothing: a registration without a port is rejected by the mesh, an empty argument ends a program.";
        "The label of a `port` block of the group's `network`."
    Error "port-twice" Some(ports::twice);
        "No two ports of a group have the same `static` or the same `to`.";
        "Two programs of one namespace listen on the same port: one of them does not start.";
        "Another number."
    Error "static-port" Some(ports::fixed);
        "Only jobs of type `system` have static ports.";
        "A host has room for one instance; a canary finds none where all hosts have one, and the deployment waits for ever.";
        "A `port` block without `static`: callers find the instance through the mesh. Behind a fixed name a silence says why."
    Error "loopback-port" Some(ports::loopback);
        "Fixed numbers for `--egress`, `--admin` and the application's port stand only in a network of the instance's own (`mode = \"bridge\"`).";
        "In the host's network two instances on one host take the same ports, and one of them does not start.";
        "`network { mode = \"bridge\" }`, or dynamic ports passed as `${NOMAD_PORT_…}`."
    Error "listen-address" Some(ports::listen);
        "In a bridge network nothing listens on `${NOMAD_ADDR_…}` or `${NOMAD_IP_…}` of its own ports.";
        "Both name the host's address, which is not there inside of the namespace: \"Cannot assign requested address\".";
        "`0.0.0.0:${NOMAD_PORT_…}`, or 127.0.0.1 for an application behind its sidecar."
    Error "docker-host" Some(ports::docker_host);
        "With the host's network a docker task has `network_mode = \"host\"` in its `config`.";
        "Docker gives it a network of its own, in which the host's address is not there.";
        "`network_mode = \"host\"` in the task's `config`, or `mode = \"bridge\"` in the group's `network`."
    Error "meta-missing" Some(meta::missing);
        "A service on a port of a sidecar has `mesh_…` keys.";
        "The registration is outside the mesh: nobody finds it through the mesh, and its sidecar gets no listener.";
        "`meta` with `mesh_system`, as in jobs/service.nomad.hcl; in `tags` with `provider = \"nomad\"`."
    Error "meta-key" Some(meta::keys);
        "Every `mesh_…` key is one of the mesh's.";
        "A key that nobody reads has no effect, and nobody says so.";
        "A key of docs/systems.md."
    Error "meta-value" Some(meta::values);
        "Every `mesh_…` value can be used, and `mesh_system` is there.";
        "A value that cannot be used rejects the registration; without `mesh_system` it is outside the mesh.";
        "What the message says; docs/systems.md has the values."
    Error "meta-port" Some(meta::ports);
        "`mesh_stats`, `mesh_ingress` and `mesh_metrics` name host ports.";
        "In a bridge network `${NOMAD_PORT_…}` is the port inside: nobody reaches it from outside.";
        "`${NOMAD_HOST_PORT_…}`."
    Error "meta-instance" Some(meta::instance);
        "`mesh_instance` is `${NOMAD_ALLOC_ID}`, or not there.";
        "It joins the registration to its proxy, whose `--id` is the allocation's.";
        "`mesh_instance = \"${NOMAD_ALLOC_ID}\"`."
    Warning "meta-stats" Some(meta::stats);
        "A service of the mesh says `mesh_stats`.";
        "Nobody finds the statistics of its sidecar: they are missing where they are needed.";
        "A port for `--stats`, and `mesh_stats = \"${NOMAD_HOST_PORT_stats}\"`."
    Error "meta-canary" Some(meta::canary);
        "`canary_meta` repeats every `mesh_…` key of `meta`, with the same value but for the track.";
        "It replaces `meta` until promotion: a key that is not repeated is gone, and without `mesh_system` the canary is outside the mesh.";
        "All keys of `meta` again in `canary_meta`, with `mesh_track = \"canary\"`."
    Error "canary-track" Some(meta::track);
        "Where `update` has canaries, `canary_meta` says `mesh_track = \"canary\"`; `meta` never does.";
        "A canary without it is an instance like all others: it gets ordinary traffic before anybody has looked at it. A stable one with it gets none.";
        "A `canary_meta` block with the keys of `meta` and `mesh_track = \"canary\"`."
    Error "service-provider" Some(meta::provider);
        "With `provider = \"nomad\"` the keys of the mesh stand in `tags` and `canary_tags`.";
        "Nomad's own services have no meta: the registration is not in the mesh.";
        "`tags = [\"mesh_system=trading\", …]`; or no `provider`, which means `consul`."
    Error "service-name" Some(meta::name);
        "Its name is one that callers can write: 1 to 63 of a-z, 0-9, `-` and `_`.";
        "The name becomes part of a host name; another one is rejected.";
        "A name such as `orders`."
    Warning "service-group" Some(meta::of_group);
        "A service of the mesh stands in the group, not in a task.";
        "A task's service is deregistered with its task, and the group's `shutdown_delay` does not wait for it.";
        "The `service` block in the group."
    Warning "service-weights" Some(meta::weights);
        "Weights are written as `mesh_weight`.";
        "Nomad 1.6 does not know `weights` in a service and refuses the job.";
        "`mesh_weight = \"7\"` in `meta` and `canary_meta`."
    Warning "gateway-ingress" Some(meta::ingress);
        "A gateway says `mesh_ingress`.";
        "The Router cannot enter the System.";
        "A second port, `--ingress`, and `mesh_ingress = \"${NOMAD_HOST_PORT_ingress}\"`."
    Error "surge" Some(update::surge);
        "An update leaves instances: with canaries, or with `max_parallel` below `count`.";
        "Nomad stops `max_parallel` instances before it starts their replacements: with all of them nobody answers meanwhile.";
        "`canary = 1` (its instances come in addition), or a smaller `max_parallel`."
    Warning "auto-revert" Some(update::auto_revert);
        "`auto_revert = true` in `update`.";
        "A version that does not become healthy stays, half rolled out.";
        "`auto_revert = true`, and the same `canary` in every version: a revert uses the old version's own block."
    Error "health-check" Some(update::health_check);
        "`health_check` in `update` is `checks`, which is the default.";
        "With `task_states` an instance counts as healthy because it runs; with `manual` somebody must say so each time.";
        "`health_check = \"checks\"`."
    Warning "min-healthy-time" Some(update::min_healthy_time);
        "`min_healthy_time` is 3 s or more (10 s by default).";
        "The next instance is stopped before proxies know the one that replaces it.";
        "`min_healthy_time = \"10s\"`."
    Error "deadlines" Some(update::deadlines);
        "`min_healthy_time` < `healthy_deadline` < `progress_deadline` (defaults 10 s, 5 min, 10 min).";
        "A deployment fails before an instance has had its time. With `progress_deadline = \"0\"` the first one that is unhealthy fails it, which is allowed.";
        "A longer `progress_deadline`, a shorter `healthy_deadline`."
    Warning "job-name" Some(tasks::job_name);
        "A job has no `name` that differs from its label.";
        "The label is the id: `nomad job stop` of the name finds nothing.";
        "The name as label, and no `name`."
    Error "log-driver" Some(tasks::log_driver);
        "A docker task has no `logging` of its own, or `journald`.";
        "It replaces what the client's configuration says; with another driver the host's agent does not see the task's logs.";
        "No `logging` block: the client's plugin configuration sets journald for all."
    Error "logs-disabled" Some(tasks::logs_disabled);
        "A task without docker does not say `logs { disabled = true }`.";
        "Its files in the allocation's folder are all that the host's agent can read.";
        "No `disabled`."
    Warning "image-tag" Some(tasks::image_tag);
        "Images have a tag that is not `latest`.";
        "`latest` is pulled at each start, even when it is on the host, and a version that is reverted to is no longer the old one.";
        "A version as tag."
    Warning "batch-retries" Some(tasks::batch);
        "A parameterized batch has `restart { attempts = 0 }` and `reschedule { attempts = 0  unlimited = false }`.";
        "By default Nomad tries three times and reschedules: whoever dispatched it sees a failure a long time after it happened.";
        "Both blocks in the group."
    Error "syntax" None;
        "The file is HCL, and its blocks are as HCL wants them.";
        "Nomad refuses it.";
        "What the message says. A block on one line may hold one argument, and no block."
    Error "no-job" None;
        "The file has a `job` block.";
        "There is nothing to run.";
        "A `job` block."
    Warning "unknown" None;
        "Everything that rules read is known without a server.";
        "What hangs on a variable without a default, or on a function that is not known here, is not judged.";
        "`--var NAME=VALUE`, or a default."
    Error "silence" None;
        "A silence names a rule and a reason.";
        "Whoever comes later cannot know whether it still holds.";
        "`# lint:allow(RULE) REASON`."
    Warning "silence-unused" None;
        "A silence silences something.";
        "It hides the next breach, which nobody has looked at.";
        "No comment."
}
