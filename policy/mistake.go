package policy

import "fmt"

// Mistake is why what is asked of a policy is refused. Its parts may contain bytes of
// what was asked, quoted so that they are printable.
type Mistake struct {
	// Why says what is wrong, Instead what to write; Instead may be empty.
	Why, Instead string
}

func (m *Mistake) Error() string {
	if m.Instead == "" {
		return m.Why
	}
	return m.Why + "; instead: " + m.Instead
}

func mistake(instead, why string, args ...any) *Mistake {
	return &Mistake{fmt.Sprintf(why, args...), instead}
}
