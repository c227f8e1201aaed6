{{/* What every object's name begins with: short enough for all that is added to it. */}}
{{- define "trainyard.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end -}}

{{/*
What selects the pods of a component, of dict root, component. Workers, whose pods the controller makes, have the same
name, but no instance, and a component that none of these has.
*/}}
{{- define "trainyard.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* The labels of an object, of dict root, component. */}}
{{- define "trainyard.labels" -}}
{{ include "trainyard.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Name, namespace and labels of an object, of dict root, component, and suffix where that is another word. */}}
{{- define "trainyard.metadata" -}}
name: {{ include "trainyard.fullname" .root }}-{{ .suffix | default .component }}
namespace: {{ .root.Release.Namespace | quote }}
labels:
  {{- include "trainyard.labels" . | nindent 2 }}
{{- end -}}
