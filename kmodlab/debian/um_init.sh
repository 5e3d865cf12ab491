#!/bin/busybox sh
# PID 1 of a machine that has a serial line and no network card: what the userland's own init does, and one login on that line.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8

/bin/busybox mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/lock /run/sshd
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
for pair in debugfs:/sys/kernel/debug tracefs:/sys/kernel/tracing configfs:/sys/kernel/config; do
	[ ! -d "${pair#*:}" ] || mount -t "${pair%:*}" "${pair%:*}" "${pair#*:}"
done
ip link set lo up

# What `poweroff`, `reboot` and `kill 1` send.
trap 'sync; poweroff -f' TERM USR1 USR2

# Nothing may be echoed, nor taken for a key that means something, before the other end speaks: it waits for the word.
exec 3<>/dev/ttyS0
stty raw -echo -iexten <&3
echo "kmodlab: ready" >/dev/console
/usr/sbin/sshd -i <&3 >&3 2>/dev/null &
exec 3<&-
# Waiting also reaps every orphan.
wait $!
# The line is gone with the one connection that it had.
echo "kmodlab: its line is closed" >/dev/console
poweroff -f
