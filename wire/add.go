package wire

// Add appends a field. It writes each part to its place: a Field that is made first would be
// copied by wider loads than the stores that made it, and then the processor waits until all
// that was written before has reached its cache.
func Add(fields []Field, name, value []byte, kind Kind) []Field {
	n := len(fields)
	if n == cap(fields) {
		fields = append(fields, Field{})
	}
	fields = fields[:n+1]
	f := &fields[n]
	f.Name, f.Value, f.Kind = name, value, kind
	return fields
}
