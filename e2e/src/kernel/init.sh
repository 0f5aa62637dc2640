#!/bin/sh
# The first process of a User-Mode Linux: the host's files are its root file system, read-only. LAB_DIR, from the
# kernel's command line, is the lab's own folder and the only place of the host that is writable.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
for dir in /run /tmp /var/tmp; do mount -t tmpfs -o mode=1777 tmpfs "$dir"; done
mkdir -p "$LAB_DIR"
mount -t hostfs -o "$LAB_DIR" hostfs "$LAB_DIR"
exec >"$LAB_DIR/init.log" 2>&1 </dev/null

# The host may have no /lib/modules, and can't be given one: modprobe looks below /run/modules instead, also when
# the kernel itself calls it for an algorithm.
mkdir -p /run/modules/lib/modules
ln -s "/usr/lib/uml/modules/$(uname -r)" /run/modules/lib/modules/
printf '#!/bin/sh\nexec /sbin/modprobe -d /run/modules "$@"\n' >/run/modprobe
chmod +x /run/modprobe
echo /run/modprobe >/proc/sys/kernel/modprobe
/run/modprobe -a xfrm_user esp4 esp6 ah4 ah6 ipcomp ipcomp6 veth bridge \
    gcm ccm cbc ctr hmac seqiv echainiv authenc authencesn ghash-generic chacha20poly1305 deflate
ip link set lo up
exec /bin/sh "$LAB_DIR/run"
