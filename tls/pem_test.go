package tls_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	stdtls "crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"serai/tls"
)

// pairOf makes a self-signed certificate for a key.
func pairOf(t *testing.T, key crypto.Signer, name string) (certPEM, keyPEM []byte) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: nextYear}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

// TestChainsAreReadWhole: none of a file's certificates is overlooked, as the library does
// after a byte order mark, and where a newline is missing between two blocks.
func TestChainsAreReadWhole(t *testing.T) {
	leaf, key := pair(t, nextYear, "a.test")
	second, _ := pair(t, nextYear, "second.test")
	third, _ := pair(t, nextYear, "third.test")
	joined := bytes.Join([][]byte{leaf, second, third}, nil)
	mark := []byte("\xef\xbb\xbf")
	for what, content := range map[string][]byte{
		"as usual": joined, "a byte order mark": append(mark, joined...), "CRLF": bytes.ReplaceAll(joined, []byte("\n"), []byte("\r\n")),
		"no newline after the first":  bytes.Join([][]byte{bytes.TrimSpace(leaf), second, third}, nil),
		"no newline after the second": bytes.Join([][]byte{leaf, bytes.TrimSpace(second), third}, nil),
		"words between":               bytes.Join([][]byte{[]byte("subject=a\n"), leaf, []byte("\nissuer=b\n"), second, third}, nil),
	} {
		c, err := tls.NewCertificate("test", content, append(mark, key...))
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if n := len(c.Certificate.Certificate); n != 3 || c.Names[0] != "a.test" {
			t.Errorf("%s: %d certificates are sent, the first for %v, want 3", what, n, c.Names)
		}
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, bytes.Join([][]byte{mark, leaf, bytes.TrimSpace(second), third}, nil), 0o600); err != nil {
		t.Fatal(err)
	}
	clients, err := tls.NewClients([]tls.ClientRule{{Hosts: []string{"a.test"}, CAFile: file}})
	if err != nil {
		t.Fatal(err)
	}
	config := tls.NewStore().Config(tls.ConfigOptions{Clients: clients})
	group, err := config.GetConfigForClient(&stdtls.ClientHelloInfo{ServerName: "a.test"})
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(joined)
	if !group.ClientCAs.Equal(pool) {
		t.Error("not every CA of the file may sign clients' certificates")
	}
}

// TestUselessCertificates: what no client can make a handshake with is not served, and the
// error says what to do.
func TestUselessCertificates(t *testing.T) {
	small, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p224, p224Key := pairOf(t, small, "a.test")
	t.Setenv("GODEBUG", "rsa1024min=0")
	tiny, err := rsa.GenerateKey(rand.Reader, 768)
	if err != nil {
		t.Fatal(err)
	}
	rsa768, rsa768Key := pairOf(t, tiny, "a.test")
	good, goodKey := pair(t, nextYear, "a.test")
	signer, _ := pair(t, nextYear, "signer.test")
	junk := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("junk")})
	block, _ := pem.Decode(signer)
	cut := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes[:len(block.Bytes)/2]})
	longer := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: append(bytes.Clone(block.Bytes), 0)})
	encrypted := []byte("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n")
	for _, c := range []struct {
		what      string
		cert, key []byte
		want      string
	}{
		{"P-224", p224, p224Key, "no client can use it"},
		{"RSA of 768 bits", rsa768, rsa768Key, "want at least 2048"},
		{"the signer first", append(bytes.Clone(signer), good...), goodKey, "the key belongs to block 2 of the file"},
		{"a second block that is no certificate", append(bytes.Clone(good), junk...), goodKey, "certificate 2 of the chain"},
		{"a third block that is cut off", bytes.Join([][]byte{good, signer, cut}, nil), goodKey, "certificate 3 of the chain"},
		{"a second block with a byte too many", append(bytes.Clone(good), longer...), goodKey, "certificate 2 of the chain"},
		{"a key with a passphrase", good, encrypted, "write it without a passphrase"},
	} {
		if _, err := tls.NewCertificate("test", c.cert, c.key); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.what, err, c.want)
		}
	}
	for _, size := range []int{1024, 2048} {
		key, err := rsa.GenerateKey(rand.Reader, size)
		if err != nil {
			t.Fatal(err)
		}
		cert, keyPEM := pairOf(t, key, "a.test")
		if _, err := tls.NewCertificate("test", cert, keyPEM); err != nil {
			t.Errorf("RSA of %d bits: %v", size, err)
		}
	}
}
