//! The blocks of shell commands that this test does not run, and why.

const CLUSTER: &str = "needs a cluster; the chart has tests of its own, in tests/helm";
const IMAGE: &str = "makes or runs an image, which tests/helm does";
const INSTALL: &str = "builds, installs or tests the program itself, for minutes";
const ISSUER: &str = "needs an account at an issuer; a test takes tokens of the same claims";
const VENDOR: &str = "needs an account at the vendor";
const BENCHMARK: &str = "measures for minutes";
const EXAMPLE: &str = "is run by tests/it/example_clients.rs, which installs nothing";
const TLS: &str = "is run by tests/it/docs/tls.rs, with ports and a directory of its own";
const OTHER: &str = "names a database, a host or files that are somebody's own";
const ROLLOUT: &str = "is run by tests/it/rollout, with directories and databases of its own";

/// The page, the beginning of the block, and the reason not to run it.
pub(super) const NOT_RUN: &[(&str, &str, &str)] = &[
    ("README.md", "cargo run", INSTALL),
    ("docs/explanation/performance.md", "cargo bench", BENCHMARK),
    ("docs/how-to/auth0.md", "TOKEN=", ISSUER),
    (
        "docs/how-to/call-from-curl.md",
        "curl -sS --fail-with-body --cacert",
        OTHER,
    ),
    ("docs/how-to/call-from-go.md", "A=google", EXAMPLE),
    (
        "docs/how-to/call-from-python.md",
        "python3 -m venv",
        EXAMPLE,
    ),
    ("docs/how-to/call-from-typescript.md", "npm ci", EXAMPLE),
    ("docs/how-to/keycloak.md", "TOKEN=", ISSUER),
    ("docs/how-to/migrate-from-highlevel.md", "TOKEN=", VENDOR),
    (
        "docs/how-to/migrate-from-oracle-commerce.md",
        "APPLICATION_KEY=",
        VENDOR,
    ),
    ("docs/how-to/mtls-with-cert-manager.md", "kubectl", CLUSTER),
    (
        "docs/operate/backup-and-restore.md",
        "endcap --data-dir",
        ROLLOUT,
    ),
    ("docs/how-to/tls.md", "openssl", TLS),
    ("docs/how-to/tls.md", "endcap --auth", TLS),
    ("docs/how-to/tls.md", "grpcurl -cacert", TLS),
    ("docs/operate/backup-and-restore.md", "mkdir", ROLLOUT),
    ("docs/operate/backup-and-restore.md", "pg_dump", ROLLOUT),
    ("docs/operate/backup-and-restore.md", "pg_restore", ROLLOUT),
    (
        "docs/operate/configuration.md",
        "ENDCAP_DATABASE_URL=",
        OTHER,
    ),
    ("docs/operate/image.md", "scripts/setup", IMAGE),
    ("docs/operate/kubernetes.md", "grpcurl", CLUSTER),
    ("docs/operate/kubernetes.md", "helm", CLUSTER),
    ("docs/operate/kubernetes.md", "kubectl", CLUSTER),
    ("docs/operate/kubernetes.md", "scripts/image", IMAGE),
    ("docs/operate/postgresql.md", "endcap --database-url", OTHER),
    ("docs/operate/telemetry.md", "endcap --otlp-endpoint", OTHER),
    (
        "docs/operate/upgrade-and-rollback.md",
        "endcap migrate",
        ROLLOUT,
    ),
    ("docs/project/contributing.md", "UPDATE_DOCS=1", INSTALL),
    ("docs/project/contributing.md", "scripts/test", INSTALL),
    (
        "docs/reference/authentication.md",
        "endcap key create",
        OTHER,
    ),
    (
        "docs/reference/command-line.md",
        "endcap completions",
        OTHER,
    ),
    ("docs/start/quickstart-cargo.md", "cargo install", INSTALL),
    ("docs/start/quickstart-container.md", "podman run", IMAGE),
    ("docs/start/quickstart-container.md", "scripts/setup", IMAGE),
    ("helm/endcap/README.md", "helm", CLUSTER),
];
