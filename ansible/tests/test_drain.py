"""A host emptied by the drain playbook and given back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from cluster import Cluster, cluster, get
from conftest import Need
from job_files import job_file


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("drain"), Need("drain"), nodes=2) as found:
        yield found


def test_a_host_is_emptied_once_and_given_back(place):
    nodes = sorted(get(f"{place.nomad}/v1/nodes"), key=lambda node: node["Name"])
    if len(nodes) < 2:
        pytest.skip("SKIP drain: nomad: one agent is one node, so a drain has nowhere to go; the stand-in has two")
    place.run(job_file(place.folder, "moved"))
    node = next(node for node in nodes if runs_on(place, node["ID"]))
    options: dict[str, Any] = {"node_drain_node": node["Name"], "node_drain_poll_seconds": 0.2}
    looked = place.play("drain", "--check", **options)
    assert (looked.rc, looked.changed) == (0, 1), looked.told
    assert "would move moved.app[" in looked.message and runs_on(place, node["ID"])
    drained = place.play("drain", **options, node_drain_deadline_seconds=20)
    assert (drained.rc, drained.changed) == (0, 1), drained.told
    assert not runs_on(place, node["ID"])
    place.until_answers("moved", {"one"})
    again = place.play("drain", **options)
    assert (again.rc, again.changed) == (0, 0), again.told
    back = place.play("drain", **options, node_drain_state="eligible")
    assert (back.rc, back.changed) == (0, 1), back.told
    assert get(f"{place.nomad}/v1/node/{node['ID']}")["SchedulingEligibility"] == "eligible"


def test_a_host_that_nobody_knows_is_refused_with_those_that_are_known(place):
    refused = place.play("drain", node_drain_node="host-77")
    assert refused.rc == 2 and "host-77: no nodes have this name" in refused.message, refused.told
    assert get(f"{place.nomad}/v1/nodes")[0]["Name"] in refused.message


def runs_on(place: Cluster, node: str) -> bool:
    listed = get(f"{place.nomad}/v1/node/{node}/allocations")
    return any(allocation["ClientStatus"] == "running" for allocation in listed)
