"""What the chart makes, as Kubernetes and the owners of other kinds have it."""

import json
import subprocess

import kubernetes_validate
import pytest
import yaml
from conftest import CI, ROOT, merged, render, run, template

HERE = ROOT / "tests" / "helm"
VERSIONS = [f"1.{minor}" for minor in range(28, 38)]
# Kinds that Kubernetes does not define; test_custom_kinds is for them, but for cert-manager's.
CUSTOM = {"ServiceMonitor", "PodMonitor", "PrometheusRule", "GRPCRoute", "HTTPRoute", "BackendTLSPolicy", "Certificate"}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("mode", ["job", "init"])
def test_kubernetes_takes_it(ci_values, version, mode):
    objects = render(merged(ci_values, {"migration": {"mode": mode}}), "--kube-version", version)
    builtin = [it for it in objects if it["kind"] not in CUSTOM]
    assert len(builtin) >= 5
    for it in builtin:
        kubernetes_validate.validate(it, version, strict=True)


def test_older_kubernetes_is_refused():
    values = yaml.safe_load(CI[0].read_text())
    assert "1.28" in template(values, "--kube-version", "1.27.0", ok=False)


def test_custom_kinds():
    """By their owners' schemas, which find wrong types, and by their types, which find unknown fields."""
    objects = render(yaml.safe_load((ROOT / "helm/endcap/ci/full-values.yaml").read_text()))
    custom = [it for it in objects if it["kind"] in CUSTOM - {"Certificate"}]
    assert {it["kind"] for it in custom} == CUSTOM - {"Certificate"}
    check(custom)
    for it in custom:
        unknown = it | {"spec": it["spec"] | {"unknown": 1}}
        for broken in (unknown, {name: value for name, value in it.items() if name != "spec"}):
            with pytest.raises(AssertionError):
                check([broken])


def check(objects):
    command = ["node", "custom.js"]
    done = subprocess.run(command, cwd=HERE, input=json.dumps(objects), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
