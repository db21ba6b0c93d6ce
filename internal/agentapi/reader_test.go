package agentapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// texts reads a list of texts, of which no more than so many bytes each.
func texts(body io.Reader, most int) (list []string, some bool, err error) {
	r := NewReader(body, most)
	some, err = r.Array(func() error {
		text, err := r.Text()
		list = append(list, text)
		return err
	})
	if err == nil {
		err = r.End()
	}
	return list, some, err
}

// FuzzReader: a list of texts is the one that encoding/json reads, in however small parts it
// comes, but for texts that are cut off; what a Reader skips is what JSON is.
func FuzzReader(f *testing.F) {
	for _, seed := range []string{
		`[]`, `null`, ``, ` [ "a" , null , "b" ] `, `["` + strings.Repeat("x", 40) + `","y"]`, `["\"\\\/\b\u00e4\ud83d\ude00\ud83d"]`, `["ä€😀"]`,
		`["a`, `["a"`, `["a"]]`, `["a" "b"]`, `[1]`, `[[["a"]],{"b":[{}]},true,-1.5e+3]`, `{"a":"b","a":"c"}`, "[\"\xff\xfe\"]", "[\"a\x00b\"]", `["\u12"]`, `["\x"]`,
		`[` + strings.Repeat(" ", 5000) + `]`, `[` + strings.Repeat("1", 5000) + `]`, strings.Repeat("[", 11000),
	} {
		f.Add([]byte(seed), uint8(8))
		f.Add([]byte(seed), uint8(255))
	}
	f.Fuzz(func(t *testing.T, body []byte, most uint8) {
		if most == 0 {
			return
		}
		var want []string
		wrong := json.Unmarshal(body, &want)
		got, some, err := texts(iotest.OneByteReader(bytes.NewReader(body)), int(most))
		if errors.Is(err, ErrGap) {
			if len(body) <= maxGap {
				t.Errorf("%q: %v", body, err)
			}
			return
		}
		if (err == nil) != (wrong == nil) && (err != nil || len(body) <= int(most)) { // what is cut off may be anything
			t.Fatalf("%q: %v; encoding/json: %v", body, err, wrong)
		}
		if err == nil && wrong == nil && (some != (want != nil) || len(got) != len(want)) {
			t.Fatalf("%q gave %q, %v; want %q", body, got, some, want)
		}
		for i := range want {
			if err == nil && wrong == nil && got[i] != want[i] && (len(got[i]) < int(most) || len(got[i]) > 4*int(most)+4 || !strings.HasPrefix(want[i], strings.TrimRight(got[i], "\uFFFD"))) {
				t.Errorf("%q was cut to %q", want[i], got[i])
			}
		}
		r := NewReader(bytes.NewReader(body), MaxText)
		err = r.Skip()
		if err == nil {
			err = r.End()
		}
		if (err == nil) != json.Valid(body) && !errors.Is(err, ErrGap) {
			t.Errorf("%q: %v; want JSON to be %v", body, err, json.Valid(body))
		}
	})
}

// TestReaderIsBounded: whatever an answer never ends with, reading it ends, or goes on, in
// little memory.
func TestReaderIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		begin, more string
		err         error // nil where it can go on for ever
	}{
		"white space": {"[", " ", ErrGap},
		"a number":    {"[", "1", ErrGap},
		"a text":      {`["`, "x", nil},
		"escapes":     {`["`, `\u0041\"`, nil},
		"texts":       {`["a"`, `,"a"`, nil},
		"members":     {`[{"a":1`, `,"a":1`, nil},
	} {
		const length = 4 << 20
		end := errors.New("the end of the test")
		r := NewReader(io.MultiReader(strings.NewReader(c.begin+strings.Repeat(c.more, length/len(c.more))), iotest.ErrReader(end)), MaxText)
		err := r.Skip()
		want := c.err
		if want == nil {
			want = end
		}
		if !errors.Is(r.Broken(), want) || err == nil {
			t.Errorf("%s: %v, %v; want %v", name, err, r.Broken(), want)
		}
		if n := len(r.json.UnreadBuffer()); n > 8*MaxText {
			t.Errorf("%s: %d bytes are held", name, n)
		}
	}
}

// BenchmarkReader reads a list of 10,000 services with five tags each.
func BenchmarkReader(b *testing.B) {
	var list bytes.Buffer
	fmt.Fprint(&list, "[")
	for i := range 10_000 {
		fmt.Fprintf(&list, `{"ServiceName":"s%d","Tags":["ingress.host=s%d.example.org","ingress.path=/a","x","y","z"]},`, i, i)
	}
	fmt.Fprint(&list, "{}]")
	b.SetBytes(int64(list.Len()))
	b.ReportAllocs()
	for b.Loop() {
		r := NewReader(bytes.NewReader(list.Bytes()), MaxText)
		if err := r.Skip(); err != nil {
			b.Fatal(err)
		}
	}
}
