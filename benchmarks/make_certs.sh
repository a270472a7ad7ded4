#!/bin/sh
# Make throw-away certificates for the harness: one CA and what it signed.
#
#   make_certs.sh DIR [--kind p256|ed25519|rsa2048] [--clients N] [--bots N]
#
#   DIR/ca.crt, ca.key             keyCertSign, cRLSign
#   DIR/server.crt, server.key     SAN localhost and 127.0.0.1, serverAuth
#   DIR/client-0.crt, .key ...     N that connections share (CN user0...), clientAuth
#   DIR/bot0001.crt, .key ...      N identities, one per connection (CN bot0001...), clientAuth
#
# What DIR already has is kept, so a second call with larger numbers only adds.
# Takes about 7 ms a P-256 certificate.  Needs openssl 3.
set -eu
umask 077               # keys are their owner's alone: servers may insist on it

usage() { sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2; }

dir=${1:-}
case $dir in '' | -*) usage ;; esac
shift
kind=p256 clients=0 bots=0
while [ $# -ge 2 ]; do
    case $1 in
    --kind) kind=$2 ;;
    --clients) clients=$2 ;;
    --bots) bots=$2 ;;
    *) usage ;;
    esac
    shift 2
done
[ $# -eq 0 ] || usage

case $kind in
p256) algorithm='-newkey ec -pkeyopt ec_paramgen_curve:P-256' ;;
ed25519) algorithm='-newkey ed25519' ;;
rsa2048) algorithm='-newkey rsa:2048' ;;
*) usage ;;
esac

mkdir -p "$dir"
cd "$dir"
cat > extensions.cnf <<'END'
[req]
distinguished_name = subject
[subject]
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[client]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
END

# issue FILE COMMON-NAME SECTION [more arguments]: a key and its certificate.
# The certificate comes last and by renaming, so one that is there is complete.
issue() {
    [ ! -e "$1.crt" ] || return 0
    file=$1 name=$2 section=$3
    shift 3
    # $algorithm is several words
    # shellcheck disable=SC2086
    if ! openssl req -x509 $algorithm -nodes -config extensions.cnf -extensions "$section" -days 3650 \
        -subj "/CN=$name" -keyout "$file.key" -out "$file.new" "$@" 2> openssl.log; then
        cat openssl.log >&2
        exit 1
    fi
    mv "$file.new" "$file.crt"
}

# several PREFIX-FORMAT FIRST COUNT NAME-FORMAT: client certificates, numbered.
several() {
    i=$2 end=$(($2 + $3))
    while [ "$i" -lt "$end" ]; do
        # the formats come from below
        # shellcheck disable=SC2059
        issue "$(printf "$1" "$i")" "$(printf "$4" "$i")" client -CA ca.crt -CAkey ca.key
        i=$((i + 1))
    done
}

issue ca "bench ca $kind" ca
issue server localhost server -CA ca.crt -CAkey ca.key
several client-%d 0 "$clients" user%d
several bot%04d 1 "$bots" bot%04d
rm -f openssl.log
