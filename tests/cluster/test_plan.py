from __future__ import annotations

import pytest

from spoofcheck.cluster.plan import Plan, Resources, planned
from spoofcheck.errors import UsageError


@pytest.mark.parametrize("cores", [1, 2, 3, 4, 7, 16, 64])
@pytest.mark.parametrize("readers", [None, 1, 9])
@pytest.mark.parametrize("networks", [None, 1, 9])
def test_all_actors_find_a_place_on_cores(cores: int, readers: int | None, networks: int | None) -> None:
    plan = planned(Resources(cores, 0, 1), readers, networks)
    taken = plan.readers * plan.reader_cpus + plan.networks * plan.network_cpus + plan.judges * plan.judge_cpus
    assert taken <= cores + 1e-9
    assert (plan.readers, plan.networks) == (readers or plan.readers, networks or plan.networks)
    assert plan.device == "cpu"


@pytest.mark.parametrize(("gpus", "networks"), [(1, None), (8, None), (8, 8), (2, 6), (64, None)])
def test_a_network_and_a_judge_share_a_gpu(gpus: int, networks: int | None) -> None:
    plan = planned(Resources(8 * gpus, gpus, 1), None, networks)
    per_gpu = -(-plan.networks // gpus)
    assert per_gpu * plan.network_gpus + plan.judge_gpus <= 1
    assert (plan.networks, plan.judges, plan.device) == (networks or gpus, gpus, "cuda")


def test_gpus_can_be_left_alone() -> None:
    assert planned(Resources(8, 2, 1), device="cpu") == planned(Resources(8, 0, 1))
    assert isinstance(planned(Resources(8, 2, 1)), Plan)


@pytest.mark.parametrize(("device", "words"), [("cuda", "no GPU"), ("cuda:1", "its own device"), ("mps", "its own")])
def test_a_device_that_actors_cannot_have_is_refused(device: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        planned(Resources(8, 0, 1), device=device)
