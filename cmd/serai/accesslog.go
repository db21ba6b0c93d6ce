package main

import (
	"fmt"
	"io"

	"serai/proxy"
)

func (s *system) openAccessLog() (*proxy.AccessLog, error) {
	switch s.AccessLog {
	case "off", "":
		return nil, nil
	case "stdout":
		return s.newAccessLog(s.env.stdout), nil
	}
	file, err := openLogFile(s.AccessLog)
	if err != nil {
		return nil, fmt.Errorf("the access log of --access-log: %w", err)
	}
	s.logFile = file
	return s.newAccessLog(file), nil
}

func (s *system) newAccessLog(w io.Writer) *proxy.AccessLog {
	l := proxy.NewAccessLog(w, s.AccessLogSample)
	l.Query, l.Checks, l.Logger = proxy.Query(s.AccessLogQuery), s.AccessLogChecks, s.logger
	l.Refused, l.Format = s.AccessLogRefused, proxy.Format(s.AccessLogFormat)
	return l
}
