{{/* What every pod shares. `component` is the part of the values with the pod's options: runtime, operator, … */}}

{{/* Labels and annotations of a pod. Called with (dict "root" $ "component" values "name" component). */}}
{{- define "piko.pod.metadata" -}}
labels:
  {{- with .root.Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- include "piko.selector" (list .root .name) | nindent 2 }}
  piko.dev/component: {{ .name }}
  {{- with .component.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  kubectl.kubernetes.io/default-container: {{ .name }}
  {{- if not .component.existingSecret }}
  {{- with include "piko.database.checksum" .root | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- end }}
  {{- with merge (deepCopy .component.podAnnotations) .root.Values.commonAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* The fields of a pod. Called with (dict "root" $ "component" values "name" component), and
     - "security": fields of the security context that the pod needs,
     - "secret", "key": the Secret with the DSN, if it is another than that of `database`; "without" database,
     - "volumes": further volumes. */}}
{{- define "piko.pod" -}}
# Variables that describe every Service of the namespace are noise next to settings.
enableServiceLinks: false
{{- $security := dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault") }}
securityContext: {{- include "piko.overlaid" (list (merge (default dict .security) $security) .component.podSecurityContext) | nindent 2 }}
{{- with .component.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .component.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .component.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .component.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .component.hostAliases }}
hostAliases: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
volumes:
  - name: tmp
    emptyDir: {}
{{- if not .apart }}
  - name: database
    secret:
      secretName: {{ .secret | default (include "piko.database.secretName" .root) }}
      items: [{key: {{ .key | default .root.Values.database.secretKey }}, path: dsn}]
{{- with .root.Values.database.tlsSecret }}
  - name: database-tls
    # Optional, so that the process says which file is missing.
    secret: {secretName: {{ . }}, optional: true}
{{- end }}
{{- end }}
{{- with .volumes }}
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .component.extraVolumes }}
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Containers beside the one of the program. Called with the component. */}}
{{- define "piko.companions" -}}
{{- with .sidecars }}
{{- toYaml . }}
{{- end }}
{{- end -}}

{{/* How replicas spread over nodes. Called with (list $ component's values, component, label of a revision). */}}
{{- define "piko.spread" -}}
{{- $component := index . 1 -}}
{{- $selector := dict "matchLabels" (include "piko.selector" (list (index . 0) (index . 2)) | fromYaml) -}}
{{- if $component.topologySpreadConstraints }}
topologySpreadConstraints:
{{- range $component.topologySpreadConstraints }}
  - {{- merge (deepCopy .) (dict "labelSelector" $selector) | toYaml | nindent 4 }}
{{- end }}
{{- else if not $component.affinity }}
topologySpreadConstraints:
  - topologyKey: kubernetes.io/hostname
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    labelSelector: {{- toYaml $selector | nindent 6 }}
    matchLabelKeys: [{{ index . 3 }}]
{{- end }}
{{- end -}}

{{/* The fields of a container that all share. Called as `piko.pod`; "mounts" are further mounts. */}}
{{- define "piko.container" -}}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{- $security := dict "allowPrivilegeEscalation" false "readOnlyRootFilesystem" true "capabilities" (dict "drop" (list "ALL")) }}
securityContext: {{- include "piko.overlaid" (list $security .component.containerSecurityContext) | nindent 2 }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
{{- if not .apart }}
  - name: database
    mountPath: /etc/piko/database
    readOnly: true
{{- if .root.Values.database.tlsSecret }}
  - name: database-tls
    mountPath: /etc/piko/tls
    readOnly: true
{{- end }}
{{- end }}
{{- with .mounts }}
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .component.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Defaults with the user's fields over them; a field that is null is left out. Called with (list defaults user's). */}}
{{- define "piko.overlaid" -}}
{{- $all := merge (deepCopy (index . 1)) (index . 0) -}}
{{- range $name, $value := index . 1 }}{{- if kindIs "invalid" $value }}{{- $_ := unset $all $name }}{{- end }}{{- end -}}
{{- toYaml $all -}}
{{- end -}}

{{/* Called with the component's values. */}}
{{- define "piko.probes" -}}
{{- $path := dict "startup" "/healthz" "liveness" "/healthz" "readiness" "/readyz" -}}
{{- $usual := dict
      "startup" (dict "periodSeconds" 2 "failureThreshold" 60 "timeoutSeconds" 3)
      "liveness" (dict "periodSeconds" 10 "failureThreshold" 3 "timeoutSeconds" 5)
      "readiness" (dict "periodSeconds" 5 "failureThreshold" 2 "timeoutSeconds" 3) -}}
{{- $given := .probes -}}
# A slow start is not a hang: the liveness probe begins when the start-up probe has passed once.
{{- range $kind := list "startup" "liveness" "readiness" }}
{{ $kind }}Probe:
  httpGet: {path: {{ get $path $kind }}, port: http}
  {{- include "piko.overlaid" (list (get $usual $kind) (get $given $kind)) | nindent 2 }}
{{- end }}
{{- end -}}

{{/* ---- objects that every component has ---- */}}

{{/* Called with (list $ name component). */}}
{{- define "piko.accountName" -}}
{{- $account := (get (index . 0).Values (index . 2)).serviceAccount -}}
{{- if $account.create -}}
{{- default (index . 1) $account.name -}}
{{- else -}}
{{- required (printf "%s.serviceAccount.name: with create=false it names the account to use" (index . 2)) $account.name -}}
{{- end -}}
{{- end -}}

{{- define "piko.serviceAccount" -}}
{{- $account := (get (index . 0).Values (index . 2)).serviceAccount -}}
{{- if $account.create }}
apiVersion: v1
kind: ServiceAccount
metadata: {{- include "piko.metadata" (list (index . 0) (include "piko.accountName" .) (index . 2) $account.annotations) | nindent 2 }}
automountServiceAccountToken: false
{{- end }}
{{- end -}}

{{/* Called with (list $ name component). */}}
{{- define "piko.service" -}}
{{- $root := index . 0 -}}
apiVersion: v1
kind: Service
metadata: {{- include "piko.metadata" (list $root (index . 1) (index . 2) $root.Values.service.annotations) | nindent 2 }}
spec:
  # Both families where the cluster has both.
  ipFamilyPolicy: PreferDualStack
  selector: {{- include "piko.selector" (list $root (index . 2)) | nindent 4 }}
  ports:
    - {name: http, port: {{ $root.Values.service.port | int }}, targetPort: http}
{{- end -}}

{{/* Called with (list $ name component). */}}
{{- define "piko.disruptionBudget" -}}
{{- $root := index . 0 -}}
{{- with (get $root.Values (index . 2)).podDisruptionBudget }}
{{- if .enabled }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{- include "piko.metadata" (list $root (index $ 1) (index $ 2) dict) | nindent 2 }}
spec:
  maxUnavailable: {{ .maxUnavailable }}
  # A pod that is not ready protects nothing, and must not block the drain of its node.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "piko.selector" (list $root (index $ 2)) | nindent 6 }}
{{- end }}
{{- end }}
{{- end -}}
