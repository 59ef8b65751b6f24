"""What the documentation shows for a cluster, as far as it can be checked without one."""

import re
import shlex

import yaml

from conftest import CHART, POSTGRES, ROOT, find, merged, render, run

PAGES = sorted((ROOT / "docs").rglob("*.md")) + [CHART / "README.md"]


def blocks(language):
    for page in PAGES:
        for text in re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S):
            yield page.name, text


def documents():
    for name, text in blocks("yaml"):
        for document in yaml.safe_load_all(text):
            yield name, document


def test_each_helm_install_renders():
    lines = [line for _, text in blocks("sh") for line in text.replace("\\\n", " ").splitlines()]
    installs = [shlex.split(line) for line in lines if re.match(r"helm .*\binstall\b", line)]
    assert len(installs) >= 3
    for words in installs:
        chart = words.index("helm/endcap")
        arguments = [word for word in words[chart + 1 :] if word != "--wait"]
        objects = run("helm", "template", "endcap", str(CHART), "-n", "catalog", *arguments)
        assert "kind: Service" in objects, words


def test_values_in_pages_render():
    values = [it for name, it in documents() if "apiVersion" not in it and name.startswith("mtls")]
    assert len(values) == 1
    objects = render(merged(POSTGRES, *values))
    config = find(objects, "ConfigMap", "endcap")["data"]
    for name in ["TLS_CERT", "TLS_CLIENT_CA", "CERTIFICATE_TENANTS", "CERTIFICATE_SCOPES"]:
        assert f"ENDCAP_{name}" in config


def test_certificates_in_pages_fit_together():
    found = [it for _, it in documents() if it.get("apiVersion") == "cert-manager.io/v1"]
    assert {it["kind"] for it in found} == {"Issuer", "Certificate"}
    issuers = {it["metadata"]["name"] for it in found if it["kind"] == "Issuer"}
    secrets = {it["spec"]["secretName"] for it in found if it["kind"] == "Certificate"}
    for it in found:
        assert it["metadata"]["namespace"] == "catalog"
        if it["kind"] == "Certificate":
            assert it["spec"]["issuerRef"]["name"] in issuers
        elif "ca" in it["spec"]:
            assert it["spec"]["ca"]["secretName"] in secrets
