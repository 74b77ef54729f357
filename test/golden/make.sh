#!/bin/bash
# Makes frames.txt and frames-nat.txt again: what real IPVS makes of the frames that guest.py and guest_nat.py send. IPVS
# runs in a user-mode Linux (Debian's package), whose root is this machine's file tree: nothing is installed, no KVM, no
# network but the package download. With a name, guest or guest_nat, only that file.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"

guests=(${1:-guest guest_nat})
work=$(mktemp -d /tmp/linimo-golden.XXXXXX)
trap 'rm -rf "$work"' EXIT

(
	cd "$work"
	apt-get -qq download user-mode-linux ipvsadm libpopt0 2>/dev/null
	for package in *.deb; do dpkg-deb -x "$package" root; done
)
release=$(basename "$work"/root/usr/lib/uml/modules/*)

cat >"$work/init" <<INIT
#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LD_LIBRARY_PATH=$work/root/usr/lib/x86_64-linux-gnu:$work/root/lib/x86_64-linux-gnu
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
mkdir -p /run/x/lib/modules
ln -s $work/root/usr/lib/uml/modules/$release /run/x/lib/modules/$release
for module in veth ip_vs ip_vs_rr; do modprobe -d /run/x \$module; done
export IPVSADM=$work/root/sbin/ipvsadm PYTHONDONTWRITEBYTECODE=1
for guest in ${guests[@]}; do
	unshare --net timeout 120 /usr/bin/python3 $PWD/\$guest.py >$work/\$guest 2>>$work/errors || exit
done
echo 0 >$work/status
sync
halt -f
INIT
chmod +x "$work/init"

# A pseudo terminal for its console, which it wants; its output says nothing that the files do not.
timeout 180 "$work/root/usr/bin/linux.uml" mem=384M rootfstype=hostfs rootflags=/ rw "init=$work/init" \
	con=null con0=fd:0,fd:1 uml_dir="$work/uml" </dev/null >"$work/console" 2>&1 || true

if [ "$(cat "$work/status" 2>/dev/null)" != 0 ]; then
	tail -20 "$work/console" "$work/errors" >&2
	exit 1
fi
for guest in "${guests[@]}"; do
	frames=frames${guest#guest}.txt
	frames=${frames/_/-}
	{
		echo "# IPVS of Linux $release: made by make.sh, explained in README.md"
		cat "$work/$guest"
	} >"$frames"
	echo "$(grep -c ^case "$frames") cases from IPVS of Linux $release in $frames"
done
