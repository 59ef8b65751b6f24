"""The image, run as the chart says: its pods' containers through their life, in both modes.

Podman stands for the kubelet: it gets the command, arguments, environment, mounts and security
context that the chart made. All of it is in a network of its own, where ports are free.
"""

import contextlib
import glob
import json
import os
import re
import shutil
import subprocess

import pytest
from conftest import POSTGRES, ROOT, SQLITE, containers, find, merged, pods, render, run
from server import BINARY, until

IMAGE = "endcap:0.1.0"
PASSWORD = "change-me"


@pytest.fixture(scope="session")
def podman(tmp_path_factory):
    folder = tmp_path_factory.mktemp("podman")
    archive = folder / "endcap.oci.tar"
    run(str(ROOT / "scripts" / "image"), "--binary", str(BINARY), "--output", str(archive))
    (folder / "containers.conf").write_text("[containers]\ndefault_ulimits=[]\n")
    os.environ["CONTAINERS_CONF"] = str(folder / "containers.conf")
    command = ["podman", "--root", f"{folder}/root", "--runroot", f"{folder}/run", "--tmpdir", f"{folder}/tmp"]
    command += ["--storage-driver", "vfs", "--runtime", "runc", "--cgroup-manager", "cgroupfs"]
    run(*command, "load", "--quiet", "--input", str(archive))
    yield command
    # What is mounted there is not to be left.
    subprocess.run([*command, "rm", "--all", "--force"], capture_output=True)
    subprocess.run([*command, "rmi", "--all", "--force"], capture_output=True)


@contextlib.contextmanager
def network():
    """A network with nothing but loopback: the command that runs another one in it."""
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep 600"], stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"up\n"
    try:
        yield holder.pid, ["nsenter", "--target", str(holder.pid), "--net"]
    finally:
        holder.kill()
        holder.wait()


@contextlib.contextmanager
def postgres(inside, folder):
    """A PostgreSQL server in that network, whose superuser has the password."""
    programs = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
    data = folder / "postgres"
    data.mkdir()
    shutil.chown(data, "postgres", "postgres")
    for above in data.parents:
        if above != above.parent and str(above).startswith("/tmp/"):
            above.chmod(0o755)
    user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "env", "-C", "/"]
    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)
    run(*user, f"{programs}/initdb", "-D", str(data), "-U", "endcap", "-A", "scram-sha-256", "--pwfile", str(folder / "password"))
    control = [*inside, *user, f"{programs}/pg_ctl", "-D", str(data), "-w"]
    run(*control, "-o", f"-h 127.0.0.1 -p 5432 -k {data} -F", "-l", f"{data}/log", "start")
    try:
        yield
    finally:
        run(*control, "-m", "immediate", "stop")


class Pod:
    """One container of a pod, as the kubelet would run it."""

    def __init__(self, podman, namespace, objects, secrets, folder, owner, spec, container):
        self.podman = podman
        self.name = f"{owner['metadata']['name']}-{container['name']}"
        context, own = spec["securityContext"], container["securityContext"]
        arguments = ["--name", self.name, "--network", f"ns:/proc/{namespace}/ns/net", "--hostname", "pod"]
        arguments += ["--user", f"{context['runAsUser']}:{context['runAsGroup']}"]
        arguments += ["--group-add", str(context["fsGroup"])] if "fsGroup" in context else []
        arguments += ["--read-only", "--read-only-tmpfs=false"] if own["readOnlyRootFilesystem"] else []
        arguments += [f"--cap-drop={name}" for name in own["capabilities"]["drop"]]
        arguments += [] if own["allowPrivilegeEscalation"] else ["--security-opt", "no-new-privileges"]
        arguments += ["--ulimit", "nofile=20000:20000", "--ulimit", "nproc=1000:1000"]
        arguments += ["--add-host", "shop-endcap-admin:127.0.0.1"]
        for name, value in variables(objects, container).items():
            arguments += ["--env", f"{name}={value}"]
        arguments += mounts(spec, container, secrets, folder, context.get("fsGroup", 0))
        assert container["image"] == IMAGE and "command" not in container
        self.arguments = [*arguments, IMAGE, *container.get("args", [])]

    def start(self):
        run(*self.podman, "run", "--detach", *self.arguments)

    def finish(self):
        """Runs it to its end."""
        return run(*self.podman, "run", "--rm", *self.arguments)

    def execute(self, *command):
        return run(*self.podman, "exec", self.name, *command)

    def stop(self, seconds):
        """Its status after SIGTERM, and SIGKILL when the grace period has passed."""
        run(*self.podman, "stop", "--time", str(seconds), self.name)
        status = run(*self.podman, "inspect", "--format", "{{.State.ExitCode}}", self.name).strip()
        log = subprocess.run([*self.podman, "logs", self.name], capture_output=True, text=True).stderr
        run(*self.podman, "rm", "--force", self.name)
        return status, log


def variables(objects, container):
    found = {}
    for source in container.get("envFrom", []):
        found |= find(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
    fields = {"metadata.name": "shop-endcap-0", "metadata.namespace": "catalog", "spec.nodeName": "node"}
    for variable in container.get("env", []):
        if "valueFrom" in variable:
            value = fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]
        else:
            value = re.sub(r"\$\((\w+)\)", lambda it: found[it[1]], variable["value"])
        found[variable["name"]] = value
    return found


def mounts(spec, container, secrets, folder, group):
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    for mount in container.get("volumeMounts", []):
        volume = volumes.get(mount["name"], {})
        if "emptyDir" in volume:
            yield from ("--tmpfs", f"{mount['mountPath']}:mode=1777")
            continue
        place = folder / volume.get("secret", {}).get("secretName", mount["name"])
        if not place.exists():
            place.mkdir()
            for item in volume.get("secret", {}).get("items", []):
                file = place / item["path"]
                file.write_text(secrets[volume["secret"]["secretName"]][item["key"]])
                file.chmod(volume["secret"]["defaultMode"])
                os.chown(file, 0, group)
            os.chown(place, 0, group)
            place.chmod(0o2775)
        yield from ("--volume", f"{place}:{mount['mountPath']}" + (":ro" if mount.get("readOnly") else ""))


@pytest.mark.parametrize("mode", ["sqlite", "job", "init"])
def test_a_release_lives(podman, mode, tmp_path):
    if mode == "sqlite":
        values, secrets = SQLITE, {}
    else:
        secrets = {
            "db": {"url": "postgres://endcap@127.0.0.1/postgres", "password": PASSWORD},
            "owner": {"url": f"postgres://endcap:{PASSWORD}@127.0.0.1/postgres"},
        }
        values = merged(POSTGRES, {"migration": {"mode": mode, "existingSecret": "owner"}})
        values = merged(values, {"database": {"postgres": {"passwordKey": "password"}}})
    values = merged(values, {"shutdown": {"delaySeconds": 0}, "image": {"tag": "0.1.0"}})
    objects = render(values)
    with contextlib.ExitStack() as stack:
        namespace, inside = stack.enter_context(network())
        if mode != "sqlite":
            stack.enter_context(postgres(inside, tmp_path))
        made = {}
        for owner, spec in pods(objects):
            for container in containers(spec):
                pod = Pod(podman, namespace, objects, secrets, tmp_path, owner, spec, container)
                made[owner["kind"], container["name"]] = (pod, spec, container)
        server, spec, container = made[("StatefulSet" if mode == "sqlite" else "Deployment"), "endcap"]

        if mode == "init":
            assert "applied" in made["Deployment", "migrate"][0].finish()
        server.start()
        stack.callback(subprocess.run, [*podman, "rm", "--force", server.name], capture_output=True)

        def probe(name):
            path = container[name]["httpGet"]["path"]
            command = [*inside, "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"127.0.0.1:9090{path}"]
            return subprocess.run(command, capture_output=True, text=True).stdout

        until(lambda: probe("startupProbe") == "200" and probe("livenessProbe") == "200")
        if mode == "job":
            # It waits for the migration by itself.
            assert probe("readinessProbe") == "503"
            made["Job", "migrate"][0].finish()
        until(lambda: probe("readinessProbe") == "200")
        made["Pod", "healthcheck"][0].finish()

        created = server.execute("endcap", "key", "create", "--label", "t", "--tenant", "default", "--scope", "admin")
        key = re.search(r"\bendcap_\w+", created).group()
        request = {"collection": {"id": "summer", "texts": {"en": {"displayName": "Summer"}}}}
        call = [*inside, "grpcurl", "-plaintext", "-H", f"authorization: Bearer {key}", "-d", json.dumps(request)]
        call += ["127.0.0.1:50051", "endcap.v1.CollectionService/CreateCollection"]
        assert json.loads(run(*call))["collection"]["id"] == "summer"
        assert "Unauthenticated" in run(*[it for it in call if "Bearer" not in it and it != "-H"], ok=False)

        status, log = server.stop(spec["terminationGracePeriodSeconds"])
        assert status == "0", log[-2000:]
        assert PASSWORD not in log
        if mode == "sqlite":
            # What is in the volume is there for the next one.
            again = Pod(podman, namespace, objects, secrets, tmp_path, {"metadata": {"name": "again"}}, spec, container)
            again.start()
            until(lambda: probe("readinessProbe") == "200")
            get = [*call[:-4], "-d", json.dumps({"collectionId": "summer"}), call[-2]]
            assert "Summer" in run(*get, "endcap.v1.CollectionService/GetCollection")
            assert again.stop(30)[0] == "0"


def test_the_image_is_what_it_is_said_to_be(podman, tmp_path):
    archives = [tmp_path / f"{at}.tar" for at in range(2)]
    for archive in archives:
        run(str(ROOT / "scripts" / "image"), "--binary", str(BINARY), "--output", str(archive))
    raw = [run("skopeo", "inspect", "--raw", f"oci-archive:{archive}") for archive in archives]
    assert raw[0] == raw[1], "two builds of one commit differ"

    config = json.loads(run("skopeo", "inspect", "--config", f"oci-archive:{archives[0]}"))
    assert (config["os"], config["architecture"]) == ("linux", "amd64")
    assert config["config"]["User"] == "65532:65532"
    labels = config["config"]["Labels"]
    for name in ("title", "description", "licenses", "version", "revision", "created"):
        assert labels[f"org.opencontainers.image.{name}"], name
    assert labels["org.opencontainers.image.revision"] == run("git", "-C", str(ROOT), "rev-parse", "HEAD").strip()

    run(*podman, "create", "--name", "look", "--ulimit", "nproc=1000:1000", IMAGE)
    root = tmp_path / "root"
    root.mkdir()
    files = subprocess.run([*podman, "export", "look"], check=True, capture_output=True).stdout
    subprocess.run(["tar", "x", "-C", str(root)], input=files, check=True)
    run(*podman, "rm", "look")
    programs = {path.name for path in root.rglob("*") if path.is_file() and os.access(path, os.X_OK) and ".so" not in path.name}
    assert programs == {"endcap"}, "no shell, and nothing else that runs"
    assert not [path for path in root.rglob("*") if path.is_file() and path.stat().st_mode & 0o6000]

    sbom = json.loads((root / "usr/share/doc/endcap/sbom.cdx.json").read_text())
    assert sbom["bomFormat"] == "CycloneDX"
    assert json.loads((tmp_path / "0.tar").with_suffix(".tar").with_name("0.tar.cdx.json").read_text()) == sbom
    parts = {part["name"] for part in sbom["components"]}
    assert {"tonic", "sea-orm", "libc6", "ca-certificates"} <= parts
    assert not {"rstest", "proptest"} & parts, "what only tests use"
