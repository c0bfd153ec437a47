#!/bin/sh
# PID 1 of a lab guest. The guest's root is the host's file system; an overlay whose upper
# layer is a tmpfs goes over it, so that nothing in the guest can write to the host. Only
# the directories listed in the control directory's file `shared` go through.
#
# The kernel hands over LAB_CONTROL, the control directory on the host, as environment.
set -e
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH

mount -t proc proc /proc
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/upper
mount -t tmpfs -o mode=755,size=80% tmpfs /run/upper
mkdir /run/upper/files /run/upper/work /run/root
mount -t overlay -o lowerdir=/,upperdir=/run/upper/files,workdir=/run/upper/work lab /run/root

cd /run/root
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t devtmpfs devtmpfs dev
mkdir -p dev/pts dev/shm
mount -t devpts -o ptmxmode=666,mode=620 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p run/netns run/lock run/lab-control run/host
mkdir -m 1777 run/tmp
mount -t hostfs -o "$LAB_CONTROL" control run/lab-control

while read -r shared; do
    mount -t hostfs -o "$shared" shared "/run/root$shared"
done <run/lab-control/shared

# pivot_root rather than chroot: `ip netns exec` and `unshare` want a root of their own.
pivot_root . run/host
cd /
umount -l /run/host

# A BGP speaker has no rights, and the project may lie in a home that is closed to others. The
# overlay opens it in here only.
while read -r folder; do
    chmod o+x "$folder" || true
done <run/lab-control/closed

# Every new namespace would otherwise get a gre0, a sit0, an ip6tnl0 ...
echo 1 >/proc/sys/net/core/fb_tunnels_only_for_init_net
ip link set lo up
read -r python </run/lab-control/python
exec "$python" -I -S /run/lab-control/agent.py /dev/ttyS0 /run/lab-control
