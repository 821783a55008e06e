"""/metrics of several workers, of which some were killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

# prometheus_client chooses between memory and files when it is imported: hence processes of their own.
WORKER = """
import os, signal, sys
from prometheus_client import REGISTRY
from adaptseg_serve.metrics import Metrics
metrics = Metrics(REGISTRY)
metrics.ready(16)
metrics.request("http", "ok")
"""
KILLED = WORKER + "metrics.depth(7); metrics.draining(); os.kill(os.getpid(), signal.SIGKILL)"
ASKED = WORKER + "sys.stdout.buffer.write(metrics.exposition())"


def run(code: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    environ = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(folder)}
    return subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)


def test_a_killed_workers_gauges_are_gone_and_its_counts_stay(tmp_path: Path) -> None:
    for _ in range(2):
        assert run(KILLED, tmp_path).returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob("gauge_livesum_*.db"))) == 2
    families = text_string_to_metric_families(run(ASKED, tmp_path).stdout)
    found = {sample.name: sample.value for family in families for sample in family.samples if sample.value}
    assert found["adaptseg_queue_capacity"] == 16
    assert found["adaptseg_ready"] == 1
    assert "adaptseg_queue_depth" not in found
    assert found["adaptseg_inference_requests_total"] == 3
    assert len(list(tmp_path.glob("gauge_livesum_*.db"))) == 1
