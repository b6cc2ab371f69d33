{{/* Prefix of every name: the release's, with the chart's behind it unless it says so already. 40 characters leave
     room for "-redis-0" and the controller's hash below the limit of 63. A release may have dots, and a Service none. */}}
{{- define "batchjob.fullname" -}}
{{- $release := replace "." "-" .Release.Name -}}
{{- $name := contains "batchjob" $release | ternary $release (printf "%s-batchjob" $release) -}}
{{- .Values.fullnameOverride | default $name | trunc 40 | trimAll "-" -}}
{{- end }}

{{/* Labels that never change: Kubernetes does not let a selector be changed. Call with (dict "root" $ "component" …). */}}
{{- define "batchjob.selector" -}}
app.kubernetes.io/name: batchjob-operator
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{/* Labels of objects. Call with (dict "root" $ "component" … "more" <labels by value, if any>). */}}
{{- define "batchjob.ownLabels" -}}
{{ include "batchjob.selector" . }}
app.kubernetes.io/part-of: batchjob
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "batchjob.labels" -}}
{{ include "batchjob.ownLabels" . }}
{{- $own := include "batchjob.ownLabels" . | fromYaml }}
{{- range $name, $value := merge (dict) (.more | default dict) (.root.Values.commonLabels | default dict) }}
{{- if not (hasKey $own $name) }}
{{ $name }}: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Variables of OpenTelemetry; the operator hands them on to worker pods. */}}
{{- define "batchjob.traces" -}}
{{- with .Values.traces }}
{{- if .endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
- name: OTEL_TRACES_SAMPLER
  value: parentbased_traceidratio
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ .ratio | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Call with (dict "root" $ "image" … "tag" <default tag>). */}}
{{- define "batchjob.image" -}}
{{- with .root.Values.global.imageRegistry -}}
{{ trimSuffix "/" . }}/
{{- end -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .tag }}
{{- end -}}
{{- end }}

{{/* Labels and annotations of pods. Call with (dict "root" $ "component" … "values" … "checksums" <annotations>). */}}
{{- define "batchjob.podMetadata" -}}
labels: {{- merge (include "batchjob.selector" . | fromYaml) (.values.podLabels | default dict) (.root.Values.commonLabels | default dict) | toYaml | nindent 2 }}
{{- with merge (dict) .checksums (.values.podAnnotations | default dict) }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Where pods run. Call with (dict "root" $ "component" … "values" … "replicas" <how many>). */}}
{{- define "batchjob.placement" -}}
{{- with .values.priorityClassName -}}
priorityClassName: {{ . | quote }}
{{ end -}}
{{- if .values.topologySpreadConstraints -}}
topologySpreadConstraints: {{- toYaml .values.topologySpreadConstraints | nindent 2 }}
{{ else if gt (int .replicas) 1 -}}
# One node that is lost should not take all of them; where there is one node only, so be it.
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "batchjob.selector" . | nindent 8 }}
{{ end -}}
{{- with .values.nodeSelector -}}
nodeSelector: {{- toYaml . | nindent 2 }}
{{ end -}}
{{- with .values.tolerations -}}
tolerations: {{- toYaml . | nindent 2 }}
{{ end -}}
{{- with .values.affinity -}}
affinity: {{- toYaml . | nindent 2 }}
{{ end -}}
{{- end }}

{{- define "batchjob.serviceAccountName" -}}
{{ .Values.serviceAccount.name | default (printf "%s-operator" (include "batchjob.fullname" .)) }}
{{- end }}

{{- define "batchjob.gatewayAccountName" -}}
{{ .Values.gateway.serviceAccount.name | default (printf "%s-gateway" (include "batchjob.fullname" .)) }}
{{- end }}

{{/* Namespace of what is made by those whose token names none: one whose BatchJobs are run. */}}
{{- define "batchjob.defaultNamespace" -}}
{{- $wanted := .Values.gateway.defaultNamespace -}}
{{- $watched := .Values.watchNamespaces | default (list $wanted) -}}
{{- has $wanted $watched | ternary $wanted (first $watched) -}}
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

{{/* Name of the Secret with the password of the gateway's own user; empty: it has none, and is the operator's. */}}
{{- define "batchjob.gatewayRedisSecret" -}}
{{- if .Values.gateway.redis.existingSecret -}}
{{ .Values.gateway.redis.existingSecret }}
{{- else if eq .Values.redis.mode "embedded" -}}
{{ include "batchjob.fullname" . }}-redis-gateway
{{- end -}}
{{- end }}

{{/* That user; in the embedded Redis the chart makes it. */}}
{{- define "batchjob.gatewayRedisUser" -}}
{{- $own := ternary "batchjob-gateway" "" (eq .Values.redis.mode "embedded") -}}
{{- .Values.gateway.redis.username | default $own | default .Values.redis.auth.username -}}
{{- end }}

{{/* The Secrets that the operator's init container makes, with a space between them. */}}
{{- define "batchjob.madeSecrets" -}}
{{- $names := list -}}
{{- if eq .Values.redis.mode "embedded" -}}
{{- if not .Values.redis.auth.existingSecret -}}{{- $names = append $names (include "batchjob.redisSecret" .) -}}{{- end -}}
{{- if not .Values.gateway.redis.existingSecret -}}{{- $names = append $names (include "batchjob.gatewayRedisSecret" .) -}}{{- end -}}
{{- end -}}
{{- join " " $names -}}
{{- end }}

{{/* The restricted Pod Security Standard, a root filesystem that cannot be written, and as whom a pod runs, which OpenShift
     says itself. Call with (dict "root" $ "user" … "files" <whether those of a claim are the user's too>). */}}
{{- define "batchjob.podSecurity" -}}
{{- if not .root.Values.openshift -}}
runAsUser: {{ .user }}
runAsGroup: {{ .user }}
{{ if .files -}}
fsGroup: {{ .user }}
{{ end -}}
{{- end -}}
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
