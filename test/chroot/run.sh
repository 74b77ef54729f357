#!/bin/bash
# Proves the README's two commands on a bare Debian 12: a fresh chroot with git and this machine's Node and npm and
# nothing else, a clone of the last commit, `npm run demo` (also once more without network), `npm test`. Shares this
# machine's kernel. Needs mmdebstrap, the network, and some minutes; not part of `npm test`.
#
#   bash test/chroot/run.sh [DIRECTORY]    # keeps the chroot there; default: a temporary one, removed at the end
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/../.."

if [ "${1-}" != --inside ]; then
	target=${1-}
	if [ -z "$target" ]; then
		target=$(mktemp -d)
		trap 'rm -rf --one-file-system "$target"' EXIT
	fi
	# Mounts and processes end with the namespaces that hold them.
	unshare --mount --propagation private --pid --fork --kill-child bash "$0" --inside "$target"
	exit
fi

target=$2
say() {
	printf '\n=== %s\n' "$*"
}
inside() {
	chroot "$target" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb $certificates "$@"
}

if [ ! -e "$target/bin/bash" ]; then
	say 'bootstrap'
	mmdebstrap --quiet --variant=minbase --include=git,libstdc++6 bookworm "$target" /etc/apt/sources.list.d/debian.sources
fi
mkdir -p "$target/usr/lib/node_modules" "$target/root/linimo"
cp -a /usr/bin/node /usr/bin/npm /usr/bin/npx "$target/usr/bin/"
cp -a /usr/lib/node_modules/npm "$target/usr/lib/node_modules/"
cp -L /etc/resolv.conf "$target/etc/resolv.conf"
# A network that answers with certificates of its own is this machine's affair: its authorities go along.
certificates=
if [ -n "${NODE_EXTRA_CA_CERTS-}" ]; then
	cp -L "$NODE_EXTRA_CA_CERTS" "$target/etc/extra-certificates.crt"
	certificates='NODE_EXTRA_CA_CERTS=/etc/extra-certificates.crt npm_config_cafile=/etc/extra-certificates.crt'
fi
mount -t proc proc "$target/proc"
mount -t sysfs sys "$target/sys"
mount --rbind /dev "$target/dev"
mount -t tmpfs run "$target/run"
mount -t tmpfs tmp "$target/tmp"

say 'clone'
git bundle create --quiet "$target/root/linimo.bundle" HEAD
rm -rf "$target/root/linimo"
inside git clone --quiet --config advice.detachedHead=false /root/linimo.bundle /root/linimo

say 'npm run demo'
time inside bash -c 'cd /root/linimo && npm run demo -- --json'
say 'npm run demo, again, without network'
time unshare --net chroot "$target" env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin bash -c \
	'cd /root/linimo && npm run demo'
say 'npx linimo'
inside bash -c 'cd /root/linimo && npx linimo --version'
say 'nginx is not enabled'
inside bash -c '! ls /etc/rc?.d/S*nginx /etc/systemd/system/*.wants/nginx.service 2>/dev/null'
say 'npm test'
time inside bash -c 'cd /root/linimo && npm test' | tail -20
