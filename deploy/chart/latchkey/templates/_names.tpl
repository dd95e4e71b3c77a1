{{/*
Parts that several templates share. `fail` ends an install with a sentence that names the value to set.
*/}}

{{- define "latchkey.chart" -}}
{{ .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* The longest suffix, "-headless", fits into the 63 characters of a label. */}}
{{- define "latchkey.name" -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "latchkey.chart" .) .Release.Name -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name (include "latchkey.chart" .) | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "latchkey.selector" -}}
app.kubernetes.io/name: {{ include "latchkey.chart" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: service
{{- end }}

{{/* Of everything that is no pod of the service: a Service must not choose the pod of a migration. */}}
{{- define "latchkey.labels" -}}
app.kubernetes.io/name: {{ include "latchkey.chart" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "latchkey.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "latchkey.name" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end }}

{{- define "latchkey.image" -}}
{{- $repository := required "image.repository: name the registry and the image" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{ $repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/*
A gRPC probe speaks no TLS, and with several workers it reaches any one of them. Then /healthz on 9464 answers for all.
*/}}
{{- define "latchkey.probesGrpc" -}}
{{- if and (not .Values.tls.existingSecret) (eq (int .Values.workers) 1) }}true{{ end -}}
{{- end }}

{{/* One env entry by reference. */}}
{{- define "latchkey.fromSecret" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
{{- end }}

{{/* The file system of the image is read-only. /tmp is for tools that an operator runs in the container. */}}
{{- define "latchkey.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
{{- if .Values.tls.existingSecret }}
- name: tls
  secret:
    secretName: {{ .Values.tls.existingSecret }}
    defaultMode: 0440
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A mount with subPath would never show a new certificate. */}}
{{- define "latchkey.mounts" -}}
- name: tmp
  mountPath: /tmp
{{- if .Values.tls.existingSecret }}
- name: tls
  mountPath: /etc/latchkey/tls
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The user `node` of the image. fsGroup lets it read the files of Secrets, which others can't. */}}
{{- define "latchkey.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "latchkey.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/*
Figures of docs/OPERATIONS.md and bench/README.md: 400 MB resident at 5,000 calls/s, at most 1.5 KiB for a key in
memory, 43 microseconds of CPU for a call with limits in Redis. The first of several processes answers no call.
*/}}
{{- define "latchkey.resources" -}}
{{- if .Values.resources -}}
{{ toYaml .Values.resources }}
{{- else -}}
{{- $workers := int .Values.workers -}}
{{- $keys := get .Values.settings "LATCHKEY_CACHED_KEYS" | default 100000 | int -}}
{{- $each := add 448 (ceil (divf (mulf $keys 1.5) 1024)) -}}
{{- $memory := add (mul $workers $each) (ternary 128 0 (gt $workers 1)) -}}
requests:
  cpu: {{ mul $workers 500 }}m
  memory: {{ $memory }}Mi
limits:
  cpu: {{ mul $workers 2 | quote }}
  memory: {{ mul $memory 2 }}Mi
{{- end -}}
{{- end }}

{{- define "latchkey.scheduling" -}}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "latchkey.migrationSelector" -}}
app.kubernetes.io/name: {{ include "latchkey.chart" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: migration
{{- end }}

{{- define "latchkey.egress" -}}
- ports:
    - { protocol: UDP, port: 53 }
    - { protocol: TCP, port: 53 }
{{- with .Values.networkPolicy.egress }}
{{ toYaml . }}
{{- end }}
{{- end }}
