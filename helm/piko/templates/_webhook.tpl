{{/* The webhook's part of the runtime:
     - settings: environment variables,
     - volumes, mounts: of its pods. */}}
{{- define "piko.webhook" -}}
{{- $webhook := .Values.runtime.webhook -}}
{{- if $webhook.existingSecret -}}
settings:
  # Files, which are read again for each post: a changed Secret needs no restart.
  PIKO_WEBHOOK_URL: file:/etc/piko/webhook/url
  PIKO_WEBHOOK_KEY: file:/etc/piko/webhook/key
  {{- if $webhook.caSecretKey }}
  PIKO_WEBHOOK_CA: /etc/piko/webhook/ca.crt
  {{- end }}
  PIKO_WEBHOOK_TIMEOUT_S: {{ $webhook.timeoutSeconds }}
  PIKO_WEBHOOK_RETRY_S: {{ $webhook.retrySeconds }}
volumes:
  - name: webhook
    secret:
      secretName: {{ $webhook.existingSecret }}
      items:
        - {key: {{ $webhook.urlSecretKey }}, path: url}
        - {key: {{ $webhook.signingSecretKey }}, path: key}
        {{- with $webhook.caSecretKey }}
        - {key: {{ . }}, path: ca.crt}
        {{- end }}
mounts:
  - {name: webhook, mountPath: /etc/piko/webhook, readOnly: true}
{{- else -}}
settings: {}
volumes: []
mounts: []
{{- end -}}
{{- end -}}
