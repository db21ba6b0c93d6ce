// Package echo is the service of gRPC that the sample service has beside HTTP.
//
// To generate it anew: protoc, with the plugins google.golang.org/protobuf/cmd/protoc-gen-go and
// connectrpc.com/connect/cmd/protoc-gen-connect-go at the versions of go.mod on PATH.
package echo

//go:generate protoc --go_out=. --go_opt=paths=source_relative --connect-go_out=. --connect-go_opt=paths=source_relative,package_suffix echo.proto
