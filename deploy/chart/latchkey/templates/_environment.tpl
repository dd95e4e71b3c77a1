{{/*
The environment of the service, which its migration and its other commands share. values.schema.json has the names that
`settings` may have. Text that looks like a number stays text.
*/}}
{{- define "latchkey.environment" -}}
{{- $values := .Values -}}
{{- if not (or $values.tls.existingSecret $values.plaintext) -}}
{{- fail "tls.existingSecret: name a Secret with the certificate, or set plaintext=true if a mesh or a proxy ends TLS" -}}
{{- end -}}
{{- range $name, $ref := $values.secretSettings -}}
{{- if hasKey $values.settings $name -}}
{{- fail (printf "settings.%s: is in secretSettings too" $name) -}}
{{- end -}}
{{- end -}}
- name: NODE_ENV
  value: production
- name: LATCHKEY_LISTEN
  value: 0.0.0.0:8080
- name: LATCHKEY_OPS_LISTEN
  value: 0.0.0.0:9464
- name: LATCHKEY_ISSUER
  value: {{ required "issuer: set the https URL that access tokens name as their issuer" $values.issuer | quote }}
- name: LATCHKEY_WORKERS
  value: {{ $values.workers | quote }}
- name: LATCHKEY_REPLICAS
  value: {{ ternary $values.autoscaling.maxReplicas $values.replicas $values.autoscaling.enabled | quote }}
- name: LATCHKEY_DRAIN_SECONDS
  value: {{ $values.drainSeconds | quote }}
- name: LATCHKEY_MIGRATE
  value: {{ not $values.migration.enabled | quote }}
{{- if $values.tls.existingSecret }}
- name: LATCHKEY_TLS_CERT_FILE
  value: /etc/latchkey/tls/{{ $values.tls.certKey }}
- name: LATCHKEY_TLS_KEY_FILE
  value: /etc/latchkey/tls/{{ $values.tls.keyKey }}
{{- end }}
{{- if $values.plaintext }}
- name: LATCHKEY_ALLOW_PLAINTEXT
  value: "true"
{{- end }}
{{ include "latchkey.fromSecret" (dict "name" "DATABASE_URL" "key" $values.database.key
  "secret" (required "database.existingSecret: name the Secret that holds DATABASE_URL" $values.database.existingSecret)) }}
{{- if or $values.redis.existingSecret (ne (get $values.settings "LATCHKEY_ALLOW_IN_PROCESS_LIMITS" | toString) "true") }}
{{ include "latchkey.fromSecret" (dict "name" (ternary "REDIS_CLUSTER_NODES" "REDIS_URL" $values.redis.cluster) "key" $values.redis.key
  "secret" (required "redis.existingSecret: name the Secret that holds REDIS_URL" $values.redis.existingSecret)) }}
{{- end }}
{{ include "latchkey.fromSecret" (dict "name" "LATCHKEY_MASTER_KEYS" "key" $values.masterKeys.key
  "secret" (required "masterKeys.existingSecret: name the Secret that holds LATCHKEY_MASTER_KEYS" $values.masterKeys.existingSecret)) }}
{{- range $name, $value := $values.settings }}
- name: {{ $name }}
  value: {{ ternary (toString $value) (printf "%d" (int64 $value)) (or (kindIs "string" $value) (kindIs "bool" $value)) | quote }}
{{- end }}
{{- range $name, $ref := $values.secretSettings }}
{{ include "latchkey.fromSecret" (dict "name" $name "secret" $ref.existingSecret "key" $ref.key) }}
{{- end }}
{{- with $values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}
