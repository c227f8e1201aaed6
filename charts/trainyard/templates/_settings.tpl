{{/* The file that says how Jobs look: its keys are those of controller/kubernetes/settings.py. */}}
{{- define "trainyard.jobsSettings" -}}
namespace: {{ .Release.Namespace | quote }}
image: {{ include "trainyard.image" (dict "root" . "name" "jobs") | quote }}
imagePullPolicy: {{ .Values.images.pullPolicy }}
imagePullSecrets:
  {{- toYaml .Values.images.pullSecrets | nindent 2 }}
serviceAccountName: {{ include "trainyard.fullname" . }}-worker
photos:
  claimName: {{ include "trainyard.photosClaim" . | quote }}
  mountPath: {{ .Values.photos.mountPath | quote }}
models:
  claimName: {{ include "trainyard.modelsClaim" . | quote }}
  mountPath: {{ .Values.models.mountPath | quote }}
database:
  {{- include "trainyard.settingsKey" (include "trainyard.databaseKey" . | fromYaml) | nindent 2 }}
{{- with .Values.database.ca }}
{{- if .existingSecret }}
databaseCa:
  {{- include "trainyard.settingsKey" (dict "name" .existingSecret "key" .key) | nindent 2 }}
{{- end }}
{{- end }}
qdrant:
  {{- include "trainyard.settingsKey" (include "trainyard.qdrantKey" . | fromYaml) | nindent 2 }}
{{- with .Values.qdrant.apiKey }}
{{- if .existingSecret }}
qdrantApiKey:
  {{- include "trainyard.settingsKey" (dict "name" .existingSecret "key" .key) | nindent 2 }}
{{- end }}
{{- end }}
labels:
  {{- toYaml .Values.jobs.labels | nindent 2 }}
annotations:
  {{- toYaml .Values.jobs.annotations | nindent 2 }}
runAsUser: {{ int64 .Values.security.runAsUser }}
runAsGroup: {{ int64 .Values.security.runAsGroup }}
{{- if not (kindIs "invalid" .Values.security.fsGroup) }}
fsGroup: {{ int64 .Values.security.fsGroup }}
{{- end }}
supplementalGroups:
  {{- toYaml .Values.security.supplementalGroups | nindent 2 }}
defaults:
  {{- toYaml .Values.jobs.defaults | nindent 2 }}
steps:
  {{- toYaml .Values.jobs.steps | nindent 2 }}
{{- end -}}

{{- define "trainyard.settingsKey" -}}
secretName: {{ .name | quote }}
key: {{ .key | quote }}
{{- end -}}
