{{/* Where intents and outcomes wait while a sink or the database is away, and what that makes of the runtime:
     - kind: Deployment, or StatefulSet where each replica has a claim of its own,
     - folder, persistent: settings of the runtime,
     - security, volumes, mounts: of its pods,
     - claims: fields of the StatefulSet. */}}
{{- define "piko.spool" -}}
{{- $spool := .Values.runtime.spool.persistence -}}
{{- if not $spool.enabled -}}
{{- if $spool.existingClaim -}}
{{- fail "runtime.spool.persistence: existingClaim is set and enabled is false; set enabled=true, or leave the claim out" -}}
{{- end -}}
kind: Deployment
folder: /tmp/piko-spool
persistent: false
{{- else -}}
kind: {{ ternary "Deployment" "StatefulSet" (not (empty $spool.existingClaim)) }}
# A folder below the volume's root, which may hold a lost+found.
folder: /var/lib/piko/spool
persistent: true
# The volume belongs to root; its group is changed to one that the process is in.
security: {fsGroup: 10001, fsGroupChangePolicy: OnRootMismatch}
mounts:
  - {name: spool, mountPath: /var/lib/piko}
{{- if $spool.existingClaim }}
volumes:
  - name: spool
    persistentVolumeClaim: {claimName: {{ $spool.existingClaim }}}
{{- else }}
claims:
  persistentVolumeClaimRetentionPolicy:
    whenDeleted: {{ $spool.retention.whenDeleted }}
    whenScaled: {{ $spool.retention.whenScaled }}
  volumeClaimTemplates:
    - metadata:
        name: spool
        labels: {{- include "piko.selector" (list . "runtime") | nindent 10 }}
        {{- with $spool.annotations }}
        annotations: {{- toYaml . | nindent 10 }}
        {{- end }}
      spec:
        accessModes: {{- toYaml $spool.accessModes | nindent 10 }}
        {{- with $spool.storageClass }}
        storageClassName: {{ . | quote }}
        {{- end }}
        resources: {requests: {storage: {{ $spool.size }}}}
{{- end }}
{{- end -}}
{{- end -}}
