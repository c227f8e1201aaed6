{{/* A store's own user, of dict root, user. */}}
{{- define "trainyard.storePod" -}}
enableServiceLinks: false
automountServiceAccountToken: false
{{- with .root.Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ int64 .user }}
  runAsGroup: {{ int64 .user }}
  fsGroup: {{ int64 .user }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{/* Service and policy of a store, of dict root, component, port, callers (a list of components). */}}
{{- define "trainyard.storeAccess" -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "trainyard.metadata" . | nindent 2 }}
spec:
  selector:
    {{- include "trainyard.selector" . | nindent 4 }}
  ports:
    - name: {{ .component }}
      port: {{ .port }}
      targetPort: {{ .component }}
{{- if .root.Values.networkPolicy.enabled }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "trainyard.metadata" . | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "trainyard.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    {{- include "trainyard.ingressFromOurs" (dict "root" .root "port" .component "components" .callers) | nindent 4 }}
{{- end }}
{{- end -}}
