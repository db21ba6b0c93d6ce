package consulsim

import (
	"net/http"

	"github.com/hashicorp/go-bexpr"
)

// parseFilter reads a query's expression, or answers and returns false. sample is an
// element of the list, which shows what there is to select. A nil filter lets everything
// through.
//
// The library is at the version that Consul has: newer ones select otherwise.
func parseFilter(w http.ResponseWriter, q query, sample any) (*bexpr.Filter, bool) {
	f, err := bexpr.CreateFilter(q.filter, nil, sample)
	if err != nil {
		q.refuse(w, http.StatusInternalServerError, "%v", err)
		return nil, false
	}
	return f, true
}

// apply keeps the elements that match.
func apply[T any](f *bexpr.Filter, all []T) ([]T, error) {
	kept, err := f.Execute(all)
	if err != nil {
		return nil, err
	}
	return kept.([]T), nil
}
