"""What the tests of the chart and the image share."""

import json
import pathlib
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "endcap"
CI = sorted((CHART / "ci").glob("*-values.yaml"))

POSTGRES = {
    "database": {"type": "postgres", "postgres": {"existingSecret": "db"}},
    "auth": {"methods": ["keys"]},
}
SQLITE = {"database": {"type": "sqlite"}, "auth": {"methods": ["keys"]}}


def merged(*all_values):
    """The values, later ones over earlier ones."""
    result = {}
    for values in all_values:
        for name, value in values.items():
            if isinstance(value, dict) and isinstance(result.get(name), dict):
                value = merged(result[name], value)
            result[name] = value
    return result


def nested(path, value):
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


def run(*command, text=None, ok=True):
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert (done.returncode == 0) == ok, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout if ok else done.stderr


def template(values, *arguments, helm="helm", ok=True):
    """What the chart makes of the values, or why it refuses them."""
    command = [helm, "template", "shop", str(CHART), "--namespace", "catalog", "-f", "-"]
    return run(*command, *arguments, text=json.dumps(values), ok=ok)


def render(values, *arguments, helm="helm"):
    """The objects that the chart makes of the values."""
    objects = yaml.safe_load_all(template(values, *arguments, helm=helm))
    return [it for it in objects if it]


def find(objects, kind, suffix=""):
    """The one object of a kind whose name ends so."""
    found = [it for it in objects if it["kind"] == kind and it["metadata"]["name"].endswith(suffix)]
    assert len(found) == 1, [it["metadata"]["name"] for it in found]
    return found[0]


def pods(objects):
    """Each pod, by what makes it."""
    for it in objects:
        if it["kind"] == "Pod":
            yield it, it["spec"]
        elif it["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield it, it["spec"]["template"]["spec"]


def containers(spec):
    return spec.get("initContainers", []) + spec["containers"]


@pytest.fixture(params=CI, ids=lambda path: path.stem)
def ci_values(request):
    return yaml.safe_load(request.param.read_text())
