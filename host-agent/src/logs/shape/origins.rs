//! Who wrote an entry: names from the entry's own fields, from Nomad's labels, and from Consul's registrations by allocation.
//!
//! What is not known is absent. In particular a container has no unit, because all of them are of `docker.service`; and an
//! allocation with several services gives a service only where Nomad's id of the registration names the entry's task.

use std::sync::Arc;

use contract::registration::Registration;

use crate::instances::{Instance, Instances};
use crate::logs::entry::Fields;
use crate::logs::record::{Origin, Record};
use crate::logs::shape::fields::{Known, Scan};

/// Says in the record who wrote the entry.
pub(super) fn fill(record: &mut Record, scan: &Scan, fields: &Fields, instances: &Instances) {
    let text = |known| scan.text(fields, known);
    let mut set = |origin, value: Option<&str>| {
        if let Some(value) = value {
            record.set_origin(origin, value);
        }
    };
    let allocation = text(Known::Allocation);
    let task = text(Known::Task);
    if let Some(allocation) = allocation
        && let Some(registered) = instances.by_allocation.get(allocation)
    {
        let who = who(registered, task);
        set(Origin::System, who.registration.map(|own| own.system.as_str()));
        set(Origin::Service, who.service);
        set(Origin::Track, who.registration.map(|own| own.track.as_str()));
    }
    set(Origin::Instance, allocation);
    set(Origin::Namespace, text(Known::Namespace));
    set(Origin::Job, text(Known::JobName).or_else(|| text(Known::JobId)));
    set(Origin::Group, text(Known::Group));
    set(Origin::Task, task);
    let is_container = scan.get(fields, Known::ContainerId).is_some();
    if is_container {
        set(Origin::Container, text(Known::ContainerName));
        set(Origin::Image, text(Known::Image));
    }
    let node = Some(instances.node.as_str()).filter(|node| !node.is_empty());
    set(Origin::Host, node.or_else(|| text(Known::Hostname)));
    if !is_container {
        set(Origin::Unit, unit(scan, fields));
    }
    set(Origin::Identifier, text(Known::Identifier).or_else(|| text(Known::Comm)));
    set(Origin::Stream, text(Known::Stream).or_else(|| stream(scan, fields)));
}

/// The unit that an entry is about, as `journalctl --unit` sees it: systemd and privileged programs speak of others.
fn unit<'f>(scan: &Scan, fields: &'f Fields) -> Option<&'f str> {
    let is = |known, value: &[u8]| scan.get(fields, known) == Some(value);
    let of_systemd = scan.text(fields, Known::Unit).filter(|_| is(Known::Pid, b"1"));
    let of_root = scan.text(fields, Known::ObjectUnit).filter(|_| is(Known::Uid, b"0"));
    of_systemd.or(of_root).or_else(|| scan.text(fields, Known::SystemdUnit))
}

/// Docker's journald driver writes stdout with priority 6 and stderr with 3, and no other.
fn stream(scan: &Scan, fields: &Fields) -> Option<&'static str> {
    scan.get(fields, Known::ContainerId)?;
    match scan.get(fields, Known::Priority)? {
        b"6" => Some("stdout"),
        b"3" => Some("stderr"),
        _ => None,
    }
}

struct Who<'i> {
    registration: Option<&'i Registration>,
    service: Option<&'i str>,
}

/// The registration that speaks for a task of an allocation: of those that are present, else of those that are gone.
fn who<'i>(registered: &'i [Arc<Instance>], task: Option<&str>) -> Who<'i> {
    let present = registered.iter().take_while(|instance| instance.gone.is_none()).count();
    let registered =
        registered.get(..present).filter(|some| !some.is_empty()).unwrap_or(registered);
    let in_mesh = || registered.iter().filter(|instance| instance.mesh().is_some());
    let mut candidates = in_mesh();
    let one = match (candidates.next(), candidates.next(), registered) {
        (Some(one), None, _) | (None, _, [one]) => Some(one),
        _ => registered.iter().find(|instance| task.is_some_and(|task| names_task(instance, task))),
    };
    if let Some(one) = one {
        return Who { registration: one.mesh(), service: Some(&one.service) };
    }
    let mut all = in_mesh().filter_map(|instance| instance.mesh());
    let first = all.next();
    let is_one = |other: &Registration| {
        first.is_some_and(|own| (&own.system, own.track) == (&other.system, other.track))
    };
    Who { registration: first.filter(|_| all.all(is_one)), service: None }
}

/// Nomad's ids of registrations are `_nomad-task-ALLOCATION-TASK-SERVICE-PORT`, with `group-GROUP` for a group's services.
fn names_task(instance: &Instance, task: &str) -> bool {
    let rest = instance.allocation.as_ref().and_then(|allocation| {
        let rest = instance.id.strip_prefix("_nomad-task-")?;
        rest.strip_prefix(allocation.as_str())?.strip_prefix('-')
    });
    let rest = rest.and_then(|rest| rest.strip_prefix(task)?.strip_prefix('-'));
    rest.is_some_and(|rest| rest.starts_with(instance.service.as_str()))
}
