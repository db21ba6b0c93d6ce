package consulsim

import (
	"net/http"

	"github.com/hashicorp/go-bexpr"
)

// filter is a filter expression; nil lets everything through.
type filter struct{ evaluator *bexpr.Evaluator }

// parseFilter reads a query's expression, or answers and returns false. sample is an
// element of the list, which shows what selectors exist.
func parseFilter(w http.ResponseWriter, q query, sample any) (*filter, bool) {
	if q.filter == "" {
		return nil, true
	}
	e, err := bexpr.CreateEvaluator(q.filter)
	if err == nil {
		_, err = e.Evaluate(sample)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "Failed to create boolean expression evaluator: %v", err)
		return nil, false
	}
	return &filter{e}, true
}

// apply keeps the elements that match.
func apply[T any](f *filter, all []T) ([]T, error) {
	if f == nil {
		return all, nil
	}
	kept := make([]T, 0, len(all))
	for _, v := range all {
		ok, err := f.evaluator.Evaluate(v)
		if err != nil {
			return nil, err
		}
		if ok {
			kept = append(kept, v)
		}
	}
	return kept, nil
}
