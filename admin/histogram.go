package admin

import (
	dto "github.com/prometheus/client_model/go"

	"serai/router"
)

// histogram returns the durations, as a classic and as a native histogram in one. Their
// count is the sum of the buckets, because the classes were read at another moment, while
// requests ended. Only a scrape in Protobuf shows the native one.
func histogram(n *router.StatsSnapshot) *dto.Histogram {
	sum, h := n.Duration.Seconds(), &dto.Histogram{}
	buckets := make([]dto.Bucket, len(router.DurationBounds))
	counts := make([]uint64, len(n.Buckets))
	total := uint64(0)
	h.Bucket = make([]*dto.Bucket, len(buckets))
	for i, c := range n.Buckets {
		total += c
		counts[i] = total
		if i < len(buckets) {
			buckets[i].CumulativeCount, buckets[i].UpperBound = &counts[i], &router.DurationBounds[i]
			h.Bucket[i] = &buckets[i]
		}
	}
	h.SampleCount, h.SampleSum = &total, &sum
	addNative(h, n.Native())
	return h
}

// nativeGap is how many empty buckets are written, to save the beginning of another span.
const nativeGap = 2

// addNative adds the native histogram in the form of the exposition format: spans of
// consecutive buckets, and for each bucket how much it differs from the one before.
func addNative(h *dto.Histogram, n router.NativeBuckets) {
	schema, threshold := int32(router.NativeSchema), router.NativeZero
	h.Schema, h.ZeroThreshold, h.ZeroCount = &schema, &threshold, &n.Zero
	next, before := 0, int64(0) // the bucket behind the last one, and its count
	for i, c := range n.Buckets {
		if c == 0 {
			continue
		}
		if gap := i - next; len(h.PositiveSpan) == 0 || gap > nativeGap {
			offset, length := int32(gap), uint32(0)
			if len(h.PositiveSpan) == 0 {
				offset += router.NativeFirst
			}
			h.PositiveSpan = append(h.PositiveSpan, &dto.BucketSpan{Offset: &offset, Length: &length})
			next = i
		}
		length := h.PositiveSpan[len(h.PositiveSpan)-1].Length
		for ; next <= i; next++ {
			count := int64(n.Buckets[next])
			h.PositiveDelta = append(h.PositiveDelta, count-before)
			before = count
			*length++
		}
	}
}
