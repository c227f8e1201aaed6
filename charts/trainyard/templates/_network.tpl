{{/* A rule to somewhere, of dict to (ports, to), and protocols where they are not TCP alone. */}}
{{- define "trainyard.egress" -}}
- ports:
    {{- range $protocol := .protocols | default (list "TCP") }}
    {{- range $.rule.ports }}
    - {protocol: {{ $protocol }}, port: {{ int . }}}
    {{- end }}
    {{- end }}
  {{- with .rule.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Rules to what a component needs, of dict root, needs. */}}
{{- define "trainyard.egressTo" -}}
{{- range $n, $need := .needs }}
{{- if $n }}{{ "\n" }}{{ end }}
{{- include "trainyard.egress" (dict "rule" (index $.root.Values.networkPolicy.egress $need) "protocols" (eq $need "dns" | ternary (list "UDP" "TCP") (list "TCP"))) }}
{{- end }}
{{- end -}}

{{/* A rule from pods of ours to a port, of dict root, port, components (a list of names). */}}
{{- define "trainyard.ingressFromOurs" -}}
- ports:
    - {protocol: TCP, port: {{ .port }}}
  from:
    - podSelector:
        matchLabels:
          app.kubernetes.io/name: {{ .root.Chart.Name }}
        matchExpressions:
          - key: app.kubernetes.io/component
            operator: In
            values: [{{ join ", " .components }}]
{{- end -}}
