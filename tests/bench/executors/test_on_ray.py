import os
import signal
from types import SimpleNamespace

import pytest

from bench.executors.on_ray import check_room, telling_signals
from bench.executors.tasks import WorkerError
from bench.stopping import Terminated, terminable


def a_cluster(*nodes):
    return SimpleNamespace(nodes=lambda: [{"Alive": alive, "Resources": resources} for alive, resources in nodes])


def test_a_task_that_fits_no_machine_is_refused():
    ray = a_cluster((True, {"CPU": 4.0}), (False, {"CPU": 64.0, "GPU": 8.0}))
    check_room(ray, {"num_cpus": 4})
    with pytest.raises(WorkerError, match="no machine of the Ray cluster has 5 cores, which a row needs"):
        check_room(ray, {"num_cpus": 5})
    with pytest.raises(WorkerError, match="no machine of the Ray cluster has 1 core and a GPU"):
        check_room(ray, {"num_cpus": 1, "num_gpus": 1})


def test_cores_of_two_machines_do_not_add_up():
    with pytest.raises(WorkerError):
        check_room(a_cluster((True, {"CPU": 4.0}), (True, {"CPU": 4.0})), {"num_cpus": 8})


def test_sigterm_keeps_its_meaning_whatever_ray_makes_of_it():
    def notice():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            raise KeyboardInterrupt from None  # as Ray's core does

    with pytest.raises(Terminated), terminable(), telling_signals():
        notice()
    with pytest.raises(KeyboardInterrupt) as stop, terminable(), telling_signals():
        raise KeyboardInterrupt
    assert not isinstance(stop.value, Terminated)


def test_rays_own_handler_does_not_stay():
    before = signal.getsignal(signal.SIGTERM)
    with telling_signals():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert signal.getsignal(signal.SIGTERM) is before
