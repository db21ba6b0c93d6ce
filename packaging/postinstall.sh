#!/bin/sh
# Debian: "configure", and the old version in an update. RPM: 1, and 2 in an update.
set -e
if ! getent passwd serai >/dev/null; then
	useradd --system --user-group --home-dir /var/lib/serai --no-create-home --shell /usr/sbin/nologin serai
fi
chgrp serai /etc/serai
if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	# Only if it runs: the first start is the operator's, who knows where Nomad is.
	systemctl try-restart serai.service
fi
