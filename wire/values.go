package wire

// Values is memory for the field values that are made for one message. It is used
// again for the next one, so that a value costs no allocation. The zero Values is
// empty and ready.
//
// A value is appended to what Start returns, and then handed to Keep:
//
//	port := v.Keep(strconv.AppendUint(v.Start(), 8080, 10))
type Values struct{ kept []byte }

// mostKept bounds the memory that is kept for further messages, in bytes: values beyond
// have their own, which ends with their message.
const mostKept = 8 << 10

// Start returns an empty slice to append the next value to. Nothing else may be
// started before that one is kept.
func (v *Values) Start() []byte { return v.kept[len(v.kept):] }

// Keep returns value, which stays as it is until Reset.
func (v *Values) Keep(value []byte) []byte {
	switch n := len(v.kept) + len(value); {
	case n <= cap(v.kept):
		v.kept = v.kept[:n]
	case n <= mostKept/2:
		// It has outgrown the memory, and has its own now. What was kept before
		// stays in the old one.
		v.kept = make([]byte, 0, 2*n)
	}
	return value[:len(value):len(value)]
}

// Reset takes the memory of all values back.
func (v *Values) Reset() { v.kept = v.kept[:0] }
