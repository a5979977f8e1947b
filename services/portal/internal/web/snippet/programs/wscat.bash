{{template "before" .}}  # wscat says why it ends to terminals only: script is one. On macOS: script -q "$last" wscat …
{{- if not .Needs}}
  script -qec {{word (print "wscat -c " (word .Address))}} "$last"
{{- else if .Header}}
  TOKEN=$TOKEN script -qec {{word (print "wscat -c " (word .Address) " -H \"" .Header ": " .Word "$TOKEN\"")}} "$last"
{{- else if .Query}}
  TOKEN={{if .Base64}}$(printf %s "$TOKEN" | base64 | tr -d '\n'){{else}}$TOKEN{{end}} script -qec {{word (print "wscat -c \"" .Address "?" .Query "=$TOKEN\"")}} "$last"
{{- else}}
  TOKEN=$TOKEN script -qec {{word (print "wscat -c " (word .Address) " -s bearer -s \"$TOKEN\"")}} "$last"
{{- end}}
  code=$(sed -n 's/.*Disconnected (code: \([0-9]*\).*/\1/p' "$last")
  hint=$(sed -n 's/.*Disconnected.* retry=\([0-9]*\)ms.*/\1/p' "$last")
{{template "after" .}}
