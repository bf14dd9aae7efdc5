#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Asks a question: AIRLOCK_KEY=workstation.key ./ask.sh "Say hello."
# At the level `high` also AIRLOCK_CERT=alice.pem AIRLOCK_CERT_KEY=alice.key, the client certificate and its key.
# The key goes to curl in a file, so that it is in no list of processes.
set -euo pipefail

url=${AIRLOCK_URL:-https://ai.home.arpa:8443}
authority=${AIRLOCK_CA:-ca.pem}
question=${1:?what do you want to ask?}

set -- --cacert "$authority"
[ -z "${AIRLOCK_CERT:-}" ] || set -- "$@" --cert "$AIRLOCK_CERT" --key "${AIRLOCK_CERT_KEY:?which key of it?}"

python3 -c 'import json, sys
message = {"role": "user", "content": sys.argv[1]}
print(json.dumps({"model": "chat", "messages": [message], "stream": True}))' "$question" |
    curl --fail-with-body --no-buffer --silent --show-error "$@" \
        --header @<(printf 'Authorization: Bearer %s\n' "$(<"${AIRLOCK_KEY:?which key file?}")") \
        --header 'Content-Type: application/json' --data-binary @- "$url/v1/chat/completions"
