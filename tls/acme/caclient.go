package acme

import (
	stdtls "crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"reflect"
	"time"

	"github.com/caddyserver/certmagic"

	"serai/internal/boundedhttp"
)

const (
	// maxAnswer bounds an answer of the CA, in bytes: autocert reads chains of up to 5 MiB, and
	// all else without a limit; certmagic reads everything without one.
	maxAnswer = 6 << 20
	// answerTime bounds the time that one takes. certmagic has its own.
	answerTime = time.Minute
)

// bounded is a transport to a CA, which is verified by the roots that are current when a
// connection is made; nil means the system's.
func bounded(tr *http.Transport, roots func() (*x509.CertPool, error)) (http.RoundTripper, error) {
	if roots != nil {
		if tr.TLSClientConfig == nil {
			tr.TLSClientConfig = &stdtls.Config{}
		}
		if err := boundedhttp.FreshRoots(tr, roots); err != nil {
			return nil, err
		}
	}
	return boundedhttp.NewClient(tr, boundedhttp.Bounds{Body: maxAnswer}).Transport, nil
}

// newCAClient makes a client for a CA. Redirects are followed, as without it: some CAs move
// their directory.
func newCAClient(roots func() (*x509.CertPool, error)) (*http.Client, error) {
	tr, err := bounded(http.DefaultTransport.(*http.Transport).Clone(), roots)
	return &http.Client{Transport: tr, Timeout: answerTime}, err
}

// boundIssuer does the same to the client of certmagic, which has no option for it: the client
// is a field that is not exported. Whether that is still there with another version is known at
// the start, and by the tests.
func boundIssuer(i *certmagic.ACMEIssuer, roots func() (*x509.CertPool, error)) error {
	field := reflect.ValueOf(i).Elem().FieldByName("httpClient")
	if !field.IsValid() || field.Type() != reflect.TypeFor[*http.Client]() || field.IsNil() {
		return errors.New("this version of certmagic has another client")
	}
	client := (*http.Client)(field.UnsafePointer())
	tr, ok := client.Transport.(*http.Transport)
	if !ok {
		return errors.New("this version of certmagic has another transport")
	}
	var err error
	client.Transport, err = bounded(tr, roots)
	return err
}
