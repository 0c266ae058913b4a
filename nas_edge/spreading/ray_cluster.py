"""Workers of a Ray cluster: https://docs.ray.io. Retries, scheduling and the way there are Ray's."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from nas_edge.errors import MissingExtraError, WorkerError
from nas_edge.spreading.base import Result, Results, Task, Work
from nas_edge.spreading.processes import Failed, Opened, outcome

_RETRIES = 3  # of a task whose worker or machine is lost
_AHEAD = 2  # tasks a core that are on their way, so that none waits for the next
_LOOK_EVERY_S = 1.0  # so that Ctrl-C is heard

_opened = Opened()  # one a process: only workers use it


@dataclass(frozen=True)
class RayCluster:
    """A cluster, one task a core.

    Attributes:
        address: "ray", "ray://auto" or "ray://HOST:PORT" (see `Spread`). nas-edge must be installed on its machines.
    """

    address: str

    def run(self, work: Work[Task, Result], tasks: Sequence[Task]) -> Results[Result]:
        """See `Executor`."""
        if not tasks:
            return
        with _connected(self.address) as ray:
            do = ray.remote(_on_worker).options(num_cpus=1, max_retries=_RETRIES)
            # In a list the work stays where it is until a worker wants it, once.
            key, sent = uuid.uuid4().hex, [ray.put(work.elsewhere())]
            waiting = iter(enumerate(tasks))
            under_way: dict[Any, int] = {}
            try:
                while True:
                    most = max(1, _AHEAD * int(ray.cluster_resources().get("CPU", 1)))
                    while len(under_way) < most and (following := next(waiting, None)) is not None:
                        under_way[do.remote(key, sent, following[1])] = following[0]
                    if not under_way:
                        return
                    done, _ = ray.wait(list(under_way), num_returns=1, timeout=_LOOK_EVERY_S)
                    for one in done:
                        result = _result(ray, one)
                        yield under_way.pop(one), result
            finally:
                for one in under_way:
                    ray.cancel(one, force=True)


def _result(ray: Any, one: Any) -> Any:
    try:
        result = ray.get(one)
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise WorkerError(
            f"the cluster could not do a task in {_RETRIES + 1} attempts ({reason}); is nas-edge installed on its "
            "machines, and have they enough memory? Leave --cluster out to go on here: what is done is kept"
        ) from error
    if isinstance(result, Failed):
        raise result.error()
    return result


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Ray, connected; a connection that was there before stays."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # or it warns of what a later version will do
    try:
        import ray
    except ImportError:
        raise MissingExtraError("ray", "cluster", "--cluster ray") from None
    if ray.is_initialized():
        yield ray
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address != "ray":
        options["address"] = "auto" if address == "ray://auto" else address
    elif "RAY_ADDRESS" not in os.environ:
        options |= {"include_dashboard": False}
    try:
        ray.init(**options)
    except (ConnectionError, ImportError, OSError, RuntimeError, ValueError) as error:
        ray.shutdown()  # what failed half-way would turn the next one's calls to itself
        reason = " ".join(str(error).split())[:200]
        raise WorkerError(
            f"cluster {address}: cannot be reached ({reason}); 'ray status' tells what runs there, RAY_AUTH_TOKEN "
            "holds its token where it asks for one, and --cluster ray without RAY_ADDRESS starts one on this machine"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _on_worker(key: str, sent: list[Any], task: Any) -> Any:
    """One task, in a worker; the work is fetched and opened for the first of them."""
    if _opened.key != key:
        import ray

        _opened.enter(ray.get(sent[0]), key)
    return outcome(_opened.ask, task)
