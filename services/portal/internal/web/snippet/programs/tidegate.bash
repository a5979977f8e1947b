{{template "before" .}}
{{- if not .Needs}}  tidegate connect {{word .Address}} 2>"$last"
{{- else if and (eq .Header "Authorization") .Word}}  TIDEGATE_TOKEN=$TOKEN tidegate connect {{word .Address}} 2>"$last"
{{- else if .Header}}  tidegate connect {{word .Address}} -H @<(printf '%s: {{.Word}}%s\n' {{word .Header}} "$TOKEN") 2>"$last"
{{- else if and (eq .Query "access_token") (not .Base64)}}  TIDEGATE_TOKEN=$TOKEN tidegate connect {{word .Address}} --query 2>"$last"
{{- else if .Query}}  TIDEGATE_TOKEN=$TOKEN tidegate connect {{word .Address}} --place {{if .Base64}}{{word (print "query:" .Query ":base64")}}{{else}}{{word (print "query:" .Query)}}{{end}} 2>"$last"
{{- else if .First}}  TIDEGATE_TOKEN=$TOKEN tidegate connect {{word .Address}} --place {{word .First}} 2>"$last"
{{- else}}  TIDEGATE_TOKEN=$TOKEN tidegate connect {{word .Address}} --place subprotocol 2>"$last"
{{- end}}
  cat "$last" >&2
  code=$(sed -n -e 's/.*losed: \([0-9]*\).*/\1/p' -e 's/.*broke without a close.*/1006/p' "$last")
  hint=$(sed -n 's/.*losed: .* retry=\([0-9]*\)ms.*/\1/p' "$last")
{{template "after" .}}
