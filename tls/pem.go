package tls

import (
	"bytes"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"strings"
)

// minRSA is the least size of an RSA key, in bits: the library signs with none that is smaller.
const minRSA = 1024

// readable returns PEM without what makes the library overlook blocks, the first of them or
// some in the middle: the byte order mark of some editors, and a line that both ends a block
// and begins the next one, as when a file without a newline at its end was put before another.
func readable(content []byte) []byte {
	content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
	return bytes.ReplaceAll(content, []byte("----------BEGIN "), []byte("-----\n-----BEGIN "))
}

// keyPair reads a certificate chain and its key.
func keyPair(certPEM, keyPEM []byte) (tls.Certificate, error) {
	certPEM, keyPEM = readable(certPEM), readable(keyPEM)
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		if do := advice(certPEM, keyPEM); do != "" {
			err = fmt.Errorf("%w; %s", err, do)
		}
		return pair, err
	}
	for i, der := range pair.Certificate[1:] {
		if !isCertificate(der) {
			return pair, fmt.Errorf("certificate %d of the chain is none, or is damaged: clients refuse all of it", i+2)
		}
	}
	return pair, usable(&pair)
}

// isCertificate reports whether der has the outer form of a certificate (RFC 5280 section
// 4.1). The library reads only the first of a chain; the others are not read further here
// either, since some that clients know how to read are too odd for the library.
func isCertificate(der []byte) bool {
	var form struct {
		Signed, Algorithm asn1.RawValue
		Signature         asn1.BitString
	}
	rest, err := asn1.Unmarshal(der, &form)
	return err == nil && len(rest) == 0
}

// advice says what to do about a pair that cannot be read; empty when it does not know.
func advice(certPEM, keyPEM []byte) string {
	for rest := keyPEM; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if strings.HasPrefix(block.Type, "ENCRYPTED ") || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return "the key is encrypted: write it without a passphrase"
		}
	}
	for rest, n := certPEM, 1; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return ""
		}
		if _, err := tls.X509KeyPair(pem.EncodeToMemory(block), keyPEM); err == nil {
			return fmt.Sprintf("the key belongs to block %d of the file: put that certificate first, then the one that signed it", n)
		}
	}
}

// usable returns an error for a certificate with which no client can make a handshake,
// whatever it supports.
func usable(pair *tls.Certificate) error {
	if key, ok := pair.Leaf.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < minRSA {
		return fmt.Errorf("its RSA key has %d bits: want at least 2048", key.N.BitLen())
	}
	everything := &tls.ClientHelloInfo{
		SupportedVersions: []uint16{tls.VersionTLS13, tls.VersionTLS12}, CipherSuites: cipherSuites,
		SupportedCurves: []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521}, SupportedPoints: []uint8{0},
		SignatureSchemes: []tls.SignatureScheme{
			tls.ECDSAWithP256AndSHA256, tls.ECDSAWithP384AndSHA384, tls.ECDSAWithP521AndSHA512, tls.Ed25519,
			tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512, tls.PKCS1WithSHA256, tls.PKCS1WithSHA384, tls.PKCS1WithSHA512,
		},
	}
	if err := everything.SupportsCertificate(pair); err != nil {
		return fmt.Errorf("no client can use it: %w", err)
	}
	return nil
}

// appendCAs adds the certificates of a file to a pool, and reports whether there are any.
func appendCAs(pool *x509.CertPool, content []byte) bool {
	return pool.AppendCertsFromPEM(readable(content))
}
