#!/bin/sh
# Debian: "remove", "purge" or others. RPM: 0, or 1 in an update; it has no purge.
set -e
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
fi
if [ "$1" = purge ]; then
	# Certificates and keys may be there. The user stays, so that nobody else gets its number.
	rm -rf /var/lib/serai /var/log/serai
fi
