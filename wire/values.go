package wire

// Values is memory for field values that are made for one message. It is reused for the
// next one, so that a value costs no allocation. The zero Values is empty and ready.
//
// Append a value to the result of Start, and pass it to Keep:
//
//	port := v.Keep(strconv.AppendUint(v.Start(), 8080, 10))
type Values struct{ kept []byte }

// mostKept bounds the memory that is kept for further messages, in bytes: values beyond
// have their own, which ends with their message.
const mostKept = 8 << 10

// Start returns an empty slice, to which the next value is appended. Keep must be
// called before Start is called again.
func (v *Values) Start() []byte { return v.kept[len(v.kept):] }

// Keep returns value, which stays valid until Reset.
func (v *Values) Keep(value []byte) []byte {
	switch n := len(v.kept) + len(value); {
	case n <= cap(v.kept):
		v.kept = v.kept[:n]
	case n <= mostKept/2:
		// The value did not fit, and append has given it memory of its own. Earlier
		// values stay in the old memory.
		v.kept = make([]byte, 0, 2*n)
	}
	return value[:len(value):len(value)]
}

// Reset reclaims the memory of all values.
func (v *Values) Reset() { v.kept = v.kept[:0] }
