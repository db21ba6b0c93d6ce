package tracing

import (
	"go.opentelemetry.io/otel/attribute"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
)

// Spans are written as bytes: the field numbers are those of OTLP
// (https://github.com/open-telemetry/opentelemetry-proto, trace.proto and common.proto, which
// are stable). Through the generated types, whose code looks at each attribute by reflection,
// twice, a trace would cost ten times as much.
const (
	spanTraceID    = 1
	spanID         = 2
	spanState      = 3
	spanParent     = 4
	spanName       = 5
	spanKind       = 6
	spanBegun      = 7
	spanEnded      = 8
	spanAttributes = 9
	spanStatus     = 15
	spanFlags      = 16

	statusMessage = 2
	statusCode    = 3

	pairKey   = 1
	pairValue = 2

	valueText   = 1
	valueBool   = 2
	valueNumber = 3

	scopeSpans = 2
)

// tagSize is the size of the tag of a field below 16, in bytes: of all but flags.
const tagSize = 1

// fields are fields of a message. What is empty or zero is left out.
type fields []byte

func (f *fields) bytes(field protowire.Number, value []byte) {
	f.begin(field, len(value))
	*f = append(*f, value...)
}

func (f *fields) text(field protowire.Number, value string) {
	if value != "" {
		f.begin(field, len(value))
		*f = append(*f, value...)
	}
}

func (f *fields) varint(field protowire.Number, value uint64) {
	f.tag(field, protowire.VarintType)
	f.number(value)
}

func (f *fields) fixed64(field protowire.Number, value uint64) {
	f.tag(field, protowire.Fixed64Type)
	*f = protowire.AppendFixed64(*f, value)
}

func (f *fields) fixed32(field protowire.Number, value uint32) {
	*f = protowire.AppendTag(*f, field, protowire.Fixed32Type) // of flags, whose tag takes two bytes
	*f = protowire.AppendFixed32(*f, value)
}

func (f *fields) tag(field protowire.Number, t protowire.Type) {
	*f = append(*f, byte(field)<<3|byte(t))
}

// number appends a number, most of which take one byte.
func (f *fields) number(n uint64) {
	if n < 0x80 {
		*f = append(*f, byte(n))
		return
	}
	*f = protowire.AppendVarint(*f, n)
}

// failed is the status of a span that failed.
func (f *fields) failed(reason string) {
	size := tagSize + protowire.SizeVarint(uint64(tracepb.Status_STATUS_CODE_ERROR))
	if reason != "" {
		size += tagSize + protowire.SizeBytes(len(reason))
	}
	f.begin(spanStatus, size)
	f.text(statusMessage, reason)
	f.varint(statusCode, uint64(tracepb.Status_STATUS_CODE_ERROR))
}

// begin begins a message of that many bytes.
func (f *fields) begin(field protowire.Number, size int) {
	if size < 0x80 { // nearly all
		*f = append(*f, byte(field)<<3|byte(protowire.BytesType), byte(size))
		return
	}
	f.tag(field, protowire.BytesType)
	f.number(uint64(size))
}

// attribute begins an attribute, whose value has that many bytes with its tag.
func (f *fields) attribute(key attribute.Key, size int) {
	f.begin(spanAttributes, tagSize+protowire.SizeBytes(len(key))+tagSize+protowire.SizeBytes(size))
	f.text(pairKey, string(key))
	f.begin(pairValue, size)
}

func (f *fields) attributeText(key attribute.Key, value string) {
	if value == "" {
		return
	}
	value = valid(value)
	f.attribute(key, tagSize+protowire.SizeBytes(len(value)))
	f.text(valueText, value)
}

func (f *fields) attributeNumber(key attribute.Key, value int64) {
	if value == 0 {
		return
	}
	f.attribute(key, tagSize+protowire.SizeVarint(uint64(value)))
	f.varint(valueNumber, uint64(value))
}

func (f *fields) attributeTrue(key attribute.Key) {
	f.attribute(key, tagSize+1)
	f.varint(valueBool, 1)
}
