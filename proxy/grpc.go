package proxy

import (
	"strconv"

	"serai/wire"
)

// noteGRPC notes the status of an answer of gRPC, which stands in its trailers, or
// in its head where there is nothing else.
func (x *Exchange) noteGRPC(fields []wire.Field) {
	const most = 16 // UNAUTHENTICATED, the last one that there is
	for i := range fields {
		if f := &fields[i]; wire.EqualFold(f.Name, "grpc-status") {
			if n, err := strconv.ParseUint(string(f.Value), 10, 8); err == nil && n <= most {
				x.grpc = uint8(n) + 1
			}
			return
		}
	}
}

// GRPCStatus returns the status of an answer of gRPC, where it has one.
func (x *Exchange) GRPCStatus() (status int, ok bool) { return int(x.grpc) - 1, x.grpc > 0 }
