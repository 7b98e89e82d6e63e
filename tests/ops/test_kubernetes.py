"""No cluster runs here: these hold the manifests to Kubernetes' schemas and to the settings."""

import math
import re
import shutil
import subprocess
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deliveries.conf import DeliverySettings
from tests.config.test_containers import SERVICES, VARIABLES
from tests.processes import ROOT

FOLDER = ROOT / "ops" / "kubernetes"
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
MANIFESTS: list[dict[str, Any]] = [
    manifest
    for file in KUSTOMIZATION["resources"]
    for manifest in yaml.safe_load_all((FOLDER / file).read_text())
]
RUNNING = {
    manifest["metadata"]["name"]: manifest["spec"]["template"]["spec"]
    for manifest in MANIFESTS
    if manifest["kind"] in ("Deployment", "Job")
}
kubectl = shutil.which("kubectl")
IN_SECRET = {"SECRET_KEY", "ENCRYPTION_KEYS", "DATABASE_URL", "REDIS_URL"}

each_pod = pytest.mark.parametrize("name", RUNNING)


def named(kind: str, name: str) -> dict[str, Any]:
    [manifest] = [m for m in MANIFESTS if (m["kind"], m["metadata"]["name"]) == (kind, name)]
    return manifest


@pytest.mark.skipif(kubectl is None, reason="kubectl is not installed")
def test_kubectl_makes_the_same_of_it_with_labels_and_a_tag() -> None:
    made = subprocess.run([str(kubectl), "kustomize", FOLDER], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    manifests = list(yaml.safe_load_all(made.stdout))

    def names(some: list[dict[str, Any]]) -> set[tuple[str, str]]:
        return {(one["kind"], one["metadata"]["name"]) for one in some}

    assert names(manifests) == names(MANIFESTS)
    for manifest in manifests:
        assert manifest["metadata"]["labels"]["app.kubernetes.io/name"] == "angarium"
        if manifest["kind"] in ("Deployment", "Job"):
            [container] = manifest["spec"]["template"]["spec"]["containers"]
            assert container["image"] == "angarium:latest"


def test_the_head_of_the_kustomization_names_each_file_with_a_placeholder() -> None:
    head = (FOLDER / "kustomization.yaml").read_text().partition("apiVersion")[0]
    with_placeholder = {
        file for file in KUSTOMIZATION["resources"] if "example.com" in (FOLDER / file).read_text()
    }
    assert {file for file in KUSTOMIZATION["resources"] if file in head} == with_placeholder


def test_every_file_is_applied() -> None:
    files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(KUSTOMIZATION["resources"]) == files


@pytest.mark.parametrize(
    "manifest", MANIFESTS, ids=lambda one: f"{one['kind']} {one['metadata']['name']}"
)
def test_a_manifest_is_as_its_schema_says(manifest: dict[str, Any]) -> None:
    if manifest["apiVersion"].startswith("keda.sh/"):
        assert manifest["spec"]["scaleTargetRef"]["name"] in RUNNING
        return
    version = kubernetes_validate.latest_version()
    kubernetes_validate.validate(manifest, version, strict=True)


@each_pod
def test_a_pod_sets_only_variables_that_the_settings_read(name: str) -> None:
    [container] = RUNNING[name]["containers"]
    own = {variable["name"] for variable in container.get("env", [])}
    configured = set(named("ConfigMap", "angarium")["data"])
    assert (own | configured) - VARIABLES == set()
    assert not configured & IN_SECRET
    told = set(re.findall(r"--from-literal=(\w+)=", (FOLDER / "kustomization.yaml").read_text()))
    assert told == IN_SECRET


@each_pod
def test_a_pod_may_do_nothing_that_it_need_not(name: str) -> None:
    pod = RUNNING[name]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("service", ["migrate", "worker", "beat"])
def test_a_pod_runs_what_compose_runs(service: str) -> None:
    [container] = RUNNING[f"angarium-{service}"]["containers"]
    assert container["command"] == SERVICES[service]["command"]


def test_a_worker_has_time_to_record_what_is_in_flight() -> None:
    settings = DeliverySettings()
    grace = RUNNING["angarium-worker"]["terminationGracePeriodSeconds"]
    assert grace > settings.courier_grace + settings.connect_timeout


def test_there_is_one_beat_at_a_time() -> None:
    beat = named("Deployment", "angarium-beat")["spec"]
    assert (beat["replicas"], beat["strategy"]) == (1, {"type": "Recreate"})


def test_how_many_workers_there_are_the_scaler_alone_says() -> None:
    assert "replicas" not in named("Deployment", "angarium-worker")["spec"]
    scaler = named("ScaledObject", "angarium-worker")["spec"]
    [trigger] = scaler["triggers"]
    most = scaler["maxReplicaCount"] * int(trigger["metadata"]["listLength"])
    # At its limit the queue asks for as many workers as there may be, or nearly.
    assert most <= 2 * DeliverySettings().queue_limit
    assert trigger["metadata"]["listName"] == "deliveries"


def fewest(name: str) -> int:
    """How many pods there are at least."""
    spec = named("Deployment", name)["spec"]
    found: int = spec.get("replicas") or named("ScaledObject", name)["spec"]["minReplicaCount"]
    return found


def at_once(budget: dict[str, Any], pods: int) -> int:
    """How many of the pods may be evicted at a time; Kubernetes rounds a share up."""

    def number(of: int | str) -> int:
        return of if isinstance(of, int) else math.ceil(int(of.removesuffix("%")) * pods / 100)

    if "maxUnavailable" in budget:
        return number(budget["maxUnavailable"])
    return pods - number(budget["minAvailable"])


@pytest.mark.parametrize("name", ["angarium-web", "angarium-worker"])
def test_no_drain_of_a_node_takes_all_of_them(name: str) -> None:
    budget = named("PodDisruptionBudget", name)["spec"]
    assert budget["selector"] == named("Deployment", name)["spec"]["selector"]
    assert at_once(budget, fewest(name)) < fewest(name)
    # Nor does it stop every drain.
    assert at_once(budget, fewest(name)) > 0
