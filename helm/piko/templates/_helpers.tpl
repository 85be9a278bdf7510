{{/* ---- names and labels ---- */}}

{{- define "piko.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Cluster-wide objects carry the namespace, so that two releases of one name do not meet. */}}
{{- define "piko.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "piko.fullname" .) -}}
{{- end -}}

{{/* What selects a component's pods; it must never change. Called with (list $ component). */}}
{{- define "piko.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride | trunc 63 }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Called with (list $ component). */}}
{{- define "piko.labels" -}}
{{- $root := index . 0 -}}
{{- with $root.Values.commonLabels }}
{{- toYaml . }}
{{ end -}}
{{ include "piko.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{/* By which `kubectl piko` knows Services and pods: other programs have a component `web`, too. */ -}}
piko.dev/component: {{ index . 1 }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 }}
{{- end -}}

{{/* Labels and annotations of an object. Called with (list $ component annotations). */}}
{{- define "piko.marks" -}}
{{- $root := index . 0 -}}
labels: {{- include "piko.labels" (list $root (index . 1)) | nindent 2 }}
{{- $annotations := merge (deepCopy (index . 2)) $root.Values.commonAnnotations }}
{{- with $annotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The metadata of an object in the release's namespace. Called with (list $ name component annotations). */}}
{{- define "piko.metadata" -}}
name: {{ index . 1 }}
namespace: {{ (index . 0).Release.Namespace }}
{{ include "piko.marks" (list (index . 0) (index . 2) (index . 3)) }}
{{- end -}}

{{/* ---- images ---- */}}

{{/* Called with (list $ component's values). */}}
{{- define "piko.image" -}}
{{- $root := index . 0 -}}
{{- $image := (index . 1).image -}}
{{- with $root.Values.image.registry -}}{{- trimSuffix "/" . }}/{{ end -}}
{{- $image.repository -}}
{{- if or $image.tag (not $image.digest) -}}:{{ default $root.Chart.AppVersion $image.tag }}{{- end -}}
{{- with $image.digest -}}@{{ . }}{{- end -}}
{{- end -}}

{{/* ---- the database ---- */}}

{{- define "piko.database.check" -}}
{{- $database := .Values.database -}}
{{- if and $database.dsn $database.existingSecret -}}
{{- fail "database: both dsn and existingSecret are set; keep one" -}}
{{- else if not (or $database.dsn $database.existingSecret) -}}
{{- fail (printf "database: none is named; set database.existingSecret to a Secret that holds the DSN under the key %s, or set database.dsn=mysql+asyncmy://user:password@host:3306/piko?charset=utf8mb4" $database.secretKey) -}}
{{- else if and $database.dsn (not (hasPrefix "mysql+asyncmy://" $database.dsn)) -}}
{{- fail "database.dsn (not shown) must begin with mysql+asyncmy://, for example mysql+asyncmy://user:password@host:3306/piko?charset=utf8mb4" -}}
{{- end -}}
{{- end -}}

{{- define "piko.database.secretName" -}}
{{- include "piko.database.check" . -}}
{{- .Values.database.existingSecret | default (printf "%s-database" (include "piko.fullname" .)) -}}
{{- end -}}

{{/* Where every pod finds the DSN: in a file, which is read again when the database refuses a connection. */}}
{{- define "piko.database.env" -}}
- name: PIKO_MYSQL_DSN
  value: file:/etc/piko/database/dsn
{{- end -}}

{{/* What encrypts the secret parts of configs, for all that read or write them. */}}
{{- define "piko.configKey.env" -}}
{{- with .Values.configKey -}}
{{- if .existingSecret -}}
- name: PIKO_CONFIG_KEY
  valueFrom: {secretKeyRef: {name: {{ .existingSecret }}, key: {{ .secretKey }}}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Pods are replaced when the chart's own Secret changes; a foreign one is not ours to read. */}}
{{- define "piko.database.checksum" -}}
{{- if .Values.database.dsn }}
checksum/database: {{ .Values.database.dsn | sha256sum | trunc 16 | quote }}
{{- end }}
{{- end -}}

{{/* ---- environment ---- */}}

{{/* The chart's variables, overridden and completed by the user's. Called with (list component chart's values),
     where `values` are the component's. */}}
{{- define "piko.env" -}}
{{- $component := index . 0 -}}
{{- $settings := deepCopy (index . 1) -}}
{{- $given := (index . 2).env -}}
{{- $extra := (index . 2).extraEnv -}}
{{- if hasKey $given "PIKO_MYSQL_DSN" -}}
{{- fail (printf "%s.env: PIKO_MYSQL_DSN is a secret and does not belong here; set database.existingSecret or database.dsn" $component) -}}
{{- end -}}
{{- if hasKey $given "PIKO_CONFIG_KEY" -}}
{{- fail (printf "%s.env: PIKO_CONFIG_KEY is a secret and does not belong here; set configKey.existingSecret" $component) -}}
{{- end -}}
{{- range $extra -}}
{{- if eq .name "PIKO_CONFIG_KEY" -}}
{{- fail (printf "%s.extraEnv: PIKO_CONFIG_KEY is the chart's to set; set configKey.existingSecret" $component) -}}
{{- end -}}
{{- if eq .name "PIKO_MYSQL_DSN" -}}
{{- fail (printf "%s.extraEnv: PIKO_MYSQL_DSN is the chart's to set; set database.existingSecret" $component) -}}
{{- else if hasKey $given .name -}}
{{- fail (printf "%s: %s is in env and in extraEnv; keep one" $component .name) -}}
{{- end -}}
{{- $_ := unset $settings .name -}}
{{- end -}}
{{- $all := merge (deepCopy $given) $settings -}}
{{- range $name := keys $all | sortAlpha }}
{{- $value := get $all $name }}
- name: {{ $name }}
  {{- /* A number of a values file is a float, and would be written 1e+06. */}}
  {{- if and (kindIs "float64" $value) (eq (floor $value) $value) }}
  value: {{ $value | int64 | toString | quote }}
  {{- else }}
  value: {{ $value | toString | quote }}
  {{- end }}
{{- end }}
{{- with $extra }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* The Lease that the runtime makes for its leader's name: piko.leadership.record.object_name. */}}
{{- define "piko.leaseName" -}}
{{- $said := .Values.runtime.leaderName }}
{{- $plain := regexReplaceAll "[^a-z0-9]+" (lower $said) "-" | trimAll "-" }}
{{- $name := printf "piko-%s" $plain }}
{{- if and (eq $plain $said) (le (len $name) 63) -}}
{{- $name -}}
{{- else -}}
{{- printf "%s-%s" ($name | trunc 54 | trimSuffix "-") (sha256sum $said | trunc 8) -}}
{{- end -}}
{{- end -}}

{{/* Annotations of what exists only while the release is uninstalled. Called with (list "pre-delete" weight). */}}
{{- define "piko.uninstallHook" -}}
helm.sh/hook: {{ index . 0 }}
helm.sh/hook-weight: {{ index . 1 | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
