#!/bin/sh
# Builds modules that Debian's cloud kernels lack, from Debian's own source of the same kernel:
# modules.sh RELEASE CONFIG PACKAGES OUTPUT. PACKAGES has linux-source and linux-headers; the current folder takes
# some gigabytes.
set -eu
release=$1 config=$2 packages=$3 output=$4
for package in "$packages"/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x
done
# Of graphics and sound only what the configuration is asked about.
tar -xf usr/src/linux-source-*.tar.xz --exclude='*/drivers/gpu/*.[ch]' --exclude='*/sound/*.[ch]' \
    --exclude='*/Documentation/*.rst'
cd linux-source-*/
cp "$config" .config
# Debian's key for signatures isn't here. All else stays as it is: debug information has its part in the layout of
# struct module.
scripts/config -m XFRM_IPTFS -m NETDEVSIM -d SYSTEM_TRUSTED_KEYS -d GCC_PLUGINS
make="make -s -j$(nproc) KERNELRELEASE=$release"
$make olddefconfig
# The versions of the symbols that the running kernel has.
cp "../usr/src/linux-headers-$release/Module.symvers" .
$make modules_prepare
$make M=net/xfrm xfrm_iptfs.ko
$make M=drivers/net/netdevsim modules
cp net/xfrm/xfrm_iptfs.ko drivers/net/netdevsim/netdevsim.ko "$output"
