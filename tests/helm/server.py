"""A server to look at, and calls that make it measure."""

import base64
import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

from conftest import ROOT

BINARY = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "endcap"


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


def until(condition, seconds=60):
    """What the condition is when it is true for the first time."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.1)


def get(url, **headers):
    """The status and the text of an answer; 0 where there is none."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as it:
            return it.status, it.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


class Server:
    """A program of this tree on SQLite, with what there is to measure switched on."""

    def __init__(self, folder):
        certificate(folder)
        self.admin = free_port()
        self.http = free_port()
        self.grpc = free_port()
        jwks = free_port()
        (folder / "keys").mkdir()
        (folder / "keys" / "jwks").write_text(json.dumps({"keys": []}))
        self.keys = subprocess.Popen(
            ["python3", "-m", "http.server", "-d", str(folder / "keys"), "-b", "127.0.0.1", str(jwks)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda: get(f"http://127.0.0.1:{jwks}/jwks")[0] == 200)
        settings = {
            "data_dir": folder / "data",
            "grpc_addr": f"127.0.0.1:{self.grpc}",
            "http_addr": f"127.0.0.1:{self.http}",
            "admin_addr": f"127.0.0.1:{self.admin}",
            "auth": "keys,jwt",
            "jwt_issuer": "https://id.example",
            "jwt_audience": "endcap",
            "jwt_jwks": f"http://127.0.0.1:{jwks}/jwks",
            "tls_cert": folder / "tls.crt",
            "tls_key": folder / "tls.key",
            "rate_per_caller": "20/1s",
            "max_wal_size": "1MiB",
            "sweep_interval": "1s",
        }
        self.environment = {f"ENDCAP_{name.upper()}": str(value) for name, value in settings.items()}
        self.count = 0
        self.log = folder / "log"
        create = [BINARY, "key", "create", "--create-database", "--label", "t", "--tenant", "default", "--scope", "admin"]
        created = subprocess.run(create, env=self.environment, check=True, capture_output=True, text=True)
        self.key = re.search(r"\bec_\w+|\b\w{32,}\b", created.stdout).group()
        with self.log.open("w") as log:
            self.process = subprocess.Popen([BINARY], env=self.environment, stderr=log)
        until(lambda: get(f"http://127.0.0.1:{self.admin}/readyz")[0] == 200)
        self.metrics = f"http://127.0.0.1:{self.admin}/metrics"

    def call(self, method, request, key=None):
        command = ["grpcurl", "-insecure", "-H", f"authorization: Bearer {key or self.key}", "-d", json.dumps(request)]
        command += [f"127.0.0.1:{self.grpc}", f"endcap.v1.CollectionService/{method}"]
        return subprocess.run(command, capture_output=True, text=True)

    def rest(self, path, key=None):
        command = ["curl", "-sk", "-H", f"authorization: Bearer {key or self.key}"]
        command += [f"https://127.0.0.1:{self.http}{path}"]
        return subprocess.run(command, capture_output=True, text=True).stdout

    def work(self):
        """Calls over each protocol: some that write, one again, some that fail or are refused."""
        collection = {"collection": {"id": "summer", "texts": {"en": {"displayName": "Summer"}}}, "requestId": "one"}
        self.call("CreateCollection", collection)
        self.call("CreateCollection", collection)
        self.count += 1
        append = {"append": {"ids": [f"p{self.count}-{at}" for at in range(3)]}}
        change = {"collectionId": "summer", "childType": "CHILD_TYPE_PRODUCT", "mutations": [append]}
        self.call("MutateChildren", change)
        self.call("GetCollection", {"collectionId": "summer"})
        self.call("ListChildren", {"collectionId": "summer", "childType": "CHILD_TYPE_PRODUCT"})
        for key in ("wrong", token()):
            self.call("GetCollection", {"collectionId": "summer"}, key=key)
        for _ in range(30):
            self.rest("/ccadmin/v1/collections")

    def stop(self):
        self.process.terminate()
        assert self.process.wait(30) == 0, self.log.read_text()[-2000:]
        self.keys.terminate()
        self.keys.wait(10)


def token():
    """One of an unknown key of the issuer, whose keys are then asked for."""
    claims = {"iss": "https://id.example", "aud": "endcap", "sub": "s", "exp": 4e9}
    parts = [{"alg": "RS256", "kid": "unknown"}, claims]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "c2lnbmF0dXJl"])


def certificate(folder):
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "90"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command += ["-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")]
    subprocess.run(command, check=True, capture_output=True)


@contextlib.contextmanager
def prometheus(folder, targets, rules):
    """Prometheus, which scrapes the targets twice a second; answers a query."""
    port = free_port()
    (folder / "rules.yaml").write_text(rules)
    labels = {"job": "shop", "namespace": "catalog", "pod": "shop-endcap-0"}
    config = {
        "global": {"scrape_interval": "500ms", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "rules.yaml")],
        "scrape_configs": [{"job_name": "shop", "static_configs": [{"targets": targets, "labels": labels}]}],
    }
    (folder / "prometheus.yaml").write_text(json.dumps(config))
    command = ["prometheus", f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/tsdb"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    environment = {"PATH": os.environ["PATH"], "GOMAXPROCS": "1"}
    process = subprocess.Popen(command, env=environment)
    try:
        until(lambda: get(f"http://127.0.0.1:{port}/-/ready")[0] == 200)
        yield lambda query: ask(port, query)
    finally:
        process.terminate()
        process.wait(30)


def ask(port, query):
    """The samples that a query has now."""
    url = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": query})
    status, text = get(url)
    assert status == 200, f"{query}: {text}"
    return json.loads(text)["data"]["result"]
