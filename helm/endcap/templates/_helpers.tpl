{{- define "endcap.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/* At most 50 characters, so that what is appended still fits. */}}
{{- define "endcap.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "endcap.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "endcap.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "endcap.selectorLabels" -}}
app.kubernetes.io/name: {{ include "endcap.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end }}

{{/* Of an object that is no server. */}}
{{- define "endcap.labels" -}}
app.kubernetes.io/name: {{ include "endcap.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | trimAll "-_." | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The metadata of an object: (list $ NAME ANNOTATIONS LABELS). */}}
{{- define "endcap.metadata" -}}
{{- $ := index . 0 -}}
{{- $annotations := merge (dict) (index . 2) $.Values.commonAnnotations -}}
name: {{ index . 1 }}
namespace: {{ $.Release.Namespace }}
labels:
  {{- include "endcap.labels" $ | nindent 2 }}
  {{- with index . 3 }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A reference to an image: (list IMAGE APP-VERSION). */}}
{{- define "endcap.image" -}}
{{- $image := index . 0 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default (index . 1) }}
{{- end -}}
{{- end }}

{{- define "endcap.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "endcap.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end }}

{{- define "endcap.migration.serviceAccount" -}}
{{- if .Values.migration.serviceAccount.create -}}
{{ default (printf "%s-migrate" (include "endcap.fullname" .)) .Values.migration.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.migration.serviceAccount.name }}
{{- end -}}
{{- end }}

{{- define "endcap.isSqlite" -}}
{{- if eq .Values.database.type "sqlite" }}true{{ end -}}
{{- end }}

{{/* With PostgreSQL 2, with SQLite 1. */}}
{{- define "endcap.replicas" -}}
{{- if kindIs "invalid" .Values.replicaCount -}}
{{ ternary 1 2 (eq .Values.database.type "sqlite") }}
{{- else -}}
{{ int .Values.replicaCount }}
{{- end -}}
{{- end }}

{{/* The Secret with the certificate of the ports; nothing where there is none. */}}
{{- define "endcap.tlsSecret" -}}
{{- if .Values.tls.certManager.enabled -}}
{{ include "endcap.fullname" . }}-tls
{{- else -}}
{{ .Values.tls.existingSecret }}
{{- end -}}
{{- end }}

{{- define "endcap.databaseSecret" -}}
{{ default (printf "%s-database" (include "endcap.fullname" .)) .Values.database.postgres.existingSecret }}
{{- end }}

{{/* The key of the URL of the read replica in that Secret; nothing where there is none. */}}
{{- define "endcap.readUrlKey" -}}
{{- with .Values.database.postgres -}}
{{- if .readUrl }}read-url{{ else }}{{ .readUrlKey }}{{ end -}}
{{- end -}}
{{- end }}

{{- define "endcap.isMigratedBy" -}}
{{- $ := index . 0 -}}
{{- if and (eq $.Values.database.type "postgres") (eq $.Values.migration.mode (index . 1)) }}true{{ end -}}
{{- end }}

{{/* A value of a setting as an environment variable has it. Numbers come as floats. */}}
{{- define "endcap.settingValue" -}}
{{- if kindIs "slice" . -}}
{{ join "," . }}
{{- else if kindIs "float64" . -}}
{{ if eq (floor .) . }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- else -}}
{{ . }}
{{- end -}}
{{- end }}

{{/* The settings that are no secret, by their variables. */}}
{{- define "endcap.settings" -}}
ENDCAP_GRPC_ADDR: 0.0.0.0:50051
ENDCAP_HTTP_ADDR: 0.0.0.0:8080
ENDCAP_ADMIN_ADDR: 0.0.0.0:9090
ENDCAP_AUTH: {{ join "," .Values.auth.methods | quote }}
ENDCAP_SHUTDOWN_DELAY: {{ printf "%ds" (int .Values.shutdown.delaySeconds) }}
ENDCAP_DRAIN_TIMEOUT: {{ printf "%ds" (int .Values.shutdown.drainSeconds) }}
{{- range $name, $value := .Values.settings }}
ENDCAP_{{ upper $name }}: {{ include "endcap.settingValue" $value | quote }}
{{- end }}
{{- if include "endcap.tlsSecret" . }}
ENDCAP_TLS_CERT: /run/secrets/endcap/tls/tls.crt
ENDCAP_TLS_KEY: /run/secrets/endcap/tls/tls.key
{{- end }}
{{- if .Values.tls.clientCa.existingSecret }}
ENDCAP_TLS_CLIENT_CA: /run/secrets/endcap/client-ca/ca.crt
{{- end }}
{{- if .Values.auth.keysFile.existingSecret }}
ENDCAP_KEYS_FILE: /run/secrets/endcap/keys/keys.toml
{{- end }}
{{- if .Values.auth.tokenSecret.existingSecret }}
ENDCAP_TOKEN_SECRET_FILE: /run/secrets/endcap/token/secret
{{- end }}
{{- if .Values.otlpHeaders.existingSecret }}
ENDCAP_OTLP_HEADERS_FILE: /run/secrets/endcap/otlp/headers
{{- end }}
{{- end }}

{{/* The variables of the database: (list $ IS-MIGRATION). */}}
{{- define "endcap.databaseEnv" -}}
{{- $ := index . 0 -}}
{{- $postgres := $.Values.database.postgres -}}
{{- $place := $postgres -}}
{{- if and (index . 1) $.Values.migration.existingSecret }}{{ $place = $.Values.migration }}{{ end -}}
{{- if include "endcap.isSqlite" $ }}
- name: ENDCAP_DATA_DIR
  value: /var/lib/endcap
{{- else }}
- name: ENDCAP_DATABASE_URL_FILE
  value: /run/secrets/endcap/database/url
{{- if and (include "endcap.readUrlKey" $) (not (index . 1)) }}
- name: ENDCAP_DATABASE_READ_URL_FILE
  value: /run/secrets/endcap/database/read-url
{{- end }}
{{- if $place.passwordKey }}
- name: ENDCAP_DATABASE_PASSWORD_FILE
  value: /run/secrets/endcap/database/password
{{- end }}
{{- with $postgres.tls }}
- name: ENDCAP_DATABASE_TLS
  value: {{ . }}
{{- end }}
{{- if $postgres.tlsSecret }}
- name: ENDCAP_DATABASE_TLS_CA
  value: /run/secrets/endcap/database-tls/ca.crt
{{- if $postgres.tlsClientCertificate }}
- name: ENDCAP_DATABASE_TLS_CERT
  value: /run/secrets/endcap/database-tls/tls.crt
- name: ENDCAP_DATABASE_TLS_KEY
  value: /run/secrets/endcap/database-tls/tls.key
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* A volume of a Secret: (list NAME SECRET (dict KEY PATH …)). */}}
{{- define "endcap.secretVolume" -}}
- name: {{ index . 0 }}
  secret:
    secretName: {{ index . 1 }}
    defaultMode: 0440
    items:
      {{- range $key, $path := index . 2 }}
      - key: {{ $key }}
        path: {{ $path }}
      {{- end }}
{{- end }}

{{- define "endcap.secretMount" -}}
- name: {{ . }}
  mountPath: /run/secrets/endcap/{{ . }}
  readOnly: true
{{- end }}

{{/* The volumes of the database: (list $ NAME IS-MIGRATION). */}}
{{- define "endcap.databaseVolumes" -}}
{{- $ := index . 0 -}}
{{- $postgres := $.Values.database.postgres -}}
{{- $place := $postgres -}}
{{- $secret := include "endcap.databaseSecret" $ -}}
{{- if and (index . 2) $.Values.migration.existingSecret }}
{{- $place = $.Values.migration }}
{{- $secret = $.Values.migration.existingSecret }}
{{- end -}}
{{- $items := dict $place.urlKey "url" -}}
{{- with $place.passwordKey }}{{ $_ := set $items . "password" }}{{ end -}}
{{- if not (index . 2) }}
{{- with include "endcap.readUrlKey" $ }}{{ $_ := set $items . "read-url" }}{{ end }}
{{- end -}}
{{ include "endcap.secretVolume" (list (index . 1) $secret $items) }}
{{- end }}

{{- define "endcap.databaseTlsVolume" -}}
{{- $items := dict "ca.crt" "ca.crt" -}}
{{- if .Values.database.postgres.tlsClientCertificate }}
{{- $_ := set $items "tls.crt" "tls.crt" }}
{{- $_ := set $items "tls.key" "tls.key" }}
{{- end -}}
{{ include "endcap.secretVolume" (list "database-tls" .Values.database.postgres.tlsSecret $items) }}
{{- end }}

{{/* What every pod has. */}}
{{- define "endcap.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "endcap.pullSecrets" -}}
{{- with . }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The container that migrates; (list $ NAME-OF-DATABASE-VOLUME). */}}
{{- define "endcap.migration.container" -}}
{{- $ := index . 0 -}}
{{- $image := $.Values.migration.image -}}
name: migrate
image: {{ include "endcap.image" (list (ternary $image $.Values.image (ne $image.repository "")) $.Chart.AppVersion) }}
imagePullPolicy: {{ $.Values.image.pullPolicy }}
args: [migrate, --wait, {{ $.Values.migration.wait }}]
env:
  {{- include "endcap.databaseEnv" (list $ true) | nindent 2 }}
  {{- with $.Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $.Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  {{- toYaml $.Values.containerSecurityContext | nindent 2 }}
resources:
  {{- toYaml $.Values.migration.resources | nindent 2 }}
terminationMessagePolicy: FallbackToLogsOnError
volumeMounts:
  - name: {{ index . 1 }}
    mountPath: /run/secrets/endcap/database
    readOnly: true
  {{- if $.Values.database.postgres.tlsSecret }}
  {{- include "endcap.secretMount" "database-tls" | nindent 2 }}
  {{- end }}
  - {name: tmp, mountPath: /tmp}
{{- end }}
