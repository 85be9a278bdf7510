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

{{- define "piko.labels" -}}
{{- $root := index . 0 -}}
{{ include "piko.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 }}
{{- end -}}

{{/* ---- images ---- */}}

{{/* Called with (list $ component's values). */}}
{{- define "piko.image" -}}
{{- $root := index . 0 -}}
{{- $image := (index . 1).image -}}
{{- $name := printf "%s:%s" $image.repository (default $root.Chart.AppVersion $image.tag) -}}
{{- with $root.Values.image.registry -}}{{- trimSuffix "/" . }}/{{ end -}}
{{- $name -}}
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

{{- define "piko.database.env" -}}
- name: PIKO_MYSQL_DSN
  valueFrom:
    secretKeyRef:
      name: {{ include "piko.database.secretName" . }}
      key: {{ .Values.database.secretKey }}
{{- end -}}

{{/* Pods are replaced when the chart's own Secret changes; a foreign one is not ours to read. */}}
{{- define "piko.database.checksum" -}}
{{- if .Values.database.dsn }}
checksum/database: {{ .Values.database.dsn | sha256sum | trunc 16 | quote }}
{{- end }}
{{- end -}}

{{/* ---- environment ---- */}}

{{/* The chart's variables, overridden and completed by the user's. Called with (list path chart's user's). */}}
{{- define "piko.env" -}}
{{- $path := index . 0 -}}
{{- $given := index . 2 -}}
{{- if hasKey $given "PIKO_MYSQL_DSN" -}}
{{- fail (printf "%s: PIKO_MYSQL_DSN is a secret and does not belong here; set database.existingSecret or database.dsn" $path) -}}
{{- end -}}
{{- $all := merge (deepCopy $given) (index . 1) -}}
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
{{- end -}}

{{/* ---- what every pod shares ---- */}}

{{/* `tokens`, where it is set beside Values, is a Secret with the tokens of people. */}}
{{- define "piko.pod" -}}
# Variables that describe every Service of the namespace are noise next to settings.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  seccompProfile: {type: RuntimeDefault}
volumes:
  - name: tmp
    emptyDir: {}
{{- with .Values.database.tlsSecret }}
  - name: database-tls
    # Optional, so that the process says which file is missing.
    secret: {secretName: {{ . }}, optional: true}
{{- end }}
{{- with .tokens }}
  - name: tokens
    secret: {secretName: {{ . }}, optional: true}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "piko.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
  readOnlyRootFilesystem: true
volumeMounts:
  - name: tmp
    mountPath: /tmp
{{- with .Values.database.tlsSecret }}
  - name: database-tls
    mountPath: /etc/piko/tls
    readOnly: true
{{- end }}
{{- with .tokens }}
  - name: tokens
    mountPath: /etc/piko/tokens
    readOnly: true
{{- end }}
{{- end -}}

{{- define "piko.placement" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "piko.probes" -}}
# A slow start is not a hang: the liveness probe begins when the start-up probe has passed once.
startupProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 2
  failureThreshold: 60
  timeoutSeconds: 3
livenessProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 10
  failureThreshold: 3
  timeoutSeconds: 5
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 5
  failureThreshold: 2
  timeoutSeconds: 3
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
