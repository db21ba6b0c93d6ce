package auth

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/tg123/go-htpasswd"
)

// Users are the users of one htpasswd file. Never modified.
type Users struct {
	byName map[string]*user
	all    []*user
	// Weak counts those whose hash is MD5 (apr1).
	Weak int
}

// user is one line of the file.
type user struct {
	name     []byte
	password htpasswd.EncodedPasswd
	line     []byte // as it stands in the file
}

// Bounds of a file.
const (
	mostUsers   = 100_000
	longestName = 255
	mostCost    = 16        // of bcrypt, as an exponent of 2: five seconds or so
	mostRounds  = 5_000_000 // of SHA-crypt
)

// The hashes that are accepted, each in full: the library would take more, and fail only
// when a password is compared.
var (
	bcryptHash   = regexp.MustCompile(`^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$`)
	shaCryptHash = regexp.MustCompile(`^\$(?:5\$(?:rounds=(\d{4,9})\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{43}|6\$(?:rounds=(\d{4,9})\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{86})$`)
	apr1Hash     = regexp.MustCompile(`^\$apr1\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{22}$`)
)

const wantHash = "want a hash as `htpasswd -B` makes it (bcrypt), SHA-crypt ($5$, $6$), argon2 or MD5 ($apr1$)"

// ReadUsers reads an htpasswd file. Its error tells all lines that are wrong, by their
// number, and nothing that stands in them.
func ReadUsers(r io.Reader) (*Users, error) {
	u := &Users{byName: make(map[string]*user)}
	var errs []error
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if n == 1 {
			line = strings.TrimPrefix(line, "\ufeff")
		}
		if line == "" || line[0] == '#' {
			continue
		}
		if err := u.add(line); err != nil {
			errs = append(errs, fmt.Errorf("line %d %w", n, err))
		}
		if len(errs) >= 10 || len(u.all) > mostUsers {
			break
		}
	}
	switch {
	case lines.Err() != nil:
		errs = append(errs, lines.Err())
	case len(u.all) > mostUsers:
		errs = append(errs, fmt.Errorf("there are more than %d users", mostUsers))
	case len(u.all) == 0 && len(errs) == 0:
		errs = append(errs, errors.New("there is no user in it"))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return u, nil
}

// Len returns how many users there are.
func (u *Users) Len() int { return len(u.all) }

func (u *Users) add(line string) error {
	name, hash, ok := strings.Cut(line, ":")
	switch {
	case !ok:
		return errors.New("has no colon; want NAME:HASH")
	case name == "" || len(name) > longestName || !printableValue(name):
		return fmt.Errorf("has a name that is empty, longer than %d bytes, or contains control characters", longestName)
	case u.byName[name] != nil:
		return errors.New("has a name that another line has already")
	}
	hash, _, _ = strings.Cut(hash, ":") // some programs add more
	password, err := u.parse(hash)
	if err != nil {
		return err
	}
	one := &user{[]byte(name), password, []byte(line)}
	u.byName[name], u.all = one, append(u.all, one)
	return nil
}

// parse reads a hash. Plain text, unsalted SHA-1 and DES are refused.
func (u *Users) parse(hash string) (htpasswd.EncodedPasswd, error) {
	if m := bcryptHash.FindStringSubmatch(hash); m != nil {
		if cost, _ := strconv.Atoi(m[1]); cost < 4 || cost > mostCost {
			return nil, fmt.Errorf("has a bcrypt hash of cost %s; want 4 to %d", m[1], mostCost)
		}
		return htpasswd.AcceptBcrypt(hash)
	}
	if m := shaCryptHash.FindStringSubmatch(hash); m != nil {
		if rounds, _ := strconv.Atoi(m[1] + m[2]); m[1]+m[2] != "" && (rounds < 1000 || rounds > mostRounds) {
			return nil, fmt.Errorf("has a SHA-crypt hash of %d rounds; want 1000 to %d", rounds, mostRounds)
		}
		return htpasswd.AcceptCryptSha(hash)
	}
	if apr1Hash.MatchString(hash) {
		u.Weak++
		return htpasswd.AcceptMd5(hash)
	}
	if password, err := acceptArgon2(hash); password != nil || err != nil {
		return password, err
	}
	return nil, errors.New("has plain text, or a hash that is not accepted; " + wantHash)
}

// printableValue reports whether s may stand in a field: no control characters, and no
// blanks at its ends, which would not arrive.
func printableValue(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return strings.Trim(s, " ") == s
}
