{{define "before"}}{{if .Needs -}}
new_token() { # the secret goes through a file, as everybody can read command lines
  curl -sS -K <(printf 'user = "%s:%s"\n' "$CLIENT_ID" "$CLIENT_SECRET") -d grant_type=client_credentials \
    --data-urlencode {{word (print "resource=" .Address)}} {{word .Tokens}} |
    sed -n 's/.*"access_token": *"\([^"]*\)".*/\1/p'
}

{{end -}}
{{if .Needs}}TOKEN= {{end}}attempts=0
last=$(mktemp)
while :; do
  {{if .Needs}}[ -n "$TOKEN" ] || TOKEN=$(new_token)
  {{end}}began=$(date +%s)
{{end -}}

{{define "after" -}}
{{if .Needs}}  case $code in 4001 | '') TOKEN= ;; esac # without a close the token may be why
{{end}}  if [ "$code" ] && [ $(($(date +%s) - began)) -gt 60 ]; then attempts=0; fi
  case "$code $hint" in
    '1000 '* | '4006 '* | '4003 ') break ;; # done, or blocked, or replaced by another connection of ours
    '4003 '* | '1012 '*) wait=$hint ;;
    *) # 1 s to 60 s, with full jitter
      most=$((1000 << attempts))
      [ $most -lt 60000 ] && attempts=$((attempts + 1)) || most=60000
      wait=$((RANDOM * most / 32768))
      ;;
  esac
  sleep "$((wait / 1000)).$(printf %03d $((wait % 1000)))"
done
rm "$last"
{{end -}}
