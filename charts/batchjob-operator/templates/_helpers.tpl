{{/* Prefix of every name: the release's, with the chart's behind it unless it says so already. 40 characters leave
     room for "-redis-0" and the controller's hash below the limit of 63. */}}
{{- define "batchjob.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains "batchjob" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-batchjob" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* Labels that never change: Kubernetes does not let a selector be changed. Call with (dict "root" $ "component" …). */}}
{{- define "batchjob.selector" -}}
app.kubernetes.io/name: batchjob-operator
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "batchjob.labels" -}}
{{ include "batchjob.selector" . }}
app.kubernetes.io/part-of: batchjob
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Call with (dict "image" … "tag" <default tag>). */}}
{{- define "batchjob.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .tag }}
{{- end -}}
{{- end }}

{{- define "batchjob.serviceAccountName" -}}
{{ .Values.serviceAccount.name | default (printf "%s-operator" (include "batchjob.fullname" .)) }}
{{- end }}

{{- define "batchjob.gatewayAccountName" -}}
{{ .Values.gateway.serviceAccount.name | default (printf "%s-gateway" (include "batchjob.fullname" .)) }}
{{- end }}

{{- define "batchjob.redisUrl" -}}
{{- if eq .Values.redis.mode "embedded" -}}
redis://{{ include "batchjob.fullname" . }}-redis.{{ .Release.Namespace }}.svc:6379/0
{{- else -}}
{{ .Values.redis.url }}
{{- end -}}
{{- end }}

{{/* Name of the Secret with Redis' password; empty: an external Redis without one. */}}
{{- define "batchjob.redisSecret" -}}
{{- if .Values.redis.auth.existingSecret -}}
{{ .Values.redis.auth.existingSecret }}
{{- else if eq .Values.redis.mode "embedded" -}}
{{ include "batchjob.fullname" . }}-redis-auth
{{- end -}}
{{- end }}

{{/* "true" where the chart has to see to that Secret itself. */}}
{{- define "batchjob.makesRedisSecret" -}}
{{- if and (eq .Values.redis.mode "embedded") (not .Values.redis.auth.existingSecret) -}}true{{- end -}}
{{- end }}

{{/* The restricted Pod Security Standard, and a root filesystem that cannot be written. */}}
{{- define "batchjob.podSecurity" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "batchjob.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
readOnlyRootFilesystem: true
{{- end }}
