#!/bin/sh
# Debian: "remove", or "upgrade". RPM: 0, or 1 in an update.
set -e
case "$1" in
remove | 0)
	if [ -d /run/systemd/system ]; then
		systemctl disable --now serai.service
	fi
	;;
esac
