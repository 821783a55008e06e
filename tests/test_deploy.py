"""deploy/ against the real thing: what it names is what a running server has and what the settings know."""

import configparser
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
import yaml
from helpers.serving import ROOT, Server, free_port
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from prometheus_client.parser import text_string_to_metric_families

from adaptseg_serve.settings import Settings, read_settings, variable

DEPLOY = ROOT / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
RULES = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yaml").read_text())
OBJECTS: list[dict[str, Any]] = [
    document
    for file in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    for document in yaml.safe_load_all(file.read_text())
]
CPU_BENTO, GPU_BENTO = "bentofile.yaml", "deploy/container/bentofile.gpu.yaml"
PINS = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
OTHERS_VARIABLES = {"BENTOML_HOME", "BENTOML_DO_NOT_TRACK", "NUMBA_CACHE_DIR"}
PNG = cv2.imencode(".png", np.zeros((20, 30, 3), np.uint8))[1].tobytes()


def named(kind: str, name: str = "adaptseg") -> dict[str, Any]:
    (found,) = [o for o in OBJECTS if o["kind"] == kind and o["metadata"]["name"] == name]
    return found


POD: dict[str, Any] = named("Deployment")["spec"]["template"]
CONTAINER: dict[str, Any] = POD["spec"]["containers"][0]
PORTS = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
ENVIRON = {entry["name"]: entry["value"] for entry in CONTAINER["env"]}


def expressions() -> list[str]:
    panels = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return panels + [rule["expr"] for group in RULES["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def exposed(server: Server) -> dict[str, set[str]]:
    """Sample name -> its labels, of a server that has answered and refused something."""
    for body in (PNG, b"GIF89a"):
        httpx.post(f"{server.http_url}/v1/segment", content=body)
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(httpx.get(f"{server.http_url}/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_and_label_of_dashboard_and_alerts_is_exposed(
    exposed: dict[str, set[str]], expression: str
) -> None:
    metrics = re.findall(r"\badaptseg_[a-z_]+(?!\w)(?!\")", expression.replace('job="adaptseg"', ""))
    assert metrics
    assert set(metrics) <= exposed.keys()
    labels = set(re.findall(r'[{,]\s*(\w+)\s*[=!]~?"', expression))
    for group in re.findall(r"by \(([^)]*)\)", expression):
        labels.update(name.strip() for name in group.split(","))
    known = set.union(*(exposed[metric] for metric in metrics)) | {"instance", "job"}
    assert labels <= known


def test_every_metric_is_on_the_dashboard(exposed: dict[str, set[str]]) -> None:
    shown = " ".join(expressions())
    stems = {re.sub(r"_(bucket|count|sum|created)$", "", name) for name in exposed if name.startswith("adaptseg_")}
    assert {stem for stem in stems if stem not in shown} == set()


def test_the_dashboard_is_whole() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in panels
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_every_alert_says_what_is_wrong() -> None:
    rules = [rule for group in RULES["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert "{{ $labels.instance }}" in rule["annotations"]["summary"]


def test_the_scrape_job_for_kubernetes_finds_the_pods_under_the_name_that_alerts_ask_for() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "deployment.md").read_text(), re.DOTALL)
    (block,) = (block for block in blocks if "kubernetes_sd_configs" in block)
    (job,) = yaml.safe_load(block)["scrape_configs"]
    assert any(f'up{{job="{job["job_name"]}"}}' in expression for expression in expressions())
    (discovered,) = job["kubernetes_sd_configs"]
    (kustomization,) = [o for o in OBJECTS if o["kind"] == "Kustomization"]
    assert discovered["namespaces"]["names"] == [kustomization["namespace"]]
    kept = {rule["source_labels"][0]: rule["regex"] for rule in job["relabel_configs"] if rule.get("action") == "keep"}
    assert kept == {
        "__meta_kubernetes_pod_label_app": POD["metadata"]["labels"]["app"],
        "__meta_kubernetes_pod_container_port_name": "http",
    }
    assert "http" in PORTS


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_probes_ask_what_the_server_answers(server: Server, probe: str) -> None:
    asked = CONTAINER[probe]["httpGet"]
    assert PORTS[asked["port"]] == PORTS["http"]
    assert server.get(asked["path"]) == 200
    assert 1 < CONTAINER[probe]["timeoutSeconds"] <= CONTAINER[probe]["periodSeconds"]


def test_ports_are_those_of_the_settings() -> None:
    settings = read_settings({name: value for name, value in ENVIRON.items() if name.startswith("ADAPTSEG_")})
    assert {"http": settings.http_port, "grpc": settings.grpc_port} == PORTS
    assert settings.http_host == settings.grpc_host == "0.0.0.0"
    annotations = POD["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(settings.http_port)
    for service in (named("Service"), named("Service", "adaptseg-grpc")):
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= PORTS.keys()
    allowed = {port["port"] for rule in named("NetworkPolicy")["spec"]["ingress"] for port in rule["ports"]}
    assert allowed == PORTS.keys()


def test_there_is_time_to_drain() -> None:
    settings = read_settings({name: value for name, value in ENVIRON.items() if name.startswith("ADAPTSEG_")})
    asleep = float(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    needed = asleep + settings.drain_notice + settings.drain_grace + 5
    assert POD["spec"]["terminationGracePeriodSeconds"] >= needed


def variables() -> Iterator[tuple[str, str]]:
    yield from (("kubernetes", name) for name in ENVIRON)
    for file in (CPU_BENTO, GPU_BENTO):
        yield from ((file, name) for name in yaml.safe_load((ROOT / file).read_text())["docker"]["env"])
    unit = (DEPLOY / "systemd" / "adaptseg-serve.service").read_text()
    yield from (("systemd", name) for name in re.findall(r"^(?:# )?Environment=(\w+)=", unit, re.MULTILINE))


@pytest.mark.parametrize(("where", "name"), [*variables()])
def test_every_variable_is_a_setting(where: str, name: str) -> None:
    assert name in OTHERS_VARIABLES or name in {variable(f.name) for f in fields(Settings)}


def test_selectors_find_the_pods() -> None:
    labels = POD["metadata"]["labels"].items()
    selectors = [named("Deployment")["spec"]["selector"]["matchLabels"]]
    selectors += [o["spec"]["selector"] for o in OBJECTS if o["kind"] == "Service"]
    selectors += [named("PodDisruptionBudget")["spec"]["selector"]["matchLabels"]]
    selectors += [named("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]]
    for selector in selectors:
        assert selector
        assert selector.items() <= labels


def test_the_autoscaler_follows_a_metric_that_exists(exposed: dict[str, set[str]]) -> None:
    spec = named("HorizontalPodAutoscaler")["spec"]
    assert spec["scaleTargetRef"]["name"] == named("Deployment")["metadata"]["name"]
    assert {metric["pods"]["metric"]["name"] for metric in spec["metrics"]} <= exposed.keys()


def test_the_container_may_do_little_and_has_one_gpu() -> None:
    assert POD["spec"]["securityContext"]["runAsNonRoot"] is True
    assert CONTAINER["securityContext"]["readOnlyRootFilesystem"] is True
    assert CONTAINER["securityContext"]["allowPrivilegeEscalation"] is False
    assert CONTAINER["resources"]["limits"]["nvidia.com/gpu"] == "1"
    writable = tuple(mount["mountPath"] for mount in CONTAINER["volumeMounts"])
    assert all(ENVIRON[name].startswith(writable) for name in ("BENTOML_HOME", "NUMBA_CACHE_DIR"))


def test_kustomize_lists_every_file() -> None:
    files = {file.name for file in (DEPLOY / "kubernetes").glob("*.yaml")} - {"kustomization.yaml"}
    (kustomization,) = [o for o in OBJECTS if o["kind"] == "Kustomization"]
    assert set(kustomization["resources"]) == files


def test_the_unit_leaves_time_to_drain() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.read(DEPLOY / "systemd" / "adaptseg-serve.service")
    assert float(unit["Service"]["TimeoutStopSec"]) > Settings().drain_notice + Settings().drain_grace + 5


def test_the_bento_for_gpus_differs_only_where_it_must() -> None:
    plain, gpu = (yaml.safe_load((ROOT / file).read_text()) for file in (CPU_BENTO, GPU_BENTO))
    packages = gpu["python"]["packages"]
    assert [p for p in packages if not p.startswith(("onnx", "cuda-bindings", "tensorrt"))] == [
        p for p in plain["python"]["packages"] if "onnxruntime" not in p
    ]
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for name, _, least in (package.partition(">=") for package in extras["tensorrt"]):
        assert any(re.match(rf"{name}(-cu\d+)?>={least}(,|$)", package) for package in packages), name
    assert gpu["docker"].pop("cuda_version")
    gpu["docker"].pop("distro")
    for one in (plain, gpu):
        del one["python"]["packages"], one["name"]
    assert plain == gpu


@pytest.fixture(scope="module")
def bentos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folder of the Bento that each bentofile makes."""
    home = tmp_path_factory.mktemp("home")
    variables = os.environ | {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    built = {}
    for file in (CPU_BENTO, GPU_BENTO):
        command = [sys.executable, "-m", "bentoml", "build", "-f", file, "--output", "tag"]
        done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=True)
        built[file] = home / "bentos" / done.stdout.strip().removeprefix("__tag__:").replace(":", "/")
    return built


def recipe_of(bento: Path) -> str:
    """The Dockerfile that `bentoml containerize` will hand to Docker; Docker itself is not needed, and not run."""
    return (bento / "env" / "docker" / "Dockerfile").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("file", [CPU_BENTO, GPU_BENTO])
def test_an_image_has_uv_before_its_recipe_asks_for_it(bentos: dict[str, Path], file: str) -> None:
    """BentoML's recipe would call pip, and a CUDA base image has none."""
    recipe = recipe_of(bentos[file])
    uv = recipe.index(f"COPY --from=astral/uv:{PINS['uv']} /uv /usr/local/bin/uv")
    assert recipe.index("FROM ") < uv < recipe.index("command -v uv")


@pytest.mark.slow
@pytest.mark.parametrize("file", [CPU_BENTO, GPU_BENTO])
def test_an_image_gets_the_versions_that_the_tests_passed_with(bentos: dict[str, Path], file: str) -> None:
    recipe = recipe_of(bentos[file])
    (copied,) = re.findall(r"^COPY \./(\S+) /app/constraints\.txt$", recipe, re.MULTILINE)
    assert (bentos[file] / copied).read_bytes() == (ROOT / "constraints.txt").read_bytes()
    assert recipe.index("ENV UV_CONSTRAINT=/app/constraints.txt\n") < recipe.index("install.sh")
    removed = re.findall(r"^RUN sed -i '/\^([\w-]+)==/d' /app/constraints\.txt$", recipe, re.MULTILINE)
    pins = {canonicalize_name(name): version for name, version in PINS.items() if name not in removed}
    wanted = [Requirement(line) for line in yaml.safe_load((ROOT / file).read_text())["python"]["packages"]]
    unpinned = {each.name for each in wanted} - pins.keys()
    assert unpinned == ({"cuda-bindings", "onnxruntime-gpu", "tensorrt-cu12"} if file == GPU_BENTO else set())
    assert [each for each in wanted if each.name in pins and pins[each.name] not in each.specifier] == []


@pytest.mark.slow
def test_the_recipe_of_the_gpu_image(server: Server, bentos: dict[str, Path]) -> None:
    source = bentos[GPU_BENTO]
    recipe = recipe_of(source)
    assert re.search(r"^FROM nvidia/cuda:12\.[\d.]+-cudnn-runtime-\S+", recipe, re.MULTILINE)
    assert {"EXPOSE 3000", "EXPOSE 3001", "USER bentoml", "STOPSIGNAL SIGTERM"} <= set(recipe.splitlines())
    assert f"ARG BENTO_USER_UID={POD['spec']['securityContext']['runAsUser']}" in recipe
    (check,) = re.findall(r"^HEALTHCHECK [^\n]*\\\n\s*CMD (.*)$", recipe, re.MULTILINE)
    for port, healthy in ((server.http_url.rpartition(":")[2], True), (str(free_port()), False)):
        environ = {"BENTO_PATH": str(source), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        done = subprocess.run(["sh", "-c", check], env=environ | {"ADAPTSEG_HTTP_PORT": port}, check=False)
        assert (done.returncode == 0) is healthy
