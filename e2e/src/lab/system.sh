# What init.sh ends in for a machine that systemd runs: goes on in the unpacked packages, as PID 1. Before this come the
# variables $packages and $own, the folders with the packages and with the lab's files; what is written stays in memory.
set -eu
# The system loads what it needs, by what it has itself.
/run/modprobe overlay
/run/modprobe -q -r xfrm_user esp4 esp6 ah4 ah6 ipcomp ipcomp6 || true
! grep -q '^xfrm_user ' /proc/modules
echo /sbin/modprobe >/proc/sys/kernel/modprobe

root=/mnt/root
mount -t tmpfs tmpfs /mnt
mkdir "$root" /mnt/upper /mnt/work
mount -t overlay overlay -o "lowerdir=/run/host$packages,upperdir=/mnt/upper,workdir=/mnt/work" "$root"
modules=$(uname -r)
mkdir -p "$root/lab" "$root/usr/lib/modules/$modules"
mount --bind "/run/host$LAB_MODULES/$modules" "$root/usr/lib/modules/$modules"
mount --bind "$own" "$root/lab"

# What the packages' scripts do when they are installed.
ln -s /run "$root/var/run"
touch "$root/etc/.updated" "$root/var/.updated"
export SYSTEMD_OFFLINE=1
chroot "$root" systemd-sysusers
chroot "$root" systemd-machine-id-setup
cp -r "$own/files/." "$root/"
chroot "$root" sh -euc 'cd /lab/install && . /lab/setup'

umount -l /run
exec switch_root "$root" /sbin/init
