"""What this package reads of Nomad's answers, as types: in goes JSON, out come values or `NomadAnswerError`.

Names are Nomad's. Only fields that something here decides by are read; unknown ones are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ayatori_airflow.errors import NomadAnswerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")


def parse(what: str, read: Callable[[Any], T], value: Any) -> T:
    """Reads an answer; a shape that is not Nomad's is told by the name of what was read."""
    try:
        return read(value)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise NomadAnswerError(f"{what} is not in the form that Nomad documents: {error!r}") from error


@dataclass(frozen=True)
class Parameters:
    """What a parameterized job takes."""

    payload: str
    required: frozenset[str]
    optional: frozenset[str]


@dataclass(frozen=True)
class Job:
    """A job, parent or child."""

    id: str
    status: str
    is_stopped: bool
    token: str
    create_index: int
    parameters: Parameters | None
    main_tasks: frozenset[tuple[str, str]]

    @classmethod
    def read(cls, value: Any) -> Job:
        """From `GET /v1/job/ID`."""
        parameters = value.get("ParameterizedJob")
        groups = value.get("TaskGroups") or []
        return cls(
            id=value["ID"],
            status=value["Status"],
            is_stopped=bool(value.get("Stop")),
            token=value.get("DispatchIdempotencyToken") or "",
            create_index=int(value.get("CreateIndex") or 0),
            parameters=_parameters(parameters) if parameters and not value.get("Dispatched") else None,
            main_tasks=frozenset(
                (group["Name"], task["Name"])
                for group in groups
                for task in group.get("Tasks") or []
                if not task.get("Lifecycle")
            ),
        )


def _parameters(value: Mapping[str, Any]) -> Parameters:
    return Parameters(
        payload=value.get("Payload") or "optional",
        required=frozenset(value.get("MetaRequired") or ()),
        optional=frozenset(value.get("MetaOptional") or ()),
    )


@dataclass(frozen=True)
class TaskEvent:
    """Something that befell a task."""

    type: str
    message: str
    details: Mapping[str, str]


@dataclass(frozen=True)
class Task:
    """A task of an allocation."""

    name: str
    state: str
    is_failed: bool
    events: tuple[TaskEvent, ...]


@dataclass(frozen=True)
class Allocation:
    """A batch, or a part of it, on a node."""

    id: str
    group: str
    node: str
    client_status: str
    client_description: str
    desired_status: str
    replaced_by: str
    create_index: int
    tasks: tuple[Task, ...]

    @property
    def is_active(self) -> bool:
        """`unknown`: the node does not answer, and Nomad still hopes for it."""
        return self.client_status in ("pending", "running", "unknown")

    @classmethod
    def read(cls, value: Any) -> Allocation:
        """From an item of `GET /v1/job/ID/allocations`."""
        return cls(
            id=value["ID"],
            group=value["TaskGroup"],
            node=value.get("NodeName") or value.get("NodeID") or "",
            client_status=value["ClientStatus"],
            client_description=value.get("ClientDescription") or "",
            desired_status=value.get("DesiredStatus") or "run",
            replaced_by=value.get("NextAllocation") or "",
            create_index=int(value.get("CreateIndex") or 0),
            tasks=tuple(_task(name, state) for name, state in sorted((value.get("TaskStates") or {}).items())),
        )

    @classmethod
    def read_all(cls, value: Any) -> tuple[Allocation, ...]:
        """In the order in which they were made."""
        allocations = [cls.read(item) for item in value]
        return tuple(sorted(allocations, key=lambda one: (one.create_index, one.id)))


def _task(name: str, state: Mapping[str, Any]) -> Task:
    return Task(
        name=name,
        state=state.get("State") or "",
        is_failed=bool(state.get("Failed")),
        events=tuple(
            TaskEvent(
                type=event.get("Type") or "",
                message=event.get("DisplayMessage") or event.get("Message") or "",
                details={key: str(value) for key, value in (event.get("Details") or {}).items()},
            )
            for event in state.get("Events") or []
        ),
    )


@dataclass(frozen=True)
class Evaluation:
    """What the scheduler made of a job."""

    status: str
    description: str
    modify_index: int
    unplaced: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, value: Any) -> Evaluation:
        """From an item of `GET /v1/job/ID/evaluations`."""
        return cls(
            status=value["Status"],
            description=value.get("StatusDescription") or "",
            modify_index=int(value.get("ModifyIndex") or 0),
            unplaced=value.get("FailedTGAllocs") or {},
        )

    @classmethod
    def read_all(cls, value: Any) -> tuple[Evaluation, ...]:
        """The newest last."""
        return tuple(sorted((cls.read(item) for item in value), key=lambda one: one.modify_index))
