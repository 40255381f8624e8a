{{/* The chart's name. */}}
{{- define "memwatch.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{/* What every name begins with; room for "-webhook-certificate" is left. */}}
{{- define "memwatch.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "memwatch.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "memwatch.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Of what is in the whole cluster: two releases in two namespaces may have one name. */}}
{{- define "memwatch.clustername" -}}
{{- printf "%s-%s" .Release.Namespace (include "memwatch.fullname" .) | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Labels; the argument is (list $ "component"). */}}
{{- define "memwatch.labels" -}}
{{- $root := index . 0 -}}
{{ include "memwatch.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end }}

{{/* Labels that select; the argument is (list $ "component"). */}}
{{- define "memwatch.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "memwatch.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* An image's reference; the argument is (list $ "agent"). */}}
{{- define "memwatch.image" -}}
{{- $root := index . 0 -}}
{{- $image := index $root.Values.images (index . 1) -}}
{{- $name := $image.repository -}}
{{- with $root.Values.images.registry }}{{ $name = printf "%s/%s" (trimSuffix "/" .) $name }}{{ end -}}
{{- if $image.digest -}}
{{ $name }}@{{ $image.digest }}
{{- else -}}
{{ $name }}:{{ coalesce $image.tag $root.Values.images.tag $root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* Name of the secret with the token, in every namespace. */}}
{{- define "memwatch.tokenSecret" -}}
{{- .Values.token.existingSecret | default (printf "%s-token" (include "memwatch.fullname" .)) }}
{{- end }}

{{/* The address that agents register with. $(…) is filled in by the kubelet from the service's variables. */}}
{{- define "memwatch.controllerAddress" -}}
{{- if .Values.controller.address -}}
{{ .Values.controller.address }}
{{- else if .Values.controller.service.clusterIP -}}
{{ .Values.controller.service.clusterIP }}:9466
{{- else if eq .Values.controller.addressFrom "clusterIP" -}}
$({{ include "memwatch.fullname" . | upper | replace "-" "_" }}_SERVICE_HOST):9466
{{- else -}}
{{ include "memwatch.fullname" . }}.{{ .Release.Namespace }}.svc:9466
{{- end -}}
{{- end }}

{{/* Whether database and store are elsewhere: "yes" or "". */}}
{{- define "memwatch.externalDatabase" -}}
{{- if or .Values.controller.database.url .Values.controller.database.existingSecret }}yes{{ end }}
{{- end }}
{{- define "memwatch.stateless" -}}
{{- if and (include "memwatch.externalDatabase" .) .Values.controller.blobs.url }}yes{{ end }}
{{- end }}

{{/* Whether agents are native sidecars. */}}
{{- define "memwatch.sidecar" -}}
{{- if ne .Values.agent.sidecar "auto" -}}
{{ .Values.agent.sidecar }}
{{- else -}}
{{ semverCompare ">=1.29.0-0" .Capabilities.KubeVersion.Version | ternary "native" "classic" }}
{{- end -}}
{{- end }}

{{/* The webhook's secret with authority and certificate. */}}
{{- define "memwatch.certificateSecret" -}}
{{- .Values.webhook.certificate.secret | default (printf "%s-webhook-certificate" (include "memwatch.fullname" .)) }}
{{- end }}

{{/* The restricted Pod Security Standard: of a pod, and of a container. */}}
{{- define "memwatch.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}
{{- define "memwatch.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* Where a pod may run, and whose images it may pull; the argument is (list $ .Values.controller). */}}
{{- define "memwatch.scheduling" }}
{{- $root := index . 0 }}
{{- $values := index . 1 }}
{{- with $root.Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Variables of a container that asks the API server. */}}
{{- define "memwatch.apiServer" -}}
{{- with .Values.kubernetes.apiServer }}
- name: KUBERNETES_SERVICE_HOST
  value: {{ regexReplaceAll ":[0-9]+$" . "" | trimPrefix "[" | trimSuffix "]" | quote }}
- name: KUBERNETES_SERVICE_PORT
  value: {{ regexFind "[0-9]+$" . | quote }}
{{- end }}
{{- end }}

{{/* Variables that tell a controller which cluster it is in, and what it may put into pods there. */}}
{{- define "memwatch.cluster" -}}
- name: MEMWATCH_CONTROLLER_CLUSTER
  value: {{ include "memwatch.modes" . | empty | ternary "off" "in-cluster" | quote }}
{{- with .Values.namespaces }}
- name: MEMWATCH_CONTROLLER_NAMESPACES
  value: {{ join "," . | quote }}
{{- end }}
- name: MEMWATCH_CONTROLLER_WEBHOOK_NAME
  value: {{ include "memwatch.clustername" . }}-webhook
{{- if .Values.modes.attach }}
- name: MEMWATCH_CONTROLLER_ATTACH_IMAGE
  value: {{ include "memwatch.image" (list . "agent") }}
- name: MEMWATCH_CONTROLLER_ATTACH_PULL_POLICY
  value: {{ .Values.images.pullPolicy }}
- name: MEMWATCH_CONTROLLER_ATTACH_CONTROLLER
  value: {{ include "memwatch.controllerAddress" . | quote }}
- name: MEMWATCH_CONTROLLER_ATTACH_TOKEN_SECRET
  value: {{ include "memwatch.tokenSecret" . }}
- name: MEMWATCH_CONTROLLER_ATTACH_TOKEN_KEY
  value: {{ .Values.token.key }}
{{- end }}
{{- end }}

{{/* Variables by which a controller and its workers find database and store. */}}
{{- define "memwatch.stores" -}}
{{- $database := .Values.controller.database -}}
{{- if include "memwatch.externalDatabase" . }}
- name: MEMWATCH_CONTROLLER_DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ $database.existingSecret | default (printf "%s-database" (include "memwatch.fullname" .)) }}
      key: {{ $database.existingSecret | empty | ternary "url" $database.key }}
{{- end }}
{{- with .Values.controller.blobs.url }}
- name: MEMWATCH_CONTROLLER_BLOB_URL
  value: {{ . | quote }}
{{- end }}
{{- end }}

{{/* What cannot be said by the schema. */}}
{{- define "memwatch.check" -}}
{{- if and .Values.workers.replicas (not (include "memwatch.stateless" .)) }}
{{- fail "cannot start workers: they read snapshots from a store that all pods see, and take their work from PostgreSQL; set controller.database.url (or existingSecret) and controller.blobs.url" }}
{{- end }}
{{- $certificate := .Values.webhook.certificate }}
{{- if and .Values.webhook.enabled (eq $certificate.from "secret") (not (and $certificate.secret $certificate.caBundle)) }}
{{- fail "cannot use a certificate of your own for the webhook: set webhook.certificate.secret and webhook.certificate.caBundle" }}
{{- end }}
{{- if and .Values.modes.isolate.readiness (not .Values.webhook.enabled) }}
{{- fail "cannot isolate by readiness without the webhook: it gives pods their readiness gates, and keeps them open; set webhook.enabled" }}
{{- end }}
{{- if and .Values.token.existingSecret .Values.token.namespaces }}
{{- fail "cannot copy a token of your own to token.namespaces: its value is not known here; make the secret in each of them" }}
{{- end }}
{{- end }}
