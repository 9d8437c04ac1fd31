{{- define "bff.labels" -}}
app.kubernetes.io/name: bff
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
