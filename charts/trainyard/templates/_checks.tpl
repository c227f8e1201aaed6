{{/* Fails with a sentence for each thing that is missing or does not fit together. */}}
{{- define "trainyard.checks" -}}
{{- $problems := concat (include "trainyard.missing" . | fromYamlArray) (include "trainyard.misfits" . | fromYamlArray) -}}
{{- if $problems -}}
{{- fail (printf "\n\n%s\n" (join "\n" $problems)) -}}
{{- end -}}
{{- end -}}

{{- define "trainyard.missing" -}}
{{- if not .Values.evaluation.enabled }}
{{- $or := "To try Trainyard out without it, set evaluation.enabled=true." }}
{{- if not .Values.database.existingSecret }}
- database.existingSecret is not set. Name the Secret whose key {{ .Values.database.key }} has PostgreSQL's address, such as postgresql://user:password@host:5432/trainyard. {{ $or }}
{{- end }}
{{- if not .Values.qdrant.existingSecret }}
- qdrant.existingSecret is not set. Name the Secret whose key {{ .Values.qdrant.key }} has Qdrant's address, such as https://qdrant.example:6333. {{ $or }}
{{- end }}
{{- if not .Values.tokens.existingSecret }}
- tokens.existingSecret is not set. Name the Secret whose key {{ .Values.tokens.key }} has a line for each caller of the API, such as operator SOME-LONG-RANDOM-TEXT. {{ $or }}
{{- end }}
{{- if not .Values.photos.existingClaim }}
- photos.existingClaim is not set. Name the PersistentVolumeClaim that has the photos. {{ $or }}
{{- end }}
{{- if not .Values.models.existingClaim }}
- models.existingClaim is not set. Name a PersistentVolumeClaim for the networks' weights; models.download.enabled=true fills it. {{ $or }}
{{- end }}
{{- end }}
{{- $tokensMade := include "trainyard.isMade" (dict "root" . "section" .Values.tokens) }}
{{- if and .Values.serviceMonitor.enabled (not .Values.serviceMonitor.token.existingSecret) (not $tokensMade) }}
- serviceMonitor.token.existingSecret is not set. Name the Secret whose key {{ .Values.serviceMonitor.token.key }} has a reader's token, alone; without one the API shows no metrics.
{{- end }}
{{- end -}}

{{- define "trainyard.misfits" -}}
{{- $photos := printf "%s/" (trimSuffix "/" .Values.photos.mountPath) }}
{{- $models := printf "%s/" (trimSuffix "/" .Values.models.mountPath) }}
{{- if or (hasPrefix $photos $models) (hasPrefix $models $photos) }}
- photos.mountPath ({{ .Values.photos.mountPath }}) and models.mountPath ({{ .Values.models.mountPath }}) may not be inside one another. Choose two folders.
{{- end }}
{{- if and .Values.api.ingress.enabled (not .Values.api.ingress.host) }}
- api.ingress.host is not set. Name the host that the page is to be found at, such as photos.example.
{{- end }}
{{- range (lookup "apps/v1" "Deployment" .Release.Namespace "").items }}
{{- $labels := .metadata.labels | default dict }}
{{- if and (eq (index $labels "app.kubernetes.io/name" | default "") $.Chart.Name) (eq (index $labels "app.kubernetes.io/component" | default "") "controller") (ne (index $labels "app.kubernetes.io/instance" | default "") $.Release.Name) }}
- Namespace {{ $.Release.Namespace }} has an installation already, release {{ index $labels "app.kubernetes.io/instance" | default "unknown" }}. One installation is one database and one namespace; upgrade that release, or install into another namespace.
{{- end }}
{{- end }}
{{- end -}}
