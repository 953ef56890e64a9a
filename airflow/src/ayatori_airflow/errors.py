"""Errors that a task fails with: each names the thing, the step and the next move.

A `NomadRefused` can never succeed, so Airflow does not retry it. A `BatchError` means that the batch did not succeed and
that the next try dispatches it again; after any other error the next try finds the batch and goes on with it.
"""

from airflow.sdk.exceptions import AirflowException, AirflowFailException


class NomadError(AirflowException):
    """What is between a task and its batch failed."""


class NomadUnreachable(NomadError):
    """Nomad did not answer for longer than the task's patience."""


class NomadForbidden(NomadError):
    """Nomad refused the token."""


class NomadAnswerError(NomadError):
    """Nomad answered with something that is neither success nor a known refusal."""


class NomadNotFound(NomadError):
    """Nomad does not know the job."""


class NomadRefused(AirflowFailException, NomadError):
    """The request is wrong and would be refused for ever: unknown job, missing meta, payload too large."""


class BatchGone(AirflowFailException, NomadError):
    """Nomad no longer knows the batch that was dispatched; how it ended is unknown, so only a person may repeat it."""


class BatchError(NomadError):
    """The batch ended without success."""


class BatchFailed(BatchError):
    """The program failed, or Nomad could not start it."""


class BatchStopped(BatchError):
    """Someone stopped the batch."""


class BatchLost(BatchError):
    """The host went away while the batch ran on it."""


class BatchUnplaced(BatchError):
    """No host could take the batch for `placement_timeout`."""


class BatchOverdue(BatchError):
    """The batch ran longer than the task's `execution_timeout`."""
