"""The wait of a deferred task, in the triggerer.

Its arguments are all that it knows, so a triggerer that restarts, or another one, goes on where it was. A user's kill stops
the batch; `cleanup` does nothing, because it also runs when the triggerer only restarts.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from ayatori_airflow.errors import NomadNotFound, NomadRefused
from ayatori_airflow.hook import NomadHook, stopping, with_namespace
from ayatori_airflow.watch import Event, Watch, watch
from ayatori_airflow.wire import PATIENCE, AsyncNomad

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ayatori_airflow.settings import NomadSettings

# Airflow gives 30 s (`[triggerer] on_kill_timeout`).
KILL_PATIENCE = timedelta(seconds=20)


class NomadDispatchTrigger(BaseTrigger):
    """Waits for a batch. Fires one event: `watch.Event` as a dictionary, with `watch` and `offsets` as they were given.

    :param nomad_conn_id: the connection
    :param watch: what to wait for, `watch.Watch` as a dictionary
    :param offsets: how far logs are copied; the operator's
    :param namespace: Nomad's namespace, instead of the connection's
    :param patience: seconds for which failures that may pass are borne
    """

    def __init__(
        self,
        nomad_conn_id: str,
        watch: dict[str, Any],
        offsets: dict[str, int] | None = None,
        namespace: str | None = None,
        patience: float = PATIENCE.total_seconds(),
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.nomad_conn_id, self.namespace, self.patience = nomad_conn_id, namespace, patience
        self.watch, self.offsets = Watch(**watch), offsets or {}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """All that makes another of it."""
        return (
            f"{type(self).__module__}.{type(self).__qualname__}",
            {
                "nomad_conn_id": self.nomad_conn_id,
                "watch": asdict(self.watch),
                "offsets": self.offsets,
                "namespace": self.namespace,
                "patience": self.patience,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fires when something happened that the task must deal with."""
        try:
            settings = await self._settings()
        except (NomadRefused, AirflowNotFoundException) as error:
            event = Event("unreadable", str(error))
        else:
            async with AsyncNomad(settings, timedelta(seconds=self.patience), self.log.warning) as nomad:
                event = await watch(nomad, self.watch, self.log.info)
        yield TriggerEvent({**asdict(event), "watch": asdict(self.watch), "offsets": self.offsets})

    async def on_kill(self) -> None:
        """Stops the batch: the user failed, cleared or marked the task."""
        async with AsyncNomad(await self._settings(), KILL_PATIENCE) as nomad:
            try:
                await nomad.call(stopping(self.watch.job))
            except NomadNotFound:
                return
        self.log.info("Stopped batch %s, because its task was killed", self.watch.job)

    async def _settings(self) -> NomadSettings:
        return with_namespace(await NomadHook.aget_connection(self.nomad_conn_id), self.namespace)
