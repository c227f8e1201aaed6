{{/* A key of a Secret, as name and key: that of a section of the values, else of what evaluation makes. */}}
{{- define "trainyard.secretKey" -}}
{{- if .section.existingSecret -}}
name: {{ .section.existingSecret | quote }}
key: {{ .section.key | quote }}
{{- else -}}
name: {{ include "trainyard.fullname" .root }}-evaluation
key: {{ .made }}
{{- end -}}
{{- end -}}

{{- define "trainyard.databaseKey" -}}
{{ include "trainyard.secretKey" (dict "root" . "section" .Values.database "made" "database-url") }}
{{- end -}}

{{- define "trainyard.qdrantKey" -}}
{{ include "trainyard.secretKey" (dict "root" . "section" .Values.qdrant "made" "qdrant-url") }}
{{- end -}}

{{- define "trainyard.tokensKey" -}}
{{ include "trainyard.secretKey" (dict "root" . "section" .Values.tokens "made" "tokens") }}
{{- end -}}

{{- define "trainyard.photosClaim" -}}
{{ .Values.photos.existingClaim | default (printf "%s-photos" (include "trainyard.fullname" .)) }}
{{- end -}}

{{- define "trainyard.modelsClaim" -}}
{{ .Values.models.existingClaim | default (printf "%s-models" (include "trainyard.fullname" .)) }}
{{- end -}}

{{/* Not empty where evaluation makes the thing, of dict root, and the values' section that would name one of yours. */}}
{{- define "trainyard.isMade" -}}
{{- if and .root.Values.evaluation.enabled (not (.section.existingSecret | default .section.existingClaim)) -}}
true
{{- end -}}
{{- end -}}
