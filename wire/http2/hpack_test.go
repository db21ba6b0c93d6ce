package http2

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"serai/wire"
)

// decoded is what a block holds, whole, or in fragments of that size.
func decoded(k *Block, block []byte, size int) (fields lines, err error) {
	for size > 0 && len(block) > size {
		fragment := bytes.Clone(block[:size])
		if err := k.Take(fragment, false, &fields); err != nil {
			return fields, err
		}
		clear(fragment) // which is the frame's
		block = block[size:]
	}
	err = k.Take(block, true, &fields)
	return fields, err
}

type lines []string

func (l *lines) Add(e *Entry) { *l = append(*l, string(e.Name)+": "+string(e.Value)) }

// FuzzDecoder holds the decoder to that of the library, over two blocks so that the
// table counts.
func FuzzDecoder(f *testing.F) {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, name := range []string{":path", "cookie", "x-long", "x-long", "date"} {
		enc.WriteField(hpack.HeaderField{Name: name, Value: strings.Repeat("v", len(name)*9)})
	}
	f.Add(block.Bytes(), []byte{0xbe, 0xbf, 0x82}, uint8(0))
	f.Add([]byte{0x20, 0x3f, 0xe1, 0x1f, 0x82}, block.Bytes(), uint8(3))
	f.Add([]byte{0x40, 1, 'a', 1, 'b'}, []byte{0x7e, 0x81, 0x8f, 0xbe}, uint8(1))
	f.Add([]byte("A\x010"), []byte("?0?0"), uint8(1))
	f.Fuzz(func(t *testing.T, first, second []byte, piece uint8) {
		ours := NewBlock(1<<20, 1<<22)
		theirs := hpack.NewDecoder(TableSize, nil)
		for _, b := range [][]byte{first, second} {
			got, err := decoded(&ours, bytes.Clone(b), int(piece))
			want, wantErr := theirs.DecodeFull(b)
			if wantErr != nil || err != nil {
				// The library takes integers of more bytes, and sizes of a table before any
				// field as often as they come, but only one where the table is not empty,
				// though an encoder may need two (RFC 7541 section 4.2).
				if err == nil && !(b[0]&0xe0 == 0x20 && strings.Contains(wantErr.Error(), "size update MUST occur")) {
					t.Fatalf("%x: we take %q, the library says %v", b, got, wantErr)
				}
				return
			}
			if len(got) != len(want) {
				t.Fatalf("%x: %q, the library has %v", b, got, want)
			}
			for i := range want {
				if got[i] != want[i].Name+": "+want[i].Value {
					t.Fatalf("%x: field %d is %q, to the library %q", b, i, got[i], want[i])
				}
			}
		}
	})
}

// TestEncoder: the library reads what we write.
func TestEncoder(t *testing.T) {
	d := hpack.NewDecoder(TableSize, nil)
	for _, status := range []int{100, 103, 200, 204, 206, 304, 400, 404, 421, 500, 503, 599, 999} {
		b := AppendStatus([]byte{NoTable}, status)
		b = AppendFields(b, []wire.Field{
			{Name: []byte("Content-Type"), Value: []byte("text/plain")}, {Name: []byte("X-Own"), Value: bytes.Repeat([]byte("v"), 300)},
			{Name: []byte("gone"), Kind: wire.Dropped}, {Name: []byte("Set-Cookie"), Value: []byte("a=b")}, {Name: []byte("empty")},
		})
		got, err := d.DecodeFull(b)
		if err != nil || len(got) != 5 {
			t.Fatalf("%d: %v, %v", status, got, err)
		}
		if s := got[0].Value; len(s) != 3 || int(s[0]-'0')*100+int(s[1]-'0')*10+int(s[2]-'0') != status {
			t.Errorf("status %d is %q", status, s)
		}
		if got[1].Name != "content-type" || got[2].Value != strings.Repeat("v", 300) || got[3].Name != "set-cookie" || !got[3].Sensitive || got[4].Value != "" {
			t.Errorf("the fields are %v", got)
		}
	}
	named := 0
	for _, name := range []string{
		"Content-Length", "Cookie", "Date", "TE", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix",
		"X-Forwarded-Proto", "X-Real-IP", "X-Request-ID", "X-Serai-Hops", "Host", "Expect", "Trailer", "Keep-Alive", "Authorization", "Client-IP", "X-Other",
	} {
		f := wire.Field{Name: []byte(name), Value: []byte("1"), Kind: wire.KindOf([]byte(name))}
		if int(f.Kind) < len(kindNames) && kindNames[f.Kind] != "" {
			named++
		}
		got, err := d.DecodeFull(AppendField(nil, &f))
		if err != nil || len(got) != 1 || got[0].Name != strings.ToLower(name) || got[0].Value != "1" || got[0].Sensitive != (name == "Cookie" || name == "Authorization") {
			t.Errorf("%s is %v, %v", name, got, err)
		}
	}
	for _, name := range kindNames {
		if name != "" {
			named--
		}
	}
	if named != 0 {
		t.Errorf("of the kinds that are one name %d are not tried", -named)
	}
	for n := range 20 {
		for b := range byte(0x80) {
			for at := range n {
				name := bytes.Repeat([]byte("x"), n)
				name[at] = b
				if got, want := appendLower([]byte("begin"), name), "begin"+string(bytes.ToLower(name)); string(got) != want {
					t.Errorf("%q is %q in lower case", name, got)
				}
			}
		}
	}
	for p, name := range map[Pseudo]string{Method: ":method", Scheme: ":scheme", Path: ":path", Authority: ":authority", Protocol: ":protocol"} {
		for _, value := range []string{"v", "", "GET", "POST", "/", "/index.html", "http", "https"} {
			got, err := d.DecodeFull(AppendPseudo(nil, p, []byte(value)))
			if err != nil || len(got) != 1 || got[0].Name != name || got[0].Value != value {
				t.Errorf("%s: %s is %v, %v", name, value, got, err)
			}
		}
	}
}

// TestTableMoves holds a table that is filled again and again to that of the library:
// the name of a field may be that of an entry that goes for it.
func TestTableMoves(t *testing.T) {
	ours, theirs := NewDecoder(TableSize, 1<<20), hpack.NewDecoder(TableSize, nil)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 5000 {
		var b []byte
		named := 0
		if ours.n > 0 && random.IntN(4) > 0 {
			named = len(static) + random.IntN(ours.n)
			if random.IntN(3) == 0 {
				named = len(static) + ours.n - 1 // the oldest
			}
		}
		switch {
		case named > 0 && random.IntN(4) == 0:
			b = AppendInteger(b, 0x80, 7, uint64(named))
		default:
			b = AppendInteger(b, 0x40, 6, uint64(named))
			if named == 0 {
				name := fmt.Sprintf("x-%d-%s", i, strings.Repeat("n", random.IntN(200)))
				b = append(AppendInteger(b, 0, 7, uint64(len(name))), name...)
			}
			value := strings.Repeat(string(rune('a'+i%26)), random.IntN(1200))
			b = append(AppendInteger(b, 0, 7, uint64(len(value))), value...)
		}
		var e Entry
		_, found, err := ours.Next(b, &e)
		ours.End()
		want, wantErr := theirs.DecodeFull(b)
		if err != nil || wantErr != nil || !found {
			t.Fatalf("field %d: %v, the library says %v", i, err, wantErr)
		}
		if string(e.Name) != want[0].Name || string(e.Value) != want[0].Value {
			t.Fatalf("field %d: %q: %q, the library has %v", i, e.Name, e.Value, want[0])
		}
	}
}
