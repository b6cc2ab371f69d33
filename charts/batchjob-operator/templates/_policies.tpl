{{/* What the admission policies are about: one line a resource, with the place of the spec that its runs get. Each has
     spec.owner. A second one reads its place through dyn(object), because the types of the two differ. */}}
{{- define "batchjob.owned" -}}
batchjobs: object.spec
batchschedules: dyn(object).spec.jobTemplate.spec
{{- end }}

{{- define "batchjob.policyName" -}}
{{ .Release.Namespace }}-{{ include "batchjob.fullname" . }}
{{- end }}

{{/* The spec of a run, in CEL. Call with (dict "root" $ "object" "object" or "oldObject"). */}}
{{- define "batchjob.runSpec" -}}
{{- $owned := include "batchjob.owned" .root | fromYaml -}}
{{- $names := keys $owned | sortAlpha -}}
{{- range initial $names }}request.resource.resource == '{{ . }}' ? {{ get $owned . | replace "object" $.object }} : {{ end -}}
{{ get $owned (last $names) | replace "object" .object }}
{{- end }}

{{/* matchConstraints. Call with (dict "root" $ "operations" (list …) "status" <the status too>). */}}
{{- define "batchjob.policyMatch" -}}
{{- $resources := list -}}
{{- range include "batchjob.owned" .root | fromYaml | keys | sortAlpha -}}
{{- $resources = append $resources . -}}
{{- if $.status }}{{ $resources = append $resources (printf "%s/status" .) }}{{ end -}}
{{- end -}}
resourceRules:
  - apiGroups: [batchjob.dev]
    apiVersions: ["*"]
    operations: {{ toJson .operations }}
    resources: {{ toJson $resources }}
{{- with .root.Values.watchNamespaces }}
namespaceSelector:
  matchExpressions:
    - {key: kubernetes.io/metadata.name, operator: In, values: {{ toJson . }}}
{{- end }}
{{- end }}

{{/* matchConditions: nobody is asked whose the objects are that the operator and Kubernetes itself write. The gateway
     asks the same of its callers before it writes; its own account's rights say nothing of theirs. Accounts of kube-system are the garbage collector, the namespace controller and their like; where the controller manager has
     one account for all of them, it is a user. */}}
{{- define "batchjob.policyExempt" -}}
- name: not-the-operator
  expression: request.userInfo.username != 'system:serviceaccount:{{ .Release.Namespace }}:{{ include "batchjob.serviceAccountName" . }}'
{{- if .Values.gateway.enabled }}
- name: not-the-gateway
  expression: request.userInfo.username != 'system:serviceaccount:{{ .Release.Namespace }}:{{ include "batchjob.gatewayAccountName" . }}'
{{- end }}
- name: not-kubernetes-itself
  expression: >-
    request.userInfo.username != 'system:kube-controller-manager'
    && !('system:serviceaccounts:kube-system' in request.userInfo.?groups.orValue([]))
{{- end }}

{{/* Whether the API server may be asked to fill in owners. By the version and not by .Capabilities.APIVersions: without
     a cluster, helm template takes that from its own libraries, whatever --kube-version says. */}}
{{- define "batchjob.fillsOwners" -}}
{{- $fill := .Values.policies.owners.fill -}}
{{- if or (eq $fill "always") (and (eq $fill "auto") (semverCompare ">=1.36.0-0" .Capabilities.KubeVersion.Version)) -}}
true
{{- end -}}
{{- end }}

{{/* One cap on a number. What was above it before may stay, so that a run can still be paused or cancelled after a cap
     was lowered. Call with (dict "name" <value of the chart> "cap" … "field" … "count" <CEL over SPEC> "shown" <the
     same as text> "way" <the way out>). */}}
{{- define "batchjob.cap" -}}
{{- $count := .count | replace "SPEC" "variables.spec" -}}
{{- $before := .count | replace "SPEC" "variables.before" -}}
- expression: >-
    ({{ $count }}) <= {{ int64 .cap }}
    || (request.operation == 'UPDATE' && ({{ $count }}) <= ({{ $before }}))
  messageExpression: >-
    '{{ .field }} is ' + {{ .shown | replace "SPEC" "variables.spec" }}
    + ', and at most {{ int64 .cap }} is allowed here. {{ .way }} (The cap is policies.caps.{{ .name }} of the chart.)'
{{- end }}
