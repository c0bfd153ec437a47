#!/bin/bash
# Installs the Debian or Ubuntu packages that are missing, by name.
#
#   packages.sh base                what the node and its labs run with
#   packages.sh kernel SOURCE       what the lab kernel is built from and with
#   packages.sh qemu                what the smoke test on an unchanged kernel needs
#   packages.sh lists               nothing but the lists of what there is, fetched anew
#
# Says nothing when all is there. Needs root or sudo only when something is missing.
set -euo pipefail
. "$(dirname "$0")/progress.sh"

case ${1:-} in
base)
    wanted=(python3 python3-venv iproute2 nftables conntrack frr gobgpd tcpdump iputils-ping
        ethtool iperf3 bird2 procps kmod util-linux libcap2-bin redis-server dnsmasq-base)
    ;;
kernel)
    wanted=("${2:?the name of a kernel source package}" flex bison bc xz-utils bzip2 gcc make
        binutils libc6-dev)
    ;;
qemu)
    wanted=(qemu-system-x86 busybox-static zstd)
    ;;
lists)
    wanted=()
    ;;
*)
    echo "usage: $0 base | kernel SOURCE | qemu | lists" >&2
    exit 2
    ;;
esac

if ! command -v dpkg-query >/dev/null; then
    echo "not a Debian or Ubuntu system: install by hand: ${wanted[*]}" >&2
    exit 1
fi

missing=()
for package in "${wanted[@]}"; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && [ "$1" != lists ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "root or sudo is needed to install: ${missing[*]:-new package lists}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

log=$(mktemp)
# Packages such as frr start a service when they are installed. A lab starts its own
# daemons in its own namespaces, and the machine should stay as it was.
policy=/usr/sbin/policy-rc.d
own_policy=
tidy() {
    rm -f "$log"
    [ -z "$own_policy" ] || "${as_root[@]}" rm -f "$policy"
}
trap tidy EXIT
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
    own_policy=yes
fi

# apt HOW COMMAND...: HOW is watch or fetch.
apt() {
    local what="installing packages"
    [ "$2" != update ] || what="fetching the package lists"
    "$1" "$what" "$log" "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "${@:2}"
}

if [ "$1" = lists ]; then
    echo "setup: fetching the package lists" >&2
    apt fetch update || tail -n 5 "$log" >&2
    exit 0
fi

echo "setup: installing ${missing[*]}" >&2
install=(install -y --no-install-recommends "${missing[@]}")
# The lists of a fresh machine may be missing or old; only then are they fetched.
if ! apt watch "${install[@]}"; then
    if ! { apt fetch update && apt fetch "${install[@]}"; }; then
        tail -n 20 "$log" >&2
        exit 1
    fi
fi
