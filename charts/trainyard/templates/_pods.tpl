{{/* An image, of dict root, name: by digest where there is one. */}}
{{- define "trainyard.image" -}}
{{- $image := index .root.Values.images .name -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* What pods have in common. No links to Services: their variables would begin with TRAINYARD_, as settings do. */}}
{{- define "trainyard.pod" -}}
enableServiceLinks: false
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
securityContext:
  {{- include "trainyard.podSecurity" . | nindent 2 }}
{{- end -}}

{{/* Of dict root, and fsGroup where a pod has to write to a volume; groups cost nothing where there is none to read. */}}
{{- define "trainyard.podSecurity" -}}
{{- $security := .root.Values.security -}}
{{- $fsGroup := hasKey . "fsGroup" | ternary .fsGroup $security.fsGroup -}}
runAsNonRoot: true
runAsUser: {{ int64 $security.runAsUser }}
runAsGroup: {{ int64 $security.runAsGroup }}
{{- if not (kindIs "invalid" $fsGroup) }}
fsGroup: {{ int64 $fsGroup }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
{{- with $security.supplementalGroups }}
supplementalGroups:
  {{- range . }}
  - {{ int64 . }}
  {{- end }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* The group of what a pod writes into a claim of ours: of dict root. */}}
{{- define "trainyard.writersGroup" -}}
{{- $security := .root.Values.security -}}
{{- kindIs "invalid" $security.fsGroup | ternary $security.runAsGroup $security.fsGroup | int64 -}}
{{- end -}}

{{- define "trainyard.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
readOnlyRootFilesystem: true
{{- end -}}

{{/* Which nodes: of a component's values, spread over nodes unless they say otherwise; of dict root, component. */}}
{{- define "trainyard.placement" -}}
{{- $given := index .root.Values .component -}}
{{- range $key := list "nodeSelector" "tolerations" "affinity" }}
{{- with index $given $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with $given.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- if not $given.affinity }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "trainyard.selector" . | nindent 8 }}
{{- end }}
{{- end -}}

{{/* Variables by name, the values' own over ours: of dict ours, given. */}}
{{- define "trainyard.env" -}}
{{- range $name, $value := merge (dict) .given .ours }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end -}}

{{/* PostgreSQL's address, and its CA where there is one. */}}
{{- define "trainyard.databaseEnv" -}}
- name: TRAINYARD_DATABASE_URL
  valueFrom:
    secretKeyRef:
      {{- include "trainyard.databaseKey" . | nindent 6 }}
{{- if .Values.database.ca.existingSecret }}
- name: PGSSLMODE
  value: verify-full
- name: PGSSLROOTCERT
  value: /etc/trainyard/database-ca/ca.crt
{{- end }}
{{- end -}}

{{- define "trainyard.databaseMounts" -}}
{{- if .Values.database.ca.existingSecret }}
- name: database-ca
  mountPath: /etc/trainyard/database-ca
  readOnly: true
{{- end }}
{{- end -}}

{{- define "trainyard.databaseVolumes" -}}
{{- with .Values.database.ca }}
{{- if .existingSecret }}
- name: database-ca
  secret:
    secretName: {{ .existingSecret | quote }}
    items:
      - key: {{ .key | quote }}
        path: ca.crt
{{- end }}
{{- end }}
{{- end -}}

{{/*
The init container that brings the schema up to date, of dict root, component: whichever pod comes first does it, and
others wait for it. No hook: a hook before the install would wait for stores that are installed after it.
*/}}
{{- define "trainyard.migrate" -}}
- name: migrate
  image: {{ include "trainyard.image" (dict "root" .root "name" .component) | quote }}
  imagePullPolicy: {{ .root.Values.images.pullPolicy }}
  command: [trainyard, migrate, --wait]
  env:
    - name: HOME
      value: /tmp
    {{- include "trainyard.databaseEnv" .root | nindent 4 }}
  resources:
    {{- toYaml (index .root.Values .component).resources | nindent 4 }}
  securityContext:
    {{- include "trainyard.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - name: tmp
      mountPath: /tmp
    {{- include "trainyard.databaseMounts" .root | nindent 4 }}
{{- end -}}

{{/* Which networks sessions are made for: the same for whoever makes one, by the API or as a resource. */}}
{{- define "trainyard.sessionDefaults" -}}
TRAINYARD_FACE_ENGINE: {{ .Values.models.faceEngine | quote }}
TRAINYARD_UNTRAINED: {{ .Values.models.untrained | quote }}
{{- end -}}
