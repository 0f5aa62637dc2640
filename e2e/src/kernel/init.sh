#!/bin/sh
# The first process of a booted kernel: the host's files are its root file system, read-only. From the kernel's command
# line come LAB_DIR, the lab's own folder and the only place of the host that is writable, how to mount it, and
# LAB_MODULES, a folder with modules for this kernel, named as it is.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /run
# What lies below the next ones on the host stays to be had here.
mkdir -p /run/host /run/modules/lib/modules
mount --bind / /run/host
for dir in /tmp /var/tmp; do mount -t tmpfs -o mode=1777 tmpfs "$dir"; done
mkdir -p "$LAB_DIR"
case $LAB_MOUNT in
hostfs) mount -t hostfs -o "$LAB_DIR" hostfs "$LAB_DIR" ;;
*) mount -t "$LAB_MOUNT" dir "$LAB_DIR" ;;
esac
exec >"$LAB_DIR/init.log" 2>&1 </dev/null

# The host may have no /lib/modules, and can't be given one: modprobe looks below /run/modules instead, also when
# the kernel itself calls it for an algorithm.
ln -s "/run/host$LAB_MODULES/$(uname -r)" /run/modules/lib/modules/
printf '#!/bin/sh\nexec /sbin/modprobe -d /run/modules "$@"\n' >/run/modprobe
chmod +x /run/modprobe
echo /run/modprobe >/proc/sys/kernel/modprobe
/run/modprobe -a xfrm_user esp4 esp6 ah4 ah6 ipcomp ipcomp6 veth bridge \
    gcm ccm cbc ctr hmac seqiv echainiv authenc authencesn ghash-generic chacha20poly1305 deflate \
    iptable_nat xt_nat xt_tcpudp
# A network card to give work to, where the kernel has one.
/run/modprobe -q netdevsim
if [ "$LAB_UPLINK" ]; then
    /run/modprobe virtio_net
    ip link set eth0 name "$LAB_UPLINK"
fi
ip link set lo up
exec /bin/sh "$LAB_DIR/run"
