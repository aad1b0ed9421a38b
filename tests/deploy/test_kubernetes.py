"""The manifests that are shipped, and those that our options become."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepspot_scale.cluster.client import read_cluster
from deepspot_scale.cluster.kubernetes import Kubernetes, cluster_manifest
from deepspot_scale.errors import SettingsError

Manifest = dict[str, Any]
Check = Callable[[Manifest], None]
FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
SHIPPED = [
    pytest.param(manifest, id=f"{file.stem}-{manifest['kind']}")
    for file in sorted(FOLDER.glob("*.yaml"))
    for manifest in yaml.safe_load_all(file.read_text())
]
FULL = {
    "workers": 4,
    "gpus": 1,
    "cores": 4,
    "env": {"A": "b"},
    "secrets": ("object-store",),
    "volumes": {"plates": "/data"},
    "node_selector": {"gpu": "yes"},
}


def shipped(kind: str) -> Manifest:
    (found,) = (p.values[0] for p in SHIPPED if p.values[0]["kind"] == kind)
    assert isinstance(found, dict)
    return copy.deepcopy(found)


@pytest.fixture
def cluster() -> Manifest:
    """The cluster of options that all differ from their defaults."""
    return cluster_manifest(Kubernetes(**FULL))


def container(cluster: Manifest, role: str) -> Manifest:
    (found,) = cluster["spec"][role]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("manifest", SHIPPED)
def test_kubernetes_takes_what_is_shipped(
    manifest: Manifest, check_manifest: Check
) -> None:
    check_manifest(manifest)


def test_a_typo_in_a_manifest_is_refused(check_manifest: Check) -> None:
    bad = shipped("Job")
    (only,) = bad["spec"]["template"]["spec"]["containers"]
    only["comand"] = only.pop("command")
    with pytest.raises(Exception, match="comand"):
        check_manifest(bad)


@pytest.mark.parametrize("values", [{}, FULL])
def test_the_operator_takes_the_cluster_of_our_options(
    values: dict[str, Any], check_manifest: Check
) -> None:
    check_manifest(cluster_manifest(Kubernetes(**values)))


@pytest.mark.parametrize("place", ["worker", "container"])
def test_a_typo_in_a_cluster_is_refused(
    place: str, cluster: Manifest, check_manifest: Check
) -> None:
    if place == "worker":
        cluster["spec"]["worker"]["replica"] = 3
    else:
        container(cluster, "worker")["volumeMount"] = []
    with pytest.raises(Exception, match=r"replica|volumeMount"):
        check_manifest(cluster)


def test_what_the_operator_makes_of_it_is_taken_too(
    cluster: Manifest, check_manifest: Check
) -> None:
    operator = pytest.importorskip("dask_kubernetes.operator.controller.controller")
    spec, name = cluster["spec"], cluster["metadata"]["name"]
    labels: tuple[dict[str, str], dict[str, str]] = ({}, {})
    made = [
        operator.build_scheduler_deployment_spec(
            name, spec["scheduler"]["spec"], *labels
        ),
        operator.build_scheduler_service_spec(
            name, spec["scheduler"]["service"], *labels
        ),
        operator.build_worker_deployment_spec(
            f"{name}-default", "lab", name, "1", spec["worker"]["spec"], *labels
        ),
        operator.build_default_worker_group_spec(name, spec["worker"], *labels),
    ]
    for manifest in made:
        check_manifest(manifest)
    (worker,) = made[2]["spec"]["template"]["spec"]["containers"]
    env = {each["name"]: each["value"] for each in worker["env"]}
    assert "$(DASK_WORKER_NAME)" in worker["args"]
    assert env["DASK_WORKER_NAME"] == f"{name}-default-worker-1"
    assert env["DASK_SCHEDULER_ADDRESS"].endswith(":8786")
    assert env["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"


def test_only_workers_ask_for_gpus_and_say_that_they_have_one(
    cluster: Manifest,
) -> None:
    worker, scheduler = container(cluster, "worker"), container(cluster, "scheduler")
    for asked in worker["resources"].values():
        assert asked == {"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": "1"}
    assert worker["args"][-2:] == ["--resources", "GPU=1"]
    assert "nvidia.com/gpu" not in str(scheduler)
    plain = cluster_manifest(Kubernetes())
    assert "GPU=" not in str(plain)
    assert "tolerations" not in plain["spec"]["worker"]["spec"]


def test_workers_see_the_data_and_the_scheduler_does_not(cluster: Manifest) -> None:
    mount = {"name": "plates", "mountPath": "/data"}
    assert container(cluster, "worker")["volumeMounts"] == [mount]
    assert cluster["spec"]["worker"]["spec"]["volumes"][0]["name"] == "plates"
    assert "plates" not in str(cluster["spec"]["scheduler"])


def test_no_pod_runs_as_root_or_holds_a_token(cluster: Manifest) -> None:
    for role in ("worker", "scheduler"):
        pod = cluster["spec"][role]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["automountServiceAccountToken"] is False
        limits = container(cluster, role)["securityContext"]
        assert limits["allowPrivilegeEscalation"] is False


def test_the_commands_of_the_pods_are_those_of_dask(cluster: Manifest) -> None:
    from distributed.cli import dask_scheduler, dask_worker

    commands = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}
    for role, command in commands.items():
        made = container(cluster, role)
        assert made["command"] == ["dask"]
        word, *args = made["args"]
        assert word == role
        parsed = command.make_context(word, list(args))
        assert parsed.command is command


def test_the_shipped_files_fit_each_other(tmp_path: Path) -> None:
    job, config = shipped("Job"), shipped("ConfigMap")
    text = config["data"]["cluster.toml"]
    (tmp_path / "cluster.toml").write_text(text)
    options = read_cluster(str(tmp_path / "cluster.toml"))
    assert isinstance(options, Kubernetes)
    pod = job["spec"]["template"]["spec"]
    (run,) = pod["containers"]
    assert run["image"] == options.image
    claims = {
        v["persistentVolumeClaim"]["claimName"]: v["name"]
        for v in pod["volumes"]
        if "persistentVolumeClaim" in v
    }
    mounts = {mount["name"]: mount["mountPath"] for mount in run["volumeMounts"]}
    assert {claim: mounts[name] for claim, name in claims.items()} == options.volumes
    assert shipped("PersistentVolumeClaim")["metadata"]["name"] in options.volumes
    file = next(arg for arg in run["args"] if arg.startswith("--cluster="))
    assert file == f"--cluster={mounts['cluster']}/cluster.toml"
    assert pod["securityContext"]["runAsUser"] == options.user
    assert pod["serviceAccountName"] == shipped("ServiceAccount")["metadata"]["name"]
    policy = shipped("NetworkPolicy")["spec"]
    assert policy["podSelector"]["matchLabels"] == {
        "dask.org/cluster-name": options.name
    }
    own = job["spec"]["template"]["metadata"]["labels"]
    sources = [each.get("podSelector") for each in policy["ingress"][0]["from"]]
    assert {"matchLabels": own} in sources


def test_the_job_calls_the_command_as_it_is() -> None:
    import typer.main

    from deepspot_scale.cli import app

    (run,) = shipped("Job")["spec"]["template"]["spec"]["containers"]
    assert run["command"] == ["deepspot-scale"]
    word, *args = run["args"]
    command = typer.main.get_command(app).commands[word]  # type: ignore[attr-defined]  # a group
    values = command.make_context(word, list(args)).params
    assert values["out"] == "/data/RUN"
    assert values["cluster"] == "/etc/deepspot-scale/cluster.toml"


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"name": "Has_Capitals"}, "name"),
        ({"memory": "8 GB"}, "memory"),
        ({"gpus": 2}, "gpus"),
        ({"user": 0}, "user"),
        ({"volume": {"a": "/b"}}, "volumes"),
    ],
)
def test_an_option_that_kubernetes_would_refuse_is_refused_before(
    tmp_path: Path, values: dict[str, Any], word: str
) -> None:
    import tomli_w

    file = tmp_path / "cluster.toml"
    file.write_text(tomli_w.dumps({"cluster": "kubernetes"} | values))
    tomllib.loads(file.read_text())
    with pytest.raises(SettingsError, match=word):
        read_cluster(str(file))
