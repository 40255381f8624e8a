{{/*
What each mode may do in the cluster: the one table of the chart. A test compares it with
controller/memwatch_controller/cluster/rights.py, which says why.
  services: in the namespaces of services; own: in the release's; cluster: of kinds in no namespace
*/}}
{{- define "memwatch.rights" -}}
{{- $read := list "get" "list" "watch" -}}
{{- $look := list "get" "list" -}}
{{- $workloads := list
  (dict "apiGroups" (list "") "resources" (list "pods") "verbs" $read)
  (dict "apiGroups" (list "apps") "resources" (list "deployments" "replicasets" "statefulsets" "daemonsets") "verbs" $look)
  (dict "apiGroups" (list "batch") "resources" (list "jobs") "verbs" $look)
-}}
{{- $rotation := concat $workloads (list
  (dict "apiGroups" (list "policy") "resources" (list "poddisruptionbudgets") "verbs" $look)
  (dict "apiGroups" (list "discovery.k8s.io") "resources" (list "endpointslices") "verbs" $read)
  (dict "apiGroups" (list "") "resources" (list "services") "verbs" $look)
) -}}
{{- $pods := list (index $workloads 0) -}}
{{- toYaml (dict
  "lookup" (dict "services" $workloads)
  "attach" (dict "services" (append $pods
    (dict "apiGroups" (list "") "resources" (list "pods/ephemeralcontainers") "verbs" (list "patch"))))
  "readiness" (dict "services" (append $rotation
    (dict "apiGroups" (list "") "resources" (list "pods/status") "verbs" (list "patch"))))
  "detach" (dict "services" (append $rotation
    (dict "apiGroups" (list "") "resources" (list "pods") "verbs" (list "patch" "delete"))))
  "watchdog" (dict
    "services" $pods
    "own" (list (dict "apiGroups" (list "") "resources" (list "services") "verbs" (list "get")
      "resourceNames" (list (printf "%s-webhook" (include "memwatch.fullname" .)))))
    "cluster" (list
      (dict "apiGroups" (list "") "resources" (list "namespaces") "verbs" $read)
      (dict "apiGroups" (list "admissionregistration.k8s.io") "resources" (list "mutatingwebhookconfigurations") "verbs" (list "get")
        "resourceNames" (list (printf "%s-webhook" (include "memwatch.clustername" .))))))
) -}}
{{- end }}

{{/* Names of the modes that are on, as a JSON list; empty where there is none. */}}
{{- define "memwatch.modes" -}}
{{- $on := list -}}
{{- if .Values.modes.targets }}{{ $on = append $on "lookup" }}{{ end -}}
{{- if .Values.modes.attach }}{{ $on = append $on "attach" }}{{ end -}}
{{- if .Values.modes.isolate.readiness }}{{ $on = append $on "readiness" }}{{ end -}}
{{- if .Values.modes.isolate.detach }}{{ $on = append $on "detach" }}{{ end -}}
{{- if .Values.modes.watchdog }}{{ $on = append $on "watchdog" }}{{ end -}}
{{- if $on }}{{ toJson $on }}{{ end -}}
{{- end }}

{{/* The rules of the modes that are on, as a JSON list; the argument is (list $ "services"). */}}
{{- define "memwatch.rules" -}}
{{- $root := index . 0 -}}
{{- $scope := index . 1 -}}
{{- $rights := include "memwatch.rights" $root | fromYaml -}}
{{- $rules := list -}}
{{- range include "memwatch.modes" $root | default "[]" | fromJsonArray -}}
{{- $rules = concat $rules (index $rights . $scope | default list) -}}
{{- end -}}
{{- $rules | uniq | toJson -}}
{{- end }}
